//! What a keyed state should hold: `BTreeMap`s, and the comparison with them.

use super::cells::Address;
use super::opened::Opened;
use crate::key_group::KeyGroupRange;
use crate::state::{StateDescriptor, StateId, StateKind};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The states of an operator.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The states in the order in which scenarios register them.
    pub states: Vec<ModelState>,
}

/// One state.
#[derive(Clone, Debug)]
pub struct ModelState {
    /// What it is registered as.
    pub descriptor: StateDescriptor,
    /// Its cells.
    pub cells: BTreeMap<Address, Vec<u8>>,
}

impl Model {
    /// States without cells.
    #[must_use]
    pub fn new(descriptors: impl IntoIterator<Item = StateDescriptor>) -> Self {
        let states = descriptors.into_iter().map(|descriptor| ModelState {
            descriptor,
            cells: BTreeMap::new(),
        });
        Self {
            states: states.collect(),
        }
    }

    /// What of it lies in `range`.
    #[must_use]
    pub fn within(&self, range: KeyGroupRange) -> Self {
        let mut part = self.clone();
        for state in &mut part.states {
            state
                .cells
                .retain(|address, _| range.first.0 <= address.group && address.group <= range.last.0);
        }
        part
    }

    /// Registers the states and returns their ids.
    #[track_caller]
    pub fn register(&self, opened: &mut Opened) -> Vec<StateId> {
        self.states
            .iter()
            .map(|state| opened.register_as(&state.descriptor))
            .collect()
    }

    /// Requires that `opened`, whose states are not registered yet, describes and holds exactly what the model has in its range. Returns the
    /// ids of the states.
    #[track_caller]
    pub fn check_restored(&self, opened: &mut Opened) -> Vec<StateId> {
        let part = self.within(opened.range());
        part.check_descriptors(opened);
        let ids = part.register(opened);
        part.check(opened, &ids);
        ids
    }

    /// Requires that the states that have cells are described, and none that the model does not have.
    #[track_caller]
    fn check_descriptors(&self, opened: &mut Opened) {
        let described = opened.states();
        for state in self.states.iter().filter(|state| !state.cells.is_empty()) {
            assert!(
                described.contains(&state.descriptor),
                "the restored states lack {:?}: {described:?}",
                state.descriptor
            );
        }
        for descriptor in &described {
            assert!(
                self.states.iter().any(|state| state.descriptor == *descriptor),
                "a state that was never registered: {descriptor:?}"
            );
        }
    }

    /// Requires that `opened` holds exactly what the model holds.
    #[track_caller]
    pub fn check(&self, opened: &mut Opened, ids: &[StateId]) {
        for (state, id) in self.states.iter().zip(ids) {
            state.check_visits(opened, *id);
            assert_eq!(
                opened.count(*id),
                state.cells.len() as u64,
                "the number of cells of the state {}",
                state.descriptor.name
            );
            for (address, value) in &state.cells {
                let found = opened.get(*id, address);
                assert_eq!(
                    found.as_deref(),
                    Some(&value[..]),
                    "get of {address:?} of the state {}",
                    state.descriptor.name
                );
            }
            if state.descriptor.kind.has_map_keys() {
                state.check_scans(opened, *id);
            }
        }
    }
}

impl ModelState {
    #[track_caller]
    fn check_visits(&self, opened: &mut Opened, id: StateId) {
        for group in opened.range().iter() {
            let visited = opened.visit(id, group);
            let count = visited.len();
            let found: BTreeMap<Address, Vec<u8>> = visited.into_iter().collect();
            assert_eq!(found.len(), count, "group {group} was visited with duplicates");
            let expected: BTreeMap<Address, Vec<u8>> = self
                .cells
                .iter()
                .filter(|(address, _)| address.group == group.0)
                .map(|(address, value)| (address.clone(), value.clone()))
                .collect();
            assert!(
                found == expected,
                "the cells of the state {} in group {group} differ\nexpected: {}\nfound:    {}",
                self.descriptor.name,
                difference(&expected, &found),
                difference(&found, &expected),
            );
        }
    }

    #[track_caller]
    fn check_scans(&self, opened: &mut Opened, id: StateId) {
        let mut maps: Vec<Address> = self.cells.keys().map(|address| address.clone().at(b"")).collect();
        maps.dedup();
        for map in maps {
            let mut found = opened.scan(id, &map, &[], 0);
            if self.descriptor.kind == StateKind::Map {
                found.sort();
            }
            assert!(
                found == self.entries(&map, &[]),
                "the scan of {map:?} of the state {}: {found:?}",
                self.descriptor.name
            );
        }
    }

    /// Map keys and values of the map at `address`, within `address.map_key .. to`, in order.
    #[must_use]
    pub fn entries(&self, address: &Address, to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.cells
            .range((Bound::Included(address.clone()), Bound::Unbounded))
            .take_while(|(at, _)| {
                (at.group, &at.key, &at.namespace) == (address.group, &address.key, &address.namespace)
                    && (to.is_empty() || at.map_key.as_slice() < to)
            })
            .map(|(at, value)| (at.map_key.clone(), value.clone()))
            .collect()
    }
}

/// What `left` has and `right` has not, a few of them and shortened.
fn difference(left: &BTreeMap<Address, Vec<u8>>, right: &BTreeMap<Address, Vec<u8>>) -> String {
    let cells: Vec<String> = left
        .iter()
        .filter(|(address, value)| right.get(*address) != Some(*value))
        .take(3)
        .map(|(address, value)| {
            let text = format!("{address:?} = {value:?}");
            text.chars().take(300).collect()
        })
        .collect();
    cells.join("; ")
}
