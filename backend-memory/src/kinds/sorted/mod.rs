//! Sorted maps: all entries of a group in one sequence ordered by (key, namespace, map key), cut into chunks.
//!
//! A snapshot shares the sequence; the first write after it copies the list of chunks, and then each chunk that is written. Timers live
//! here, one map a group under the empty key.
//!
//! What lies below in mapped files is brought in whole, group by group, when a group is used: a scan needs one order over everything. Over a database
//! it is fetched a part at a time (`cached`): whoever looks at the front of a map, as for the first timers, finds it in the table, and every few hundred of them
//! cost one look at the database.

mod cached;
mod chunk;
mod run;
mod window;

pub use chunk::{Chunk, Mark};
pub use run::Run;

use super::below::Below;
use super::{Counters, Deletions, FrozenGroup};
use crate::lower::LowerLayer;
pub(super) use chunk::Address;
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{BackendResult, Cell, Entry, KeyGroup, KeyGroupRange};
use std::sync::Arc;
use window::Windows;

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
    below: Below,
    deletions: Deletions,
    epoch: u32,
    /// Entries may have been counted twice since all were counted.
    counts_too_much: bool,
}

#[derive(Debug, Default)]
struct Group {
    run: Arc<Run>,
    /// Entries without value that snapshots may have and that are deleted.
    deleted: Arc<Run>,
    /// The epoch up to which deletions were forgotten.
    forgotten: u32,
    /// What is known of the maps, where something lies only below.
    windows: Windows,
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
            below: Below::nothing(range),
            deletions: Deletions::default(),
            epoch,
            counts_too_much: false,
        }
    }

    pub(super) fn put_over(&mut self, lower: LowerLayer, counters: Vec<Counters>) {
        self.below.put_over(lower, &counters);
        self.counters = counters;
    }

    pub(super) fn lower(&self) -> &LowerLayer {
        self.below.layer()
    }

    pub(super) fn replace_lower(&mut self, lower: LowerLayer) {
        self.below.replace(lower);
    }

    pub(super) fn deletions_mut(&mut self) -> &mut Deletions {
        &mut self.deletions
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn counts_too_much(&self) -> bool {
        self.counts_too_much
    }

    pub(super) fn doubt_counters(&mut self) {
        self.counts_too_much = true;
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

    /// Brings in what lies below a group, if that was not done, unless it is fetched a part at a time.
    fn bring_in(&mut self, index: usize) -> BackendResult<()> {
        if self.below.is_costly() {
            return Ok(());
        }
        let (Some((layer, number)), Some(group)) = (self.below.layer_of(index), self.groups.get_mut(index))
        else {
            return Ok(());
        };
        let mark = Mark {
            epoch: self.deletions.below,
            stored: true,
        };
        group.run = Arc::new(cached::whole_run(&**layer, number, mark)?);
        self.below.set_missing(index, 0);
        Ok(())
    }

    /// The value of a cell.
    ///
    /// # Errors
    /// Those of the lower layer, as for all calls.
    pub fn get(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        self.bring_in(group)?;
        let address = Address::of_cell(cell);
        let hides = |group: &Group| group.hides(&address);
        if !self.groups.get(group).is_some_and(hides) {
            self.fetch(group, &address)?;
        }
        let group = self.groups.get(group);
        Ok(group.and_then(|group| group.run.get(&address)))
    }

    /// Fetches an entry that the table neither has nor notes as deleted, if there is one.
    fn fetch(&mut self, index: usize, address: &Address<'_>) -> BackendResult<()> {
        let Some(value) = self.look_below(index, address)? else {
            return Ok(());
        };
        address.check(value.len())?;
        let mark = Mark {
            epoch: self.deletions.below,
            stored: true,
        };
        if let Some(group) = self.groups.get_mut(index) {
            Arc::make_mut(&mut group.run).put(address, &value, mark);
            self.below.took(index);
        }
        Ok(())
    }

    /// Sets the value of a cell.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than a chunk takes; as for [`get`](Self::get).
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let address = Address::of_cell(cell);
        address.check(value.len())?;
        self.bring_in(group)?;
        let index = group;
        let hides = |group: &Group| group.hides(&address);
        // What may lie below is not looked for, as timers are new most often. Then it is counted twice.
        let is_blind = !self.groups.get(index).is_some_and(hides) && self.may_lie_below(index, &address);
        self.counts_too_much |= is_blind;
        if let (Some(group), Some(counters)) = (self.groups.get_mut(index), self.counters.get_mut(index)) {
            let noted = group.deleted.find(&address);
            let mark = Mark {
                epoch: self.epoch,
                stored: noted.is_some() || is_blind,
            };
            if let Some(noted) = noted {
                Arc::make_mut(&mut group.deleted).delete(noted);
            }
            let before = Arc::make_mut(&mut group.run).put(&address, value, mark);
            if let Some(before) = before {
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
        let hides = |group: &Group| group.hides(&address);
        if self.groups.get(group).is_some_and(hides) {
            return Ok(self.remove(group, &address, None));
        }
        let Some(below) = self.look_below(group, &address)?.map(|value| value.len()) else {
            return Ok(false);
        };
        Ok(self.remove(group, &address, Some(below)))
    }

    /// Removes the entry at `address` from the table, or notes that it is deleted if it lies only below, with a value of `below` bytes. Whether it
    /// was there.
    fn remove(&mut self, index: usize, address: &Address<'_>, below: Option<usize>) -> bool {
        let (Some(group), Some(counters)) = (self.groups.get_mut(index), self.counters.get_mut(index)) else {
            return false;
        };
        // Looked for first: what is not there must not cost a copy of what is shared.
        let place = group.run.find(address);
        let in_table = place.and_then(|place| Arc::make_mut(&mut group.run).delete(place));
        let (len, mark) = match (in_table, below) {
            (Some(found), _) => found,
            (None, Some(len)) => {
                self.below.took(index);
                let (epoch, stored) = (self.epoch, true);
                (len, Mark { epoch, stored })
            }
            (None, None) => return false,
        };
        counters.remove(encoded_bytes(address, len));
        let mark = mark.changed(self.epoch);
        if self.deletions.keep && mark.stored {
            group.note_deletion(address, mark, self.deletions.forgettable());
        }
        true
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
        let from = Address::of_cell(cell);
        if !self.fetch_front(group, &from, to, limit)? {
            return self.scan_both(group, &from, to, limit, &mut each);
        }
        let Some(group) = self.groups.get(group) else {
            return Ok(());
        };
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
        let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
        self.scan(group, &whole, &[], usize::MAX, |entry| {
            entries.push((entry.map_key.to_vec(), entry.value.len()));
        })?;
        for (map_key, len) in &entries {
            // What lies below was seen, and need not be asked for again.
            let address = Address::of_cell(&cell.with_map_key(map_key));
            self.remove(group, &address, Some(*len));
        }
        Ok(entries.len() as u64)
    }

    pub(super) fn visit(&mut self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        let index = group.index().wrapping_sub(self.first.index());
        self.bring_in(index)?;
        let Some(of_group) = self.groups.get(index) else {
            return Ok(());
        };
        of_group.run.iter().for_each(&mut each);
        let Some((layer, _)) = self.below.layer_of(index) else {
            return Ok(());
        };
        layer.visit(group, &mut |entry| {
            if !of_group.hides(&Address::of_entry(&entry)) {
                each(entry);
            }
            Ok(())
        })
    }

    pub(super) fn freeze(&mut self) -> Vec<FrozenGroup> {
        self.epoch = self.epoch.wrapping_add(1);
        let groups = self.groups.iter().enumerate();
        groups
            .map(|(index, group)| {
                let is_empty = group.run.is_empty() && group.deleted.is_empty();
                if is_empty && self.below.layer_of(index).is_some() {
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
