//! What is refused, and how.

use crate::support::{Storage, all_groups, cell, fresh, open, register, snapshot};
use millpond_backend_api::{
    BackendErrorKind, Cell, EntryBuffer, KeyGroup, KeyGroupRange, KeyedState, StateDescriptor, StateId,
    StateKind,
};

#[test]
fn registering_in_another_way_than_restored_or_registered_names_both() {
    let storage = Storage::default();
    let mut keyed = open(all_groups(), &[], &storage).unwrap();
    let first = register(&mut keyed, "count", StateKind::Value, 8);
    assert_eq!(register(&mut keyed, "count", StateKind::Value, 8), first);
    let handles = snapshot(&mut keyed, &storage);
    let mut restored = open(all_groups(), &handles, &storage).unwrap();
    for keyed in [&mut keyed, &mut restored] {
        for (kind, width, shown) in [
            (StateKind::Value, 4, "value of 4 bytes"),
            (StateKind::Map, 0, "map"),
        ] {
            let error = keyed
                .register(&StateDescriptor::new("count", kind, width))
                .unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Incompatible);
            for part in ["\"count\"", "value of 8 bytes", shown] {
                assert!(error.message().contains(part), "{error}");
            }
        }
    }
}

#[test]
fn only_values_have_a_fixed_width() {
    let error = fresh()
        .register(&StateDescriptor::new("list", StateKind::List, 8))
        .unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Misuse);
}

#[test]
fn parts_and_values_that_are_too_large_are_refused_and_leave_nothing() {
    let mut keyed = fresh();
    let wide = StateDescriptor::new("wide", StateKind::Value, u32::MAX);
    assert_eq!(
        keyed.register(&wide).unwrap_err().kind(),
        BackendErrorKind::Misuse
    );
    let namespace = vec![1; 1 << 24];
    for kind in [StateKind::Value, StateKind::List, StateKind::Map] {
        let state = register(&mut keyed, kind.name(), kind, 0);
        let at = cell(b"k").with_namespace(&namespace);
        let error = keyed.put(state, &at, b"v").unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Misuse);
        assert!(error.message().contains("16777216"), "{error}");
        let shorter = cell(b"k").with_namespace(&namespace[1..]);
        keyed.put(state, &shorter, b"v").unwrap();
        assert_eq!(keyed.get(state, &shorter).unwrap(), Some(&b"v"[..]));
        assert_eq!(keyed.len(state).unwrap(), 1);
    }
}

#[test]
fn foreign_groups_wrong_widths_wrong_kinds_and_unknown_states_are_misuse() {
    let mut keyed = open(KeyGroupRange::new(4, 7).unwrap(), &[], &Storage::default()).unwrap();
    let fixed = register(&mut keyed, "fixed", StateKind::Value, 8);
    let map = register(&mut keyed, "map", StateKind::Map, 0);
    let sorted = register(&mut keyed, "sorted", StateKind::SortedMap, 0);
    let list = register(&mut keyed, "list", StateKind::List, 0);
    let at = |group| Cell::of_key(1, KeyGroup(group), b"k");
    let mut entries = EntryBuffer::new();
    let mut results = vec![
        keyed.put(fixed, &at(4), &[0; 7]),
        keyed.put(fixed, &at(4), &[]),
        keyed.append(fixed, &at(4), &[0; 8]),
        keyed.append(map, &at(4), &[]),
        keyed.scan(fixed, &at(4), &[], 0, &mut entries),
        keyed.scan(list, &at(4), &[], 0, &mut entries),
        keyed.clear_map(list, &at(4)).map(drop),
        keyed.put(StateId(99), &at(4), &[0; 8]),
        keyed.len(StateId(4)).map(drop),
    ];
    for group in [0, 3, 8, u16::MAX] {
        for state in [fixed, map, sorted, list] {
            results.push(keyed.get(state, &at(group)).map(drop));
            results.push(keyed.put(state, &at(group), &[0; 8]));
            results.push(keyed.delete(state, &at(group)).map(drop));
            results.push(keyed.visit(state, KeyGroup(group), &mut entries));
        }
    }
    for result in results {
        assert_eq!(result.unwrap_err().kind(), BackendErrorKind::Misuse);
    }
    for state in [fixed, map, sorted, list] {
        assert_eq!(keyed.len(state).unwrap(), 0);
    }
}

#[test]
fn metrics_tell_size_entries_and_sharing() {
    for width in [0, 8] {
        let mut keyed = fresh();
        let state = register(&mut keyed, "count", StateKind::Value, width);
        keyed.put(state, &cell(b"a"), &[0; 8]).unwrap();
        let figure = |keyed: &millpond_backend_memory::MemoryKeyedState, name: &str| {
            let metrics = keyed.metrics();
            metrics.iter().find(|(known, _)| known == name).unwrap().1
        };
        let sharing =
            |keyed: &_| ["pages_shared", "pages_copied", "entries_kept"].map(|name| figure(keyed, name));
        assert_eq!(figure(&keyed, "entries"), 1.0);
        assert!(figure(&keyed, "table_bytes") > 256.0);
        assert_eq!(sharing(&keyed), [0.0, 0.0, 0.0]);
        let writer = crate::support::freeze(&mut keyed);
        assert_eq!(sharing(&keyed), [1.0, 0.0, 0.0]);
        for value in 1..4 {
            keyed.put(state, &cell(b"a"), &[value; 8]).unwrap();
            // Entries of a fixed width are kept one by one, and their page stays shared.
            let expected = if width == 0 {
                [0.0, 1.0, 0.0]
            } else {
                [1.0, 0.0, 1.0]
            };
            assert_eq!(sharing(&keyed), expected);
        }
        let before = sharing(&keyed);
        drop(writer);
        let writer = crate::support::freeze(&mut keyed);
        drop(writer);
        keyed.put(state, &cell(b"a"), &[2; 8]).unwrap();
        assert_eq!(sharing(&keyed), [0.0, before[1], before[2]]);
    }
}
