//! What every backend must do, a theme a file. A scenario is a function whose name says what is required; it panics where it is not so.

pub(crate) mod canonical;
pub(crate) mod concurrency;
pub(crate) mod damage;
pub(crate) mod expiry;
pub(crate) mod faults;
pub(crate) mod lists;
pub(crate) mod maps;
pub(crate) mod misuse;
pub(crate) mod random_walks;
pub(crate) mod registration;
pub(crate) mod rescaling;
pub(crate) mod slot_batches;
pub(crate) mod snapshots;
pub(crate) mod sorted_maps;
pub(crate) mod values;

/// What most scenarios need.
mod prelude {
    pub(super) use crate::contract::canonical;
    pub(super) use crate::contract::cells::{Address, Keys};
    pub(super) use crate::contract::faults::{Faults, Gate};
    pub(super) use crate::contract::model::Model;
    pub(super) use crate::contract::opened::{Opened, Shape};
    pub(super) use crate::contract::random::Random;
    pub(super) use crate::contract::storage::Storage;
    pub(super) use crate::contract::suite::Suite;
    pub(super) use crate::{
        BackendErrorKind, Cell, CheckpointEvent, EntryBuffer, KeyGroup, SnapshotHandle, StateDescriptor,
        StateId, StateKind,
    };
    pub(super) use std::collections::BTreeMap;

    /// Every kind of state.
    pub(super) const ALL_KINDS: [StateKind; 4] = [
        StateKind::Value,
        StateKind::List,
        StateKind::Map,
        StateKind::SortedMap,
    ];

    /// Puts a cell in the backend and in the model.
    #[track_caller]
    pub(super) fn set(
        opened: &mut Opened,
        model: &mut Model,
        ids: &[StateId],
        state: usize,
        address: Address,
        value: &[u8],
    ) {
        opened.put(ids[state], &address, value);
        model.states[state].cells.insert(address, value.to_vec());
    }

    /// Deletes a cell of the backend and of the model, which must agree on whether it was there.
    #[track_caller]
    pub(super) fn unset(
        opened: &mut Opened,
        model: &mut Model,
        ids: &[StateId],
        state: usize,
        address: &Address,
    ) {
        let was_there = model.states[state].cells.remove(address).is_some();
        assert_eq!(
            opened.delete(ids[state], address),
            was_there,
            "delete of {address:?}"
        );
    }

    /// A model with a state of each kind, one of them of a fixed width.
    pub(super) fn one_state_of_each_kind() -> Model {
        let mut descriptors = ALL_KINDS
            .map(|kind| StateDescriptor::new(kind.name(), kind, 0))
            .to_vec();
        descriptors.push(StateDescriptor::new("fixed", StateKind::Value, 8));
        for (number, descriptor) in descriptors.iter_mut().enumerate() {
            descriptor.codec = format!("codec {number}").into_bytes().into();
        }
        Model::new(descriptors)
    }

    /// Fills the states of [`one_state_of_each_kind`]: `keys` keys each, with values of at most `value_bytes_max` bytes.
    #[track_caller]
    pub(super) fn fill(
        opened: &mut Opened,
        model: &mut Model,
        ids: &[StateId],
        random: &mut Random,
        keys: u32,
        value_bytes_max: usize,
    ) {
        for key in 0..keys {
            for state in 0..model.states.len() {
                let descriptor = &model.states[state].descriptor;
                let mut address = Address::new(key.to_le_bytes());
                if key % 5 == 4 && descriptor.value_width == 0 {
                    address = address.within("window");
                }
                if descriptor.kind.has_map_keys() {
                    address = address.at([random.word().to_le_bytes()[0]]);
                }
                let len = match descriptor.value_width {
                    0 => 1 + random.below(value_bytes_max),
                    width => width as usize,
                };
                let value = random.bytes(len);
                set(opened, model, ids, state, address, &value);
            }
        }
    }
    /// Fills the states of [`one_state_of_each_kind`] for those of `keys` keys that are the subtask's, maps with three entries each.
    #[track_caller]
    pub(super) fn fill_own(
        opened: &mut Opened,
        model: &mut Model,
        ids: &[StateId],
        random: &mut Random,
        keys: u32,
    ) {
        for key in 0..keys {
            let address = Address::new(key.to_le_bytes());
            if !opened.range().contains(KeyGroup(address.group)) {
                continue;
            }
            for state in 0..model.states.len() {
                let descriptor = model.states[state].descriptor.clone();
                let entries = if descriptor.kind.has_map_keys() { 3 } else { 1 };
                for entry in 0..entries {
                    let mut address = address.clone();
                    if descriptor.kind.has_map_keys() {
                        address = address.at([entry]);
                    }
                    let len = match descriptor.value_width {
                        0 => 1 + random.below(30),
                        width => width as usize,
                    };
                    set(opened, model, ids, state, address, &random.bytes(len));
                }
            }
        }
    }
}
