//! State that expires: a backend may drop what has expired, and nothing else.

use super::prelude::*;
use crate::StateTtl;
use crate::ttl::{ELEMENT_HEADER_BYTES, split_time};

const TTL_MS: u64 = 100;
/// What the clock shows at first.
const BEGIN: u64 = 1_000_000;

/// A cell, and whether the backend may have dropped it.
#[derive(Clone, Debug)]
struct Timed {
    /// The stored bytes.
    value: Vec<u8>,
    /// It had expired when the time was told last, or earlier and was not written since.
    may_go: bool,
    /// The same for so many bytes at the front of a list.
    may_be_trimmed: usize,
}

/// What the states with a TTL should hold.
struct Expiring {
    descriptors: Vec<StateDescriptor>,
    cells: Vec<BTreeMap<Address, Timed>>,
    now: u64,
    /// The latest time that the backend was told, 0 before.
    told: u64,
}

fn element(time: u64, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&len[..], &time.to_le_bytes(), bytes].concat()
}

impl Expiring {
    fn new(ttl: StateTtl) -> Self {
        let state = |name: &str, kind, width| StateDescriptor::new(name, kind, width).with_ttl(ttl);
        let descriptors = vec![
            state("fixed", StateKind::Value, 16),
            state("value", StateKind::Value, 0),
            state("list", StateKind::List, 0),
            state("map", StateKind::Map, 0),
            StateDescriptor::new("for ever", StateKind::Value, 16),
        ];
        Self {
            cells: descriptors.iter().map(|_| BTreeMap::new()).collect(),
            descriptors,
            now: BEGIN,
            told: 0,
        }
    }

    fn register(&self, opened: &mut Opened) -> Vec<StateId> {
        let descriptors = self.descriptors.iter();
        descriptors
            .map(|descriptor| opened.register_as(descriptor))
            .collect()
    }

    /// What of it lies in the key groups of `opened`.
    fn within(&self, opened: &Opened) -> Self {
        let range = opened.range();
        let mut cells = self.cells.clone();
        for state in &mut cells {
            state.retain(|address, _| range.contains(KeyGroup(address.group)));
        }
        Self {
            descriptors: self.descriptors.clone(),
            cells,
            ..*self
        }
    }

    fn ttl(&self, state: usize) -> StateTtl {
        self.descriptors[state].ttl
    }

    /// The bytes of a new value, which begin with the time.
    fn value(&self, state: usize, random: &mut Random) -> Vec<u8> {
        let bytes = match self.descriptors[state].value_width {
            0 => 1 + random.below(40),
            width => width as usize - 8,
        };
        [&self.now.to_le_bytes()[..], &random.bytes(bytes)].concat()
    }

    fn note(&mut self, state: usize, address: Address, value: Vec<u8>) {
        let kind = self.descriptors[state].kind;
        // What had expired when the time was told last may go at any moment, also if the clock has gone back since.
        let timed = Timed {
            may_go: self.ttl(state).has_cell_expired(kind, &value, self.told),
            may_be_trimmed: match kind {
                StateKind::List => self.ttl(state).expired_prefix(&value, self.told),
                _ => 0,
            },
            value,
        };
        self.cells[state].insert(address, timed);
    }

    /// Writes, appends and deletes.
    fn change(&mut self, opened: &mut Opened, ids: &[StateId], random: &mut Random, changes: usize) {
        let range = opened.range();
        for _ in 0..changes {
            let state = random.below(ids.len());
            let kind = self.descriptors[state].kind;
            let key = u32::try_from(random.below(60)).unwrap();
            let mut address = Address::new(key.to_le_bytes());
            if !range.contains(KeyGroup(address.group)) {
                continue;
            }
            if kind == StateKind::Map {
                address = address.at(random.below(5).to_le_bytes());
            }
            if random.one_in(6) {
                let was_there = opened.delete(ids[state], &address);
                let known = self.cells[state].remove(&address);
                match known {
                    Some(timed) => assert!(was_there || timed.may_go, "{address:?} had not expired"),
                    None => assert!(!was_there, "{address:?} came back"),
                }
            } else if kind == StateKind::List && random.one_in(2) {
                let bytes = element(self.now, &random.bytes(3));
                opened.append(ids[state], &address, &bytes);
                // What was there is whatever the backend had left of it.
                let whole = opened
                    .get(ids[state], &address)
                    .expect("what was appended is there");
                let before = self.cells[state].get(&address);
                assert!(whole.ends_with(&bytes));
                let (rest, _) = whole.split_at(whole.len() - bytes.len());
                let fits = match before {
                    Some(before) => before.may_be(rest) || rest.is_empty() && before.may_go,
                    None => rest.is_empty(),
                };
                assert!(
                    fits,
                    "{address:?} was {before:?} and has {rest:?} in front of a new element"
                );
                self.note(state, address, whole);
            } else {
                let value = match kind {
                    StateKind::List => element(self.now, &random.bytes(5)),
                    _ => self.value(state, random),
                };
                opened.put(ids[state], &address, &value);
                self.note(state, address, value);
            }
        }
    }

    /// Updates a batch of keys of the fixed-width state through slots, if there are any.
    fn update_slots(&mut self, opened: &mut Opened, ids: &[StateId], random: &mut Random) {
        let keys = (0..20_u32).map(|_| Address::new(u32::try_from(random.below(60)).unwrap().to_le_bytes()));
        let range = opened.range();
        let addresses: Vec<Address> = keys.filter(|key| range.contains(KeyGroup(key.group))).collect();
        let mut written = BTreeMap::new();
        let cells = &self.cells[0];
        let now = self.now;
        opened.update(ids[0], &Keys::new(&addresses), 16, |index, value| {
            let address = &addresses[index];
            let Some(before) = written.get(address).or(value.as_ref()).cloned() else {
                assert!(
                    cells.get(address).is_none_or(|timed| timed.may_go),
                    "{address:?} had not expired"
                );
                let new = [now.to_le_bytes(), [1; 8]].concat();
                written.insert(address.clone(), new.clone());
                *value = Some(new);
                return;
            };
            if !written.contains_key(address) {
                let known = cells
                    .get(address)
                    .unwrap_or_else(|| panic!("{address:?} came back"));
                assert_eq!(before, known.value, "{address:?}");
            }
            let new = [&now.to_le_bytes()[..], &before[8..]].concat();
            written.insert(address.clone(), new.clone());
            *value = Some(new);
        });
        for (address, value) in written {
            self.note(0, address, value);
        }
    }

    /// Tells the time, and lets the backend look at `cells` of each state.
    fn tell(&mut self, opened: &mut Opened, ids: &[StateId], cells: u64) {
        self.told = self.now;
        for (state, id) in ids.iter().enumerate() {
            if !self.ttl(state).is_none() {
                opened.clean_up(*id, self.now, cells);
            }
        }
        for (descriptor, cells) in self.descriptors.iter().zip(&mut self.cells) {
            for timed in cells.values_mut() {
                timed.may_go |= descriptor
                    .ttl
                    .has_cell_expired(descriptor.kind, &timed.value, self.now);
                if descriptor.kind == StateKind::List {
                    let trimmed = descriptor.ttl.expired_prefix(&timed.value, self.now);
                    timed.may_be_trimmed = timed.may_be_trimmed.max(trimmed);
                }
            }
        }
    }

    /// The backend has what has not expired, perhaps what has, and nothing else; and all calls say the same.
    #[track_caller]
    fn check(&self, opened: &mut Opened, ids: &[StateId]) {
        let groups = opened.range();
        for (state, id) in ids.iter().enumerate() {
            let name = &self.descriptors[state].name;
            let visited: Vec<_> = groups.iter().flat_map(|group| opened.visit(*id, group)).collect();
            let count = opened.count(*id);
            let mut seen = BTreeMap::new();
            for (address, value) in &visited {
                let known = self.cells[state].get(address);
                let known = known.unwrap_or_else(|| panic!("{name}: {address:?} came back"));
                assert!(
                    known.may_be(value),
                    "{name}: {address:?} is {value:?}, expected {known:?}"
                );
                assert!(
                    seen.insert(address.clone(), value).is_none(),
                    "{name}: {address:?} twice"
                );
            }
            for (address, timed) in &self.cells[state] {
                let found = opened.get(*id, address);
                assert!(
                    found.is_some() || timed.may_go,
                    "{name}: {address:?} had not expired and is gone"
                );
                // What is dropped in the background may go between two calls, and does not come back.
                assert!(
                    found.is_none() || seen.contains_key(address),
                    "{name}: {address:?}"
                );
                assert!(
                    timed.may_go || seen.contains_key(address),
                    "{name}: {address:?} was not visited"
                );
            }
            let after: usize = groups.iter().map(|group| opened.visit(*id, group).len()).sum();
            assert!(
                (after as u64..=visited.len() as u64).contains(&count),
                "{name}: {count} cells were counted, {} visited before and {after} after",
                visited.len()
            );
            if self.descriptors[state].kind == StateKind::Map {
                self.check_maps(opened, *id, state);
            }
        }
    }

    fn check_maps(&self, opened: &mut Opened, id: StateId, state: usize) {
        let maps: BTreeMap<_, _> = self.cells[state]
            .keys()
            .map(|address| (address.clone().at(b""), ()))
            .collect();
        for map in maps.into_keys() {
            let entries: BTreeMap<_, _> = opened.scan(id, &map, b"", 0).into_iter().collect();
            for (address, timed) in &self.cells[state] {
                if address.clone().at(b"") != map {
                    continue;
                }
                match entries.get(&address.map_key) {
                    Some(value) => assert_eq!(value, &timed.value),
                    None => assert!(timed.may_go, "{address:?} had not expired and was not scanned"),
                }
            }
        }
    }
}

impl Timed {
    /// Whether `value` is what may be left of it.
    fn may_be(&self, value: &[u8]) -> bool {
        let Some(trimmed) = self.value.len().checked_sub(value.len()) else {
            return false;
        };
        let is_boundary = || {
            let mut at = 0;
            while at < trimmed {
                let len = self.value[at..]
                    .first_chunk::<4>()
                    .map_or(0, |len| u32::from_le_bytes(*len));
                at += ELEMENT_HEADER_BYTES + len as usize;
            }
            at == trimmed
        };
        trimmed == 0 && value == self.value
            || trimmed <= self.may_be_trimmed
                && !value.is_empty()
                && self.value.ends_with(value)
                && is_boundary()
    }
}

/// Everything that the walks do, with cleanup as `ttl` says.
fn walk(suite: &Suite, ttl: StateTtl, parallelisms: &[u32]) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut whole = Expiring::new(ttl);
    let mut handles: Vec<SnapshotHandle> = Vec::new();
    let mut checkpoint = 1;
    for parallelism in parallelisms {
        let mut next = Expiring::new(ttl);
        let mut next_handles = Vec::new();
        for shape in Shape::all(*parallelism) {
            let mut opened = suite
                .restored(&storage, shape, &handles)
                .counting_from(checkpoint);
            let mut model = whole.within(&opened);
            // What was told to those before counts no more, but what they dropped is gone.
            model.told = 0;
            let ids = model.register(&mut opened);
            model.check(&mut opened, &ids);
            let mut last = Vec::new();
            for round in 0..4 {
                model.change(&mut opened, &ids, &mut random, 60);
                if suite.capabilities().slots {
                    model.update_slots(&mut opened, &ids, &mut random);
                }
                let step = random.below(70) as u64;
                // The clock goes back now and then.
                model.now = if random.one_in(5) {
                    model.now - step
                } else {
                    model.now + step
                };
                let cells = [0, 3, 1000][random.below(3)];
                model.tell(&mut opened, &ids, cells);
                model.check(&mut opened, &ids);
                let snapshot = opened.begin_snapshot_that(round != 2);
                let id = snapshot.checkpoint_id();
                last = snapshot.write(&storage);
                opened.notify(&storage, id, CheckpointEvent::Completed);
                model.check(&mut opened, &ids);
            }
            opened.close();
            next_handles.extend(last);
            next.now = next.now.max(model.now);
            for (next, part) in next.cells.iter_mut().zip(model.cells) {
                next.extend(part);
            }
        }
        checkpoint += 4;
        (whole, handles) = (next, next_handles);
        storage.keep_only(&handles.iter().collect::<Vec<_>>());
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let ids = whole.register(&mut restored);
    whole.check(&mut restored, &ids);
    restored.close();
}

pub(crate) fn what_has_not_expired_stays_whatever_is_cleaned_up(suite: &Suite) {
    let every_cleanup = StateTtl {
        ttl_ms: TTL_MS,
        in_snapshots: true,
        in_compactions: true,
        entries_per_look: 1,
    };
    walk(suite, every_cleanup, &[1, 1, 2, 3, 1]);
}

pub(crate) fn what_has_not_expired_stays_where_no_cleanup_is_asked_for(suite: &Suite) {
    walk(suite, StateTtl::of_ms(TTL_MS), &[1, 2, 1]);
}

pub(crate) fn nothing_is_dropped_before_the_time_was_told(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = Expiring::new(StateTtl {
        ttl_ms: 1,
        in_snapshots: true,
        in_compactions: true,
        entries_per_look: 1,
    });
    // Long ago by any clock but the one that nobody has looked at.
    model.now = 1;
    let mut handles = Vec::new();
    for _ in 0..3 {
        let mut opened = suite.restored(&storage, Shape::ALONE, &handles);
        let ids = model.register(&mut opened);
        model.check(&mut opened, &ids);
        model.change(&mut opened, &ids, &mut random, 150);
        handles = opened.snapshot(&storage);
        model.check(&mut opened, &ids);
        opened.close();
    }
    assert!(
        model
            .cells
            .iter()
            .flat_map(BTreeMap::values)
            .all(|timed| !timed.may_go)
    );
}

pub(crate) fn a_state_that_is_restored_and_not_registered_does_not_expire(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = Expiring::new(StateTtl {
        ttl_ms: 1,
        in_snapshots: true,
        in_compactions: true,
        entries_per_look: 1,
    });
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    model.change(&mut opened, &ids, &mut random, 300);
    let handles = opened.snapshot(&storage);
    opened.close();
    // One of them tells the time, which is not that of the others.
    let mut opened = suite.restored(&storage, Shape::ALONE, &handles);
    let first = opened.register_as(&model.descriptors[0]);
    opened.clean_up(first, u64::MAX, u64::MAX);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut opened = suite.restored(&storage, Shape::ALONE, &handles);
    let ids = model.register(&mut opened);
    for timed in model.cells[0].values_mut() {
        timed.may_go = true;
    }
    model.check(&mut opened, &ids);
    opened.close();
}

pub(crate) fn bytes_without_a_time_are_never_taken_for_expired(suite: &Suite) {
    let storage = suite.storage();
    let ttl = StateTtl {
        ttl_ms: 1,
        in_snapshots: true,
        in_compactions: true,
        entries_per_look: 1,
    };
    let state = |name: &str, kind| StateDescriptor::new(name, kind, 0).with_ttl(ttl);
    let states = [
        state("value", StateKind::Value),
        state("map", StateKind::Map),
        state("list", StateKind::List),
    ];
    // Too short for a time, and for elements of a list a length that is not there.
    let bytes = [&[0_u8; 7][..], &[0; 7], &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]];
    assert!(split_time(bytes[0]).is_none());
    let address = Address::new(b"key");
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    for (state, bytes) in states.iter().zip(bytes) {
        let id = opened.register_as(state);
        opened.put(id, &address, bytes);
        opened.clean_up(id, u64::MAX, u64::MAX);
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut opened = suite.restored(&storage, Shape::ALONE, &handles);
    for (state, bytes) in states.iter().zip(bytes) {
        let id = opened.register_as(state);
        opened.clean_up(id, u64::MAX, u64::MAX);
        assert_eq!(opened.get(id, &address).as_deref(), Some(bytes), "{}", state.name);
    }
    opened.close();
}
