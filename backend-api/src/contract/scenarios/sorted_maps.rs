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

/// Timers, each with a value, by group and time.
type Due = BTreeMap<Address, Vec<u8>>;

fn timer(group: u16, time: u64) -> Address {
    Address::of_group(group).at(time.to_be_bytes())
}

/// Fires timers from the front, registers new ones before, between and behind those that there are, and deletes some, in the subtask's range.
#[track_caller]
fn go_on(opened: &mut Opened, timers: StateId, due: &mut Due, steps: usize, random: &mut Random) {
    let groups: Vec<u16> = opened.range().iter().map(|group| group.0).collect();
    for _ in 0..steps {
        let group = groups[random.below(groups.len())];
        let at = timer(group, random.word() % 100_000);
        match random.below(10) {
            0..=3 => {
                let limit = 1 + random.below(2);
                let first = opened.scan(timers, &Address::of_group(group), b"", limit);
                let expected: Vec<_> = due
                    .range(Address::of_group(group)..)
                    .take_while(|(at, _)| at.group == group)
                    .take(limit)
                    .map(|(at, value)| (at.map_key.clone(), value.clone()))
                    .collect();
                assert_eq!(first, expected, "the first of group {group}");
                for (map_key, _) in first {
                    let at = Address::of_group(group).at(map_key);
                    assert!(opened.delete(timers, &at));
                    due.remove(&at);
                }
            }
            4..=7 => {
                let len = random.below(12);
                let value = random.bytes(len);
                opened.put(timers, &at, &value);
                due.insert(at, value);
            }
            8 => assert_eq!(opened.delete(timers, &at), due.remove(&at).is_some()),
            _ => assert_eq!(opened.get(timers, &at).as_ref(), due.get(&at)),
        }
    }
    assert_eq!(
        opened.count(timers),
        due.keys().filter(|at| groups.contains(&at.group)).count() as u64
    );
}

/// Requires that the subtask has the timers of its range in their order.
#[track_caller]
fn check_all(opened: &mut Opened, timers: StateId, due: &Due) {
    for group in opened.range().iter() {
        let of_group = |at: &Address| at.group == group.0;
        let expected: Vec<_> = due.iter().filter(|(at, _)| of_group(at)).collect();
        let found = opened.scan(timers, &Address::of_group(group.0), b"", 0);
        let found: Vec<_> = found
            .into_iter()
            .map(|(map_key, value)| (Address::of_group(group.0).at(map_key), value))
            .collect();
        assert!(
            found
                .iter()
                .map(|(at, value)| (at, value))
                .eq(expected.iter().copied())
        );
        // From the middle, some of them.
        let from = timer(group.0, 50_000);
        let rest = opened.scan(timers, &from, &80_000_u64.to_be_bytes(), 20);
        let within = due.range(from..timer(group.0, 80_000)).take(20);
        assert!(
            rest.iter()
                .map(|(map_key, value)| (map_key, value))
                .eq(within.map(|(at, value)| (&at.map_key, value)))
        );
    }
}

/// Some thousand timers in the groups of `opened`.
fn fill(opened: &mut Opened, timers: StateId, due: &mut Due, random: &mut Random) {
    let groups: Vec<u16> = opened.range().iter().map(|group| group.0).take(3).collect();
    for _ in 0..4_000 {
        let at = timer(groups[random.below(groups.len())], random.word() % 100_000);
        opened.put(timers, &at, b"first");
        due.insert(at, b"first".to_vec());
    }
}

pub(crate) fn large_maps_keep_their_order_over_restores_and_ranges(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut due = Due::new();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let timers = opened.register("timers", StateKind::SortedMap, 0);
    fill(&mut opened, timers, &mut due, &mut random);
    let mut handles = opened.snapshot(&storage);
    opened.close();
    for (round, parallelism) in (1..).zip([1, 3, 2, 1]) {
        let mut next = Vec::new();
        for shape in Shape::all(parallelism) {
            let mut opened = suite
                .restored(&storage, shape, &handles)
                .counting_from(10 * round);
            let timers = opened.register("timers", StateKind::SortedMap, 0);
            go_on(&mut opened, timers, &mut due, 300, &mut random);
            opened.snapshot(&storage);
            go_on(&mut opened, timers, &mut due, 300, &mut random);
            check_all(&mut opened, timers, &due);
            next.extend(match round {
                2 => opened.begin_canonical().write(&storage),
                _ => opened.snapshot(&storage),
            });
            opened.close();
        }
        handles = next;
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let timers = restored.register("timers", StateKind::SortedMap, 0);
    check_all(&mut restored, timers, &due);
    restored.close();
}

pub(crate) fn large_maps_keep_their_order_when_memory_runs_out(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut due = Due::new();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let timers = opened.register("timers", StateKind::SortedMap, 0);
    let ballast = opened.register("ballast", StateKind::Value, 0);
    fill(&mut opened, timers, &mut due, &mut random);
    for round in 0..6_u32 {
        // For whoever has little memory.
        for number in 0..500_u32 {
            let at = Address::new((round * 500 + number).to_le_bytes());
            opened.put(ballast, &at, &[7; 400]);
        }
        go_on(&mut opened, timers, &mut due, 300, &mut random);
        if round % 3 == 1 {
            let snapshot = opened.begin_snapshot();
            go_on(&mut opened, timers, &mut due, 100, &mut random);
            snapshot.write(&storage);
        }
    }
    check_all(&mut opened, timers, &due);
    let handles = opened.snapshot(&storage);
    assert_eq!(opened.clear_map(timers, &Address::of_group(1)), {
        let of_group = due.keys().filter(|at| at.group == 1);
        of_group.count() as u64
    });
    assert_eq!(opened.scan(timers, &Address::of_group(1), b"", 1), []);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let timers = restored.register("timers", StateKind::SortedMap, 0);
    check_all(&mut restored, timers, &due);
    restored.close();
}
