//! Sorted maps: all entries of a group in one sequence ordered by (key, namespace, map key), cut into chunks.
//!
//! A snapshot shares the sequence; the first write after it copies the list of chunks, and then each chunk that is written. Timers live
//! here, one map a group under the empty key.

mod chunk;
mod run;

pub use chunk::Chunk;
pub use run::Run;

use super::{Counters, EntryShape, FrozenGroup};
use chunk::Address;
use millpond_backend_api::{BackendResult, Cell, Entry, KeyGroup, KeyGroupRange};
use std::sync::Arc;

const SHAPE: EntryShape = EntryShape {
    width: 0,
    map_keys: true,
};

/// The sorted map state of a subtask. Groups are named by their index in its range.
#[derive(Debug)]
pub struct SortedState {
    first: KeyGroup,
    runs: Vec<Arc<Run>>,
    counters: Vec<Counters>,
}

fn encoded_bytes(address: &Address<'_>, value: usize) -> u64 {
    SHAPE.encoded_bytes(
        address.key.len(),
        address.namespace.len(),
        address.map_key.len(),
        value,
    )
}

impl SortedState {
    /// An empty state for the groups of `range`.
    #[must_use]
    pub fn new(range: KeyGroupRange) -> Self {
        Self {
            first: range.first,
            runs: range.iter().map(|_| Arc::default()).collect(),
            counters: vec![Counters::default(); range.len()],
        }
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes()).sum()
    }

    pub(super) fn shared_chunks(&self) -> usize {
        self.runs
            .iter()
            .map(|run| run.shared_chunks(Arc::strong_count(run) > 1))
            .sum()
    }

    /// The value of a cell.
    #[must_use]
    pub fn get(&self, group: usize, cell: &Cell<'_>) -> Option<&[u8]> {
        self.runs.get(group)?.get(&Address::of_cell(cell))
    }

    /// Sets the value of a cell.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than a chunk takes.
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let address = Address::of_cell(cell);
        address.check(value.len())?;
        if let (Some(run), Some(counters)) = (self.runs.get_mut(group), self.counters.get_mut(group)) {
            if let Some(before) = Arc::make_mut(run).put(&address, value) {
                counters.remove(encoded_bytes(&address, before));
            }
            counters.add(encoded_bytes(&address, value.len()));
        }
        Ok(())
    }

    /// Removes a cell; returns whether there was one.
    pub fn delete(&mut self, group: usize, cell: &Cell<'_>) -> bool {
        let address = Address::of_cell(cell);
        let (Some(run), Some(counters)) = (self.runs.get_mut(group), self.counters.get_mut(group)) else {
            return false;
        };
        // Looked for first: what is not there must not cost a copy of what is shared.
        let Some(place) = run.find(&address) else {
            return false;
        };
        let Some(len) = Arc::make_mut(run).delete(place) else {
            return false;
        };
        counters.remove(encoded_bytes(&address, len));
        true
    }

    /// Calls `each` with the entries of the map at (key, namespace) of `cell` from its map key to `to` (not included; empty: to the
    /// end), at most `limit`, in order.
    pub fn scan(
        &self,
        group: usize,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        mut each: impl FnMut(Entry<'_>),
    ) {
        let Some(run) = self.runs.get(group) else { return };
        let from = Address::of_cell(cell);
        let entries = run
            .iter_from(&from)
            .take_while(|entry| {
                entry.key == from.key
                    && entry.namespace == from.namespace
                    && (to.is_empty() || entry.map_key < to)
            })
            .take(limit);
        for entry in entries {
            each(entry);
        }
    }

    /// Removes all entries of the map at (key, namespace) of `cell`; returns how many there were.
    pub fn clear(&mut self, group: usize, cell: &Cell<'_>) -> u64 {
        let whole = cell.with_map_key(&[]);
        let mut map_keys: Vec<Vec<u8>> = Vec::new();
        self.scan(group, &whole, &[], usize::MAX, |entry| {
            map_keys.push(entry.map_key.to_vec());
        });
        for map_key in &map_keys {
            self.delete(group, &cell.with_map_key(map_key));
        }
        map_keys.len() as u64
    }

    pub(super) fn visit(&self, group: KeyGroup, each: impl FnMut(Entry<'_>)) {
        if let Some(run) = self.runs.get(group.index().wrapping_sub(self.first.index())) {
            run.iter().for_each(each);
        }
    }

    pub(super) fn freeze(&mut self) -> Vec<FrozenGroup> {
        self.runs
            .iter()
            .map(|run| FrozenGroup::Run(Arc::clone(run)))
            .collect()
    }
}
