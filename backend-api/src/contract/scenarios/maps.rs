//! Plain maps: entries under a (key, namespace), in no order.

use super::prelude::*;

pub(crate) fn an_entry_is_what_was_put_last_under_its_map_key(suite: &Suite) {
    let mut opened = suite.fresh();
    let map = opened.register("map", StateKind::Map, 0);
    let key = Address::new("key");
    assert_eq!(opened.get(map, &key.clone().at("x")), None);
    assert_eq!(
        opened.scan(map, &key, b"", 0),
        [],
        "a map that never was is empty"
    );
    opened.put(map, &key.clone().at("x"), b"1");
    opened.put(map, &key.clone().at("y"), b"2");
    opened.put(map, &key.clone().at("x"), b"3");
    opened.put(map, &Address::new("other").at("x"), b"4");
    opened.put(map, &key.clone().within("window").at("x"), b"5");
    assert_eq!(opened.get(map, &key.clone().at("x")).unwrap(), b"3");
    let mut entries = opened.scan(map, &key, b"", 0);
    entries.sort();
    assert_eq!(
        entries,
        [(b"x".to_vec(), b"3".to_vec()), (b"y".to_vec(), b"2".to_vec())]
    );
    assert!(opened.delete(map, &key.clone().at("x")));
    assert!(!opened.delete(map, &key.clone().at("x")));
    assert_eq!(opened.scan(map, &key, b"", 0), [(b"y".to_vec(), b"2".to_vec())]);
    assert_eq!(opened.count(map), 3);
    opened.close();
}

pub(crate) fn clearing_a_map_removes_its_entries_and_no_others(suite: &Suite) {
    let storage = suite.storage();
    for kind in [StateKind::Map, StateKind::SortedMap] {
        let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
        let map = opened.register("map", kind, 0);
        let (key, neighbour) = (Address::new("key"), Address::new("key\0"));
        for number in 0..20_u8 {
            opened.put(map, &key.clone().at([number]), b"goes");
            opened.put(map, &key.clone().within("window").at([number]), b"stays");
            opened.put(map, &neighbour.clone().at([number]), b"stays");
        }
        assert_eq!(opened.clear_map(map, &key), 20);
        assert_eq!(opened.clear_map(map, &key), 0);
        assert_eq!(opened.scan(map, &key, b"", 0), []);
        assert_eq!(opened.scan(map, &neighbour, b"", 0).len(), 20);
        assert_eq!(opened.count(map), 40);
        opened.put(map, &key.clone().at([3]), b"new");
        let handles = opened.snapshot(&storage);
        opened.close();
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        let map = restored.register("map", kind, 0);
        assert_eq!(restored.scan(map, &key, b"", 0), [(vec![3], b"new".to_vec())]);
        assert_eq!(restored.count(map), 41);
        restored.close();
    }
}

pub(crate) fn a_limited_scan_gives_so_many_entries_of_the_map(suite: &Suite) {
    let mut opened = suite.fresh();
    let map = opened.register("map", StateKind::Map, 0);
    let key = Address::new("key");
    for number in 0..10_u8 {
        opened.put(map, &key.clone().at([number]), &[number]);
    }
    let mut some = opened.scan(map, &key, b"", 4);
    some.sort();
    some.dedup();
    assert_eq!(some.len(), 4);
    assert!(some.iter().all(|(map_key, value)| map_key == value));
    assert_eq!(opened.scan(map, &key, b"", 100).len(), 10);
    opened.close();
}

pub(crate) fn a_scan_appends_to_the_buffer_that_it_is_given(suite: &Suite) {
    let mut opened = suite.fresh();
    let map = opened.register("map", StateKind::Map, 0);
    let key = Address::new("key").at("x");
    opened.put(map, &key, b"1");
    let mut entries = EntryBuffer::new();
    for _ in 0..2 {
        let scan = opened
            .object()
            .scan(map, &key.cell(), (&[][..]).into(), 0, &mut entries);
        scan.into_result().unwrap();
    }
    let visit = opened.object().visit(map, KeyGroup(key.group), &mut entries);
    visit.into_result().unwrap();
    assert_eq!(entries.len(), 3);
    opened.close();
}

pub(crate) fn a_visit_gives_every_cell_of_its_group_and_state_once(suite: &Suite) {
    let mut opened = suite.fresh();
    for kind in ALL_KINDS {
        let state = opened.register(kind.name(), kind, 0);
        let mut expected = BTreeMap::new();
        for number in 0..60_u8 {
            let mut address = Address::new([number % 20]).within([number / 20]);
            if kind.has_map_keys() {
                address = address.at([number]);
            }
            opened.put(state, &address, &[number]);
            expected.insert(address, vec![number]);
        }
        let mut visited = Vec::new();
        for group in opened.range().iter() {
            visited.extend(opened.visit(state, group));
        }
        visited.sort();
        assert_eq!(
            visited,
            expected.into_iter().collect::<Vec<_>>(),
            "{}",
            kind.name()
        );
    }
    opened.close();
}

pub(crate) fn cells_may_be_cleared_while_what_was_visited_is_gone_through(suite: &Suite) {
    let mut opened = suite.fresh();
    for kind in ALL_KINDS {
        let state = opened.register(kind.name(), kind, 0);
        for number in 0..100_u8 {
            let address = Address::new([number]);
            opened.put(state, &address, &[number]);
        }
        let groups: Vec<KeyGroup> = opened.range().iter().collect();
        for group in groups {
            for (number, (address, _)) in opened.visit(state, group).into_iter().enumerate() {
                if number % 2 == 0 {
                    assert!(opened.delete(state, &address));
                } else {
                    opened.put(state, &address, b"seen");
                }
                opened.put(state, &address.clone().within("elsewhere"), b"new");
            }
            for (address, value) in opened.visit(state, group) {
                let expected: &[u8] = if address.namespace.is_empty() {
                    b"seen"
                } else {
                    b"new"
                };
                assert_eq!(value, expected);
            }
        }
    }
    opened.close();
}
