//! Canonical snapshots without a backend: what the suite writes and reads by itself, and what two backends make of each other's.

use super::cells::Address;
use super::faults::Faults;
use super::model::{Model, ModelState};
use super::opened::{Opened, Shape};
use super::random::Random;
use super::storage::Storage;
use super::suite::Suite;
use crate::canonical::{CanonicalReader, CanonicalWriter, FORMAT};
use crate::error::BackendResult;
use crate::key_group::{KeyGroup, KeyGroupRange};
use crate::snapshot::SnapshotHandle;
use crate::state::{Entry, StateDescriptor, StateKind};
use std::collections::BTreeMap;

/// States of every kind, with namespaces and codecs, names and keys of any bytes, and one that has no cells. The last two groups have none.
#[must_use]
pub fn sample(random: &mut Random) -> Model {
    let mut states = vec![
        StateDescriptor::new("empty", StateKind::Map, 0),
        StateDescriptor::new("fixed", StateKind::Value, 8),
        StateDescriptor::new("list", StateKind::List, 0),
        StateDescriptor::new("map", StateKind::Map, 0),
        StateDescriptor::new("sorted map", StateKind::SortedMap, 0),
        StateDescriptor::new("value of 100 % \0 \u{fc}", StateKind::Value, 0),
    ];
    for state in &mut states {
        state.codec = format!("codec of {}", state.name).into_bytes().into();
    }
    let mut model = Model::new(states);
    for number in 0..200_u32 {
        let key = match number {
            0 => Vec::new(),
            1 => random.bytes(3000),
            _ => number.to_le_bytes()[..1 + random.below(3)].to_vec(),
        };
        for state in model.states.iter_mut().skip(1) {
            let mut address = Address::new(key.clone());
            if random.one_in(3) {
                address = address.within(random.bytes(3));
            }
            let entries = if state.descriptor.kind.has_map_keys() {
                5
            } else {
                1
            };
            for _ in 0..entries {
                let len = match (number, state.descriptor.value_width) {
                    (_, width @ 1..) => width as usize,
                    (2, _) => 100_000,
                    _ => random.below(40),
                };
                let mut address = address.clone();
                if state.descriptor.kind.has_map_keys() {
                    let map_key = random.below(4);
                    address = address.at(random.bytes(map_key));
                }
                state.cells.insert(address, random.bytes(len));
            }
        }
    }
    for state in &mut model.states {
        state.cells.retain(|address, _| address.group < 14);
    }
    model
}

/// Writes what `model` has in `range` as another backend would, with sections that end at `section_bytes`.
#[track_caller]
pub fn write(
    storage: &Storage,
    range: KeyGroupRange,
    model: &Model,
    section_bytes: u64,
) -> Vec<SnapshotHandle> {
    write_times(storage, range, model, section_bytes, 1)
}

/// The same with each cell twice, which no backend may write.
#[track_caller]
pub(super) fn write_doubled(storage: &Storage, range: KeyGroupRange, model: &Model) -> Vec<SnapshotHandle> {
    write_times(storage, range, model, u64::MAX, 2)
}

#[track_caller]
fn write_times(
    storage: &Storage,
    range: KeyGroupRange,
    model: &Model,
    section_bytes: u64,
    times: usize,
) -> Vec<SnapshotHandle> {
    let (_, streams) = storage.attempt(0, Faults::default());
    let states = model
        .states
        .iter()
        .map(|state| state.descriptor.clone())
        .collect();
    let mut writer = CanonicalWriter::new(&streams, range, states).with_sections_of(section_bytes);
    for group in range.iter() {
        for (number, state) in model.states.iter().enumerate() {
            writer.begin(number, group).unwrap();
            // In no order that a backend could rely on.
            let of_group = state.cells.iter().filter(|(address, _)| address.group == group.0);
            for (address, value) in of_group.rev() {
                let entry = Entry {
                    key: &address.key,
                    namespace: &address.namespace,
                    map_key: &address.map_key,
                    value,
                };
                for _ in 0..times {
                    writer.entry(&entry).unwrap();
                }
            }
            writer.end().unwrap();
        }
    }
    writer.finish().unwrap()
}

/// What canonical snapshots have, each cell once, the states by name.
///
/// # Errors
/// The reader's.
#[track_caller]
pub fn read(storage: &Storage, handles: &[SnapshotHandle]) -> BackendResult<Model> {
    let mut states: BTreeMap<String, ModelState> = BTreeMap::new();
    let files = storage.files();
    for handle in handles {
        let mut reader = CanonicalReader::open(handle, handle.key_groups, &files)?;
        for descriptor in reader.states() {
            let known = states
                .entry(descriptor.name.to_string())
                .or_insert_with(|| ModelState {
                    descriptor: descriptor.clone(),
                    cells: BTreeMap::new(),
                });
            assert_eq!(known.descriptor, *descriptor, "two handles describe a state");
        }
        while let Some(section) = reader.next_section()? {
            let state = states.get_mut(section.descriptor().name.as_str()).unwrap();
            for entry in section.entries() {
                let address = Address {
                    group: section.group().0,
                    key: entry.key.to_vec(),
                    namespace: entry.namespace.to_vec(),
                    map_key: entry.map_key.to_vec(),
                };
                let twice = state.cells.insert(address.clone(), entry.value.to_vec());
                assert!(
                    twice.is_none(),
                    "{address:?} of the state {} comes twice",
                    state.descriptor.name
                );
            }
        }
    }
    Ok(Model {
        states: states.into_values().collect(),
    })
}

/// Requires that `handles` are of the canonical form, and have exactly what `model` has, those of its states too that have no cells.
#[track_caller]
pub fn check_written(storage: &Storage, handles: &[SnapshotHandle], model: &Model) {
    for handle in handles {
        assert_eq!(handle.format, FORMAT, "the form of a canonical snapshot");
    }
    let found = match read(storage, handles) {
        Ok(found) => found,
        Err(error) => panic!("a canonical snapshot cannot be read: {error:?}"),
    };
    let mut expected: Vec<&ModelState> = model.states.iter().collect();
    expected.sort_by(|left, right| left.descriptor.name.cmp(&right.descriptor.name));
    let descriptors = |states: &[&ModelState]| -> Vec<StateDescriptor> {
        states.iter().map(|state| state.descriptor.clone()).collect()
    };
    let states: Vec<&ModelState> = found.states.iter().collect();
    assert_eq!(
        descriptors(&states),
        descriptors(&expected),
        "the states of a canonical snapshot"
    );
    for (found, expected) in states.iter().zip(expected) {
        assert!(
            found.cells == expected.cells,
            "a canonical snapshot has other cells of the state {} than there were: {} for {}",
            found.descriptor.name,
            found.cells.len(),
            expected.cells.len(),
        );
    }
}

/// Restores `handles`, which have exactly what `model` has, into `parallelism` subtasks, and requires that they hold it, each cell once; then changes
/// some of it. Gives canonical snapshots of what they hold then, and that.
#[track_caller]
fn restored_and_changed(
    suite: &Suite,
    storage: &Storage,
    handles: &[SnapshotHandle],
    model: &Model,
    parallelism: u32,
    random: &mut Random,
) -> (Vec<SnapshotHandle>, Model) {
    let mut next = Vec::new();
    let mut changed = model.clone();
    for shape in Shape::all(parallelism) {
        let mut opened = suite.restored(storage, shape, handles).counting_from(50);
        let ids = model.check_restored(&mut opened);
        for (state, id) in changed.states.iter_mut().zip(ids) {
            change(&mut opened, state, id, random);
        }
        next.extend(opened.begin_canonical().write(storage));
        opened.close();
    }
    check_written(storage, &next, &changed);
    (next, changed)
}

/// Deletes a third of the subtask's cells of a state, and puts another value in another third.
#[track_caller]
pub(super) fn change(opened: &mut Opened, state: &mut ModelState, id: crate::StateId, random: &mut Random) {
    let range = opened.range();
    let cells: Vec<Address> = state.cells.keys().cloned().collect();
    for address in cells
        .iter()
        .filter(|address| range.contains(KeyGroup(address.group)))
    {
        match random.below(3) {
            0 => {
                assert!(
                    opened.delete(id, address),
                    "{address:?} was not there to be deleted"
                );
                state.cells.remove(address);
            }
            1 => {
                let len = match state.descriptor.value_width {
                    0 => random.below(40),
                    width => width as usize,
                };
                let value = random.bytes(len);
                opened.put(id, address, &value);
                state.cells.insert(address.clone(), value);
            }
            _ => {}
        }
    }
}

/// Restores canonical snapshots of one backend with the other and back, with changes in between and other parallelisms each time.
///
/// # Panics
/// When either loses, doubles or invents anything.
#[track_caller]
pub fn exchange(one: &Suite, other: &Suite) {
    let storage = one.storage();
    let mut random = one.random();
    let mut model = sample(&mut random);
    let mut handles = write(&storage, Shape::ALONE.range(), &model, 10_000);
    for (suite, parallelism) in [(one, 1), (other, 1), (one, 2), (other, 3), (one, 1)] {
        (handles, model) = restored_and_changed(suite, &storage, &handles, &model, parallelism, &mut random);
    }
    let cells = model.states.iter().map(|state| state.cells.len()).sum::<usize>();
    assert!(cells > 50, "{cells} cells are left");
}
