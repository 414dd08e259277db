//! Snapshots and restores as a whole.

use crate::support::{
    MAX_PARALLELISM, Storage, all_groups, cell, content, freeze, fresh, open, register, snapshot,
};
use millpond_backend_api::{
    BackendErrorKind, KeyGroupRange, KeyedState, SnapshotWriter, StateDescriptor, StateKind,
};

fn filled(storage: &Storage) -> millpond_backend_memory::MemoryKeyedState {
    let mut keyed = open(all_groups(), &[], storage).unwrap();
    let count = register(&mut keyed, "count", StateKind::Value, 8);
    let map = register(&mut keyed, "map", StateKind::Map, 0);
    let timers = register(&mut keyed, "timers", StateKind::SortedMap, 0);
    for number in 0..2000_u64 {
        let key = number.to_le_bytes();
        keyed.put(count, &cell(&key), &number.to_le_bytes()).unwrap();
        let at = cell(&key[..1]).with_map_key(&key);
        keyed.put(map, &at, b"a value").unwrap();
        keyed.put(timers, &at, b"").unwrap();
    }
    keyed
}

#[test]
fn the_size_is_announced_exactly_and_the_largest_state_is_named() {
    let storage = Storage::default();
    let mut keyed = filled(&storage);
    let handles = snapshot(&mut keyed, &storage);
    let hints = storage.hints();
    assert_eq!((handles.len(), hints.len()), (1, 1));
    assert_eq!(hints[0].state.as_str(), "map");
    let file = &handles[0].files[0];
    assert_eq!(hints[0].expected_bytes.into_option(), Some(file.size));
    assert_eq!(handles[0].state_bytes, file.size);
    assert_eq!(handles[0].key_groups, all_groups());
}

#[test]
fn state_is_split_and_joined_by_key_group() {
    let storage = Storage::default();
    let mut keyed = filled(&storage);
    let whole: Vec<_> = (0..3)
        .map(|state| content(&mut keyed, millpond_backend_api::StateId(state), all_groups()))
        .collect();
    let one = snapshot(&mut keyed, &storage);
    let mut parts = Vec::new();
    let mut cells = 0;
    for subtask in 0..3 {
        let range = KeyGroupRange::of_subtask(subtask, 3, MAX_PARALLELISM).unwrap();
        let mut part = open(range, &one, &storage).unwrap();
        let count = register(&mut part, "count", StateKind::Value, 8);
        cells += part.len(count).unwrap();
        parts.extend(snapshot(&mut part, &storage));
    }
    assert_eq!(cells, 2000);
    let mut joined = open(all_groups(), &parts, &storage).unwrap();
    for (name, kind, width, expected) in [
        ("count", StateKind::Value, 8, &whole[0]),
        ("map", StateKind::Map, 0, &whole[1]),
        ("timers", StateKind::SortedMap, 0, &whole[2]),
    ] {
        let state = register(&mut joined, name, kind, width);
        assert!(content(&mut joined, state, all_groups()) == *expected, "{name}");
    }
}

#[test]
fn restored_states_that_nobody_registers_stay_with_their_codec() {
    let storage = Storage::default();
    let mut keyed = filled(&storage);
    let mut empty = StateDescriptor::new("empty", StateKind::List, 0);
    empty.codec = vec![1, 2, 3].into();
    keyed.register(&empty).unwrap();
    let mut handles = snapshot(&mut keyed, &storage);
    for _ in 0..2 {
        let mut restored = open(all_groups(), &handles, &storage).unwrap();
        handles = snapshot(&mut restored, &storage);
    }
    let mut restored = open(all_groups(), &handles, &storage).unwrap();
    assert_eq!(restored.states().len(), 4);
    assert!(restored.states().contains(&empty));
    empty.codec = vec![4].into();
    restored.register(&empty).unwrap();
    assert!(restored.states().contains(&empty));
    let map = register(&mut restored, "map", StateKind::Map, 0);
    assert_eq!(restored.len(map).unwrap(), 2000);
}

#[test]
fn nothing_registered_gives_no_handle_and_nothing_stored_no_file() {
    let storage = Storage::default();
    let mut keyed = open(all_groups(), &[], &storage).unwrap();
    assert!(snapshot(&mut keyed, &storage).is_empty());
    register(&mut keyed, "count", StateKind::Value, 8);
    let handles = snapshot(&mut keyed, &storage);
    assert!(handles[0].files.is_empty() && storage.hints().is_empty());
    let restored = open(all_groups(), &handles, &storage).unwrap();
    assert_eq!(restored.states().len(), 1);
}

#[test]
fn a_cancelled_snapshot_stops_and_the_next_one_works() {
    let storage = Storage::default();
    let mut keyed = filled(&storage);
    storage.cancel_after(20_000);
    let error = freeze(&mut keyed).write(&storage.streams()).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Cancelled);
    let fresh_storage = Storage::default();
    let handles = snapshot(&mut keyed, &fresh_storage);
    assert!(open(all_groups(), &handles, &fresh_storage).is_ok());
    fresh_storage.cancel();
    let error = freeze(&mut keyed).write(&fresh_storage.streams()).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Cancelled);
}

#[test]
fn a_writer_on_another_thread_writes_the_state_at_its_time_while_it_changes() {
    let storage = Storage::default();
    let mut keyed = filled(&storage);
    let count = register(&mut keyed, "count", StateKind::Value, 8);
    let expected = content(&mut keyed, count, all_groups());
    let writers: Vec<_> = (0..3).map(|_| freeze(&mut keyed)).collect();
    let threads: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            let storage = storage.clone();
            std::thread::spawn(move || writer.write(&storage.streams()).unwrap())
        })
        .collect();
    for number in 0..2000_u64 {
        let key = number.to_le_bytes();
        match number % 3 {
            0 => assert!(keyed.delete(count, &cell(&key)).unwrap()),
            _ => keyed.put(count, &cell(&key), &[0xff; 8]).unwrap(),
        }
    }
    drop(keyed);
    for thread in threads {
        let handles = thread.join().unwrap();
        let mut restored = open(all_groups(), &handles, &storage).unwrap();
        let count = register(&mut restored, "count", StateKind::Value, 8);
        assert!(content(&mut restored, count, all_groups()) == expected);
    }
}

#[test]
fn memory_of_removed_entries_comes_back() {
    let mut keyed = fresh();
    let value = register(&mut keyed, "value", StateKind::Value, 0);
    let map = register(&mut keyed, "map", StateKind::Map, 0);
    let mut peak = 0.0_f64;
    let bytes = |keyed: &millpond_backend_memory::MemoryKeyedState| keyed.metrics()[0].1;
    for round in 0..20_u64 {
        for number in 0..10_000_u64 {
            let key = (round << 32 | number).to_le_bytes();
            let size = usize::try_from(round * 37 % 300).unwrap();
            keyed.put(value, &cell(&key), &vec![1; size]).unwrap();
            let at = cell(&key[..1]).with_map_key(&key);
            keyed.put(map, &at, &key).unwrap();
        }
        peak = peak.max(bytes(&keyed));
        for number in 0..10_000_u64 {
            let key = (round << 32 | number).to_le_bytes();
            assert!(keyed.delete(value, &cell(&key)).unwrap());
            let at = cell(&key[..1]).with_map_key(&key);
            assert!(keyed.delete(map, &at).unwrap());
        }
    }
    assert!(peak < 20e6, "{peak}");
    assert!(bytes(&keyed) < 6e6, "{}", bytes(&keyed));
}
