//! Random operations on every kind over a database, against a `BTreeMap`, with snapshots that the database takes over or not, and evictions
//! at any moment.

use super::cached::{Cached, Pending, encoded_bytes};
use super::database::Address;
use crate::model::{bytes, value};
use crate::support::{Columns, Content, all_groups, cell};
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{EntryBuffer, KeyedState, Slot, StateKind};
use millpond_backend_memory::table::PAGE_BYTES;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq, proptest};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

/// The number of a key, of a namespace and of a map key.
type At = (u8, u8, u8);

#[derive(Clone, Debug)]
enum Op {
    Get(At),
    Put(At, Vec<u8>),
    Append(At, Vec<u8>),
    Delete(At),
    Clear(At),
    /// From the map key to this one, and how many.
    Scan(At, u8, usize),
    Visit,
    /// Keys, and what becomes of their values; whether an eviction is tried while the slots are out.
    Batch(Vec<(u8, Slots)>, bool),
    Prefetch(Vec<u8>),
    /// The database is away during a get, a put, a delete and a batch.
    Away(At, Vec<u8>),
    Freeze,
    /// The database takes over the oldest snapshot.
    Ingest,
    /// The tables learn what the database has.
    Tell,
    /// The oldest snapshot comes to nothing.
    Abort,
    /// A group, or all of them; and how many epochs younger than those that could be evicted are spared.
    Evict(Option<u8>, u32),
}

#[derive(Clone, Copy, Debug)]
enum Slots {
    Leave,
    Write(u8),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let at = (0..6_u8, 0..3_u8, 0..12_u8);
    let slots = prop_oneof![
        2 => Just(Slots::Leave),
        2 => any::<u8>().prop_map(Slots::Write),
        1 => Just(Slots::Clear),
    ];
    prop_oneof![
        8 => at.clone().prop_map(Op::Get),
        8 => (at.clone(), value()).prop_map(|(at, value)| Op::Put(at, value)),
        3 => (at.clone(), value()).prop_map(|(at, value)| Op::Append(at, value)),
        5 => at.clone().prop_map(Op::Delete),
        1 => at.clone().prop_map(Op::Clear),
        2 => (at.clone(), 0..12_u8, 0..4_usize).prop_map(|(at, to, limit)| Op::Scan(at, to, limit)),
        1 => Just(Op::Visit),
        4 => (vec((0..6_u8, slots), 1..10), any::<bool>()).prop_map(|(keys, evict)| Op::Batch(keys, evict)),
        2 => vec(0..6_u8, 1..10).prop_map(Op::Prefetch),
        1 => (at, vec(0..6_u8, 1..6)).prop_map(|(at, keys)| Op::Away(at, keys)),
        3 => Just(Op::Freeze),
        3 => Just(Op::Ingest),
        3 => Just(Op::Tell),
        1 => Just(Op::Abort),
        6 => (proptest::option::of(0..16_u8), 0..3_u32).prop_map(|(group, spared)| Op::Evict(group, spared)),
    ]
}

/// The state, and what it should be.
struct Run {
    cached: Cached,
    model: Content,
    /// The epoch in which an address was last written, deleted, or given out as a slot.
    touched: BTreeMap<Address, u32>,
    epoch: u32,
    pending: VecDeque<(Pending, Content)>,
}

impl Run {
    fn kind(&self) -> StateKind {
        self.cached.descriptor.kind
    }

    fn width(&self) -> u32 {
        self.cached.descriptor.value_width
    }

    fn address(&self, (k, n, m): At) -> Address {
        let map_key = if self.kind().has_map_keys() {
            bytes(m)
        } else {
            Vec::new()
        };
        (bytes(k), bytes(n), map_key)
    }

    fn touch(&mut self, address: &Address) {
        self.touched.insert(address.clone(), self.epoch);
    }

    fn get(&mut self, address: &Address) -> Result<(), TestCaseError> {
        let (k, n, m) = address;
        let found = self.cached.get(&cell(k).with_namespace(n).with_map_key(m));
        prop_assert_eq!(found.as_ref(), self.model.get(address));
        Ok(())
    }

    fn put(&mut self, address: &Address, mut value: Vec<u8>) {
        if self.width() > 0 {
            value.resize(self.width() as usize, 1);
        }
        let (k, n, m) = address;
        let at = cell(k).with_namespace(n).with_map_key(m);
        self.cached.keyed.put(self.cached.state, &at, &value).unwrap();
        self.model.insert(address.clone(), value);
        self.touch(address);
    }

    fn append(&mut self, address: &Address, element: &[u8]) {
        let (k, n, _) = address;
        let at = cell(k).with_namespace(n);
        self.cached.keyed.append(self.cached.state, &at, element).unwrap();
        self.model
            .entry(address.clone())
            .or_default()
            .extend_from_slice(element);
        self.touch(address);
    }

    fn delete(&mut self, address: &Address) -> Result<(), TestCaseError> {
        let (k, n, m) = address;
        let at = cell(k).with_namespace(n).with_map_key(m);
        let was_there = self.cached.keyed.delete(self.cached.state, &at).unwrap();
        prop_assert_eq!(self.model.remove(address).is_some(), was_there);
        if was_there {
            self.touch(address);
        }
        Ok(())
    }

    fn clear(&mut self, (k, n, _): &Address) -> Result<(), TestCaseError> {
        let at = cell(k).with_namespace(n);
        let cleared = self.cached.keyed.clear_map(self.cached.state, &at).unwrap();
        let map = |address: &Address| (&address.0, &address.1) == (k, n);
        let gone: Vec<Address> = self
            .model
            .keys()
            .filter(|address| map(address))
            .cloned()
            .collect();
        prop_assert_eq!(gone.len() as u64, cleared);
        for address in gone {
            self.model.remove(&address);
            self.touch(&address);
        }
        Ok(())
    }

    fn scan(&mut self, (k, n, from): &Address, to: &[u8], limit: usize) -> Result<(), TestCaseError> {
        let mut found = EntryBuffer::new();
        let at = cell(k).with_namespace(n).with_map_key(from);
        self.cached
            .keyed
            .scan(self.cached.state, &at, to, limit, &mut found)
            .unwrap();
        let mut found: Vec<(&[u8], &[u8])> = found.iter().map(|entry| (entry.map_key, entry.value)).collect();
        let sorted = self.kind() == StateKind::SortedMap;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let expected = self.model.iter().filter(|((key, namespace, map_key), _)| {
            (key, namespace) == (k, n)
                && (!sorted || (map_key >= from && (to.is_empty() || &map_key[..] < to)))
        });
        let expected = expected.map(|((_, _, map_key), value)| (&map_key[..], &value[..]));
        if sorted {
            prop_assert_eq!(found, expected.take(limit).collect::<Vec<_>>());
        } else {
            let expected: Vec<_> = expected.collect();
            prop_assert_eq!(found.len(), expected.len().min(limit));
            prop_assert!(found.iter().all(|entry| expected.contains(entry)));
            found.sort_unstable();
            found.dedup_by_key(|(map_key, _)| *map_key);
            prop_assert_eq!(found.len(), expected.len().min(limit));
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "plays the engine, which accesses slots")]
    fn batch(&mut self, keys: &[(u8, Slots)], evict: bool) -> Result<(), TestCaseError> {
        let width = self.width() as usize;
        let addresses: Vec<Address> = keys.iter().map(|(key, _)| self.address((*key, 0, 0))).collect();
        let columns = Columns::of_keys(&addresses.iter().map(|(key, _, _)| key).collect::<Vec<_>>());
        let mut slots = vec![Slot::NULL; keys.len()];
        let absent = self
            .cached
            .keyed
            .slots(self.cached.state, &columns.batch(), &mut slots)
            .unwrap();
        let mut missing: Vec<_> = addresses
            .iter()
            .filter(|address| !self.model.contains_key(*address))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        prop_assert_eq!(absent, missing.len() as u64);
        if evict {
            prop_assert_eq!(self.cached.evict(), 0);
        }
        for (((_, what), address), slot) in keys.iter().zip(&addresses).zip(&slots) {
            // SAFETY: a slot of this batch, which is not ended; nothing else refers to it.
            let value = unsafe { slot.value(width) };
            // SAFETY: as above.
            let is_present = unsafe { slot.is_present() };
            prop_assert_eq!(
                is_present.then_some(&value[..]),
                self.model.get(address).map(Vec::as_slice)
            );
            match what {
                Slots::Leave => {}
                Slots::Write(byte) => {
                    value.fill(*byte);
                    self.model.insert(address.clone(), vec![*byte; width]);
                }
                Slots::Clear => {
                    self.model.remove(address);
                }
            }
            // SAFETY: as above.
            unsafe { slot.set_present(self.model.contains_key(address)) };
            self.touched.insert(address.clone(), self.epoch);
        }
        let any_absent = addresses.iter().any(|address| !self.model.contains_key(address));
        self.cached
            .keyed
            .end_batch(self.cached.state, &columns.batch(), &slots, any_absent)
            .unwrap();
        Ok(())
    }

    /// Every call fails or does what it should, and one that fails changes nothing.
    fn away(&mut self, address: &Address, keys: &[u8]) -> Result<(), TestCaseError> {
        self.cached.database.fails.store(true, Ordering::Relaxed);
        let (state, keyed) = (self.cached.state, &mut self.cached.keyed);
        let (k, n, m) = address;
        let at = cell(k).with_namespace(n).with_map_key(m);
        if let Ok(found) = keyed.get(state, &at) {
            prop_assert_eq!(found, self.model.get(address).map(Vec::as_slice));
        }
        if let Ok(was_there) = keyed.delete(state, &at) {
            prop_assert_eq!(self.model.remove(address).is_some(), was_there);
            self.touched.insert(address.clone(), self.epoch);
        }
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| bytes(*key)).collect();
        let columns = Columns::of_keys(&keys);
        keyed.prefetch(state, &columns.batch());
        if self.cached.descriptor.value_width > 0 {
            let mut slots = vec![Slot::NULL; keys.len()];
            let found = keyed.slots(state, &columns.batch(), &mut slots);
            // What was given out, or would have been, counts as changed.
            for key in &keys {
                let address = (key.clone(), Vec::new(), Vec::new());
                self.touched.insert(address, self.epoch);
            }
            if found.is_ok() {
                keyed.end_batch(state, &columns.batch(), &slots, true).unwrap();
            }
        }
        self.cached.database.fails.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn freeze(&mut self) -> Result<(), TestCaseError> {
        let pending = self.cached.freeze();
        prop_assert_eq!(pending.to, self.epoch);
        self.epoch += 1;
        let counted: u64 = pending
            .state
            .counters
            .iter()
            .map(|group| group.encoded_bytes)
            .sum();
        let shape = EntryShape::of(&self.cached.descriptor);
        if !self.cached.with_kind(|kind| kind.is_estimated()) {
            prop_assert_eq!(counted, encoded_bytes(shape, &self.model));
        }
        self.pending.push_back((pending, self.model.clone()));
        Ok(())
    }

    /// An increment has what was touched since the last one and no more, and the database is then as the state was.
    fn ingest(&mut self) -> Result<(), TestCaseError> {
        if let Some((pending, expected)) = self.pending.pop_front() {
            let since = self.cached.ingested;
            for address in self.cached.ingest(&pending) {
                prop_assert!(self.touched.get(&address).is_some_and(|epoch| *epoch > since));
            }
            prop_assert_eq!(self.cached.database.content(), expected);
        }
        Ok(())
    }

    fn evict(&mut self, group: Option<u8>, spared: u32) {
        self.cached.with_kind(move |kind| {
            // Without any that are spared, what is not clean has to be.
            let below = kind.deletions_mut().below;
            let Some(up_to) = below.checked_sub(spared) else {
                return;
            };
            let up_to = if spared == 0 { u32::MAX } else { up_to };
            for index in all_groups().iter().map(|group| group.index()) {
                if group.is_none_or(|group| usize::from(group) == index) {
                    let before = kind.group_bytes(index);
                    let given_back = kind.evict(index, up_to);
                    // What is kept may fill its pages less well than before.
                    let grown = if given_back == 0 { PAGE_BYTES } else { 0 };
                    let after = kind.group_bytes(index);
                    assert!((before - given_back..=before - given_back + grown).contains(&after));
                }
            }
        });
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let kind = self.kind();
        match op {
            Op::Get(at) => self.get(&self.address(*at))?,
            Op::Put(at, value) => self.put(&self.address(*at), value.clone()),
            Op::Append(at, element) if kind == StateKind::List => self.append(&self.address(*at), element),
            Op::Delete(at) => self.delete(&self.address(*at))?,
            Op::Clear(at) if kind.has_map_keys() => self.clear(&self.address(*at))?,
            Op::Scan(at, to, limit) if kind.has_map_keys() => {
                self.scan(&self.address(*at), &bytes(*to), *limit)?;
            }
            Op::Visit => prop_assert_eq!(&self.cached.content(), &self.model),
            Op::Batch(keys, evict) if self.width() > 0 => self.batch(keys, *evict)?,
            Op::Prefetch(keys) => {
                let keys: Vec<Vec<u8>> = keys.iter().map(|key| bytes(*key)).collect();
                self.cached.prefetch(&keys);
            }
            Op::Away(at, keys) => self.away(&self.address(*at), keys)?,
            Op::Freeze => self.freeze()?,
            Op::Ingest => self.ingest()?,
            Op::Tell => self.cached.tell(),
            Op::Abort => drop(self.pending.pop_front()),
            Op::Evict(group, spared) => self.evict(*group, *spared),
            Op::Append(..) | Op::Clear(..) | Op::Scan(..) | Op::Batch(..) => {}
        }
        // Some are counted anew for that, which makes good what went wrong.
        let is_counted = !matches!(kind, StateKind::List | StateKind::SortedMap);
        if is_counted || matches!(op, Op::Visit) {
            let len = self.cached.keyed.len(self.cached.state).unwrap();
            prop_assert_eq!(len, self.model.len() as u64);
        }
        Ok(())
    }
}

fn check(kind: StateKind, width: u32, restored: bool, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut model = Content::new();
    for number in (0..60_u8).filter(|_| restored) {
        let map_key = if kind.has_map_keys() {
            bytes(number % 12)
        } else {
            Vec::new()
        };
        let len = if width > 0 {
            width as usize
        } else {
            usize::from(number)
        };
        let address = (bytes(number % 5), bytes(number % 2), map_key);
        model.insert(address, vec![number; len]);
    }
    let mut run = Run {
        cached: Cached::new(kind, width, &model),
        model,
        touched: BTreeMap::new(),
        epoch: 1,
        pending: VecDeque::new(),
    };
    for op in ops {
        run.step(op)?;
    }
    // What was not taken over is in the last one; then nothing has to stay in memory.
    run.freeze()?;
    while !run.pending.is_empty() {
        run.ingest()?;
    }
    run.cached.tell();
    run.evict(None, 0);
    let empty = Cached::new(kind, width, &Content::new()).bytes();
    prop_assert_eq!(run.cached.bytes(), empty);
    run.step(&Op::Visit)?;
    Ok(())
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 60, ..Default::default() })]

    #[test]
    fn values_of_fixed_width_over_a_database_agree_with_the_model(restored: bool, ops in vec(op(), 1..120)) {
        check(StateKind::Value, 8, restored, &ops)?;
        check(StateKind::Value, 13, restored, &ops)?;
    }

    #[test]
    fn values_of_varying_width_over_a_database_agree_with_the_model(restored: bool, ops in vec(op(), 1..120)) {
        check(StateKind::Value, 0, restored, &ops)?;
    }

    #[test]
    fn lists_over_a_database_agree_with_the_model(restored: bool, ops in vec(op(), 1..120)) {
        check(StateKind::List, 0, restored, &ops)?;
    }

    #[test]
    fn maps_over_a_database_agree_with_the_model(restored: bool, ops in vec(op(), 1..120)) {
        check(StateKind::Map, 0, restored, &ops)?;
    }

    #[test]
    fn sorted_maps_over_a_database_agree_with_the_model(restored: bool, ops in vec(op(), 1..120)) {
        check(StateKind::SortedMap, 0, restored, &ops)?;
    }
}
