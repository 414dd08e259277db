//! The kinds of keyed state on top of the [table](crate::table): value and list, map, and sorted map.
//!
//! Each kind holds one structure a key group and knows, at any time, how many cells a group has and how many bytes they take in a
//! snapshot ([`Counters`]), so that a snapshot's size is known before anything of it is serialised.

mod map;
mod sorted;
mod value;

pub use map::MapState;
pub use sorted::{Chunk, Run, SortedState};
pub use value::ValueState;

use crate::snapshot::format::varint_len;
use crate::table::{FrozenPages, GroupTable, Layout, SnapshotEra};
use millpond_backend_api::{Entry, KeyGroup, KeyGroupRange, StateDescriptor, StateKind};
use std::sync::Arc;

/// What a group's cells come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How many cells there are.
    pub cells: u64,
    /// The bytes that they take in a snapshot.
    pub encoded_bytes: u64,
}

impl Counters {
    fn add(&mut self, bytes: u64) {
        self.cells += 1;
        self.encoded_bytes += bytes;
    }

    fn remove(&mut self, bytes: u64) {
        self.cells -= 1;
        self.encoded_bytes -= bytes;
    }
}

/// Which lengths an entry of a snapshot has: a fixed width's values have none, only maps have map keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryShape {
    /// The width of every value, 0 if each has a length of its own.
    pub width: u32,
    /// Whether there are map keys.
    pub map_keys: bool,
}

impl EntryShape {
    /// The shape of a state's entries.
    #[must_use]
    pub fn of(descriptor: &StateDescriptor) -> Self {
        Self {
            width: descriptor.value_width,
            map_keys: descriptor.kind.has_map_keys(),
        }
    }

    /// The bytes of an entry in a snapshot, from the lengths of its parts.
    #[inline]
    #[must_use]
    pub fn encoded_bytes(self, key: usize, namespace: usize, map_key: usize, value: usize) -> u64 {
        let framed = |len: usize| varint_len(len as u64) as u64 + len as u64;
        let value = if self.width > 0 {
            u64::from(self.width)
        } else {
            framed(value)
        };
        let map_key = if self.map_keys { framed(map_key) } else { 0 };
        framed(key) + framed(namespace) + map_key + value
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

/// One group of a state as it was at a snapshot.
#[derive(Debug)]
pub enum FrozenGroup {
    /// The pages of a table.
    Pages(FrozenPages, Layout),
    /// The chunks of a sorted map.
    Run(Arc<Run>),
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
            StateKind::SortedMap => Self::Sorted(SortedState::new(range)),
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
    pub fn visit(&self, group: KeyGroup, each: impl FnMut(Entry<'_>)) {
        match self {
            Self::Value(state) => state.visit(group, each),
            Self::Map(state) => state.visit(group, each),
            Self::Sorted(state) => state.visit(group, each),
        }
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

impl FrozenGroup {
    /// Calls `each` with every entry until it fails.
    ///
    /// # Errors
    /// That of `each`.
    pub fn try_for_each<E>(&self, mut each: impl FnMut(Entry<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Pages(pages, layout) => pages.cells(*layout).try_for_each(|cell| {
                each(Entry {
                    key: cell.key(),
                    namespace: cell.namespace(),
                    map_key: cell.map_key(),
                    value: cell.value(),
                })
            }),
            Self::Run(run) => run.iter().try_for_each(each),
        }
    }
}

/// The tables of the groups of `range`.
fn new_tables(range: KeyGroupRange, epoch: u32) -> Vec<GroupTable> {
    range.iter().map(|_| GroupTable::new(epoch)).collect()
}
