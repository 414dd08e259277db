//! Batches of updates through slots, as the engine does them.
#![expect(
    unsafe_code,
    reason = "a slot is an address that the backend under test gives out; its accesses are here"
)]

use super::cells::Keys;
use crate::abi::KeyedObject;
use crate::error::BackendResult;
use crate::slot::Slot;
use crate::state::StateId;
use std::collections::BTreeMap;

/// Runs one batch over `keys`: takes the slots, lets `update` change the value of each key in order, gives the slots back. Returns how many
/// keys were absent at the start.
pub(super) fn update(
    keyed: &mut KeyedObject,
    state: StateId,
    keys: &Keys,
    width: usize,
    update: impl FnMut(usize, &mut Option<Vec<u8>>),
) -> BackendResult<u64> {
    update_with(keyed, state, keys, width, |_| (), update)
}

/// The same, with calls for other states between taking the slots and using them.
pub(super) fn update_with(
    keyed: &mut KeyedObject,
    state: StateId,
    keys: &Keys,
    width: usize,
    meanwhile: impl FnOnce(&mut KeyedObject),
    mut update: impl FnMut(usize, &mut Option<Vec<u8>>),
) -> BackendResult<u64> {
    let batch = keys.batch();
    let mut slots = vec![Slot::NULL; keys.len()];
    let absent = keyed
        .slots(state, &batch, (&mut slots[..]).into())
        .into_result()?;
    check_places(keys, &slots, width, absent);
    meanwhile(keyed);
    for (index, slot) in slots.iter().enumerate() {
        let mut value = read(*slot, width);
        update(index, &mut value);
        write(*slot, value.as_deref(), width);
    }
    let any_absent = slots.iter().any(|slot| read(*slot, width).is_none());
    // An engine that did not count may say so to be safe.
    let any_absent = any_absent || keys.len().is_multiple_of(2);
    keyed
        .end_batch(state, &batch, (&slots[..]).into(), any_absent)
        .into_result()?;
    Ok(absent)
}

/// Takes the slots of `keys`, which all have a value, gives them back at once, lets `meanwhile` do what may be done while they are kept, and then
/// lets `update` change the values through them, as long as their generation lasts, else through new ones. `within` is called in the middle of this: for what
/// may be done with other states while a batch is open.
pub(super) fn update_kept(
    keyed: &mut KeyedObject,
    state: StateId,
    keys: &Keys,
    width: usize,
    meanwhile: impl FnOnce(&mut KeyedObject),
    within: impl FnOnce(&mut KeyedObject),
    mut update: impl FnMut(usize, &mut Option<Vec<u8>>),
) -> BackendResult<()> {
    let batch = keys.batch();
    let generation = keyed.slot_generation(state).into_result()?;
    let mut slots = vec![Slot::NULL; keys.len()];
    keyed
        .slots(state, &batch, (&mut slots[..]).into())
        .into_result()?;
    keyed
        .end_batch(state, &batch, (&slots[..]).into(), false)
        .into_result()?;
    meanwhile(keyed);
    if keyed.slot_generation(state).into_result()? != generation {
        return update_with(keyed, state, keys, width, within, update).map(drop);
    }
    let none = Keys::default();
    let opens = generation != Slot::STAY;
    if opens {
        keyed
            .slots(state, &none.batch(), (&mut [][..]).into())
            .into_result()?;
    }
    let mut within = Some(within);
    for (index, slot) in slots.iter().enumerate() {
        if index == slots.len() / 2
            && let Some(within) = within.take()
        {
            within(keyed);
        }
        let mut value = read(*slot, width);
        update(index, &mut value);
        write(*slot, value.as_deref(), width);
    }
    if opens {
        keyed
            .end_batch(state, &none.batch(), (&[][..]).into(), false)
            .into_result()?;
    }
    Ok(())
}

/// Equal keys have one slot, and the others a place of their own.
fn check_places(keys: &Keys, slots: &[Slot], width: usize, told_absent: u64) {
    let batch = keys.batch();
    let mut by_key = BTreeMap::new();
    for (index, slot) in slots.iter().enumerate() {
        assert!(!slot.is_null(), "key {index} of the batch got no slot");
        let group = batch.groups.as_slice()[index];
        let first = *by_key.entry((group, batch.key(index))).or_insert(*slot);
        assert_eq!(first, *slot, "two records of one key got two slots");
    }
    let mut places: Vec<usize> = by_key.values().map(|slot| place(*slot, width)).collect();
    places.sort_unstable();
    for pair in places.windows(2) {
        assert!(
            pair[1] - pair[0] > width,
            "the slots of two keys overlap: {} bytes apart, each has {width} and a flag",
            pair[1] - pair[0]
        );
    }
    let absent = by_key
        .values()
        .filter(|slot| read(**slot, width).is_none())
        .count();
    assert_eq!(
        told_absent, absent as u64,
        "the number of keys without value, each counted once"
    );
}

fn place(slot: Slot, width: usize) -> usize {
    // SAFETY: the slot was given out for the running batch; the reference ends with this statement.
    unsafe { slot.value(width) }.as_ptr().addr()
}

fn read(slot: Slot, width: usize) -> Option<Vec<u8>> {
    // SAFETY: the slot was given out for the running batch and leads somewhere (`check_places`).
    let present = unsafe { slot.is_present() };
    present.then(|| {
        // SAFETY: as above; the state's values have `width` bytes, and the reference ends with this statement.
        unsafe { slot.value(width) }.to_vec()
    })
}

fn write(slot: Slot, value: Option<&[u8]>, width: usize) {
    // SAFETY: the slot was given out for the running batch and leads somewhere (`check_places`).
    unsafe { slot.set_present(value.is_some()) };
    if let Some(value) = value {
        // SAFETY: as above; the state's values have `width` bytes, and no other reference is alive.
        unsafe { slot.value(width) }.copy_from_slice(value);
    }
}
