//! Sorted maps: all entries of a group in one sequence ordered by (key, namespace, map key), cut into chunks.
//!
//! A snapshot shares the sequence; the first write after it copies the list of chunks, and then each chunk that is written. Timers live
//! here, one map a group under the empty key.
//!
//! What lies below is brought in whole, group by group, when a group is used: a scan needs one order over everything. A group goes whole as
//! well, when it is evicted.

mod chunk;
mod run;

pub use chunk::{Chunk, Mark};
pub use run::Run;

use super::{Counters, Deletions, FrozenGroup};
use crate::lower::LowerLayer;
pub(super) use chunk::Address;
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{BackendResult, Cell, Entry, KeyGroup, KeyGroupRange};
use std::sync::Arc;

const SHAPE: EntryShape = EntryShape {
    width: 0,
    map_keys: true,
};

/// The fewest noted deletions that are looked through for old ones.
const NOTED_MIN: usize = 64;

/// The sorted map state of a subtask. Groups are named by their index in its range.
#[derive(Debug)]
pub struct SortedState {
    first: KeyGroup,
    groups: Vec<Group>,
    counters: Vec<Counters>,
    lower: LowerLayer,
    deletions: Deletions,
    epoch: u32,
}

#[derive(Debug, Default)]
struct Group {
    run: Arc<Run>,
    /// Entries without value that snapshots may have and that are deleted.
    deleted: Arc<Run>,
    /// The epoch up to which deletions were forgotten.
    forgotten: u32,
    /// Everything is below only.
    below: bool,
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
    /// An empty state for the groups of `range`; `epoch` snapshots were taken before.
    #[must_use]
    pub fn new(range: KeyGroupRange, epoch: u32) -> Self {
        Self {
            first: range.first,
            groups: range.iter().map(|_| Group::default()).collect(),
            counters: vec![Counters::default(); range.len()],
            lower: None,
            deletions: Deletions::default(),
            epoch,
        }
    }

    pub(super) fn put_over(&mut self, lower: LowerLayer, counters: Vec<Counters>) {
        for (group, counters) in self.groups.iter_mut().zip(&counters) {
            group.below = lower.is_some() && counters.cells > 0;
        }
        self.counters = counters;
        self.lower = lower;
    }

    pub(super) fn lower(&self) -> &LowerLayer {
        &self.lower
    }

    pub(super) fn replace_lower(&mut self, lower: LowerLayer) {
        self.lower = lower;
    }

    pub(super) fn deletions_mut(&mut self) -> &mut Deletions {
        &mut self.deletions
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn bytes(&self) -> usize {
        self.groups.iter().map(Group::bytes).sum()
    }

    pub(super) fn group_bytes(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, Group::bytes)
    }

    pub(super) fn shared_chunks(&self) -> usize {
        self.groups
            .iter()
            .map(|group| group.run.shared_chunks(Arc::strong_count(&group.run) > 1))
            .sum()
    }

    /// Brings in what lies below a group, if that was not done.
    fn bring_in(&mut self, index: usize) -> BackendResult<()> {
        let (Some(group), Some(lower)) = (self.groups.get_mut(index), &self.lower) else {
            return Ok(());
        };
        if !group.below {
            return Ok(());
        }
        let mut run = Run::default();
        let mark = Mark {
            epoch: self.deletions.below,
            stored: true,
        };
        lower.visit(super::group_at(self.first, index), &mut |entry| {
            run.put(&Address::of_entry(&entry), entry.value, mark);
            Ok(())
        })?;
        group.run = Arc::new(run);
        group.below = false;
        Ok(())
    }

    /// The value of a cell.
    ///
    /// # Errors
    /// Those of the lower layer, as for all calls.
    pub fn get(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        self.bring_in(group)?;
        let group = self.groups.get(group);
        Ok(group.and_then(|group| group.run.get(&Address::of_cell(cell))))
    }

    /// Sets the value of a cell.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than a chunk takes; as for [`get`](Self::get).
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let address = Address::of_cell(cell);
        address.check(value.len())?;
        self.bring_in(group)?;
        if let (Some(group), Some(counters)) = (self.groups.get_mut(group), self.counters.get_mut(group)) {
            let noted = group.deleted.find(&address);
            let mark = Mark {
                epoch: self.epoch,
                stored: noted.is_some(),
            };
            if let Some(noted) = noted {
                Arc::make_mut(&mut group.deleted).delete(noted);
            }
            if let Some(before) = Arc::make_mut(&mut group.run).put(&address, value, mark) {
                counters.remove(encoded_bytes(&address, before));
            }
            counters.add(encoded_bytes(&address, value.len()));
        }
        Ok(())
    }

    /// Removes a cell; returns whether there was one.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn delete(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<bool> {
        self.bring_in(group)?;
        let address = Address::of_cell(cell);
        let (Some(group), Some(counters)) = (self.groups.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(false);
        };
        // Looked for first: what is not there must not cost a copy of what is shared.
        let Some(place) = group.run.find(&address) else {
            return Ok(false);
        };
        let Some((len, mark)) = Arc::make_mut(&mut group.run).delete(place) else {
            return Ok(false);
        };
        counters.remove(encoded_bytes(&address, len));
        let mark = mark.changed(self.epoch);
        if self.deletions.keep && mark.stored {
            group.note_deletion(&address, mark, self.deletions.forgettable());
        }
        Ok(true)
    }

    /// Calls `each` with the entries of the map at (key, namespace) of `cell` from its map key to `to` (not included; empty: to the
    /// end), at most `limit`, in order.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn scan(
        &mut self,
        group: usize,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        mut each: impl FnMut(Entry<'_>),
    ) -> BackendResult<()> {
        self.bring_in(group)?;
        let Some(group) = self.groups.get(group) else {
            return Ok(());
        };
        let from = Address::of_cell(cell);
        let entries = group
            .run
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
        Ok(())
    }

    /// Removes all entries of the map at (key, namespace) of `cell`; returns how many there were.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn clear(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<u64> {
        let whole = cell.with_map_key(&[]);
        let mut map_keys: Vec<Vec<u8>> = Vec::new();
        self.scan(group, &whole, &[], usize::MAX, |entry| {
            map_keys.push(entry.map_key.to_vec());
        })?;
        for map_key in &map_keys {
            self.delete(group, &cell.with_map_key(map_key))?;
        }
        Ok(map_keys.len() as u64)
    }

    pub(super) fn visit(&mut self, group: KeyGroup, each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        let index = group.index().wrapping_sub(self.first.index());
        self.bring_in(index)?;
        if let Some(group) = self.groups.get(index) {
            group.run.iter().for_each(each);
        }
        Ok(())
    }

    /// Drops a group that is clean up to the epoch `up_to`, all of it: some of an order is no order.
    pub(super) fn evict(&mut self, group: usize, up_to: u32) -> usize {
        let (Some(group), Some(counters)) = (self.groups.get_mut(group), self.counters.get(group)) else {
            return 0;
        };
        if group.below || !group.is_clean(up_to) {
            return 0;
        }
        let bytes = group.bytes();
        *group = Group {
            below: counters.cells > 0,
            ..Group::default()
        };
        bytes
    }

    pub(super) fn freeze(&mut self) -> Vec<FrozenGroup> {
        self.epoch = self.epoch.wrapping_add(1);
        let groups = self.groups.iter();
        groups
            .map(|group| {
                if group.below {
                    FrozenGroup::Below
                } else {
                    FrozenGroup::Sorted {
                        run: Arc::clone(&group.run),
                        deleted: Arc::clone(&group.deleted),
                    }
                }
            })
            .collect()
    }
}

impl Group {
    /// Whether nothing was changed after the epoch `up_to`, deletions included.
    fn is_clean(&self, up_to: u32) -> bool {
        self.run.newest().max(self.deleted.newest()) <= up_to
    }

    fn bytes(&self) -> usize {
        self.run.bytes() + self.deleted.bytes()
    }

    fn note_deletion(&mut self, address: &Address<'_>, mark: Mark, forget: u32) {
        let deleted = Arc::make_mut(&mut self.deleted);
        if self.forgotten < forget && deleted.len() >= NOTED_MIN {
            self.forgotten = forget;
            *deleted = deleted.after(forget);
        }
        deleted.put(address, &[], mark);
    }
}
