//! The kinds of keyed state on top of the [table](crate::table): value and list, map, and sorted map.
//!
//! Each kind holds one structure a key group and knows, at any time, how many cells a group has and how many bytes they take in a
//! snapshot ([`Counters`]), so that a snapshot's size is known before anything of it is serialised.
//!
//! # Cells that go by themselves
//!
//! What lies below a state with a TTL may lose cells that have expired at any time: a database drops them when it compacts its files, and a base that was
//! written without them takes the place of the files before. The tables are not told, so what they count may be wrong. It is wrong in one
//! direction only, **too much**, which is what everything here relies on:
//!
//! - *Where a count goes down.* A cell is taken off the counters, and off those that lie only below, when it was found just then: in the table, or by a look-up
//!   or visit below that gave its value. Each cell that is found had been counted, once when it was first put, or by an eviction. So a cell that is there
//!   is always counted, and a count of 0 is true. A group of which nothing lies only below is not asked for below: nothing is missed by that.
//! - *Where it stays up.* A cell that was dropped and is looked for is not found, and stays counted. Put again, it is a new cell and counted once more. A clean
//!   copy in the table whose original was dropped is evicted to where nothing is, and counted as lying only below. Each time the count is one too high
//!   from then on; at worst groups are asked for below that have nothing there, and sizes of snapshots are shown too large.
//! - *What is seen.* The clean copy and the original had the same time, so what is gone and what is still in the table are both expired, and the engine hides the
//!   copy. A copy that was changed has another time, and is no copy any more: it is kept until it lies below in its turn, over whatever is left of the
//!   original. A drop hides older versions as a deletion does, so none of these comes to light.
//! - *Notes.* The mark that a cell is nowhere, and the note that it was deleted, are as true after a drop as before. A drop never makes a cell.
//! - *Lists that are appended to unseen* make counters wrong in either direction: see `suffix`. Entries of sorted maps that are put over what may lie below, unseen, are
//!   counted as new ones, so what is there already is counted twice: too much, as above.
//! - *Who needs true counts.* `len` does, and counts anew first ([`KindState::recount`]), which also ends the drift. A writer that goes through everything
//!   must not compare what it finds with the counters of a state with a TTL that has something below.

mod below;
mod deletions;
mod evict;
mod expire;
mod frozen;
mod map;
mod sorted;
mod suffix;
mod value;

pub use deletions::Deletions;
pub use frozen::{Changed, FrozenGroup};
pub use map::MapState;
pub use sorted::{Chunk, Mark, Run, SortedState};
pub use value::ValueState;

use crate::lower::LowerLayer;
use crate::table::{GroupTable, SnapshotEra};
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{BackendResult, Entry, KeyGroup, KeyGroupRange, StateDescriptor, StateKind};

/// What a group's cells come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How many cells there are.
    pub cells: u64,
    /// The bytes that they take in a snapshot.
    pub encoded_bytes: u64,
}

/// What lies below the tables may come from a file, which cannot prove its totals: figures that are wrong must not become a panic.
impl Counters {
    fn add(&mut self, bytes: u64) {
        self.cells = self.cells.saturating_add(1);
        self.encoded_bytes = self.encoded_bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: u64) {
        self.cells = self.cells.saturating_sub(1);
        self.encoded_bytes = self.encoded_bytes.saturating_sub(bytes);
    }
}

/// A state of one of the kinds, over the key groups of a subtask.
#[derive(Debug)]
pub enum KindState {
    /// Value or list.
    Value(ValueState),
    /// Map.
    Map(MapState),
    /// Sorted map.
    Sorted(SortedState),
}

impl KindState {
    /// An empty state for the groups of `range`; `epoch` snapshots were taken before.
    #[must_use]
    pub fn new(descriptor: &StateDescriptor, range: KeyGroupRange, epoch: u32) -> Self {
        match descriptor.kind {
            StateKind::Value | StateKind::List => {
                Self::Value(ValueState::new(EntryShape::of(descriptor), range, epoch))
            }
            StateKind::Map => Self::Map(MapState::new(range, epoch)),
            StateKind::SortedMap => Self::Sorted(SortedState::new(range, epoch)),
        }
    }

    /// Puts an empty state over `lower`, whose groups have the given counters, in the order of the groups.
    pub fn put_over(&mut self, lower: LowerLayer, counters: Vec<Counters>) {
        match self {
            Self::Value(state) => state.put_over(lower, counters),
            Self::Map(state) => state.put_over(lower, counters),
            Self::Sorted(state) => state.put_over(lower, counters),
        }
    }

    /// What lies below the state.
    #[must_use]
    pub fn lower(&self) -> &LowerLayer {
        match self {
            Self::Value(state) => state.lower(),
            Self::Map(state) => state.lower(),
            Self::Sorted(state) => state.lower(),
        }
    }

    /// Replaces what lies below by what has the same entries, apart from those that the state has itself or notes as deleted.
    pub fn replace_lower(&mut self, lower: LowerLayer) {
        match self {
            Self::Value(state) => state.replace_lower(lower),
            Self::Map(state) => state.replace_lower(lower),
            Self::Sorted(state) => state.replace_lower(lower),
        }
    }

    /// What becomes of deleted entries, to be changed.
    pub fn deletions_mut(&mut self) -> &mut Deletions {
        match self {
            Self::Value(state) => state.deletions_mut(),
            Self::Map(state) => state.deletions_mut(),
            Self::Sorted(state) => state.deletions_mut(),
        }
    }

    /// The counters of each group, in the order of the groups.
    #[must_use]
    pub fn counters(&self) -> &[Counters] {
        match self {
            Self::Value(state) => state.counters(),
            Self::Map(state) => state.counters(),
            Self::Sorted(state) => state.counters(),
        }
    }

    /// How many cells there are in all groups.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.counters().iter().map(|group| group.cells).sum()
    }

    /// Counts the cells anew in those groups of which something lies only below, where cells may have gone by themselves: takes time in proportion to what
    /// lies there. Slots of the state are not out.
    ///
    /// # Errors
    /// Those of the lower layer; the counters are as they were.
    pub fn recount(&mut self) -> BackendResult<()> {
        match self {
            Self::Value(state) => state.recount(),
            Self::Map(state) => state.recount(),
            Self::Sorted(state) => state.recount(),
        }
    }

    /// Whether the counters are estimates, since something was written without a look at what lies below. [`recount`](Self::recount) makes them exact.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        match self {
            Self::Sorted(state) => state.counts_too_much(),
            _ => self.may_count_too_little(),
        }
    }

    /// Whether the counters are near the truth only, neither exact nor [too much](self): lists were appended to.
    #[must_use]
    pub fn may_count_too_little(&self) -> bool {
        matches!(self, Self::Value(state) if state.is_estimated())
    }

    /// Takes the counters that it was [put over](Self::put_over) for [estimated](Self::is_estimated).
    pub fn doubt_counters(&mut self) {
        match self {
            Self::Value(state) => state.doubt_counters(),
            Self::Sorted(state) => state.doubt_counters(),
            Self::Map(_) => {}
        }
    }

    /// The tables of the groups; none for sorted maps.
    #[must_use]
    pub fn tables(&self) -> &[GroupTable] {
        match self {
            Self::Value(state) => state.tables(),
            Self::Map(state) => state.tables(),
            Self::Sorted(_) => &[],
        }
    }

    /// The bytes that the state takes in memory, without what only snapshots hold.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Sorted(state) => state.bytes(),
            _ => self.tables().iter().map(GroupTable::bytes).sum(),
        }
    }

    /// How many pages, or chunks of sorted maps, are shared with a snapshot.
    #[must_use]
    pub fn shared_pages(&self) -> usize {
        match self {
            Self::Sorted(state) => state.shared_chunks(),
            _ => self.tables().iter().map(GroupTable::shared_pages).sum(),
        }
    }

    /// Calls `each` with every entry of `group`, one of the state's.
    ///
    /// # Errors
    /// Those of the lower layer.
    pub fn visit(&mut self, group: KeyGroup, each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        match self {
            Self::Value(state) => state.visit(group, each),
            Self::Map(state) => state.visit(group, each),
            Self::Sorted(state) => state.visit(group, each),
        }
    }

    /// The bytes that a group, by its index in the range, takes in memory, without what only snapshots hold.
    #[must_use]
    pub fn group_bytes(&self, group: usize) -> usize {
        match self {
            Self::Sorted(state) => state.group_bytes(group),
            _ => self.tables().get(group).map_or(0, GroupTable::bytes),
        }
    }

    /// Drops the clean entries of a group, by its index in the range: those that were last changed, or fetched from below, in the epoch
    /// `up_to` or before and at most in that up to which everything [lies below](Deletions::below). Returns how many bytes were given
    /// back.
    ///
    /// Nothing is dropped where nothing lies below, while slots of the state are out, and where less than an eighth of a group's bytes would go,
    /// since the rest is moved to new pages. The first entries of sorted maps stay as long as there are others, unless `up_to` leaves nothing out. Takes time in proportion to the group.
    pub fn evict(&mut self, group: usize, up_to: u32) -> usize {
        let Some(up_to) = self.deletions_mut().clean_up_to(up_to) else {
            return 0;
        };
        if self.lower().is_none() || self.in_batch() {
            return 0;
        }
        match self {
            Self::Value(state) => state.evict(group, up_to),
            Self::Map(state) => state.evict(group, up_to),
            Self::Sorted(state) => state.evict_clean(group, up_to),
        }
    }

    /// Whether slots of the state are out.
    #[inline]
    #[must_use]
    pub fn in_batch(&self) -> bool {
        matches!(self, Self::Value(state) if state.in_batch())
    }

    /// The groups as they are now, for a snapshot that began `era`.
    pub fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        match self {
            Self::Value(state) => state.freeze(era),
            Self::Map(state) => state.freeze(era),
            Self::Sorted(state) => state.freeze(),
        }
    }
}

/// The group with the index `index` in a range that begins with `first`.
fn group_at(first: KeyGroup, index: usize) -> KeyGroup {
    KeyGroup(first.0.saturating_add(u16::try_from(index).unwrap_or(u16::MAX)))
}

/// The tables of the groups of `range`.
fn new_tables(range: KeyGroupRange, epoch: u32) -> Vec<GroupTable> {
    range.iter().map(|_| GroupTable::new(epoch)).collect()
}
