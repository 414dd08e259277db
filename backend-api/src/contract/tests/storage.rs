//! The suite's own storage: what it holds against a backend's handles.

use crate::contract::storage::Storage;
use crate::contract::{Faults, faults::Attempt};
use crate::export::panic_text;
use crate::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

fn hint(shared: bool, expected: Option<u64>) -> StreamHint {
    StreamHint {
        state: "state".into(),
        expected_bytes: expected.into(),
        shared,
    }
}

/// A snapshot of one file of four bytes.
fn snapshot(storage: &Storage, checkpoint: u64, hint: StreamHint) -> (Arc<Attempt>, SnapshotHandle) {
    let (attempt, streams) = storage.attempt(checkpoint, Faults::default());
    let mut stream = streams.open(hint).unwrap();
    stream.write(b"abcd").unwrap();
    let file = stream.finish().unwrap();
    let handle = SnapshotHandle {
        key_groups: KeyGroupRange::new(0, 15).unwrap(),
        format: "test/1".into(),
        files: [file].into_iter().collect(),
        payload: Default::default(),
        state_bytes: 4,
        new_bytes: 4,
    };
    (attempt, handle)
}

/// Requires that the handles are found wrong because of `named`.
#[track_caller]
fn is_wrong(storage: &Storage, attempt: &Attempt, may_share: bool, handle: &SnapshotHandle, named: &str) {
    let handles = [handle.clone()];
    let check = AssertUnwindSafe(|| storage.check_handles(attempt, may_share, &handles));
    let payload = catch_unwind(check).expect_err("the handles were found right");
    let text = panic_text(payload.as_ref());
    assert!(text.contains(named), "{text}");
}

#[test]
fn handles_that_do_not_agree_with_the_files_are_found() {
    let storage = Storage::new(None);
    let (attempt, right) = snapshot(&storage, 1, hint(false, Some(4)));
    storage.check_handles(&attempt, false, std::slice::from_ref(&right));
    let mut wrong = right.clone();
    wrong.new_bytes = 5;
    is_wrong(&storage, &attempt, true, &wrong, "new_bytes");
    let mut wrong = right.clone();
    wrong.files[0].crc32 ^= 1;
    is_wrong(&storage, &attempt, true, &wrong, "checksum");
    let mut wrong = right.clone();
    wrong.files[0].token = "made-up".into();
    is_wrong(&storage, &attempt, true, &wrong, "never finished");
    let mut wrong = right.clone();
    wrong.format = "".into();
    is_wrong(&storage, &attempt, true, &wrong, "no format");
}

#[test]
fn files_of_other_snapshots_are_right_only_when_shared_completed_and_asked_for() {
    for (shared, completed, may_share, named) in [
        (false, true, true, "not opened as shared"),
        (true, false, true, "never completed"),
        (true, true, false, "must stand alone"),
    ] {
        let storage = Storage::new(None);
        let (_, mut older) = snapshot(&storage, 1, hint(shared, None));
        if completed {
            storage.note_completed(1);
        }
        older.new_bytes = 0;
        let (attempt, _) = storage.attempt(2, Faults::default());
        is_wrong(&storage, &attempt, may_share, &older, named);
    }
    let storage = Storage::new(None);
    let (_, mut older) = snapshot(&storage, 1, hint(true, None));
    storage.note_completed(1);
    older.new_bytes = 0;
    let (attempt, _) = storage.attempt(2, Faults::default());
    storage.check_handles(&attempt, true, &[older]);
}

#[test]
fn a_stream_with_another_number_of_bytes_than_was_said_is_found() {
    let storage = Storage::new(None);
    let (attempt, handle) = snapshot(&storage, 1, hint(false, Some(5)));
    is_wrong(&storage, &attempt, true, &handle, "exactly 5 bytes and got 4");
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing() {
    let storage = Storage::new(None);
    let (_, streams) = storage.attempt(1, Faults::default());
    let mut stream = streams.open(hint(false, None)).unwrap();
    stream.write(b"abcd").unwrap();
    assert_eq!(storage.open_streams(), 1);
    drop(stream);
    assert_eq!((storage.open_streams(), storage.file_count()), (0, 0));
}

#[test]
fn a_file_larger_than_the_storage_takes_is_refused_before_or_while_it_is_written() {
    let storage = Storage::new(None);
    let faults = Faults {
        file_bytes_max: Some(3),
        ..Faults::default()
    };
    let (_, streams) = storage.attempt(1, faults);
    let error = streams.open(hint(false, Some(4))).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::TooLarge);
    let mut stream = streams.open(hint(false, None)).unwrap();
    let error = stream.write(b"abcd").unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::TooLarge);
    assert!(error.message().contains("state"), "{error}");
}

/// A file of the backend's, and the storage's reference to it.
fn linked(
    streams: &SnapshotStreams,
    folder: &std::path::Path,
    bytes: &[u8],
) -> (std::path::PathBuf, BackendResult<Option<FileRef>>) {
    let path = folder.join("000012.sst");
    std::fs::write(&path, bytes).unwrap();
    let file = streams.link(&path, hint(true, None), crc32fast::hash(bytes));
    (path, file)
}

fn handle_of(file: FileRef) -> SnapshotHandle {
    SnapshotHandle {
        key_groups: KeyGroupRange::new(0, 15).unwrap(),
        format: "test/1".into(),
        new_bytes: file.size,
        state_bytes: file.size,
        files: [file].into_iter().collect(),
        payload: Default::default(),
    }
}

#[test]
fn a_linked_file_counts_as_a_written_one_and_has_a_path_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir_in(dir.path()).unwrap();
    let storage = Storage::new(Some(dir.path().to_owned()));
    let (attempt, streams) = storage.attempt(1, Faults::default());
    let (path, file) = linked(&streams, own.path(), &[7; 1000]);
    let file = file.unwrap().unwrap();
    assert_eq!((file.size, file.shared), (1000, true));
    let handle = handle_of(file.clone());
    storage.check_handles(&attempt, false, std::slice::from_ref(&handle));
    // The name may go, the bytes stay.
    std::fs::remove_file(path).unwrap();
    storage.check_handles(&attempt, false, std::slice::from_ref(&handle));
    let files = storage.files();
    assert_eq!(files.read_all(&file).unwrap(), [7; 1000]);
    assert_eq!(
        std::fs::read(files.local_path(&file).unwrap().unwrap()).unwrap(),
        [7; 1000]
    );
    let mut wrong = handle;
    wrong.new_bytes = 0;
    is_wrong(&storage, &attempt, false, &wrong, "new_bytes");
}

#[test]
fn a_linked_file_that_is_changed_or_has_another_checksum_than_was_said_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir_in(dir.path()).unwrap();
    let storage = Storage::new(Some(dir.path().to_owned()));
    let (attempt, streams) = storage.attempt(1, Faults::default());
    let (path, file) = linked(&streams, own.path(), &[7; 1000]);
    let handle = handle_of(file.unwrap().unwrap());
    // Cut and written anew, in place.
    std::fs::write(path, [8; 1000]).unwrap();
    is_wrong(
        &storage,
        &attempt,
        false,
        &handle,
        "was changed after it had been linked",
    );

    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::new(Some(dir.path().to_owned()));
    let (attempt, streams) = storage.attempt(1, Faults::default());
    let path = own.path().join("000013.sst");
    std::fs::write(&path, [7; 1000]).unwrap();
    let file = streams.link(&path, hint(true, None), 1).unwrap().unwrap();
    is_wrong(&storage, &attempt, false, &handle_of(file), "checksum");
}

#[test]
fn what_cannot_be_linked_is_to_be_written_and_faults_come_as_with_streams() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir_in(dir.path()).unwrap();
    for (storage, bytes) in [
        (Storage::new(None), vec![7; 1000]),
        (Storage::new(Some(dir.path().to_owned())), vec![7; 10]),
    ] {
        let (_, streams) = storage.attempt(1, Faults::default());
        assert_eq!(linked(&streams, own.path(), &bytes).1.unwrap(), None);
        assert_eq!(storage.file_count(), 0);
    }
    let storage = Storage::new(Some(dir.path().to_owned()));
    let faults = Faults {
        fail_at: Some(1),
        file_bytes_max: Some(2000),
        ..Faults::default()
    };
    let (attempt, streams) = storage.attempt(1, faults);
    let error = linked(&streams, own.path(), &[7; 3000]).1.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::TooLarge);
    let error = linked(&streams, own.path(), &[7; 1000]).1.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Io);
    assert_eq!(storage.file_count(), 0);
    // The third goes well, and goes with its attempt.
    assert!(linked(&streams, own.path(), &[7; 1000]).1.unwrap().is_some());
    storage.delete_attempt(&attempt);
    assert_eq!(
        (
            storage.file_count(),
            std::fs::read_dir(dir.path()).unwrap().count()
        ),
        (0, 1)
    );
}
