//! Random operations against a model, with snapshots in between that are written at once, later or on another thread, and restored.

use super::prelude::*;
use std::thread::{Scope, ScopedJoinHandle};

/// Operations between the start and the last snapshot of one walk.
const STEPS: usize = 2500;
/// Steps from one snapshot to the next, on average.
const STEPS_PER_SNAPSHOT: usize = 300;

pub(crate) fn value_states_agree_with_the_model(suite: &Suite) {
    walk(suite, StateKind::Value, 0);
}

pub(crate) fn value_states_of_a_fixed_width_agree_with_the_model(suite: &Suite) {
    walk(suite, StateKind::Value, 8);
    walk(suite, StateKind::Value, 3);
}

pub(crate) fn list_states_agree_with_the_model(suite: &Suite) {
    walk(suite, StateKind::List, 0);
}

pub(crate) fn map_states_agree_with_the_model(suite: &Suite) {
    walk(suite, StateKind::Map, 0);
}

pub(crate) fn sorted_map_states_agree_with_the_model(suite: &Suite) {
    walk(suite, StateKind::SortedMap, 0);
}

/// Two states of one kind beside a value state, for [`STEPS`] operations; then each snapshot is restored as it was, into other ranges, and one
/// of them is walked on from.
fn walk(suite: &Suite, kind: StateKind, width: u32) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = Model::new([
        StateDescriptor::new("first", kind, width),
        StateDescriptor::new("second", kind, width),
        StateDescriptor::new("beside", StateKind::Value, 0),
    ]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    let mut walker = Walker {
        storage: &storage,
        has_slots: suite.capabilities().slots,
        ids,
        random: random.clone(),
    };
    let taken = walker.steps(&mut opened, &mut model, STEPS);
    opened.close();
    assert!(taken.len() >= 2, "a walk takes several snapshots");
    for (number, (model, handles)) in taken.iter().enumerate() {
        let parallelism = [1, 2, 3][number % 3];
        for shape in Shape::all(parallelism) {
            let mut restored = suite.restored(&storage, shape, handles);
            model.check_restored(&mut restored);
            restored.close();
        }
    }

    // On from one of them, in all of three subtasks.
    let (model, handles) = &taken[random.below(taken.len())];
    let mut next_handles = Vec::new();
    let mut next_model = model.clone();
    for state in &mut next_model.states {
        state.cells.clear();
    }
    for shape in Shape::all(3) {
        let mut restored = suite.restored(&storage, shape, handles).counting_from(1_000);
        let mut part = model.within(shape.range());
        walker.ids = part.register(&mut restored);
        for (model, handles) in walker.steps(&mut restored, &mut part, STEPS / 4) {
            let mut again = suite.restored(&storage, shape, &handles);
            model.check_restored(&mut again);
            again.close();
        }
        next_handles.extend(restored.snapshot(&storage));
        restored.close();
        for (whole, part) in next_model.states.iter_mut().zip(part.states) {
            whole.cells.extend(part.cells);
        }
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &next_handles);
    next_model.check_restored(&mut restored);
    restored.close();
}

type Taken = Vec<(Model, Vec<SnapshotHandle>)>;

struct Walker<'s> {
    storage: &'s Storage,
    has_slots: bool,
    ids: Vec<StateId>,
    random: Random,
}

impl<'s> Walker<'s> {
    /// Walks `steps` steps and gives back the snapshots that were completed, each with the model at its moment.
    fn steps(&mut self, opened: &mut Opened, model: &mut Model, steps: usize) -> Taken {
        std::thread::scope(|scope| {
            let mut taken = Taken::new();
            let mut held = Vec::new();
            let mut running = Vec::new();
            for step in 0..steps {
                if step == steps / 2 {
                    taken.push((model.clone(), opened.snapshot(self.storage)));
                }
                if self.random.one_in(STEPS_PER_SNAPSHOT) {
                    self.snapshot(opened, model, scope, &mut taken, &mut held, &mut running);
                }
                self.step(opened, model);
            }
            // One in the middle and one at the end in any case.
            taken.push((model.clone(), opened.snapshot(self.storage)));
            model.check(opened, &self.ids);
            for (model, snapshot) in held {
                let snapshot: super::super::opened::PendingSnapshot = snapshot;
                taken.push((model, snapshot.write(self.storage)));
            }
            for (model, writer) in running {
                let writer: ScopedJoinHandle<'_, Vec<SnapshotHandle>> = writer;
                taken.push((model, writer.join().unwrap()));
            }
            taken
        })
    }

    fn snapshot<'scope>(
        &mut self,
        opened: &mut Opened,
        model: &Model,
        scope: &'scope Scope<'scope, '_>,
        taken: &mut Taken,
        held: &mut Vec<(Model, super::super::opened::PendingSnapshot)>,
        running: &mut Vec<(Model, ScopedJoinHandle<'scope, Vec<SnapshotHandle>>)>,
    ) where
        's: 'scope,
    {
        let snapshot = opened.begin_snapshot_that(!self.random.one_in(4));
        let id = snapshot.checkpoint_id();
        let storage = self.storage;
        match self.random.below(6) {
            0 => held.push((model.clone(), snapshot)),
            1 => running.push((model.clone(), scope.spawn(move || snapshot.write(storage)))),
            2 => drop(snapshot),
            3 => {
                let faults = Faults {
                    fail_at: Some(self.random.word() % 8),
                    ..Faults::default()
                };
                let written = snapshot.write_with(storage, faults);
                assert_eq!(written.result.is_err(), written.fault_was_reached);
                if let Ok(handles) = written.result {
                    taken.push((model.clone(), handles));
                } else {
                    opened.notify(storage, id, CheckpointEvent::Aborted);
                }
            }
            _ => {
                taken.push((model.clone(), snapshot.write(storage)));
                if !self.random.one_in(3) {
                    opened.notify(storage, id, CheckpointEvent::Completed);
                }
            }
        }
    }

    fn step(&mut self, opened: &mut Opened, model: &mut Model) {
        let number = self.random.below(model.states.len());
        let id = self.ids[number];
        let state = &mut model.states[number];
        let (kind, width) = (state.descriptor.kind, state.descriptor.value_width as usize);
        if width > 0 && self.has_slots && self.random.one_in(4) {
            return self.batch(opened, id, width, &mut state.cells);
        }
        let address = self.address(opened, kind);
        match self.random.below(12) {
            0..=4 => {
                let value = self.value(width, kind);
                opened.put(id, &address, &value);
                state.cells.insert(address, value);
            }
            5 | 6 => {
                let was_there = state.cells.remove(&address).is_some();
                assert_eq!(opened.delete(id, &address), was_there, "delete of {address:?}");
            }
            7 => assert_eq!(opened.count(id), state.cells.len() as u64),
            8 | 9 if kind == StateKind::List => {
                let element = self.value(0, kind);
                opened.append(id, &address, &element);
                state.cells.entry(address).or_default().extend(element);
            }
            8 if kind.has_map_keys() && self.random.one_in(5) => {
                let map = address.at(b"");
                let entries = state.entries(&map, b"");
                assert_eq!(opened.clear_map(id, &map), entries.len() as u64);
                for (map_key, _) in entries {
                    state.cells.remove(&map.clone().at(map_key));
                }
            }
            9 if kind == StateKind::SortedMap => {
                let to = self.part();
                let limit = self.random.below(4);
                let mut expected = state.entries(&address, &to);
                if limit > 0 {
                    expected.truncate(limit);
                }
                assert_eq!(opened.scan(id, &address, &to, limit), expected);
            }
            9 if kind == StateKind::Map => {
                let map = address.at(b"");
                let mut found = opened.scan(id, &map, b"", 0);
                found.sort();
                assert_eq!(found, state.entries(&map, b""));
            }
            10 => opened.prefetch(id, &Keys::new([&address])),
            _ => assert_eq!(
                opened.get(id, &address).as_ref(),
                state.cells.get(&address),
                "get of {address:?}"
            ),
        }
    }

    fn batch(
        &mut self,
        opened: &mut Opened,
        id: StateId,
        width: usize,
        cells: &mut BTreeMap<Address, Vec<u8>>,
    ) {
        let addresses: Vec<Address> = (0..self.random.below(40))
            .map(|_| Address {
                namespace: Vec::new(),
                ..self.address(opened, StateKind::Value)
            })
            .collect();
        let random = &mut self.random;
        let keys = Keys::new(&addresses);
        opened.update(id, &keys, width, |index, value| {
            let address = &addresses[index];
            assert_eq!(value.as_ref(), cells.get(address), "the slot of {address:?}");
            if random.one_in(3) {
                cells.remove(address);
            } else {
                cells.insert(address.clone(), random.bytes(width));
            }
            *value = cells.get(address).cloned();
        });
    }

    /// An address in the subtask's groups, out of so few that they are met again and again.
    fn address(&mut self, opened: &Opened, kind: StateKind) -> Address {
        let address = loop {
            let key = self.random.below(60).to_le_bytes();
            let len = [0, 1, 2, 8][self.random.below(4)];
            let address = if kind == StateKind::SortedMap && self.random.one_in(2) {
                let groups = opened.range();
                let offset = self.random.below(groups.len());
                Address::of_group(groups.iter().nth(offset).unwrap().0)
            } else {
                Address::new(&key[..len])
            };
            if opened.range().contains(KeyGroup(address.group)) {
                break address;
            }
        };
        let address = if self.random.one_in(3) {
            address.within(self.part())
        } else {
            address
        };
        if kind.has_map_keys() {
            address.at(self.part())
        } else {
            address
        }
    }

    /// A namespace or map key: short, of few different bytes.
    fn part(&mut self) -> Vec<u8> {
        (0..self.random.below(4))
            .map(|_| [0, 1, b'a', 0xff][self.random.below(4)])
            .collect()
    }

    fn value(&mut self, width: usize, kind: StateKind) -> Vec<u8> {
        let len = match self.random.below(40) {
            _ if width > 0 => width,
            0 => 5_000,
            1 if kind != StateKind::List => 0,
            _ => 1 + self.random.below(40),
        };
        self.random.bytes(len)
    }
}
