//! What is particular to files and to the coordinator's memory; the rest is in `conformance`.

use super::*;
use crate::checkpoint::{FileLocation, JobId, KeyedHandle, OperatorId};
use std::fs;

pub(super) fn hint(expected_bytes: Option<u64>) -> StreamHint {
    StreamHint {
        operator: "Count".into(),
        subtask: 3,
        state: "sum".into(),
        expected_bytes,
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    storage: FileStorage,
}

fn files(inline_threshold: usize) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let options = FileStorageOptions {
        inline_threshold,
        write_buffer: 64,
        ..FileStorageOptions::default()
    };
    let storage = FileStorage::new(dir.path(), &JobId::random(), options).unwrap();
    Fixture { dir, storage }
}

pub(super) fn write(storage: &dyn CheckpointStorage, id: u64, scope: Scope, parts: &[&[u8]]) -> FileRef {
    let mut stream = storage.open_stream(CheckpointId(id), scope, &hint(None)).unwrap();
    for part in parts {
        stream.write(part).unwrap();
    }
    stream.finish().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn dropped_stream_leaves_no_file() {
    let fixture = files(0);
    let mut stream = fixture
        .storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&[0; 1000]).unwrap();
    let folder = fixture.storage.paths().checkpoint(CheckpointId(1));
    assert_eq!(names(&folder).len(), 1);
    drop(stream);
    assert_eq!(names(&folder), Vec::<String>::new());
}

#[test]
fn unfinished_file_has_a_temporary_name() {
    let fixture = files(0);
    let mut stream = fixture
        .storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&[0; 1000]).unwrap();
    let names = names(&fixture.storage.paths().checkpoint(CheckpointId(1)));
    assert!(
        names[0].starts_with('.') && names[0].ends_with(".tmp"),
        "{names:?}"
    );
}

#[test]
fn late_stream_does_not_bring_a_discarded_checkpoint_back() {
    let fixture = files(0);
    write(&fixture.storage, 1, Scope::Exclusive, &[b"x"]);
    let mut late = fixture
        .storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    fixture.storage.discard_checkpoint(CheckpointId(1)).unwrap();
    let error = late.write(&[0; 1000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(late.write(&[0; 1]).unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(late.finish().unwrap_err().kind(), ErrorKind::Storage);
    assert!(!fixture.storage.paths().checkpoint(CheckpointId(1)).exists());
}

#[test]
fn metadata_is_published_whole_and_discarded_with_its_folder() {
    let fixture = files(0);
    let id = CheckpointId(4);
    let path = fixture.storage.publish_metadata(id, b"meta").unwrap().unwrap();
    assert_eq!(path, fixture.storage.paths().metadata(id));
    assert_eq!(fs::read(&path).unwrap(), b"meta");
    assert_eq!(names(path.parent().unwrap()), ["_metadata"]);
    fixture.storage.discard_checkpoint(id).unwrap();
    fixture.storage.discard_checkpoint(id).unwrap();
    fixture.storage.remove_empty_folders().unwrap();
    assert_eq!(names(fixture.dir.path()), Vec::<String>::new());
}

#[test]
fn empty_folders_go_but_used_ones_and_the_root_stay() {
    let fixture = files(0);
    write(&fixture.storage, 1, Scope::Exclusive, &[b"x"]);
    let shared = write(&fixture.storage, 1, Scope::Shared, &[b"x"]);
    fixture.storage.discard_checkpoint(CheckpointId(1)).unwrap();
    fixture.storage.remove_empty_folders().unwrap();
    assert_eq!(names(fixture.storage.paths().job()), ["shared"]);
    let path = shared.owned_path().unwrap();
    fixture.storage.discard_file(path).unwrap();
    fixture.storage.discard_file(path).unwrap();
    fixture.storage.remove_empty_folders().unwrap();
    assert!(fixture.dir.path().is_dir());
    assert_eq!(names(fixture.dir.path()), Vec::<String>::new());
}

#[test]
fn probe_leaves_nothing_and_names_a_folder_that_cannot_be_used() {
    let fixture = files(0);
    fixture.storage.probe().unwrap();
    assert_eq!(names(fixture.dir.path()), Vec::<String>::new());

    let in_the_way = fixture.dir.path().join("file");
    fs::write(&in_the_way, b"").unwrap();
    let root = in_the_way.join("checkpoints");
    let storage = FileStorage::new(&root, &JobId::random(), FileStorageOptions::default()).unwrap();
    let error = storage.probe().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
    assert!(
        error.to_string().contains("execution.checkpointing.dir"),
        "{error}"
    );
}

#[test]
fn relative_root_and_huge_threshold_are_refused() {
    let job = JobId::random();
    let relative = FileStorage::new("a/b", &job, FileStorageOptions::default());
    assert_eq!(relative.unwrap_err().kind(), ErrorKind::Configuration);
    let options = FileStorageOptions {
        inline_threshold: FileStorage::INLINE_THRESHOLD_MAX + 1,
        ..FileStorageOptions::default()
    };
    let huge = FileStorage::new("/a/b", &job, options);
    assert_eq!(huge.unwrap_err().kind(), ErrorKind::Configuration);
}

#[test]
fn files_of_another_job_are_read_by_their_absolute_path() {
    let theirs = files(0);
    let ours = files(0);
    let mut file = write(&theirs.storage, 1, Scope::Exclusive, &[b"abc"]);
    let path = theirs.storage.local_path(&file).unwrap();
    file.location = FileLocation::File(path.to_str().unwrap().to_owned());
    assert_eq!(read_all(&ours.storage, &file).unwrap(), b"abc");
    let memory = JobManagerStorage::new(STATE_BYTES_MAX, u64::MAX);
    assert_eq!(read_all(&memory, &file).unwrap(), b"abc");
}

#[test]
fn memory_storage_takes_exactly_its_limit() {
    let storage = JobManagerStorage::new(STATE_BYTES_MAX, u64::MAX);
    let bytes = vec![7; usize::try_from(STATE_BYTES_MAX).unwrap()];
    let file = write(&storage, 1, Scope::Exclusive, &[&bytes]);
    assert!(read_all(&storage, &file).unwrap() == bytes);
    let mut stream = storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&bytes).unwrap();
    let error = stream.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StateTooLarge);
    assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::StateTooLarge);
}

#[test]
fn state_that_announces_too_many_bytes_is_refused_before_a_byte_is_written() {
    let storage = JobManagerStorage::new(STATE_BYTES_MAX, u64::MAX);
    let error = storage
        .open_stream(
            CheckpointId(1),
            Scope::Exclusive,
            &hint(Some(STATE_BYTES_MAX + 1)),
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StateTooLarge);
    for part in [
        "'sum'",
        "'Count'",
        "subtask 3",
        "5242881",
        "5242880",
        "execution.checkpointing.storage: filesystem",
        "execution.checkpointing.dir",
    ] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}

#[test]
fn acknowledgement_over_the_cap_names_the_way_out() {
    let storage = JobManagerStorage::new(STATE_BYTES_MAX, 10);
    let mut snapshot = SubtaskSnapshot::empty(OperatorId::new("a"), "Count", 3);
    snapshot.keyed.push(KeyedHandle {
        backend: "memory".into(),
        key_groups: (0, 1),
        kind: "full".into(),
        files: vec![FileRef::inline(vec![0; 10])],
        payload: Vec::new(),
        state_bytes: 10,
        new_bytes: 10,
    });
    check_ack(&storage, &snapshot).unwrap();
    snapshot.keyed[0].payload.push(0);
    let error = check_ack(&storage, &snapshot).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StateTooLarge);
    for part in [
        "'Count'",
        "11 bytes",
        "10 bytes",
        "pekko.framesize",
        "execution.checkpointing.dir",
    ] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}

#[test]
fn memory_storage_with_a_folder_writes_metadata_only() {
    let dir = tempfile::tempdir().unwrap();
    let paths = CheckpointPaths::new(dir.path(), &JobId::random(), true);
    let storage = JobManagerStorage::new(STATE_BYTES_MAX, u64::MAX)
        .with_metadata_files(dir.path().to_owned(), paths.clone());
    storage.probe().unwrap();
    write(&storage, 1, Scope::Exclusive, &[&[0; 100_000]]);
    assert_eq!(names(dir.path()), Vec::<String>::new());
    storage.publish_metadata(CheckpointId(1), b"m").unwrap();
    assert!(paths.metadata(CheckpointId(1)).is_file());
    storage.discard_checkpoint(CheckpointId(1)).unwrap();
    storage.remove_empty_folders().unwrap();
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

/// A file of `bytes` in a folder beside the storage's.
fn local_file(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join(format!("{}.sst", CheckpointPaths::unique_name()));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_linked_file_is_one_of_the_checkpoint_and_outlives_its_first_name() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let fixture = files(10);
    let storage = &fixture.storage;
    for (scope, folder) in [(Scope::Exclusive, "chk-3"), (Scope::Shared, "shared")] {
        let bytes = vec![7; 100_000];
        let path = local_file(dir.path(), &bytes);
        let file = storage
            .link(CheckpointId(3), scope, &path, crc32fast::hash(&bytes))
            .unwrap()
            .unwrap();
        assert_eq!((file.size, file.shared), (100_000, scope == Scope::Shared));
        assert_eq!(file.owned_path().unwrap().split('/').next(), Some(folder));
        let linked = storage.local_path(&file).unwrap();
        let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&linked), inode(&path), "no bytes are copied");
        assert_eq!(names(linked.parent().unwrap()).len(), 1, "no other name is left");
        std::fs::remove_file(path).unwrap();
        assert_eq!(read_all(storage, &file).unwrap(), bytes);
    }
    // Swept as any file that nobody names.
    storage
        .delete_orphans(&[], CheckpointId(4), &HashSet::new(), &|| Ok(()))
        .unwrap();
    assert!(names(&storage.paths().shared()).is_empty());
    assert!(!storage.paths().checkpoint(CheckpointId(3)).exists());
}

#[test]
fn what_is_small_is_not_linked_and_what_is_no_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = files(10);
    let link = |path: &Path| fixture.storage.link(CheckpointId(1), Scope::Shared, path, 0);
    assert_eq!(link(&local_file(dir.path(), &[1; 10])).unwrap(), None);
    let large = local_file(dir.path(), &[1; 11]);
    assert!(link(&large).unwrap().is_some());
    let alias = dir.path().join("alias");
    std::os::unix::fs::symlink(&large, &alias).unwrap();
    for path in [alias, dir.path().to_owned(), dir.path().join("none")] {
        let error = link(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(names(&fixture.storage.paths().shared()).len(), 1);
}

#[test]
fn a_late_link_does_not_bring_a_discarded_checkpoint_back() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = files(0);
    let path = local_file(dir.path(), &[1; 100]);
    let link = || fixture.storage.link(CheckpointId(1), Scope::Exclusive, &path, 0);
    link().unwrap();
    fixture.storage.discard_checkpoint(CheckpointId(1)).unwrap();
    assert_eq!(link().unwrap_err().kind(), ErrorKind::Storage);
    assert!(!fixture.storage.paths().checkpoint(CheckpointId(1)).exists());
}

#[test]
fn a_file_of_another_file_system_or_for_another_storage_is_to_be_copied() {
    use std::os::unix::fs::MetadataExt;
    let fixture = files(0);
    let storage = &fixture.storage;
    let memory = JobManagerStorage::new(1 << 20, 1 << 20);
    let dir = tempfile::tempdir().unwrap();
    let near = local_file(dir.path(), &[1; 100]);
    assert_eq!(
        memory.link(CheckpointId(1), Scope::Shared, &near, 0).unwrap(),
        None
    );
    // The memory of the machine, where it is mounted.
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    let Some(elsewhere) = tempfile::tempdir_in("/dev/shm")
        .ok()
        .filter(|elsewhere| device(elsewhere.path()) != device(dir.path()))
    else {
        println!("not run: there is no second file system");
        return;
    };
    let far = local_file(elsewhere.path(), &[1; 100]);
    assert_eq!(
        storage.link(CheckpointId(1), Scope::Shared, &far, 0).unwrap(),
        None
    );
    assert!(names(&storage.paths().shared()).is_empty());
}
