use super::*;
use crate::checkpoint::{
    CheckpointMetadata, CheckpointingMode, FileLocation, FileRef, KeyedHandle, Lineage, OperatorId,
    OperatorMetadata, SubtaskSnapshot, metadata,
};

const JOB_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const JOB_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// All files are old enough at once.
fn at_once() -> SweepOptions {
    SweepOptions {
        min_age: Duration::ZERO,
        ..SweepOptions::default()
    }
}

fn put(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "state").unwrap();
}

fn encoded(job: &str, id: u64, is_savepoint: bool, files: &[&str]) -> Vec<u8> {
    let operator = OperatorId::new("op");
    let mut subtask = SubtaskSnapshot::empty(operator.clone(), "Op", 0);
    let file = |path: &&str| FileRef {
        location: FileLocation::File((*path).to_owned()),
        shared: path.contains("shared/"),
        ..FileRef::inline(b"state".to_vec())
    };
    subtask.keyed.push(KeyedHandle {
        backend: "b".into(),
        key_groups: (0, 127),
        kind: "k".into(),
        files: files.iter().map(file).collect(),
        payload: Vec::new(),
        state_bytes: 5,
        new_bytes: 5,
    });
    metadata::encode(&CheckpointMetadata {
        job_name: "job".into(),
        job_id: JobId::parse(job).unwrap(),
        id: CheckpointId(id),
        lineage: Lineage::new(),
        attempt: 1,
        mode: CheckpointingMode::ExactlyOnce,
        epoch: id,
        timestamp_ms: 0,
        is_savepoint,
        operators: vec![OperatorMetadata {
            id: operator,
            name: "Op".into(),
            parallelism: 1,
            max_parallelism: 128,
            states: Vec::new(),
            subtasks: vec![subtask],
        }],
    })
    .unwrap()
}

/// A complete checkpoint that names these files, relative to the job's folder; those that are relative are made.
fn checkpoint(root: &Path, job: &str, id: u64, files: &[&str]) -> PathBuf {
    let folder = root.join(job);
    for file in files.iter().filter(|file| !file.starts_with('/')) {
        put(&folder.join(file));
    }
    let path = folder.join(format!("chk-{id}"));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("_metadata"), encoded(job, id, false, files)).unwrap();
    path
}

/// The orphans, relative to `root`.
fn orphans(root: &Path, options: &SweepOptions) -> Vec<String> {
    let found = find_orphans(root, options).unwrap();
    let root = root.canonicalize().unwrap();
    let relative = |file: &Orphan| file.path.strip_prefix(&root).unwrap().display().to_string();
    found.files.iter().map(relative).collect()
}

#[test]
fn what_no_metadata_names_is_found_first_and_deleted_when_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    checkpoint(root, JOB_A, 3, &["chk-3/a", "shared/1"]);
    checkpoint(root, JOB_A, 4, &["chk-4/b", "shared/1", "shared/2"]);
    let job = root.join(JOB_A);
    let orphaned = [
        "chk-2/late",
        "chk-4/.b.tmp",
        "chk-9/begun",
        "shared/.3.tmp",
        "shared/3",
    ];
    for name in orphaned.iter().chain(&["taskowned/wal", "notes.txt", "chk-x/y"]) {
        put(&job.join(name));
    }
    put(&root.join("savepoint-aaaaaa-000000000001/state"));
    let savepoint = root.join("savepoint-aaaaaa-000000000002");
    put(&savepoint.join("state"));
    fs::write(savepoint.join("_metadata"), encoded(JOB_A, 2, true, &["state"])).unwrap();
    put(&root.join("others/chk-1/file"));

    let mut expected: Vec<_> = orphaned.iter().map(|name| format!("{JOB_A}/{name}")).collect();
    expected.push("savepoint-aaaaaa-000000000001/state".to_owned());
    assert_eq!(orphans(root, &at_once()), expected);
    // Young files are left alone.
    assert!(orphans(root, &SweepOptions::default()).is_empty());
    // The folder of one job alone.
    assert_eq!(orphans(&job, &at_once()), orphaned);

    let found = find_orphans(root, &at_once()).unwrap();
    assert_eq!(found.bytes(), 5 * expected.len() as u64);
    found.delete().unwrap();
    drop(found);
    assert!(orphans(root, &at_once()).is_empty());
    for gone in ["chk-2", "chk-9"] {
        assert!(!job.join(gone).exists(), "{gone}");
    }
    for left in [
        "chk-3/a",
        "chk-4/b",
        "shared/1",
        "shared/2",
        "taskowned/wal",
        "notes.txt",
        "chk-x/y",
    ] {
        assert!(job.join(left).exists(), "{left}");
    }
    assert!(!root.join("savepoint-aaaaaa-000000000001").exists() && savepoint.join("state").exists());
    assert!(root.join("others/chk-1/file").exists());
}

#[test]
fn files_of_a_job_without_any_checkpoint_go_with_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let job = dir.path().join(JOB_A);
    for name in ["chk-1/a", "shared/1", "taskowned/wal"] {
        put(&job.join(name));
    }
    find_orphans(dir.path(), &at_once()).unwrap().delete().unwrap();
    assert!(!job.exists());
}

#[test]
fn what_a_checkpoint_of_another_job_or_folder_names_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let shared = here.join(JOB_A).join("shared");
    for name in ["1", "2", "3"] {
        put(&shared.join(name));
    }
    let foreign = |name: &str| shared.join(name).display().to_string();
    checkpoint(&here, JOB_B, 1, &[&foreign("1")]);
    checkpoint(&there, JOB_B, 1, &[&foreign("2")]);
    let of_a = |names: &[&str]| -> Vec<_> {
        names
            .iter()
            .map(|name| format!("{JOB_A}/shared/{name}"))
            .collect()
    };
    assert_eq!(orphans(&here, &at_once()), of_a(&["2", "3"]));
    let options = SweepOptions {
        also_named_in: vec![there],
        ..at_once()
    };
    assert_eq!(orphans(&here, &options), of_a(&["3"]));
}

/// With high availability a damaged or missing `_metadata` is not needed: the pointer has a copy.
#[test]
fn what_a_copy_of_high_availability_names_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("checkpoints");
    let chk = checkpoint(&root, JOB_A, 7, &["chk-7/a", "shared/1"]);
    let copy = dir
        .path()
        .join("ha/default/job/checkpoints/completedCheckpoint-0000000000000000007");
    put(&copy);
    fs::rename(chk.join("_metadata"), &copy).unwrap();
    put(&root.join(JOB_A).join("shared/2"));
    let options = SweepOptions {
        also_named_in: vec![dir.path().join("ha")],
        ..at_once()
    };
    assert_eq!(orphans(&root, &options), [format!("{JOB_A}/shared/2")]);
    fs::write(&copy, b"damaged").unwrap();
    assert_eq!(
        find_orphans(&root, &options).unwrap_err().kind(),
        ErrorKind::Restore
    );
}

#[test]
fn a_job_whose_metadata_cannot_be_read_is_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let chk = checkpoint(dir.path(), JOB_A, 1, &["shared/1"]);
    checkpoint(dir.path(), JOB_A, 2, &["shared/2"]);
    checkpoint(dir.path(), JOB_B, 2, &[]);
    for name in ["shared/3", "chk-3/x"] {
        put(&dir.path().join(JOB_A).join(name));
        put(&dir.path().join(JOB_B).join(name));
    }
    let file = chk.join("_metadata");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let found = find_orphans(dir.path(), &at_once()).unwrap();
    assert_eq!(found.files.len(), 2);
    assert!(
        found
            .files
            .iter()
            .all(|orphan| orphan.path.to_str().unwrap().contains(JOB_B))
    );
    let [left] = found.not_judged.as_slice() else {
        panic!("{:?}", found.not_judged)
    };
    assert!(!left.is_in_use && left.folder.ends_with(JOB_A) && left.reason.contains("chk-1/_metadata"));
}

#[test]
fn a_job_that_runs_is_left_alone_and_one_that_starts_waits_for_the_sweep() {
    use crate::checkpoint::storage::{CheckpointStorage, FileStorage, FileStorageOptions, Scope, StreamHint};
    let dir = tempfile::tempdir().unwrap();
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let storage = || FileStorage::new(dir.path(), &JobId::parse(JOB_A).unwrap(), options.clone()).unwrap();
    let write = |storage: &FileStorage| {
        let mut stream = storage
            .open_stream(CheckpointId(1), Scope::Shared, &StreamHint::default())
            .unwrap();
        stream.write(b"state").unwrap();
        stream.finish().unwrap()
    };
    let running = storage();
    write(&running);
    let found = find_orphans(dir.path(), &at_once()).unwrap();
    assert!(
        found.files.is_empty() && found.not_judged[0].is_in_use,
        "{found:?}"
    );
    drop((found, running));

    let found = find_orphans(dir.path(), &at_once()).unwrap();
    assert_eq!(found.files.len(), 1);
    let started = storage();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&started));
        found.delete().unwrap();
        assert!(!writing.is_finished());
        drop(found);
        let file = writing.join().unwrap();
        assert!(started.local_path(&file).unwrap().exists());
    });
}
