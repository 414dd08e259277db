//! What compactions drop, and what tables over the database make of it.

use super::*;
use crate::below::StateBelow;
use crate::database::{Database, Setup};
use crate::folder::Folder;
use crate::options::{Memory, Options};
use crate::store::{Part, Store};
use millpond_backend_api::{BackendConfig, Cell, KeyGroup, KeyGroupRange, key_hash};
use millpond_backend_memory::Tables;
use millpond_backend_memory::kinds::KindState;

const RANGE: KeyGroupRange = KeyGroupRange {
    first: KeyGroup(0),
    last: KeyGroup(3),
};
const NOW: u64 = 1_000_000;
const TTL: StateTtl = StateTtl {
    ttl_ms: 1000,
    in_snapshots: false,
    in_compactions: true,
    entries_per_look: 7,
};
const OLD: u64 = NOW - 1000;
const YOUNG: u64 = NOW - 999;

/// Tables over a database, as a subtask has them.
struct Subtask {
    tables: Tables,
    store: Arc<Store>,
    expiries: Arc<Expiries>,
    states: Vec<StateDescriptor>,
    _folder: tempfile::TempDir,
}

fn names() -> Vec<StateDescriptor> {
    let state = |name: &str, kind, width| StateDescriptor::new(name, kind, width);
    vec![
        state("fixed", StateKind::Value, 12).with_ttl(TTL),
        state("map", StateKind::Map, 0).with_ttl(TTL),
        state("list", StateKind::List, 0).with_ttl(TTL),
        state("not in compactions", StateKind::Value, 0).with_ttl(StateTtl {
            in_compactions: false,
            ..TTL
        }),
        state("for ever", StateKind::Value, 0),
    ]
}

fn key(number: u32) -> ([u8; 4], usize) {
    (number.to_le_bytes(), number as usize % RANGE.len())
}

fn bytes(state: &StateDescriptor, time: u64, value: u32) -> Vec<u8> {
    let timed = [&time.to_le_bytes()[..], &value.to_le_bytes()].concat();
    match state.kind {
        StateKind::List => [&4_u32.to_le_bytes()[..], &timed].concat(),
        _ => timed,
    }
}

impl Subtask {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let options = Options::read(&BackendConfig::default()).unwrap();
        let setup = Setup {
            memory: Memory::of(&options.memory),
            options: Arc::new(options),
            expiries: Arc::default(),
        };
        let folder = Folder::make(temporary.path().join("store")).unwrap();
        let database = Folder::make(folder.path().join("db-0")).unwrap();
        let part = Part {
            number: 0,
            renamed: crate::upload::Renamed::new(),
            groups: RANGE,
            database: Database::open(database, crate::origins::Origins::default(), &setup).unwrap(),
        };
        let mut tables = Tables::for_increments(RANGE);
        let states = names();
        for state in &states {
            tables.kind_of(state).unwrap();
        }
        Self {
            tables,
            store: Arc::new(Store::new(RANGE, vec![part], folder)),
            expiries: setup.expiries,
            states,
            _folder: temporary,
        }
    }

    fn put(&mut self, state: usize, number: u32, time: u64, value: u32) {
        let state = &self.states[state];
        let (key, group) = key(number);
        let number = KeyGroup(u16::try_from(group).unwrap());
        let cell = Cell::of_key(key_hash(&key), number, &key).with_map_key(b"m");
        let value = bytes(state, time, value);
        match self.tables.kind_of(state).unwrap() {
            KindState::Value(kind) => kind.put(group, &cell, &value).unwrap(),
            KindState::Map(kind) => kind.put(group, &cell, &value).unwrap(),
            KindState::Sorted(_) => panic!("none is sorted"),
        }
    }

    fn get(&mut self, state: usize, number: u32) -> Option<Vec<u8>> {
        let (key, group) = key(number);
        let number = KeyGroup(u16::try_from(group).unwrap());
        let cell = Cell::of_key(key_hash(&key), number, &key).with_map_key(b"m");
        let found = match self.tables.kind_of(&self.states[state]).unwrap() {
            KindState::Value(kind) => kind.get(group, &cell).unwrap(),
            KindState::Map(kind) => kind.get(group, &cell).unwrap(),
            KindState::Sorted(_) => panic!("none is sorted"),
        };
        found.map(<[u8]>::to_vec)
    }

    /// Brings all changes into the database, and drops what is clean of the tables of `groups`.
    fn bring_in(&mut self, groups: std::ops::Range<usize>) {
        for (descriptor, kind) in self.tables.iter_mut() {
            if kind.lower().is_none() {
                let below = StateBelow::new(Arc::clone(&self.store), descriptor.name.as_str());
                kind.replace_lower(Some(Arc::new(below)));
            }
        }
        let to = self.tables.epoch();
        let states = self.tables.freeze().unwrap();
        let frozen = self.store.wait_for(to, states, false);
        self.store.bring_in(&frozen, &|| Ok(())).unwrap();
        for (_, kind) in self.tables.iter_mut() {
            kind.deletions_mut().below = self.store.below();
            for group in groups.clone() {
                kind.evict(group, to);
            }
        }
    }

    fn compact(&self) {
        for state in &self.states {
            let parts = self.store.parts();
            parts.of(KeyGroup(0)).unwrap().database.compact(&state.name);
        }
    }

    fn tell(&self, now: u64) {
        for state in &self.states {
            self.expiries.tell(state, now, 3);
        }
    }

    /// The numbers of keys that are in the database itself.
    fn in_database(&self, state: usize) -> Vec<u32> {
        let mut found = Vec::new();
        let parts = self.store.parts();
        let database = &parts.of(KeyGroup(0)).unwrap().database;
        database
            .scan(&self.states[state].name, &[], false, |name, value| {
                let entry = crate::keys::entry_of(name, value).unwrap();
                found.push(u32::from_le_bytes(entry.key.try_into().unwrap()));
                Ok(())
            })
            .unwrap();
        found.sort_unstable();
        found
    }

    /// How many cells are counted, and how many there are.
    fn counted(&mut self, state: usize) -> (u64, u64) {
        let kind = self.tables.kind_of(&self.states[state]).unwrap();
        let mut visited = 0;
        for group in RANGE.iter() {
            kind.visit(group, |_| visited += 1).unwrap();
        }
        (kind.cells(), visited)
    }
}

/// Keys of which every third is old.
const KEYS: u32 = 300;

fn time_of(number: u32) -> u64 {
    if number.is_multiple_of(3) { OLD } else { YOUNG }
}

fn filled() -> Subtask {
    let mut subtask = Subtask::new();
    for state in 0..subtask.states.len() {
        for number in 0..KEYS {
            subtask.put(state, number, time_of(number), number);
        }
    }
    subtask
}

#[test]
fn a_compaction_drops_what_has_expired_of_the_states_that_want_it_and_nothing_else() {
    let mut subtask = filled();
    subtask.bring_in(0..4);
    let all: Vec<u32> = (0..KEYS).collect();
    let young: Vec<u32> = (0..KEYS).filter(|number| time_of(*number) == YOUNG).collect();
    // Nobody has told the time.
    subtask.compact();
    for state in 0..5 {
        assert_eq!(subtask.in_database(state), all, "{}", subtask.states[state].name);
    }
    subtask.tell(NOW - 1);
    subtask.compact();
    assert_eq!(subtask.in_database(0), all, "a millisecond too early");
    subtask.tell(NOW);
    subtask.compact();
    for (state, expected) in [(0, &young), (1, &young), (2, &young), (3, &all), (4, &all)] {
        assert_eq!(
            &subtask.in_database(state),
            expected,
            "{}",
            subtask.states[state].name
        );
    }
    assert_eq!(subtask.expiries.dropped(), 3 * u64::from(KEYS) / 3);
    for state in 0..5 {
        for number in 0..KEYS {
            let is_there = state >= 3 || time_of(number) == YOUNG;
            let expected = bytes(&subtask.states[state], time_of(number), number);
            assert_eq!(subtask.get(state, number), is_there.then_some(expected));
        }
    }
}

#[test]
fn tables_over_a_database_that_drops_cells_find_all_others_and_count_none_too_few() {
    let mut subtask = filled();
    // Groups 0 and 1 lie only below, 2 and 3 also in the tables.
    subtask.bring_in(0..2);
    // Of the old ones some are written again, in tables and over what lies below: these are no copies any more.
    let is_written_again = |number: u32| number.is_multiple_of(6);
    for state in 0..3 {
        for number in (0..KEYS).filter(|number| is_written_again(*number)) {
            subtask.put(state, number, YOUNG, number + 1000);
        }
    }
    subtask.tell(NOW);
    subtask.compact();
    let check = |subtask: &mut Subtask| {
        for state in 0..3 {
            for number in 0..KEYS {
                let expected = match (is_written_again(number), time_of(number)) {
                    (true, _) => Some(bytes(&subtask.states[state], YOUNG, number + 1000)),
                    (false, YOUNG) => Some(bytes(&subtask.states[state], YOUNG, number)),
                    // Gone, or a copy that is still in the tables.
                    (false, _) => {
                        let old = bytes(&subtask.states[state], OLD, number);
                        assert!(subtask.get(state, number).is_none_or(|found| found == old));
                        continue;
                    }
                };
                assert_eq!(
                    subtask.get(state, number),
                    expected,
                    "state {state}, key {number}"
                );
            }
            let (counted, visited) = subtask.counted(state);
            assert!(counted >= visited, "{counted} were counted, {visited} visited");
        }
    };
    check(&mut subtask);
    // The changes go below, and all that is clean out of the tables.
    subtask.bring_in(0..4);
    subtask.compact();
    check(&mut subtask);
    // What was dropped comes again, and is dropped again: each round counts it once more.
    for round in 0..3 {
        for number in (3..KEYS).step_by(6) {
            subtask.put(0, number, OLD, round);
        }
        subtask.bring_in(0..4);
        subtask.compact();
        check(&mut subtask);
    }
    let (counted, visited) = subtask.counted(0);
    assert!(counted > visited, "nothing was dropped");
    for state in 0..3 {
        subtask
            .tables
            .kind_of(&names()[state])
            .unwrap()
            .recount()
            .unwrap();
        let (counted, visited) = subtask.counted(state);
        assert_eq!(counted, visited);
        // Two thirds were young at first, and half of the rest were written again.
        assert_eq!(visited, u64::from(KEYS) * 5 / 6);
    }
    check(&mut subtask);
}

impl Subtask {
    /// Appends an element to the list of `number`.
    fn append(&mut self, number: u32, time: u64, value: u32) {
        let (key, group) = key(number);
        let cell = Cell::of_key(key_hash(&key), KeyGroup(u16::try_from(group).unwrap()), &key);
        let element = bytes(&self.states[2], time, value);
        match self.tables.kind_of(&self.states[2]).unwrap() {
            KindState::Value(kind) => kind.append(group, &cell, &element).unwrap(),
            _ => panic!("not a list"),
        }
    }
}

#[test]
fn of_lists_the_front_goes_and_what_was_appended_is_never_lost() {
    let mut subtask = Subtask::new();
    let list = subtask.states[2].clone();
    let element = |time, value| bytes(&list, time, value);
    // A dead list, one with a dead front, and one with a dead end.
    let lists = [[OLD, OLD], [OLD, YOUNG], [YOUNG, OLD]];
    for (number, times) in (0..).zip(lists) {
        for (value, time) in (0..).zip(times) {
            subtask.append(number, time, value);
        }
    }
    subtask.bring_in(0..4);
    // Young behind all of them, and old behind that: these are operands in a file of their own.
    for number in 0..3 {
        subtask.append(number, YOUNG, 7);
    }
    subtask.bring_in(0..4);
    for number in 0..3 {
        subtask.append(number, OLD, 8);
    }
    subtask.bring_in(0..4);
    subtask.tell(NOW);
    let appended = [element(YOUNG, 7), element(OLD, 8)].concat();
    let live = |number: usize| match number {
        0 => appended.clone(),
        1 => [element(YOUNG, 1), appended.clone()].concat(),
        _ => [element(YOUNG, 0), element(OLD, 1), appended.clone()].concat(),
    };
    // The first puts everything together, the second shows it to the filter.
    subtask.compact();
    subtask.compact();
    assert_eq!(subtask.in_database(2), [0, 1, 2]);
    for number in 0..3 {
        let found = subtask.get(2, number).unwrap();
        assert_eq!(found, live(number as usize), "list {number}");
    }
    // Cut lists go on.
    subtask.bring_in(0..4);
    subtask.append(0, YOUNG, 9);
    subtask.bring_in(0..4);
    subtask.compact();
    let expected = [live(0), element(YOUNG, 9)].concat();
    assert_eq!(subtask.get(2, 0).unwrap(), expected);
}

#[test]
fn a_compaction_looks_at_the_time_again_after_as_many_entries_as_are_set() {
    for (of_state, set, expected) in [(7, 3, 7), (0, 3, 3), (0, 0, 1)] {
        let state = StateDescriptor::new("fixed", StateKind::Value, 12).with_ttl(StateTtl {
            entries_per_look: of_state,
            ..TTL
        });
        let expiries = Expiries::default();
        expiries.tell(&state, 0, set);
        let mut filter = expiries.filters("fixed").create(CompactionFilterContext {
            is_full_compaction: true,
            is_manual_compaction: false,
        });
        let old = bytes(&state, OLD, 1);
        let mut kept = 0;
        while matches!(filter.filter(0, b"", &old), CompactionDecision::Keep) {
            kept += 1;
            assert!(kept < 100, "the time is never looked at again");
            expiries.tell(&state, NOW, set);
        }
        assert_eq!(kept, expected);
    }
}
