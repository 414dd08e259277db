//! Runs the `millpond` command.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use millpond_engine::checkpoint::metadata::{self, CheckpointMetadata, OperatorMetadata, StateDescription};
use millpond_engine::checkpoint::storage::{
    CheckpointStorage, FileStorage, FileStorageOptions, Scope, StreamHint,
};
use millpond_engine::checkpoint::{
    CheckpointId, CheckpointingMode, FileLocation, JobId, KeyedHandle, OperatorId, SubtaskSnapshot,
};
use millpond_engine::codec::CodecId;
use millpond_engine::state::StateCodec;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `millpond` and returns exit code, output and errors.
fn millpond(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(args)
        .env_remove("MILLPOND_CONF_DIR")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Writes checkpoint 7 with one file of state under `root`; returns its folder and the file.
fn checkpoint(root: &Path) -> (PathBuf, PathBuf) {
    let job = JobId::random();
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let storage = FileStorage::new(root, &job, options).unwrap();
    let id = CheckpointId(7);
    let hint = StreamHint::default();
    let mut stream = storage.open_stream(id, Scope::Exclusive, &hint).unwrap();
    stream.write(&[42; 10_000]).unwrap();
    let file = stream.finish().unwrap();
    let state_file = storage.local_path(&file).unwrap();
    let operator = OperatorId::new("count");
    let mut snapshot = SubtaskSnapshot::empty(operator.clone(), "Count", 0);
    snapshot.keyed.push(KeyedHandle {
        backend: "acme::Factory".to_owned(),
        key_groups: (0, 127),
        kind: "acme/1".to_owned(),
        state_bytes: file.size,
        new_bytes: file.size,
        files: vec![file],
        payload: Vec::new(),
    });
    let metadata = CheckpointMetadata {
        job_name: "word count".to_owned(),
        job_id: job,
        id,
        lineage: millpond_engine::checkpoint::Lineage::new(),
        attempt: 2,
        mode: CheckpointingMode::ExactlyOnce,
        epoch: 7,
        timestamp_ms: 1_709_209_800_250,
        is_savepoint: false,
        operators: vec![OperatorMetadata {
            id: operator,
            name: "Count".to_owned(),
            parallelism: 1,
            max_parallelism: 128,
            states: vec![StateDescription {
                name: "counts".to_owned(),
                kind: "value".to_owned(),
                codec: Some(StateCodec {
                    key: CodecId::of::<String>(),
                    map_key: None,
                    namespace: None,
                    value: CodecId::of::<u64>(),
                    ttl: false,
                }),
                width: Some(8),
            }],
            subtasks: vec![snapshot],
        }],
    };
    storage
        .publish_metadata(id, &metadata::encode(&metadata).unwrap())
        .unwrap();
    (storage.paths().checkpoint(id), state_file)
}

#[test]
fn inspect_shows_job_operators_states_and_files() {
    let root = tempfile::tempdir().unwrap();
    let (folder, state_file) = checkpoint(root.path());
    let file_name = state_file.file_name().unwrap().to_str().unwrap();
    for path in [folder.clone(), folder.join("_metadata")] {
        let (code, out, err) = millpond(&["inspect", path.to_str().unwrap()]);
        assert_eq!((code, err.as_str()), (0, ""));
        for text in [
            "checkpoint 7 of job 'word count'",
            "2024-02-29 12:30:00.250 UTC",
            "attempt     2",
            "operator 'Count' (uid 'count')",
            "parallelism 1 of at most 128",
            "keyed state 'counts': value, 8 bytes a value",
            "9.8 KiB",
        ] {
            assert!(out.contains(text), "no '{text}' in: {out}");
        }
        assert!(!out.contains(file_name), "{out}");
    }
    let (_, out, _) = millpond(&["inspect", "--files", folder.to_str().unwrap()]);
    assert!(
        out.contains("key groups 0..=127: acme/1 by acme::Factory"),
        "{out}"
    );
    assert!(out.contains(file_name), "{out}");
}

#[test]
fn verify_names_each_file_that_is_missing_or_damaged() {
    let root = tempfile::tempdir().unwrap();
    let (folder, state_file) = checkpoint(root.path());
    let url = format!("file://{}", folder.display());
    let (code, out, _) = millpond(&["verify", &url]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("its metadata and 1 files with 9.8 KiB (state of 9.8 KiB) are whole"),
        "{out}"
    );

    let mut bytes = std::fs::read(&state_file).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&state_file, &bytes).unwrap();
    let (code, out, _) = millpond(&["verify", &url]);
    assert_eq!(code, 1);
    for text in [
        "operator 'count' (subtask 0)",
        state_file.to_str().unwrap(),
        "checksum",
    ] {
        assert!(out.contains(text), "{out}");
    }

    std::fs::write(&state_file, &bytes[1..]).unwrap();
    let (code, out, _) = millpond(&["verify", &url]);
    assert!(
        code == 1 && out.contains("it has 9999 bytes, expected 10000"),
        "{out}"
    );

    std::fs::remove_file(&state_file).unwrap();
    let (code, out, _) = millpond(&["verify", &url]);
    assert!(
        code == 1 && out.contains("1 of 1 files cannot be restored"),
        "{out}"
    );
}

#[test]
fn a_savepoint_that_was_moved_is_verified_where_it_is_now() {
    let root = tempfile::tempdir().unwrap();
    let (folder, state_file) = checkpoint(root.path());
    let mut metadata = metadata::read_file(&folder.join("_metadata")).unwrap();
    metadata.is_savepoint = true;
    let name = state_file.file_name().unwrap().to_str().unwrap();
    metadata.operators[0].subtasks[0].keyed[0].files[0].location = FileLocation::File(name.to_owned());
    std::fs::write(folder.join("_metadata"), metadata::encode(&metadata).unwrap()).unwrap();
    let moved = root.path().join("moved");
    std::fs::rename(&folder, &moved).unwrap();
    let (code, out, _) = millpond(&["verify", moved.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn damaged_metadata_is_not_well_and_a_missing_path_is_a_bad_argument() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = checkpoint(root.path());
    let file = folder.join("_metadata");
    let bytes = std::fs::read(&file).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 3] ^= 1;
    for damaged in [&flipped, &bytes[..bytes.len() / 2], &[]] {
        std::fs::write(&file, damaged).unwrap();
        for command in ["inspect", "verify"] {
            let (code, _, err) = millpond(&[command, folder.to_str().unwrap()]);
            assert_eq!(code, 1, "{err}");
            assert!(err.contains(file.to_str().unwrap()), "{err}");
        }
    }
    for path in [
        "no/such/folder",
        "s3://bucket/chk-1",
        root.path().to_str().unwrap(),
    ] {
        let (code, _, err) = millpond(&["verify", path]);
        assert_eq!(code, 2, "{err}");
        assert!(err.starts_with("error: "), "{err}");
    }
    assert_eq!(millpond(&["verify"]).0, 2);
    assert_eq!(millpond(&["frobnicate"]).0, 2);
}

#[test]
fn plugins_lists_built_in_backends_and_says_why_a_library_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let (code, out, _) = millpond(&["plugins", "--dir", dir]);
    assert_eq!(code, 0, "{out}");
    for text in [
        "millpond::MemoryStateBackendFactory",
        "jobmanager, hashmap, memory",
        "no libraries",
    ] {
        assert!(out.contains(text), "{out}");
    }

    let library = folder
        .path()
        .join(format!("broken{}", std::env::consts::DLL_SUFFIX));
    std::fs::write(&library, "text").unwrap();
    let (code, out, _) = millpond(&["plugins", "--dir", dir]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("REFUSED, not loadable"), "{out}");

    assert_eq!(millpond(&["plugins", "--dir", "no/such/folder"]).0, 2);
    assert_eq!(millpond(&["plugins", "--conf", "no/such/folder"]).0, 2);
}

#[test]
fn options_are_listed_filtered_and_as_the_page() {
    let (code, out, _) = millpond(&["options"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("state.backend.type (String, default hashmap)"),
        "{out}"
    );
    let (code, out, _) = millpond(&["options", "plugins.dir"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("plugins.dir (") && !out.contains("parallelism.default"),
        "{out}"
    );
    assert_eq!(millpond(&["options", "no such thing"]).0, 1);
    let (code, out, _) = millpond(&["options", "--markdown"]);
    assert!(code == 0 && out.starts_with('#'), "{out}");
}

#[test]
fn a_checkpoint_is_disposed_of_unless_somebody_needs_it() {
    let root = tempfile::tempdir().unwrap();
    let (folder, state) = checkpoint(root.path());
    let path = folder.to_str().unwrap();
    let held = std::fs::File::open(folder.join("_metadata")).unwrap();
    held.lock_shared().unwrap();
    let (code, out, err) = millpond(&["savepoint", "dispose", path]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("in use"), "{err}");
    assert!(state.exists());
    drop(held);
    // Looked at as the latest one, but deleted by its own name only.
    let latest = folder.parent().unwrap().join("latest");
    let latest = latest.to_str().unwrap();
    let (code, out, err) = millpond(&["verify", latest]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("are whole"), "{out}");
    let (code, _, err) = millpond(&["savepoint", "dispose", latest]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains(path) && state.exists(), "{err}");
    let (code, out, err) = millpond(&["savepoint", "dispose", path]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(path) && out.contains("2 files"), "{out}");
    assert!(!folder.exists());
    let (code, _, err) = millpond(&["savepoint", "dispose", root.path().to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(err.contains("_metadata"), "{err}");
}

#[test]
fn a_savepoint_of_no_running_job_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().to_str().unwrap();
    let (code, out, err) = millpond(&["savepoint", "trigger", "--control", control, "--patience", "0"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains(control), "{err}");
    let (code, ..) = millpond(&["savepoint", "trigger", "--control", control, "--drain"]);
    assert_eq!(code, 2, "--drain is for --stop");
}

#[test]
fn what_nobody_needs_is_reported_first_and_deleted_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let (folder, state) = checkpoint(root.path());
    let orphan = folder.parent().unwrap().join("chk-9/half");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, [0; 2048]).unwrap();
    let dir = root.path().to_str().unwrap();
    let sweep = |more: &[&str]| millpond(&[&["checkpoints", "sweep", dir], more].concat());
    let (code, out, err) = sweep(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("0 files with 0 B"), "too young: {out}");
    let (code, out, err) = sweep(&["--min-age", "0", "--files"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("chk-9/half (2.0 KiB)") && out.contains("1 files with 2.0 KiB"),
        "{out}"
    );
    assert!(orphan.exists());
    let held = std::fs::File::open(folder.parent().unwrap()).unwrap();
    held.lock_shared().unwrap();
    let (code, out, err) = sweep(&["--min-age", "0", "--delete"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("is in use") && out.contains("deleted 0 files"),
        "{out}"
    );
    drop(held);
    let (code, out, err) = sweep(&["--min-age", "0", "--delete"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("deleted 1 files with 2.0 KiB"), "{out}");
    assert!(!orphan.exists() && state.exists());
    std::fs::write(folder.join("_metadata"), "damaged").unwrap();
    let (code, out, _) = sweep(&["--min-age", "0"]);
    assert!(code == 1 && out.contains("nobody knows what is needed"), "{out}");
    assert_eq!(millpond(&["checkpoints", "sweep", "no/such/folder"]).0, 1);
}

#[test]
fn inspect_lists_the_checkpoints_of_a_jobs_folder_and_of_all_jobs() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = checkpoint(root.path());
    let job = folder.parent().unwrap();
    std::fs::create_dir_all(job.join("chk-100/x")).unwrap();
    for path in [job, root.path()] {
        let (code, out, err) = millpond(&["inspect", path.to_str().unwrap()]);
        assert_eq!(code, 0, "{err}");
        for part in [
            folder.file_name().unwrap().to_str().unwrap(),
            "chk-100  not complete",
            "job 'word count'",
            "state of 9.8 KiB",
            " UTC",
        ] {
            assert!(out.contains(part), "no '{part}' in {out}");
        }
    }
}

#[test]
fn what_is_stored_is_told_from_the_state_that_it_is_stored_for() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = checkpoint(root.path());
    let file = folder.join("_metadata");
    let mut metadata = metadata::read_file(&file).unwrap();
    let handle = &mut metadata.operators[0].subtasks[0].keyed[0];
    (handle.state_bytes, handle.new_bytes) = (5 << 10, 4 << 10);
    // A file that two handles name is there once.
    let again = handle.files[0].clone();
    handle.files.push(again);
    std::fs::write(&file, metadata::encode(&metadata).unwrap()).unwrap();
    let stored = "9.8 KiB in 1 files: 4.0 KiB written for it, 5.8 KiB in files of earlier ones";
    let (code, out, _) = millpond(&["inspect", "--files", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    for text in [
        "state       5.0 KiB of keys and values",
        &format!("stored      {stored}"),
        "parallelism 1 of at most 128, state of 5.0 KiB",
        "subtask 0: state of 5.0 KiB",
        "by acme::Factory, state of 5.0 KiB",
    ] {
        assert!(out.contains(text), "no '{text}' in: {out}");
    }
    let (_, out, _) = millpond(&["inspect", folder.parent().unwrap().to_str().unwrap()]);
    assert!(
        out.contains(&format!("state of 5.0 KiB, stored {stored}")),
        "{out}"
    );
    let (_, out, _) = millpond(&["verify", folder.to_str().unwrap()]);
    assert!(
        out.contains("1 files with 9.8 KiB (state of 5.0 KiB) are whole"),
        "{out}"
    );
}

#[test]
fn verify_reads_a_file_once_however_many_subtasks_name_it() {
    let root = tempfile::tempdir().unwrap();
    let (folder, _) = checkpoint(root.path());
    let file = folder.join("_metadata");
    let mut metadata = metadata::read_file(&file).unwrap();
    let subtask = metadata.operators[0].subtasks[0].clone();
    metadata.operators[0].subtasks.push(subtask);
    std::fs::write(&file, metadata::encode(&metadata).unwrap()).unwrap();
    let (code, out, _) = millpond(&["verify", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("its metadata and 1 files with 9.8 KiB (state of 19.5 KiB) are whole"),
        "{out}"
    );
}
