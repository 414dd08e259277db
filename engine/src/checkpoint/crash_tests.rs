//! A crash, or a failing fsync, at every single system call of writing and publishing checkpoints.
//!
//! The test binary starts itself again as a small program that takes a few checkpoints; `strace` kills that program at its K-th call, for every K, or
//! makes the K-th fsync fail. Afterwards everything that the program had reported complete must be restorable.

use super::ha::{FilesystemHa, HaSession};
use super::restore::verify_files;
use super::storage::durable::storage_error;
use super::storage::{CheckpointStorage, FileStorage, FileStorageOptions, Scope, StreamHint, read_all};
use super::{
    CheckpointId, CheckpointMetadata, CheckpointingMode, KeyedHandle, OperatorId, OperatorMetadata,
    SubtaskSnapshot, metadata,
};
use crate::Result;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

const FOLDER_VARIABLE: &str = "MILLPOND_CRASH_TEST_FOLDER";
const CHECKPOINTS: u64 = 3;
const SIGKILL: i32 = 9;
/// What the name of the folder begins with that tells of a completed checkpoint.
const REPORT: &str = "complete-";

fn options() -> FileStorageOptions {
    FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    }
}

fn state(id: CheckpointId) -> Vec<u8> {
    format!("state at checkpoint {id}").into_bytes()
}

/// Writes one checkpoint in the order that operators and coordinator do.
fn take_checkpoint(
    storage: &FileStorage,
    session: &mut FilesystemHa,
    folder: &Path,
    id: CheckpointId,
) -> Result<()> {
    let operator = OperatorId::new("op");
    let mut subtask = SubtaskSnapshot::empty(operator.clone(), "Op", 0);
    let mut files = Vec::new();
    for scope in [Scope::Exclusive, Scope::Shared] {
        let mut stream = storage.open_stream(id, scope, &StreamHint::default())?;
        stream.write(&state(id))?;
        files.push(stream.finish()?);
    }
    // A file of the backend's own, which nobody has synced.
    let local = folder.join(format!("{id}.sst"));
    fs::write(&local, state(id)).map_err(|error| storage_error("write", &local, error))?;
    let linked = storage.link(id, Scope::Shared, &local, crc32fast::hash(&state(id)))?;
    files.extend(linked);
    subtask.keyed.push(KeyedHandle {
        backend: "b".into(),
        key_groups: (0, 127),
        kind: "full".into(),
        files,
        payload: Vec::new(),
        state_bytes: 1,
        new_bytes: 1,
    });
    let metadata = CheckpointMetadata {
        job_name: "job".into(),
        job_id: session.job_id().clone(),
        id,
        lineage: crate::checkpoint::Lineage::new(),
        attempt: 1,
        mode: CheckpointingMode::ExactlyOnce,
        epoch: id.0,
        timestamp_ms: 0,
        is_savepoint: false,
        operators: vec![OperatorMetadata {
            id: operator,
            name: "Op".into(),
            parallelism: 1,
            max_parallelism: 128,
            states: Vec::new(),
            subtasks: vec![subtask],
        }],
    };
    let bytes = metadata::encode(&metadata)?;
    storage.publish_metadata(id, &bytes)?;
    session
        .publish(id, &bytes, &[id], id.next())
        .map_err(|failed| failed.error)
}

/// The program that crashes; it does nothing in an ordinary test run.
#[test]
fn program() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else {
        return;
    };
    let folder = Path::new(&folder);
    let mut session = FilesystemHa::open(&folder.join("ha"), "c", "job").unwrap();
    let storage = FileStorage::new(folder.join("checkpoints"), session.job_id(), options()).unwrap();
    session.begin_attempt(1).unwrap();
    let mut complete: Option<CheckpointId> = None;
    for id in (1..=CHECKPOINTS).map(CheckpointId) {
        if take_checkpoint(&storage, &mut session, folder, id).is_err() {
            continue;
        }
        // Not printed: a write may be what is made to fail.
        fs::create_dir(folder.join(format!("{REPORT}{id}"))).unwrap();
        if let Some(subsumed) = complete.replace(id) {
            let _ = storage.discard_checkpoint(subsumed);
        }
    }
}

/// Runs the program under `strace` with one injection.
fn run(folder: &Path, injection: &str) -> Output {
    let calls = injection.split(':').next().unwrap();
    Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e"])
        .arg(format!("trace={calls}"))
        .args(["-e", &format!("inject={injection}")])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "checkpoint::crash_tests::program",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER_VARIABLE, folder)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

/// The checkpoints that the program has reported complete, in rising order.
fn reported(folder: &Path) -> Vec<CheckpointId> {
    let mut reported: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix(REPORT)?.parse().ok().map(CheckpointId)
        })
        .collect();
    reported.sort_unstable();
    reported
}

/// Starts again and checks what is found. Returns the restored checkpoint.
fn restart(folder: &Path, reported: Option<CheckpointId>, context: &str) -> Option<CheckpointId> {
    let mut session = FilesystemHa::open(&folder.join("ha"), "c", "job")
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let storage = FileStorage::new(folder.join("checkpoints"), session.job_id(), options()).unwrap();
    let latest = session
        .recovered()
        .last()
        .map(|recovered| std::sync::Arc::clone(&recovered.metadata));
    let found = latest.as_ref().map(|metadata| metadata.id);
    assert!(
        found >= reported,
        "{context}: reported {reported:?}, found {found:?}"
    );
    let mut shared = std::collections::HashSet::new();
    if let Some(metadata) = &latest {
        verify_files(&storage, metadata).unwrap_or_else(|error| panic!("{context}: {error}"));
        let path = storage.paths().metadata(metadata.id);
        assert_eq!(
            metadata::read_file(&path).unwrap(),
            **metadata,
            "{context}: both copies of the metadata"
        );
        for file in metadata.subtasks().flat_map(|subtask| subtask.files()) {
            assert_eq!(read_all(&storage, file).unwrap(), state(metadata.id), "{context}");
            shared.extend(file.owned_path().filter(|_| file.shared).map(str::to_owned));
        }
    }
    // The next run works, and cleans up.
    session.begin_attempt(1).unwrap();
    let retained: Vec<_> = found.into_iter().collect();
    let next = CheckpointId(CHECKPOINTS + 1);
    storage
        .delete_orphans(&retained, next, &shared, &|| session.check())
        .unwrap();
    let leftover: Vec<_> = fs::read_dir(storage.paths().shared())
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(leftover.len(), shared.len(), "{context}: shared files");
    take_checkpoint(&storage, &mut session, folder, next)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    found
}

fn strace_is_missing() -> bool {
    let missing = Command::new("strace").arg("-V").output().is_err();
    if missing {
        println!("not run: strace is not installed");
    }
    missing
}

#[test]
fn crash_at_any_call_loses_nothing_that_was_reported() {
    if strace_is_missing() {
        return;
    }
    for calls in [
        "openat",
        "write",
        "fsync",
        "/^rename.*",
        "/^link.*",
        "/^mkdir.*",
        "/^unlink.*",
        "/^(rmdir|ftruncate)$",
    ] {
        let mut crashes = 0;
        for k in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let output = run(dir.path(), &format!("{calls}:signal=SIGKILL:when={k}"));
            let context = format!("killed at call {k} of {calls}");
            let reported = reported(dir.path()).last().copied();
            if output.status.success() {
                assert_eq!(reported, Some(CheckpointId(CHECKPOINTS)), "{context}");
                restart(dir.path(), reported, &context);
                break;
            }
            assert_eq!(output.status.signal(), Some(SIGKILL), "{context}: {output:?}");
            crashes += 1;
            restart(dir.path(), reported, &context);
        }
        println!("{calls}: {crashes} crashes");
        assert!(crashes > 0 || calls.contains("rmdir"), "{calls}");
    }
}

#[test]
fn failed_call_fails_its_checkpoint_and_no_other() {
    if strace_is_missing() {
        return;
    }
    // Full disk, failing disk, lost permission. A call that fails on the way to the first checkpoint ends the program.
    for (injection, in_each) in [
        // Two streams, the metadata and its copy, the pointer.
        ("write:error=ENOSPC", 5),
        ("fsync:error=EIO", 5),
        ("/^rename.*:error=EACCES", 5),
        ("/^link.*:error=ENOSPC", 1),
    ] {
        let all = usize::try_from(CHECKPOINTS).unwrap();
        let mut failures = 0;
        let mut without_effect = 0;
        for k in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let output = run(dir.path(), &format!("{injection}:when={k}"));
            let context = format!("{injection} at call {k}");
            let reported = reported(dir.path());
            restart(dir.path(), reported.last().copied(), &context);
            // Calls are counted by thread, so the call of another thread may have failed as well, and the program with it.
            match all - reported.len() {
                0 if output.status.success() => without_effect += 1,
                0 => {}
                1 => {
                    without_effect = 0;
                    failures += 1;
                }
                _ => assert!(
                    reported.is_empty() && !output.status.success(),
                    "{context}: {output:?}"
                ),
            }
            // A write that is for people only may fail without effect; several in a row mean that there are no more calls.
            if without_effect == 3 {
                break;
            }
        }
        println!("{injection}: {failures} failed checkpoints");
        assert!(failures >= all * in_each, "{injection}");
    }
}
