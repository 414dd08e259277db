//! Files to test with, described by what they say.

use millpond_backend_api::{BackendResult, Entry, KeyGroup, StateDescriptor, StateKind, key_hash};
use millpond_backend_fs::file::{FileFigures, FileWriter, Found, GroupTotals, Hashes, Output, SnapshotFile};
use millpond_backend_memory::table::{cell_hash, map_entry_hash};
use std::collections::BTreeMap;

/// Key, namespace, map key.
pub(crate) type Address = (Vec<u8>, Vec<u8>, Vec<u8>);

/// What a file says: by key group and state, each cell's value, or that it is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) states: Vec<StateDescriptor>,
    pub(crate) sections: BTreeMap<(u16, u32), BTreeMap<Address, Option<Vec<u8>>>>,
}

/// A state of each kind, and a value state of fixed width.
pub(crate) fn states() -> Vec<StateDescriptor> {
    let mut states = vec![
        StateDescriptor::new("value", StateKind::Value, 0),
        StateDescriptor::new("list", StateKind::List, 0),
        StateDescriptor::new("map", StateKind::Map, 0),
        StateDescriptor::new("sorted map", StateKind::SortedMap, 0),
        StateDescriptor::new("count", StateKind::Value, 8),
    ];
    states[2].codec = b"codec".to_vec().into();
    states
}

pub(crate) fn hashes(kind: StateKind, (key, namespace, map_key): &Address) -> Hashes {
    let cell = cell_hash(key_hash(key), namespace);
    match kind {
        StateKind::Map => Hashes::of_map_entry(cell, map_entry_hash(cell, map_key)),
        StateKind::SortedMap => Hashes::none(),
        _ => Hashes::of_cell(cell),
    }
}

/// The hash to find a cell by.
pub(crate) fn hash(kind: StateKind, (key, namespace, map_key): &Address) -> u64 {
    let cell = cell_hash(key_hash(key), namespace);
    if kind == StateKind::Map {
        map_entry_hash(cell, map_key)
    } else {
        cell
    }
}

pub(crate) fn entry<'a>((key, namespace, map_key): &'a Address, value: &'a [u8]) -> Entry<'a> {
    Entry {
        key,
        namespace,
        map_key,
        value,
    }
}

impl Model {
    pub(crate) fn new(states: Vec<StateDescriptor>) -> Self {
        Self {
            states,
            sections: BTreeMap::new(),
        }
    }

    pub(crate) fn set(&mut self, group: u16, state: u32, cell: Address, value: Option<Vec<u8>>) {
        let section = self.sections.entry((group, state)).or_default();
        section.insert(cell, value);
    }

    pub(crate) fn kind(&self, state: u32) -> StateKind {
        self.states[state as usize].kind
    }

    /// Totals that differ between sections, so that a mix-up shows.
    pub(crate) fn totals(&self, group: u16, state: u32) -> GroupTotals {
        GroupTotals {
            cells: u64::from(group) * 100 + u64::from(state),
            encoded_bytes: self.sections.len() as u64,
        }
    }

    pub(crate) fn write<O: Output>(&self, output: O) -> BackendResult<(O, FileFigures)> {
        let mut writer = FileWriter::new(output, &self.states)?;
        for ((group, state), cells) in &self.sections {
            writer.begin_section(*state, KeyGroup(*group), cells.len() as u64)?;
            for (cell, value) in cells {
                let hashes = hashes(self.kind(*state), cell);
                match value {
                    Some(value) => writer.entry(hashes, &entry(cell, value))?,
                    None => writer.deleted(hashes, &entry(cell, b"ignored"))?,
                }
            }
            writer.end_section(self.totals(*group, *state))?;
        }
        writer.finish()
    }

    /// The file as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.write(Vec::new()).unwrap().0
    }

    /// Reads everything that a file has, by all ways; every disagreement between the ways is a panic.
    pub(crate) fn read(file: &SnapshotFile) -> BackendResult<Self> {
        let mut model = Self::new(file.states().to_vec());
        for section in file.sections() {
            let (group, state) = (section.group(), section.state_index());
            let kind = section.state().kind;
            assert!(file.section(state, group).is_some());
            model.sections.insert((group.0, state), BTreeMap::new());
            let mut maps: BTreeMap<(Vec<u8>, Vec<u8>), u64> = BTreeMap::new();
            section.for_each(|found| {
                let Entry {
                    key,
                    namespace,
                    map_key,
                    value,
                } = found.entry;
                let cell = (key.to_vec(), namespace.to_vec(), map_key.to_vec());
                *maps.entry((cell.0.clone(), cell.1.clone())).or_default() += 1;
                model.set(group.0, state, cell, (!found.deleted).then(|| value.to_vec()));
                Ok(())
            })?;
            for (cell, value) in &model.sections[&(group.0, state)] {
                let expected = match value {
                    Some(value) => Found::Value(value),
                    None => Found::Deleted,
                };
                let found = section.find(hash(kind, cell), &cell.0, &cell.1, &cell.2)?;
                assert_eq!(found, expected, "{cell:?} of {state} in {group}");
            }
            if kind.has_map_keys() {
                for ((key, namespace), entries) in maps {
                    let mut run = 0;
                    let map = cell_hash(key_hash(&key), &namespace);
                    section.map_run(map, &key, &namespace, |found| {
                        assert_eq!(
                            (found.entry.key, found.entry.namespace),
                            (&key[..], &namespace[..])
                        );
                        run += 1;
                        Ok(())
                    })?;
                    assert_eq!(run, entries);
                }
            }
        }
        Ok(model)
    }
}
