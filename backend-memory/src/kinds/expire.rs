//! Removing cells that have expired, some at a time.
//!
//! A round goes through the tables page by page, as far as it is allowed to at each call, and notes when the first of the cells that it leaves will expire. Since
//! a cell that is written meanwhile lives for a whole TTL from then on, nothing expires before that moment and the end of a TTL from the beginning of the
//! round, whichever is first: until then no call looks at anything. Where the clock goes back and cells get earlier times for it, they go a
//! round later. What lies below the tables is not looked at.

use super::{KindState, MapState, ValueState};
use crate::table::{GroupTable, Layout};
use millpond_backend_api::ttl::{TimedElements, split_time};
use millpond_backend_api::{BackendResult, Cell, Entry, KeyGroup, StateDescriptor, StateKind, key_hash};

/// Where the search goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    group: usize,
    page: usize,
    /// How many cells may be looked at. A page is looked at as a whole, so this may be owed.
    allowed: i64,
    /// When the round began; `None` between two.
    began: Option<u64>,
    /// When the first of the cells that were left expires.
    earliest: u64,
    /// Nothing expires before.
    due: u64,
}

/// What is done with a cell.
enum Verdict {
    Remove,
    /// Only the list's bytes from here on are kept.
    KeepFrom(usize),
}

/// A cell that something is done with.
struct Found {
    key: Vec<u8>,
    namespace: Vec<u8>,
    map_key: Vec<u8>,
    verdict: Verdict,
}

impl Found {
    fn new(entry: &Entry<'_>, verdict: Verdict) -> Self {
        Self {
            key: entry.key.to_vec(),
            namespace: entry.namespace.to_vec(),
            map_key: entry.map_key.to_vec(),
            verdict,
        }
    }

    fn cell(&self, group: KeyGroup) -> Cell<'_> {
        Cell::of_key(key_hash(&self.key), group, &self.key)
            .with_namespace(&self.namespace)
            .with_map_key(&self.map_key)
    }
}

/// A state whose cells are looked at.
trait Expiring {
    fn round(&mut self) -> &mut Round;
    fn tables(&self) -> (&[GroupTable], Layout);
    fn group(&self, index: usize) -> KeyGroup;
    /// Does it, and tells whether a cell was removed.
    fn carry_out(&mut self, index: usize, found: &Found) -> BackendResult<bool>;
}

impl Expiring for ValueState {
    fn round(&mut self) -> &mut Round {
        &mut self.round
    }

    fn tables(&self) -> (&[GroupTable], Layout) {
        (&self.tables, self.layout)
    }

    fn group(&self, index: usize) -> KeyGroup {
        super::group_at(self.first, index)
    }

    fn carry_out(&mut self, index: usize, found: &Found) -> BackendResult<bool> {
        let cell = found.cell(self.group(index));
        match found.verdict {
            Verdict::Remove => self.delete(index, &cell),
            Verdict::KeepFrom(from) => {
                let kept = self.get(index, &cell)?.and_then(|list| list.get(from..));
                if let Some(kept) = kept.map(<[u8]>::to_vec) {
                    self.put(index, &cell, &kept)?;
                }
                Ok(false)
            }
        }
    }
}

impl Expiring for MapState {
    fn round(&mut self) -> &mut Round {
        &mut self.round
    }

    fn tables(&self) -> (&[GroupTable], Layout) {
        (&self.tables, Layout::Linked)
    }

    fn group(&self, index: usize) -> KeyGroup {
        super::group_at(self.first, index)
    }

    fn carry_out(&mut self, index: usize, found: &Found) -> BackendResult<bool> {
        self.delete(index, &found.cell(self.group(index)))
    }
}

impl KindState {
    /// Looks at about `cells` cells of the state that `descriptor` describes, and removes those that have expired at `now_ms`, and elements at the front of lists
    /// that have. Returns how many cells were removed. Slots of the state are not out.
    ///
    /// # Errors
    /// Those of the lower layer.
    pub fn expire(&mut self, descriptor: &StateDescriptor, now_ms: u64, cells: u64) -> BackendResult<u64> {
        match self {
            Self::Value(state) => run(state, descriptor, now_ms, cells),
            Self::Map(state) => run(state, descriptor, now_ms, cells),
            // Sorted maps have no TTL.
            Self::Sorted(_) => Ok(0),
        }
    }
}

fn run(
    state: &mut impl Expiring,
    descriptor: &StateDescriptor,
    now_ms: u64,
    cells: u64,
) -> BackendResult<u64> {
    let groups = state.tables().0.len();
    let round = state.round();
    if descriptor.ttl.is_none() || round.began.is_none() && now_ms < round.due {
        return Ok(0);
    }
    let cells = i64::try_from(cells).unwrap_or(i64::MAX);
    round.allowed = round.allowed.saturating_add(cells).min(cells);
    let mut removed = 0;
    while state.round().allowed > 0 {
        let round = state.round();
        if round.began.is_none() {
            if now_ms < round.due {
                break;
            }
            round.began = Some(now_ms);
            round.earliest = u64::MAX;
        }
        let (group, page) = (round.group, round.page);
        if group >= groups {
            let a_ttl_later = round
                .began
                .unwrap_or(now_ms)
                .saturating_add(descriptor.ttl.ttl_ms);
            *round = Round {
                due: round.earliest.min(a_ttl_later),
                ..Round::default()
            };
            // The next one comes at the next call at the earliest, also where there is always something.
            break;
        }
        let Some((looked_at, earliest, found)) = look(state.tables(), group, page, descriptor, now_ms) else {
            let round = state.round();
            (round.group, round.page) = (group + 1, 0);
            round.allowed -= 1;
            continue;
        };
        let free_before = free_bytes(state, group);
        for found in &found {
            removed += u64::from(state.carry_out(group, found)?);
        }
        // A table of which much was removed is rebuilt: its cells are on other pages then.
        let is_rebuilt = free_bytes(state, group) < free_before;
        let round = state.round();
        round.page = if is_rebuilt { 0 } else { page + 1 };
        round.allowed = round.allowed.saturating_sub(looked_at);
        round.earliest = round.earliest.min(earliest);
    }
    Ok(removed)
}

fn free_bytes(state: &impl Expiring, group: usize) -> usize {
    let table = state.tables().0.get(group);
    table.map_or(0, |table| table.figures().free_bytes)
}

/// How many places of a page were looked at, when the first cell that is left expires, and what is to be done; `None` if there is no such page.
fn look(
    (tables, layout): (&[GroupTable], Layout),
    group: usize,
    page: usize,
    descriptor: &StateDescriptor,
    now_ms: u64,
) -> Option<(i64, u64, Vec<Found>)> {
    let (ttl, kind) = (descriptor.ttl, descriptor.kind);
    let mut found = Vec::new();
    let (mut looked_at, mut earliest) = (0, u64::MAX);
    for place in tables.get(group)?.places_of_page(layout, page)? {
        looked_at += 1;
        // Of a suffix it is not known what it is the end of.
        if !place.is_cell() || place.suffix().is_some() {
            continue;
        }
        let entry = place.entry();
        if ttl.has_cell_expired(kind, entry.value, now_ms) {
            found.push(Found::new(&entry, Verdict::Remove));
            continue;
        }
        let mut kept = entry.value;
        if kind == StateKind::List {
            let expired = ttl.expired_prefix(entry.value, now_ms);
            if expired > 0 {
                found.push(Found::new(&entry, Verdict::KeepFrom(expired)));
                kept = entry.value.get(expired..).unwrap_or_default();
            }
        }
        let time = match kind {
            StateKind::List => TimedElements::new(kept).next().and_then(Result::ok),
            _ => split_time(kept),
        };
        if let Some((time, _)) = time {
            earliest = earliest.min(time.saturating_add(ttl.ttl_ms));
        }
    }
    // At least one, so that each page brings the end nearer.
    Some((looked_at.max(1), earliest, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::{KeyGroupRange, StateTtl};

    const RANGE: KeyGroupRange = KeyGroupRange {
        first: KeyGroup(2),
        last: KeyGroup(4),
    };

    fn put(state: &mut KindState, number: u64, time: u64) {
        let key = number.to_le_bytes();
        let group = usize::try_from(number).unwrap() % RANGE.len();
        let id = KeyGroup(u16::try_from(group).unwrap() + 2);
        let cell = Cell::of_key(key_hash(&key), id, &key).with_map_key(b"m");
        let value = [time.to_le_bytes(), number.to_le_bytes()].concat();
        match state {
            KindState::Value(state) => state.put(group, &cell, &value).unwrap(),
            KindState::Map(state) => state.put(group, &cell, &value).unwrap(),
            KindState::Sorted(_) => panic!("not sorted"),
        }
    }

    fn states() -> impl Iterator<Item = (StateDescriptor, KindState)> {
        let ttl = StateTtl::of_ms(100);
        [
            StateDescriptor::new("fixed", StateKind::Value, 16),
            StateDescriptor::new("value", StateKind::Value, 0),
            StateDescriptor::new("map", StateKind::Map, 0),
        ]
        .into_iter()
        .map(move |descriptor| {
            let descriptor = descriptor.with_ttl(ttl);
            let state = KindState::new(&descriptor, RANGE, 0);
            (descriptor, state)
        })
    }

    #[test]
    fn a_round_removes_all_that_has_expired_and_no_call_looks_before_the_next_can_expire() {
        for (descriptor, mut state) in states() {
            for number in 0..10_000 {
                put(&mut state, number, if number < 4000 { 1000 } else { 1050 });
            }
            let mut removed = 0;
            for _ in 0..40_000 / 100 {
                removed += state.expire(&descriptor, 1100, 100).unwrap();
            }
            assert_eq!((removed, state.cells()), (4000, 6000), "{}", descriptor.name);
            let due = |state: &mut KindState| match state {
                KindState::Value(state) => state.round.due,
                KindState::Map(state) => state.round.due,
                KindState::Sorted(_) => 0,
            };
            assert_eq!(due(&mut state), 1150);
            assert_eq!(state.expire(&descriptor, 1149, u64::MAX).unwrap(), 0);
            put(&mut state, 0, 1149);
            assert_eq!(state.expire(&descriptor, 1150, u64::MAX).unwrap(), 6000);
            assert_eq!((state.cells(), due(&mut state)), (1, 1249));
            assert_eq!(state.expire(&descriptor, 1249, u64::MAX).unwrap(), 1);
        }
    }

    #[test]
    fn a_call_looks_at_about_as_many_cells_as_it_may() {
        for (descriptor, mut state) in states() {
            for number in 0..30_000 {
                put(&mut state, number, 1000);
            }
            // A page has fewer than 2000 cells; what is too much is waited for. The heads of maps count as well, and what a rebuild moved is looked at again.
            let mut removed = 0;
            for call in 1..=15_u64 {
                removed += state.expire(&descriptor, 1100, 1000).unwrap();
                assert!(
                    removed <= call * 1000 + 2000,
                    "{}: {removed} by call {call}",
                    descriptor.name
                );
            }
            assert!(removed >= 5_000, "{}: {removed}", descriptor.name);
        }
    }

    #[test]
    fn of_a_list_the_elements_go_that_have_expired_at_its_front() {
        let descriptor = StateDescriptor::new("list", StateKind::List, 0).with_ttl(StateTtl::of_ms(100));
        let mut state = KindState::new(&descriptor, RANGE, 0);
        let element = |time: u64| [&1_u32.to_le_bytes()[..], &time.to_le_bytes(), b"x"].concat();
        let list = [element(1000), element(1010), element(1100), element(1000)].concat();
        let cell = Cell::of_key(key_hash(b"k"), KeyGroup(2), b"k");
        let get = |state: &mut KindState| match state {
            KindState::Value(state) => state.get(0, &cell).unwrap().map(<[u8]>::to_vec),
            _ => None,
        };
        if let KindState::Value(state) = &mut state {
            state.put(0, &cell, &list).unwrap();
        }
        for (now, kept) in [(1099, 4), (1100, 3), (1150, 2), (1199, 2)] {
            assert_eq!(state.expire(&descriptor, now, 1000).unwrap(), 0);
            assert_eq!(get(&mut state).unwrap(), list[list.len() - kept * 13..]);
        }
        assert_eq!(state.expire(&descriptor, 1200, 1000).unwrap(), 1);
        assert_eq!((get(&mut state), state.cells()), (None, 0));
    }
}
