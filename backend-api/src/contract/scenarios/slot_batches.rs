//! Batches of updates in place, for backends that say they can.

use super::prelude::*;

fn number(value: Option<&Vec<u8>>) -> u64 {
    value.map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()))
}

fn count_up(_: usize, value: &mut Option<Vec<u8>>) {
    *value = Some((number(value.as_ref()) + 1).to_le_bytes().to_vec());
}

fn addresses(keys: impl IntoIterator<Item = u64>) -> Vec<Address> {
    keys.into_iter()
        .map(|key| Address::new(key.to_le_bytes()))
        .collect()
}

pub(crate) fn duplicate_and_new_keys_of_a_batch_are_counted_once(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let mut opened = suite.fresh();
    let counts = opened.register("counts", StateKind::Value, 8);
    let batch = addresses([1, 2, 1, 1, 3, 2]);
    for keys in [Keys::new(&batch), Keys::new(&batch).with_one_width()] {
        opened.prefetch(counts, &keys);
        opened.update(counts, &keys, 8, count_up);
    }
    for (key, expected) in [(1, 6), (2, 4), (3, 2)] {
        let found = opened.get(counts, &addresses([key])[0]);
        assert_eq!(number(found.as_ref()), expected, "key {key}");
    }
    assert_eq!(opened.count(counts), 3);
    let half_new = Keys::new(&addresses([3, 4, 4, 5]));
    assert_eq!(
        opened.update(counts, &half_new, 8, count_up),
        2,
        "4 and 5 are new"
    );
    assert_eq!(
        opened.update(counts, &Keys::default(), 8, count_up),
        0,
        "an empty batch"
    );
    opened.close();
}

pub(crate) fn keys_absent_at_the_end_of_a_batch_are_freed(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let counts = opened.register("counts", StateKind::Value, 8);
    let batch = addresses(0..20);
    let keys = Keys::new(&batch);
    // Every other new key gets no value, then every other one with a value loses it.
    opened.update(counts, &keys, 8, |index, value| {
        *value = (index % 2 == 0).then(|| vec![1; 8]);
    });
    assert_eq!(opened.count(counts), 10);
    opened.update(counts, &keys, 8, |index, value| {
        assert_eq!(value.is_some(), index % 2 == 0);
        if index % 4 == 0 {
            *value = None;
        }
    });
    assert_eq!(opened.count(counts), 5);
    for _ in 0..50 {
        // Keys that come and go.
        let passing = addresses(1000..1010);
        opened.update(counts, &Keys::new(&passing), 8, |_, value| {
            assert_eq!(*value, None)
        });
    }
    assert_eq!(opened.count(counts), 5);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let counts = restored.register("counts", StateKind::Value, 8);
    for (index, address) in batch.iter().enumerate() {
        let expected = (index % 4 == 2).then(|| vec![1; 8]);
        assert_eq!(restored.get(counts, address), expected, "key {index}");
    }
    assert_eq!(restored.count(counts), 5);
    restored.close();
}

pub(crate) fn a_snapshot_does_not_see_later_updates_through_slots(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let counts = opened.register("counts", StateKind::Value, 8);
    let keys = Keys::new(&addresses(0..2000)).with_one_width();
    let mut pending = Vec::new();
    for round in 1..=4_u64 {
        opened.update(counts, &keys, 8, count_up);
        pending.push((round, opened.begin_snapshot()));
    }
    opened.update(counts, &keys, 8, |index, value| {
        if index % 3 == 0 {
            *value = None;
        }
    });
    for (round, snapshot) in pending {
        let handles = snapshot.write(&storage);
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        let counts = restored.register("counts", StateKind::Value, 8);
        assert_eq!(restored.count(counts), 2000);
        for address in addresses(0..2000) {
            let found = restored.get(counts, &address);
            assert_eq!(number(found.as_ref()), round, "{address:?}");
        }
        restored.close();
    }
    opened.close();
}

pub(crate) fn slots_and_single_accesses_see_each_other(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let mut opened = suite.fresh();
    let counts = opened.register("counts", StateKind::Value, 8);
    let batch = addresses(0..8);
    opened.put(counts, &batch[0], &5_u64.to_le_bytes());
    let elsewhere = batch[1].clone().within("window");
    opened.put(counts, &elsewhere, &70_u64.to_le_bytes());
    opened.update(counts, &Keys::new(&batch), 8, count_up);
    assert_eq!(number(opened.get(counts, &batch[0]).as_ref()), 6);
    assert_eq!(number(opened.get(counts, &batch[1]).as_ref()), 1);
    assert_eq!(number(opened.get(counts, &elsewhere).as_ref()), 70);
    assert!(opened.delete(counts, &batch[0]));
    opened.put(counts, &batch[1], &10_u64.to_le_bytes());
    opened.update(counts, &Keys::new(&batch), 8, count_up);
    assert_eq!(number(opened.get(counts, &batch[0]).as_ref()), 1);
    assert_eq!(number(opened.get(counts, &batch[1]).as_ref()), 11);
    assert_eq!(opened.count(counts), 9);
    opened.close();
}

pub(crate) fn other_states_may_be_used_while_a_batch_is_open(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let mut opened = suite.fresh();
    let counts = opened.register("counts", StateKind::Value, 8);
    let sums = opened.register("sums", StateKind::Value, 4);
    let words = opened.register("words", StateKind::Value, 0);
    let batch = addresses(0..300);
    let keys = Keys::new(&batch);
    let slots_of_sums = Keys::new(&batch[..100]);
    for round in 1..=3_u8 {
        let object = opened.object();
        let inner = |index: usize, value: &mut Option<Vec<u8>>| {
            assert_eq!(value.is_some(), round > 1, "sum {index}");
            *value = Some(vec![round; 4]);
        };
        let within = |object: &mut crate::abi::KeyedObject| {
            crate::contract::slots::update(object, sums, &slots_of_sums, 4, inner).unwrap();
            for address in &batch {
                let put = object.put(words, &address.cell(), (&[round; 50][..]).into());
                put.into_result().unwrap();
            }
        };
        crate::contract::slots::update_with(object, counts, &keys, 8, within, count_up).unwrap();
    }
    for (index, address) in batch.iter().enumerate() {
        assert_eq!(number(opened.get(counts, address).as_ref()), 3);
        assert_eq!(opened.get(words, address).unwrap(), [3; 50]);
        let sum = (index < 100).then(|| vec![3; 4]);
        assert_eq!(opened.get(sums, address), sum);
    }
    opened.close();
}

pub(crate) fn batches_go_on_after_a_restore_into_any_range(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let counts = opened.register("counts", StateKind::Value, 8);
    opened.update(counts, &Keys::new(&addresses(0..500)), 8, count_up);
    let mut handles = opened.snapshot(&storage);
    opened.close();
    for (parallelism, round) in [(1, 2), (3, 3), (2, 4)] {
        let mut next = Vec::new();
        for shape in Shape::all(parallelism) {
            let mut restored = suite.restored(&storage, shape, &handles).counting_from(round);
            let counts = restored.register("counts", StateKind::Value, 8);
            let own: Vec<Address> = addresses(0..500)
                .into_iter()
                .filter(|address| shape.range().contains(KeyGroup(address.group)))
                .collect();
            let absent = restored.update(counts, &Keys::new(&own), 8, |_, value| {
                assert_eq!(number(value.as_ref()), round - 1);
                count_up(0, value);
            });
            assert_eq!((absent, restored.count(counts)), (0, own.len() as u64));
            next.extend(restored.snapshot(&storage));
            restored.close();
        }
        handles = next;
    }
}

pub(crate) fn values_of_every_width_have_slots(suite: &Suite) {
    if !suite.capabilities().slots {
        return;
    }
    let mut opened = suite.fresh();
    for width in [1_usize, 2, 3, 4, 7, 8, 12, 16, 24, 100, 1000] {
        let name = format!("{width} bytes");
        let state = opened.register(&name, StateKind::Value, u32::try_from(width).unwrap());
        let batch = addresses(0..50);
        let keys = Keys::new(&batch);
        let mut values = BTreeMap::new();
        for round in 0..3_u8 {
            opened.update(state, &keys, width, |index, value| {
                let expected = values.insert(index, vec![round.wrapping_add(batch[index].key[0]); width]);
                assert_eq!(*value, expected);
                *value = values.get(&index).cloned();
            });
        }
        for (index, address) in batch.iter().enumerate() {
            assert_eq!(opened.get(state, address), values.get(&index).cloned());
        }
    }
    opened.close();
}

pub(crate) fn stable_slots_outlive_their_batch_until_the_next_snapshot(suite: &Suite) {
    if !suite.capabilities().stable_slots {
        return;
    }
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let counts = opened.register("counts", StateKind::Value, 8);
    let hot = addresses(0..50);
    let hot_keys = Keys::new(&hot);
    opened.update(counts, &hot_keys, 8, count_up);
    // The same keys and many new ones, so that tables and indexes grow while the slots are kept. All have a value afterwards.
    let handles = opened.begin_snapshot().write(&storage);
    for round in 0..4 {
        let others = Keys::new(&addresses(1000 * (round + 1)..1000 * (round + 1) + 999));
        opened.update_kept(counts, &hot_keys, 8, &others, count_up);
    }
    for address in &hot {
        let found = opened.get(counts, address);
        assert_eq!(
            number(found.as_ref()),
            5,
            "an update through a kept slot was lost"
        );
    }
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let counts = restored.register("counts", StateKind::Value, 8);
    for address in &hot {
        let found = restored.get(counts, address);
        assert_eq!(
            number(found.as_ref()),
            1,
            "a snapshot saw an update through a kept slot"
        );
    }
    restored.close();
}

pub(crate) fn slots_that_are_kept_are_good_while_their_generation_lasts(suite: &Suite) {
    if !suite.capabilities().stable_slots {
        return;
    }
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let counts = opened.register("counts", StateKind::Value, 8);
    let names = opened.register("names", StateKind::Map, 0);
    let hot = addresses(0..50);
    let hot_keys = Keys::new(&hot);
    opened.update(counts, &hot_keys, 8, count_up);
    for round in 0..20 {
        // What makes a cache drop entries: more of them, and what says that some are of no more use.
        let others: Vec<_> = (0..1000_u64)
            .map(|number| Address::new((round * 1000 + number).to_le_bytes()).at([1]))
            .collect();
        opened.update_kept_beside(counts, &hot_keys, 8, (names, &others), count_up);
        if round % 5 == 4 {
            let checkpoint = opened.next_checkpoint();
            let handles = opened.snapshot(&storage);
            assert!(!handles.is_empty());
            opened.notify(&storage, checkpoint, CheckpointEvent::Completed);
        }
    }
    for address in &hot {
        let found = opened.get(counts, address);
        assert_eq!(
            number(found.as_ref()),
            21,
            "an update through a kept slot was lost"
        );
    }
    opened.close();
}
