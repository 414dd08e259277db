//! Large maps, sorted and not.

use crate::support::{cell, fresh, register};
use millpond_backend_api::{Cell, EntryBuffer, KeyGroup, KeyedState, StateKind, key_hash};

#[test]
fn a_large_sorted_map_is_scanned_in_order_while_its_front_is_taken_away() {
    let mut keyed = fresh();
    let timers = register(&mut keyed, "timers", StateKind::SortedMap, 0);
    let at = Cell::of_key(key_hash(b""), KeyGroup(3), b"");
    let mut number = 1_u64;
    let mut expected = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let time = (number >> 40).to_be_bytes();
        keyed.put(timers, &at.with_map_key(&time), b"").unwrap();
        expected.insert(time);
    }
    let mut previous: Option<[u8; 8]> = None;
    while !expected.is_empty() {
        let mut first = EntryBuffer::new();
        keyed.scan(timers, &at, &[], 100, &mut first).unwrap();
        for entry in first.iter() {
            let time: [u8; 8] = entry.map_key.try_into().unwrap();
            assert!(previous < Some(time));
            previous = Some(time);
            assert_eq!(expected.pop_first(), Some(time));
            assert!(keyed.delete(timers, &at.with_map_key(&time)).unwrap());
        }
    }
    assert_eq!(keyed.len(timers).unwrap(), 0);
}

#[test]
fn maps_of_one_state_do_not_mix_and_are_cleared_alone() {
    let mut keyed = fresh();
    for kind in [StateKind::Map, StateKind::SortedMap] {
        let map = register(&mut keyed, kind.name(), kind, 0);
        for number in 0..3000_u32 {
            let bytes = number.to_be_bytes();
            let at = cell(&bytes[3..]).with_map_key(&bytes);
            keyed.put(map, &at, &bytes).unwrap();
            keyed.put(map, &at.with_namespace(b"ns"), &bytes).unwrap();
        }
        let mut entries = EntryBuffer::new();
        keyed
            .scan(map, &cell(&[7]).with_namespace(b"ns"), &[], 0, &mut entries)
            .unwrap();
        assert_eq!(entries.len(), 12);
        assert!(
            entries
                .iter()
                .all(|entry| entry.key == [7] && entry.map_key[3] == 7)
        );
        assert_eq!(keyed.clear_map(map, &cell(&[7])).unwrap(), 12);
        assert_eq!(keyed.clear_map(map, &cell(&[7])).unwrap(), 0);
        assert_eq!(keyed.len(map).unwrap(), 6000 - 12);
        entries.clear();
        keyed
            .scan(map, &cell(&[7]).with_namespace(b"ns"), &[], 5, &mut entries)
            .unwrap();
        assert_eq!(entries.len(), 5);
    }
}
