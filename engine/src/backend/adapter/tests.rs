use super::snapshot::Streams;
use super::*;
use crate::ErrorKind;
use crate::backend::testing::{Fault, MemoryStorage, ModelFactory};
use abi_stable::std_types::ROption;
use millpond_backend_api::export::factory_object;
use millpond_backend_api::{
    BackendErrorKind, Cell, EntryBuffer, KeyGroup, KeyGroupRange, SnapshotRequest, SnapshotStreams,
    StateDescriptor, StateKind, StreamHint,
};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

fn factory() -> BackendFactory {
    BackendFactory::new(factory_object(ModelFactory::MEMORY), FactoryOrigin::Registered)
}

fn open(
    storage: &MemoryStorage,
    range: (u16, u16),
    restore: Vec<KeyedSnapshot>,
) -> crate::Result<KeyedBackend> {
    factory()
        .create(&BTreeMap::new())
        .unwrap()
        .open_keyed(OpenSubtask {
            job: "wc".to_owned(),
            operator: "count".to_owned(),
            subtask: 3,
            parallelism: 4,
            max_parallelism: 128,
            key_groups: KeyGroupRange::new(range.0, range.1).unwrap(),
            local_dir: "unused".into(),
            restore,
            source: Arc::new(storage.clone()),
        })
}

fn cell(group: u16, key: &[u8]) -> Cell<'_> {
    Cell::of_key(0, KeyGroup(group), key)
}

const REQUEST: SnapshotRequest = SnapshotRequest {
    checkpoint_id: 1,
    may_share: false,
    form: millpond_backend_api::SnapshotForm::Native,
};

/// A keyed state with a value in two key groups.
fn filled(storage: &MemoryStorage) -> KeyedBackend {
    let mut keyed = open(storage, (0, 9), Vec::new()).unwrap();
    let state = keyed
        .register(&StateDescriptor::new("counts", StateKind::Value, 0))
        .unwrap();
    keyed.put(state, &cell(1, b"a"), b"1").unwrap();
    keyed.put(state, &cell(8, b"b"), b"2").unwrap();
    keyed
}

#[test]
fn calls_reach_the_backend_and_their_results_come_back() {
    let mut keyed = open(&MemoryStorage::default(), (0, 9), Vec::new()).unwrap();
    let list = keyed
        .register(&StateDescriptor::new("list", StateKind::List, 0))
        .unwrap();
    let map = keyed
        .register(&StateDescriptor::new("map", StateKind::SortedMap, 0))
        .unwrap();
    assert_ne!(list, map);
    keyed.append(list, &cell(1, b"k"), b"x").unwrap();
    keyed.append(list, &cell(1, b"k"), b"y").unwrap();
    assert_eq!(keyed.get(list, &cell(1, b"k")).unwrap(), Some(&b"xy"[..]));
    for map_key in [b"a", b"b", b"c"] {
        keyed
            .put(map, &cell(2, b"k").with_map_key(map_key), b"v")
            .unwrap();
    }
    let mut entries = EntryBuffer::new();
    keyed
        .scan(map, &cell(2, b"k").with_map_key(b"b"), b"", 0, &mut entries)
        .unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.map_key).collect::<Vec<_>>(),
        [b"b", b"c"]
    );
    assert_eq!(keyed.count(map).unwrap(), 3);
    assert!(keyed.delete(map, &cell(2, b"k").with_map_key(b"a")).unwrap());
    assert_eq!(keyed.clear_map(map, &cell(2, b"k")).unwrap(), 2);
    entries.clear();
    keyed.visit(list, KeyGroup(1), &mut entries).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(keyed.states().unwrap().len(), 2);
    assert_eq!(keyed.metrics().unwrap(), [("model_states".to_owned(), 2.0)]);
}

#[test]
fn a_snapshot_is_written_on_another_thread_and_restored_into_part_of_its_key_groups() {
    let storage = MemoryStorage::default();
    let mut keyed = filled(&storage);
    let task = keyed.snapshot(&REQUEST).unwrap();
    let sink = Arc::new(storage.clone());
    let parts = std::thread::spawn(move || task.write(sink, CancelFlag::new()))
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].format, "model/1");

    let mut restored = open(&storage, (5, 20), parts.clone()).unwrap();
    let state = restored
        .register(&StateDescriptor::new("counts", StateKind::Value, 0))
        .unwrap();
    assert_eq!(restored.get(state, &cell(8, b"b")).unwrap(), Some(&b"2"[..]));
    assert_eq!(restored.count(state).unwrap(), 1);

    // Parts outside the range are not even opened.
    storage.files.lock().unwrap().clear();
    assert_eq!(open(&storage, (10, 20), parts).unwrap().count(state).unwrap(), 0);
}

#[test]
fn errors_of_the_backend_name_their_place_and_what_to_do() {
    let mut keyed = filled(&MemoryStorage::default());
    let error = keyed
        .register(&StateDescriptor::new("counts", StateKind::List, 0))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert_eq!(
        error.to_string(),
        "operator 'count' (subtask 3), state backend 'millpond::MemoryStateBackendFactory': state 'counts' is of another kind"
    );
    let state = keyed
        .register(&StateDescriptor::new("counts", StateKind::Value, 0))
        .unwrap();
    let error = keyed.put(state, &cell(77, b"k"), b"v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn a_panic_of_the_backend_is_an_error_and_the_state_is_out_of_use_afterwards() {
    let mut keyed = filled(&MemoryStorage::default());
    let state = keyed
        .register(&StateDescriptor::new("counts", StateKind::Value, 0))
        .unwrap();
    let error = keyed.get(state, &cell(1, b"panic")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(
        error.message().contains("panicked in get: asked for it"),
        "{error}"
    );
    assert!(keyed.get(state, &cell(1, b"a")).is_err());
}

#[test]
fn faults_of_the_storage_keep_their_kind_on_the_way_through_the_backend() {
    for (fault, limit, kind, text) in [
        (Some(Fault::DiskFull), None, ErrorKind::Storage, "no space left"),
        (Some(Fault::FailedSync), None, ErrorKind::Storage, "fsync failed"),
        (
            Some(Fault::Panic),
            None,
            ErrorKind::State,
            "storage panicked in write: storage lost its mind",
        ),
        (None, Some(3), ErrorKind::StateTooLarge, "state 'counts' has"),
    ] {
        let storage = MemoryStorage {
            fault,
            limit,
            ..MemoryStorage::default()
        };
        let task = filled(&storage).snapshot(&REQUEST).unwrap();
        let error = task
            .write(Arc::new(storage.clone()), CancelFlag::new())
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(text), "{error}");
        assert!(
            error.message().starts_with("operator 'count' (subtask 3)"),
            "{error}"
        );
        assert!(storage.files.lock().unwrap().is_empty());
    }
}

#[test]
fn cancelling_stops_a_writer_that_never_asks_and_leaves_no_file() {
    let cancel = CancelFlag::new();
    let flag = cancel.clone();
    let storage = MemoryStorage {
        on_write: Some(Arc::new(move || flag.cancel())),
        ..MemoryStorage::default()
    };
    let task = filled(&storage).snapshot(&REQUEST).unwrap();
    let error = task.write(Arc::new(storage.clone()), cancel).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(storage.files.lock().unwrap().is_empty());
}

#[test]
fn a_file_is_linked_into_the_storage_unless_it_must_be_copied_or_nobody_wants_it() {
    let dir = tempfile::tempdir().unwrap();
    let (large, small) = (dir.path().join("large"), dir.path().join("small"));
    std::fs::write(&large, b"12345").unwrap();
    std::fs::write(&small, b"1234").unwrap();
    let hint = || StreamHint {
        state: "s".into(),
        expected_bytes: ROption::RNone,
        shared: true,
    };
    let storage = MemoryStorage::default();
    let cancel = CancelFlag::new();
    let streams = |storage: &MemoryStorage| {
        SnapshotStreams::new(Streams {
            sink: Arc::new(storage.clone()),
            cancel: cancel.clone(),
        })
    };
    let file = streams(&storage).link(&large, hint(), 77).unwrap().unwrap();
    assert_eq!((file.size, file.crc32, file.shared), (5, 77, true));
    assert_eq!(storage.files.lock().unwrap()[file.token.as_str()], b"12345");
    assert_eq!(streams(&storage).link(&small, hint(), 0).unwrap(), None);
    // A path that cannot cross is no error either: nobody has looked at it.
    let odd = std::ffi::OsStr::from_bytes(b"/\xff");
    assert_eq!(streams(&storage).link(odd.as_ref(), hint(), 0).unwrap(), None);
    let error = streams(&storage)
        .link(&dir.path().join("none"), hint(), 0)
        .unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Io);
    let mad = MemoryStorage {
        fault: Some(Fault::Panic),
        ..MemoryStorage::default()
    };
    let error = streams(&mad).link(&large, hint(), 0).unwrap_err();
    assert!(error.message().contains("panicked in link"), "{error}");
    cancel.cancel();
    let error = streams(&storage).link(&large, hint(), 0).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Cancelled);
    assert_eq!(storage.files.lock().unwrap().len(), 1);
}

#[test]
fn a_damaged_or_missing_file_fails_the_restore() {
    let storage = MemoryStorage::default();
    let task = filled(&storage).snapshot(&REQUEST).unwrap();
    let parts = task.write(Arc::new(storage.clone()), CancelFlag::new()).unwrap();
    storage.files.lock().unwrap().get_mut("file-0").unwrap()[0] ^= 1;
    let error = open(&storage, (0, 9), parts.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("file-0"), "{error}");
    storage.files.lock().unwrap().clear();
    let error = open(&storage, (0, 9), parts).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(
        error.message().contains("there is no snapshot file file-0"),
        "{error}"
    );
}

#[test]
fn a_factory_that_refuses_or_panics_is_named_with_its_text() {
    for (value, kind, text) in [
        ("many", ErrorKind::Configuration, "expected a number"),
        ("panic", ErrorKind::Plugin, "panicked in create: no pages left"),
    ] {
        let config = BTreeMap::from([("model.pages".to_owned(), value.to_owned())]);
        let error = factory().create(&config).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(text), "{error}");
        assert!(
            error
                .message()
                .contains("millpond::MemoryStateBackendFactory 1.2.3"),
            "{error}"
        );
    }
}
