use super::*;
use crate::checkpoint::JobId;
use crate::checkpoint::storage::{FileStorage, FileStorageOptions, JobManagerStorage};
use millpond_backend_api::KeyGroupRange;
use std::path::Path;

const THRESHOLD: usize = 100;

fn files(root: &Path) -> Arc<dyn CheckpointStorage> {
    let options = FileStorageOptions {
        inline_threshold: THRESHOLD,
        ..FileStorageOptions::default()
    };
    Arc::new(FileStorage::new(root, &JobId::random(), options).unwrap())
}

fn sink(storage: &Arc<dyn CheckpointStorage>, id: u64) -> StorageSink {
    StorageSink {
        storage: Arc::clone(storage),
        id: CheckpointId(id),
        operator: "count".into(),
        subtask: 0,
        may_share: true,
        written: SharedFilesWritten::default(),
    }
}

fn write(sink: &StorageSink, bytes: &[u8]) -> StoredFile {
    let hint = FileHint {
        state: "s".into(),
        expected_bytes: Some(bytes.len() as u64),
        shared: true,
    };
    let mut file = sink.open(&hint).unwrap();
    file.write(bytes).unwrap();
    file.finish().unwrap()
}

fn snapshot(files: Vec<StoredFile>) -> KeyedSnapshot {
    KeyedSnapshot {
        key_groups: KeyGroupRange::new(0, 127).unwrap(),
        format: "f/1".into(),
        files,
        payload: Vec::new(),
        state_bytes: 0,
        new_bytes: 0,
    }
}

fn read(source: &StorageSource, file: &StoredFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.open(file).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_file_is_named_again_by_later_checkpoints_and_after_restores_whether_it_rides_inline_or_not() {
    let root = tempfile::tempdir().unwrap();
    for storage in [
        files(root.path()),
        Arc::new(JobManagerStorage::new(1 << 20, 1 << 20)),
    ] {
        let (small, large) = (vec![0xa7; THRESHOLD], vec![0x5c; THRESHOLD + 1]);
        let first = sink(&storage, 1);
        let mut chain = vec![write(&first, &small), write(&first, &large)];
        assert!(chain.iter().all(|file| file.shared));
        for id in 2..5 {
            let later = sink(&storage, id);
            chain.push(write(&later, &[u8::try_from(id).unwrap(); 3]));
            let handle = keyed_handle("b", snapshot(chain.clone()));
            let (restored, source) = restore_handles(&storage, vec![handle]);
            assert_eq!(restored[0].files, chain, "{}: tokens stay", storage.name());
            assert_eq!(read(&source, &chain[0]), small);
            assert_eq!(read(&source, &chain[1]), large);
            assert_eq!(read(&source, &chain[2]), [2; 3]);
        }
    }
}

#[test]
fn what_opens_restored_files_opens_those_written_since_then_and_tells_where_they_lie() {
    let root = tempfile::tempdir().unwrap();
    let storage = files(root.path());
    let (_, source) = restore_handles(&storage, Vec::new());
    let sink = sink(&storage, 1);
    let (inline, file) = (write(&sink, &[1; 10]), write(&sink, &[2; 1000]));
    assert_eq!(source.local_path(&inline).unwrap(), None);
    assert_eq!(read(&source, &inline), [1; 10]);
    let path = source.local_path(&file).unwrap().unwrap();
    assert!(path.is_absolute());
    assert_eq!(std::fs::read(path).unwrap(), [2; 1000]);
}

#[test]
fn files_of_somebody_else_keep_their_absolute_paths_and_a_token_that_is_none_is_a_missing_file() {
    let root = tempfile::tempdir().unwrap();
    let storage = files(root.path());
    let path = root.path().join("theirs");
    std::fs::write(&path, [7; 10]).unwrap();
    let foreign = StoredFile {
        token: path.display().to_string(),
        size: 10,
        crc32: crc32fast::hash(&[7; 10]),
        shared: true,
    };
    let handle = keyed_handle("b", snapshot(vec![foreign.clone()]));
    assert_eq!(handle.files[0].owned_path(), None);
    let (_, source) = restore_handles(&storage, vec![handle]);
    assert_eq!(read(&source, &foreign), [7; 10]);
    for token in ["inline:0", "inline:0g", "inline:é", "shared/none"] {
        let made_up = StoredFile {
            token: token.into(),
            ..foreign.clone()
        };
        assert!(source.open(&made_up).is_err(), "{token}");
    }
}

#[test]
fn files_of_a_snapshot_that_came_to_nothing_are_deleted_and_those_named_again_are_not() {
    let root = tempfile::tempdir().unwrap();
    let storage = files(root.path());
    let kept = write(&sink(&storage, 1), &[1; 1000]);
    let given_up = sink(&storage, 2);
    let lost = write(&given_up, &[2; 1000]);
    given_up.written.delete(storage.as_ref());
    let (_, source) = restore_handles(&storage, Vec::new());
    assert!(source.local_path(&kept).unwrap().unwrap().exists());
    assert!(!source.local_path(&lost).unwrap().unwrap().exists());
}

#[test]
fn linked_files_of_a_snapshot_that_came_to_nothing_are_deleted_too() {
    let root = tempfile::tempdir().unwrap();
    let storage = files(root.path());
    let sink = sink(&storage, 1);
    let path = root.path().join("000001.sst");
    let bytes = [5; THRESHOLD + 1];
    std::fs::write(&path, bytes).unwrap();
    let hint = FileHint {
        state: "s".into(),
        expected_bytes: None,
        shared: true,
    };
    let file = sink.link(&path, &hint, crc32fast::hash(&bytes)).unwrap().unwrap();
    let (_, source) = restore_handles(&storage, Vec::new());
    assert_eq!(read(&source, &file), bytes);
    let linked = source.local_path(&file).unwrap().unwrap();
    sink.written.delete(storage.as_ref());
    assert!(!linked.exists() && path.exists());
}

#[test]
fn files_of_a_savepoint_are_never_shared_whatever_the_backend_asks_for() {
    let root = tempfile::tempdir().unwrap();
    let storage = files(root.path());
    let sink = StorageSink {
        may_share: false,
        ..sink(&storage, 1)
    };
    let file = write(&sink, &[2; 1000]);
    assert!(!file.shared);
    assert!(!file.token.starts_with("shared/"), "{}", file.token);
}
