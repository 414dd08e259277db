//! Slots of fixed-width values.
#![expect(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "plays the engine, which accesses slots, under one argument each"
)]

use crate::support::{Columns, Storage, all_groups, cell, content, freeze, fresh, open, register, snapshot};
use millpond_backend_api::{
    BackendErrorKind, KeyGroup, KeyedState, Slot, SnapshotWriter, StateId, StateKind,
};
use millpond_backend_memory::MemoryKeyedState;
use std::collections::BTreeMap;

/// Adds 1 to the value of each key, as an engine that counts does.
fn count(keyed: &mut MemoryKeyedState, state: StateId, columns: &Columns) {
    let batch = columns.batch();
    let mut slots = vec![Slot::NULL; batch.len()];
    keyed.slots(state, &batch, &mut slots).unwrap();
    for slot in &slots {
        // SAFETY: the slots of this batch; one reference at a time.
        let (present, value) = unsafe { (slot.is_present(), slot.value(8)) };
        let before = if present {
            u64::from_le_bytes(value.try_into().unwrap())
        } else {
            0
        };
        value.copy_from_slice(&(before + 1).to_le_bytes());
        // SAFETY: as above.
        unsafe { slot.set_present(true) };
    }
    keyed.end_batch(state, &batch, &slots, false).unwrap();
}

#[test]
fn counting_by_slots_is_exact_for_small_and_large_tables_with_snapshots_in_between() {
    for keys in [100_u64, 60_000] {
        let storage = Storage::default();
        let mut keyed = open(all_groups(), &[], &storage).unwrap();
        let state = register(&mut keyed, "count", StateKind::Value, 8);
        let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
        let mut number = 1_u64;
        let mut kept = Vec::new();
        for round in 0..200 {
            let batch: Vec<u64> = (0..1000)
                .map(|_| {
                    number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    (number >> 33) % keys
                })
                .collect();
            count(&mut keyed, state, &Columns::of_numbers(&batch));
            for key in batch {
                *expected.entry(key).or_default() += 1;
            }
            if round % 50 == 10 {
                kept.push((freeze(&mut keyed), expected.clone()));
            }
        }
        let as_content = |counts: &BTreeMap<u64, u64>| {
            counts
                .iter()
                .map(|(key, count)| {
                    let address = (key.to_le_bytes().to_vec(), Vec::new(), Vec::new());
                    (address, count.to_le_bytes().to_vec())
                })
                .collect::<BTreeMap<_, _>>()
        };
        assert!(content(&mut keyed, state, all_groups()) == as_content(&expected));
        for (mut writer, expected) in kept {
            let handles = writer.write(&storage.streams()).unwrap();
            let mut restored = open(all_groups(), &handles, &storage).unwrap();
            let state = register(&mut restored, "count", StateKind::Value, 8);
            assert!(content(&mut restored, state, all_groups()) == as_content(&expected));
            // What was restored can be counted on.
            count(&mut restored, state, &Columns::of_numbers(&[0, 1, 2, 0]));
        }
    }
}

#[test]
fn equal_keys_share_a_slot_and_absent_ones_are_counted_once() {
    let mut keyed = fresh();
    let state = register(&mut keyed, "count", StateKind::Value, 8);
    keyed.put(state, &cell(b"old"), &[1; 8]).unwrap();
    keyed
        .put(state, &cell(b"new").with_namespace(b"other"), &[2; 8])
        .unwrap();
    let columns = Columns::of_keys(&["new", "old", "new", "", "longer than the others", ""]);
    let mut slots = [Slot::NULL; 6];
    let absent = keyed.slots(state, &columns.batch(), &mut slots).unwrap();
    assert_eq!(absent, 3);
    assert_eq!((slots[0], slots[3]), (slots[2], slots[5]));
    assert_ne!(slots[0], slots[1]);
    // SAFETY: a slot of this batch.
    let (present, value) = unsafe { (slots[1].is_present(), slots[1].value(8).to_vec()) };
    assert_eq!((present, value), (true, vec![1; 8]));
    // SAFETY: as above.
    unsafe { slots[3].set_present(true) };
    keyed.end_batch(state, &columns.batch(), &slots, true).unwrap();
    assert_eq!(keyed.len(state).unwrap(), 3);
    assert_eq!(keyed.get(state, &cell(b"new")).unwrap(), None);
    assert_eq!(keyed.get(state, &cell(b"")).unwrap(), Some(&[0; 8][..]));
}

#[test]
fn values_cleared_through_a_slot_are_gone_after_the_batch_but_not_from_a_snapshot_before_it() {
    let storage = Storage::default();
    let mut keyed = open(all_groups(), &[], &storage).unwrap();
    let state = register(&mut keyed, "count", StateKind::Value, 8);
    let columns = Columns::of_numbers(&[1, 2, 3]);
    count(&mut keyed, state, &columns);
    let mut before = freeze(&mut keyed);
    let mut slots = [Slot::NULL; 3];
    keyed.slots(state, &columns.batch(), &mut slots).unwrap();
    // SAFETY: a slot of this batch.
    unsafe { slots[1].set_present(false) };
    keyed.end_batch(state, &columns.batch(), &slots, true).unwrap();
    assert_eq!(keyed.len(state).unwrap(), 2);
    let now = snapshot(&mut keyed, &storage);
    for (handles, expected) in [(before.write(&storage.streams()).unwrap(), 3), (now, 2)] {
        let mut restored = open(all_groups(), &handles, &storage).unwrap();
        let state = register(&mut restored, "count", StateKind::Value, 8);
        assert_eq!(restored.len(state).unwrap(), expected);
    }
}

#[test]
fn a_state_with_slots_out_refuses_everything_else() {
    let mut keyed = fresh();
    let state = register(&mut keyed, "count", StateKind::Value, 8);
    let columns = Columns::of_numbers(&[1]);
    let mut slots = [Slot::NULL; 1];
    keyed.slots(state, &columns.batch(), &mut slots).unwrap();
    let errors = [
        keyed.put(state, &cell(b"x"), &[0; 8]).unwrap_err(),
        keyed.get(state, &cell(b"x")).unwrap_err(),
        keyed.slots(state, &columns.batch(), &mut slots).unwrap_err(),
        keyed
            .snapshot(&millpond_backend_api::SnapshotRequest {
                checkpoint_id: 1,
                may_share: false,
                form: millpond_backend_api::SnapshotForm::Native,
            })
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), BackendErrorKind::Misuse, "{error}");
    }
    keyed.end_batch(state, &columns.batch(), &slots, true).unwrap();
    assert_eq!(keyed.len(state).unwrap(), 0);
    let error = keyed
        .end_batch(state, &columns.batch(), &slots, true)
        .unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Misuse);
}

#[test]
fn a_batch_with_a_foreign_group_or_uneven_columns_changes_nothing() {
    let mut keyed = fresh();
    let state = register(&mut keyed, "count", StateKind::Value, 8);
    let mut columns = Columns::of_numbers(&[1, 2, 3]);
    columns.groups[2] = KeyGroup(99);
    let mut slots = [Slot::NULL; 3];
    let error = keyed.slots(state, &columns.batch(), &mut slots).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Misuse);
    assert!(error.message().contains("key group 99"), "{error}");
    columns.groups.pop();
    assert!(keyed.slots(state, &columns.batch(), &mut slots).is_err());
    let fewer = Columns::of_numbers(&[1, 2]);
    assert!(keyed.slots(state, &fewer.batch(), &mut slots).is_err());
    assert_eq!(keyed.len(state).unwrap(), 0);
}
