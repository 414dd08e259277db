//! Sorted maps, in which timers live: order, ranges, limits, one map a key group.

use super::prelude::*;

pub(crate) fn a_scan_is_in_the_order_of_the_map_keys_bytes(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let map = opened.register("timers", StateKind::SortedMap, 0);
    let key = Address::new("key");
    let mut expected = BTreeMap::new();
    for number in 0..500_u64 {
        let len = random.below(6);
        // Few different bytes, so that many keys are prefixes of others.
        let map_key: Vec<u8> = (0..len).map(|_| [0, 1, 0x7f, 0xff][random.below(4)]).collect();
        opened.put(map, &key.clone().at(map_key.clone()), &number.to_le_bytes());
        expected.insert(map_key, number.to_le_bytes().to_vec());
    }
    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(opened.scan(map, &key, b"", 0), expected);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let map = restored.register("timers", StateKind::SortedMap, 0);
    assert_eq!(restored.scan(map, &key, b"", 0), expected);
    restored.close();
}

pub(crate) fn a_scan_keeps_to_its_range_and_limit(suite: &Suite) {
    let mut opened = suite.fresh();
    let map = opened.register("timers", StateKind::SortedMap, 0);
    let key = Address::new("key").within("namespace");
    for number in 0..100_u8 {
        opened.put(map, &key.clone().at([number]), &[number]);
    }
    let mut scanned = |from: &[u8], to: &[u8], limit: usize| -> Vec<u8> {
        let entries = opened.scan(map, &key.clone().at(from), to, limit);
        entries.into_iter().map(|(map_key, _)| map_key[0]).collect()
    };
    assert_eq!(
        scanned(&[10], &[13], 0),
        [10, 11, 12],
        "from inclusive, to exclusive"
    );
    assert_eq!(scanned(&[10], &[20], 2), [10, 11], "the limit cuts the end");
    assert_eq!(scanned(&[97], &[], 0), [97, 98, 99], "no end");
    assert_eq!(scanned(&[], &[2], 0), [0, 1], "no start");
    assert_eq!(scanned(&[5, 0], &[7, 0], 0), [6, 7], "bounds between map keys");
    assert_eq!(scanned(&[], &[], 3), [0, 1, 2]);
    assert_eq!(scanned(&[50], &[50], 0), [] as [u8; 0], "an empty range");
    assert_eq!(
        scanned(&[60], &[50], 0),
        [] as [u8; 0],
        "a range backwards is empty"
    );
    assert_eq!(scanned(&[100], &[], 0), [] as [u8; 0]);
    opened.close();
}

pub(crate) fn each_key_group_has_a_sorted_map_of_its_own_under_the_empty_key(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let timers = opened.register("timers", StateKind::SortedMap, 0);
    let groups: Vec<KeyGroup> = opened.range().iter().collect();
    for group in &groups {
        for tick in [3_u64, 1, 2, 1] {
            let at = Address::of_group(group.0).at((tick * 100 + u64::from(group.0)).to_be_bytes());
            opened.put(timers, &at, b"");
        }
    }
    assert_eq!(
        opened.count(timers),
        3 * groups.len() as u64,
        "a timer is there once"
    );
    let expected = |group: KeyGroup| -> Vec<(Vec<u8>, Vec<u8>)> {
        [1_u64, 2, 3]
            .map(|tick| {
                (
                    (tick * 100 + u64::from(group.0)).to_be_bytes().to_vec(),
                    Vec::new(),
                )
            })
            .to_vec()
    };
    for group in &groups {
        let found = opened.scan(timers, &Address::of_group(group.0), b"", 0);
        assert_eq!(found, expected(*group));
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    for shape in Shape::all(3) {
        let mut restored = suite.restored(&storage, shape, &handles);
        let timers = restored.register("timers", StateKind::SortedMap, 0);
        let own: Vec<KeyGroup> = restored.range().iter().collect();
        for group in &own {
            let found = restored.scan(timers, &Address::of_group(group.0), b"", 0);
            assert_eq!(found, expected(*group));
            // Fired timers go, from the front.
            let first = &found[0].0;
            assert!(restored.delete(timers, &Address::of_group(group.0).at(first.clone())));
            let rest = restored.scan(timers, &Address::of_group(group.0), b"", 1);
            assert_eq!(rest, [expected(*group)[1].clone()]);
        }
        assert_eq!(restored.count(timers), 2 * own.len() as u64);
        restored.close();
    }
}

pub(crate) fn many_timers_fire_from_the_front_in_order(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let mut timers = opened.register("timers", StateKind::SortedMap, 0);
    let groups = [0_u16, 7, 15];
    let mut expected: BTreeMap<Address, Vec<u8>> = BTreeMap::new();
    for number in 0..1_500_u64 {
        let tick = random.word() % 5_000;
        let map_key = [tick.to_be_bytes(), number.to_be_bytes()].concat();
        let at = Address::of_group(groups[random.below(3)]).at(map_key);
        opened.put(timers, &at, b"");
        expected.insert(at, Vec::new());
    }
    for round in 0.. {
        let Some(group) = expected.keys().map(|at| at.group).nth(expected.len() / 2) else {
            break;
        };
        let limit = 1 + random.below(40);
        let fired = opened.scan(timers, &Address::of_group(group), b"", limit);
        let due: Vec<Address> = expected
            .keys()
            .filter(|at| at.group == group)
            .take(limit)
            .cloned()
            .collect();
        let found = fired
            .into_iter()
            .map(|(map_key, _)| Address::of_group(group).at(map_key));
        assert_eq!(found.collect::<Vec<_>>(), due, "round {round}");
        for at in due {
            assert!(opened.delete(timers, &at));
            expected.remove(&at);
            if random.one_in(4) {
                // Firing registers a later one.
                let later = Address::of_group(group).at([&at.map_key[..], b"later"].concat());
                opened.put(timers, &later, b"");
                expected.insert(later, Vec::new());
            }
        }
        assert_eq!(opened.count(timers), expected.len() as u64);
        if round == 20 {
            let handles = opened.snapshot(&storage);
            opened.close();
            opened = suite.restored(&storage, Shape::ALONE, &handles).counting_from(2);
            timers = opened.register("timers", StateKind::SortedMap, 0);
        }
    }
    opened.close();
}
