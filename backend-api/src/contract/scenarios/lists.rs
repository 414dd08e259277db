//! Lists: elements concatenated in the order of their coming.

use super::prelude::*;

pub(crate) fn elements_are_concatenated_in_the_order_in_which_they_were_appended(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let list = opened.register("list", StateKind::List, 0);
    let (one, two) = (Address::new("one"), Address::new("two").within("window"));
    assert_eq!(opened.get(list, &one), None);
    for element in 0..100_u8 {
        opened.append(list, &one, &[element; 3]);
        opened.append(list, &two, &[element]);
    }
    let expected: Vec<u8> = (0..100_u8).flat_map(|element| [element; 3]).collect();
    assert_eq!(opened.get(list, &one).unwrap(), expected);
    assert_eq!(opened.count(list), 2, "a list is one cell, however long it is");
    let handles = opened.snapshot(&storage);
    opened.close();

    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let list = restored.register("list", StateKind::List, 0);
    restored.append(list, &one, b"after the restore");
    assert_eq!(
        restored.get(list, &one).unwrap(),
        [&expected[..], b"after the restore"].concat()
    );
    assert_eq!(restored.get(list, &two).unwrap(), (0..100).collect::<Vec<u8>>());
    restored.close();
}

pub(crate) fn a_put_replaces_all_elements_of_a_list(suite: &Suite) {
    let mut opened = suite.fresh();
    let list = opened.register("list", StateKind::List, 0);
    let at = Address::new("key");
    opened.append(list, &at, b"abc");
    opened.put(list, &at, b"xy");
    assert_eq!(opened.get(list, &at).unwrap(), b"xy");
    opened.append(list, &at, b"z");
    assert_eq!(opened.get(list, &at).unwrap(), b"xyz");
    opened.close();
}

pub(crate) fn a_deleted_list_starts_anew(suite: &Suite) {
    let mut opened = suite.fresh();
    let list = opened.register("list", StateKind::List, 0);
    let at = Address::new("key");
    opened.append(list, &at, b"abc");
    assert!(opened.delete(list, &at));
    assert!(!opened.delete(list, &at));
    assert_eq!((opened.get(list, &at), opened.count(list)), (None, 0));
    opened.append(list, &at, b"d");
    assert_eq!(opened.get(list, &at).unwrap(), b"d");
    opened.close();
}

pub(crate) fn a_list_that_grows_while_a_snapshot_is_pending_is_snapshotted_as_it_was(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let list = opened.register("list", StateKind::List, 0);
    let at = Address::new("key");
    let mut expected = Vec::new();
    let mut pending = Vec::new();
    for element in 0..50_u8 {
        opened.append(list, &at, &[element; 100]);
        expected.extend_from_slice(&[element; 100]);
        if element % 10 == 0 {
            pending.push((opened.begin_snapshot(), expected.clone()));
        }
    }
    for (snapshot, expected) in pending {
        let handles = snapshot.write(&storage);
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        let list = restored.register("list", StateKind::List, 0);
        assert_eq!(restored.get(list, &at).unwrap(), expected);
        restored.close();
    }
    opened.close();
}

/// Lists by key.
type Lists = BTreeMap<Address, Vec<u8>>;

/// Appends to `lists` in the subtask's range, clears and replaces some of them, and reads few.
fn change(opened: &mut Opened, list: StateId, lists: &mut Lists, steps: usize, random: &mut Random) {
    let range = opened.range();
    for _ in 0..steps {
        let at = Address::new(u16::try_from(random.below(300)).unwrap().to_le_bytes());
        if !range.contains(KeyGroup(at.group)) {
            continue;
        }
        match random.below(40) {
            0 => assert_eq!(opened.delete(list, &at), lists.remove(&at).is_some()),
            1 => {
                opened.put(list, &at, b"anew");
                lists.insert(at, b"anew".to_vec());
            }
            2 => assert_eq!(opened.get(list, &at).as_ref(), lists.get(&at)),
            _ => {
                let len = 1 + random.below(20);
                let element = random.bytes(len);
                opened.append(list, &at, &element);
                lists.entry(at).or_default().extend(element);
            }
        }
    }
}

/// Requires that the subtask has those of `lists` that are in its range, and no other.
#[track_caller]
fn check(opened: &mut Opened, list: StateId, lists: &Lists) {
    let range = opened.range();
    let own: Lists = lists
        .iter()
        .filter(|(at, _)| range.contains(KeyGroup(at.group)))
        .map(|(at, elements)| (at.clone(), elements.clone()))
        .collect();
    let visited: Lists = range.iter().flat_map(|group| opened.visit(list, group)).collect();
    assert!(visited == own, "{} lists for {}", visited.len(), own.len());
    assert_eq!(opened.count(list), own.len() as u64);
    for (at, elements) in &own {
        assert_eq!(opened.get(list, at).as_ref(), Some(elements), "{at:?}");
    }
}

pub(crate) fn appends_go_behind_what_was_restored_over_many_restores_and_ranges(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut lists = Lists::new();
    let mut handles: Vec<SnapshotHandle> = Vec::new();
    for (round, parallelism) in (0..).zip([1, 1, 2, 3, 1]) {
        let mut next = Vec::new();
        for shape in Shape::all(parallelism) {
            let mut opened = suite
                .restored(&storage, shape, &handles)
                .counting_from(1 + 10 * round);
            let list = opened.register("list", StateKind::List, 0);
            change(&mut opened, list, &mut lists, 600, &mut random);
            // A snapshot in between, on which the last one builds.
            opened.snapshot(&storage);
            change(&mut opened, list, &mut lists, 600, &mut random);
            if round % 2 == 0 {
                check(&mut opened, list, &lists);
            }
            next.extend(match round {
                3 => opened.begin_canonical().write(&storage),
                _ => opened.snapshot(&storage),
            });
            opened.close();
        }
        handles = next;
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let list = restored.register("list", StateKind::List, 0);
    check(&mut restored, list, &lists);
    restored.close();
}

pub(crate) fn appends_go_behind_what_had_to_leave_memory(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let list = opened.register("list", StateKind::List, 0);
    let ballast = opened.register("ballast", StateKind::Value, 0);
    let mut lists = Lists::new();
    for round in 0..6_u32 {
        change(&mut opened, list, &mut lists, 500, &mut random);
        if round % 2 == 0 {
            opened.snapshot(&storage);
        }
        // For whoever has little memory.
        for number in 0..500_u32 {
            let at = Address::new((round * 500 + number).to_le_bytes());
            opened.put(ballast, &at, &[7; 400]);
        }
    }
    check(&mut opened, list, &lists);
    change(&mut opened, list, &mut lists, 500, &mut random);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let list = restored.register("list", StateKind::List, 0);
    check(&mut restored, list, &lists);
    restored.close();
}

pub(crate) fn appends_after_a_snapshot_that_came_to_nothing_are_there_once(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let list = opened.register("list", StateKind::List, 0);
    let mut lists = Lists::new();
    change(&mut opened, list, &mut lists, 1000, &mut random);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut opened = suite.restored(&storage, Shape::ALONE, &handles).counting_from(10);
    let list = opened.register("list", StateKind::List, 0);
    for round in 0..12 {
        change(&mut opened, list, &mut lists, 100, &mut random);
        let snapshot = opened.begin_snapshot();
        let id = snapshot.checkpoint_id();
        change(&mut opened, list, &mut lists, 100, &mut random);
        let aborted = match round % 3 {
            0 => {
                drop(snapshot);
                true
            }
            1 => {
                let faults = Faults {
                    fail_at: Some(random.word() % 4),
                    ..Faults::default()
                };
                snapshot.write_with(&storage, faults).result.is_err()
            }
            _ => {
                snapshot.write(&storage);
                false
            }
        };
        let event = if aborted {
            CheckpointEvent::Aborted
        } else {
            CheckpointEvent::Completed
        };
        opened.notify(&storage, id, event);
    }
    let handles = opened.snapshot(&storage);
    check(&mut opened, list, &lists);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let list = restored.register("list", StateKind::List, 0);
    check(&mut restored, list, &lists);
    restored.close();
}
