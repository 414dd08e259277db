//! Maps: every entry is one of the table's, found in one step, and the entries of one map are in a list, so that a scan costs what
//! the map is large.
//!
//! The list is doubly linked by locations and begins at a head, an entry of its own under (key, namespace) without map key, which is there
//! as long as the map has entries. Snapshots leave heads and links out.

use super::{Counters, Deletions, EntryShape, FrozenGroup, new_tables};
use crate::lower::LowerLayer;
use crate::table::{GroupTable, Layout, Location, Parts, Placed, SnapshotEra, cell_hash, map_entry_hash};
use millpond_backend_api::{BackendResult, Cell, Entry, KeyGroup, KeyGroupRange};
use std::borrow::Cow;

const LAYOUT: Layout = Layout::Linked;
const SHAPE: EntryShape = EntryShape {
    width: 0,
    map_keys: true,
};

/// The map state of a subtask. Groups are named by their index in its range.
#[derive(Debug)]
pub struct MapState {
    first: KeyGroup,
    tables: Vec<GroupTable>,
    counters: Vec<Counters>,
    lower: LowerLayer,
    deletions: Deletions,
}

/// The head of the map that a cell lies in.
fn head_of<'a>(cell: &Cell<'a>) -> Parts<'a> {
    Parts {
        head: true,
        ..Parts::of_cell(cell)
    }
}

fn entry_of<'a>(cell: &Cell<'a>) -> Parts<'a> {
    let map_key = cell.map_key.as_slice();
    let parts = Parts::of_cell(cell);
    Parts {
        hash: map_entry_hash(cell_hash(cell.hash, parts.namespace), map_key),
        map_key,
        ..parts
    }
}

fn encoded_bytes(parts: &Parts<'_>, value: usize) -> u64 {
    SHAPE.encoded_bytes(parts.key.len(), parts.namespace.len(), parts.map_key.len(), value)
}

impl MapState {
    /// An empty state for the groups of `range`; `epoch` snapshots were taken before.
    #[must_use]
    pub fn new(range: KeyGroupRange, epoch: u32) -> Self {
        Self {
            first: range.first,
            tables: new_tables(range, epoch),
            counters: vec![Counters::default(); range.len()],
            lower: None,
            deletions: Deletions::default(),
        }
    }

    pub(super) fn put_over(&mut self, lower: LowerLayer, counters: Vec<Counters>) {
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

    /// The value that lies below the table.
    fn below(&self, group: usize, parts: &Parts<'_>) -> BackendResult<Option<Cow<'_, [u8]>>> {
        match &self.lower {
            Some(lower) => lower.get(super::group_at(self.first, group), parts),
            None => Ok(None),
        }
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn tables(&self) -> &[GroupTable] {
        &self.tables
    }

    /// The value of a cell.
    ///
    /// # Errors
    /// Those of the lower layer, as for all calls that look for a cell.
    pub fn get(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        let Some(table) = self.tables.get_mut(group) else {
            return Ok(None);
        };
        let parts = entry_of(cell);
        if let Some(placed) = table.find(LAYOUT, &parts) {
            let view = table.view(LAYOUT, placed.location);
            return Ok(view.is_present().then(|| view.value()));
        }
        let Some(lower) = &self.lower else { return Ok(None) };
        match lower.get(super::group_at(self.first, group), &parts)? {
            Some(Cow::Owned(value)) => {
                parts.check(value.len())?;
                let location = table.insert_clean(LAYOUT, &parts, &value, self.deletions.below);
                link(table, &head_of(cell), location);
                Ok(Some(table.view(LAYOUT, location).value()))
            }
            Some(Cow::Borrowed(value)) => Ok(Some(value)),
            None => Ok(None),
        }
    }

    /// Sets the value of a cell.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than the table takes; as for [`get`](Self::get).
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let parts = entry_of(cell);
        parts.check(value.len())?;
        let Some(table) = self.tables.get(group) else {
            return Ok(());
        };
        let found = table.find(LAYOUT, &parts);
        let before = match found {
            Some(placed) => {
                let view = table.view(LAYOUT, placed.location);
                view.is_present().then(|| view.value_len())
            }
            None => self.below(group, &parts)?.map(|value| value.len()),
        };
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(());
        };
        if let Some(before) = before {
            counters.remove(encoded_bytes(&parts, before));
        }
        counters.add(encoded_bytes(&parts, value.len()));
        match found {
            Some(placed) => {
                let location = table.set_value(LAYOUT, placed, &parts, 0, value);
                if before.is_none() {
                    link(table, &head_of(cell), location);
                } else if location != placed.location {
                    table.relink(location);
                }
                if table.wants_rebuild() {
                    rebuild(table);
                }
            }
            None => {
                let location = table.insert_value(LAYOUT, &parts, value, before.is_some());
                link(table, &head_of(cell), location);
            }
        }
        Ok(())
    }

    /// Removes a cell; returns whether there was one.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn delete(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<bool> {
        let parts = entry_of(cell);
        let Some(table) = self.tables.get(group) else {
            return Ok(false);
        };
        let found = table.find(LAYOUT, &parts);
        let before = match found {
            Some(placed) => {
                let view = table.view(LAYOUT, placed.location);
                view.is_present().then(|| view.value_len())
            }
            None => self.below(group, &parts)?.map(|value| value.len()),
        };
        let Some(before) = before else { return Ok(false) };
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(false);
        };
        counters.remove(encoded_bytes(&parts, before));
        match found {
            Some(placed) => {
                let emptied = table.unlink(placed.location).is_some();
                self.deletions.delete(table, LAYOUT, placed, &parts);
                if emptied {
                    remove_head(table, &head_of(cell));
                }
                if table.wants_rebuild() {
                    rebuild(table);
                }
            }
            None => table.insert_deletion(LAYOUT, &parts),
        }
        Ok(true)
    }

    /// Calls `each` with the entries of the map at (key, namespace) of `cell`, at most `limit`.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn scan(
        &self,
        group: usize,
        cell: &Cell<'_>,
        limit: usize,
        mut each: impl FnMut(Entry<'_>),
    ) -> BackendResult<()> {
        let Some(table) = self.tables.get(group) else {
            return Ok(());
        };
        let map = head_of(cell);
        let mut left = limit;
        if let Some(head) = table.find(LAYOUT, &map) {
            for location in list(table, head.location).take(limit) {
                each(table.view(LAYOUT, location).entry());
                left -= 1;
            }
        }
        let Some(lower) = &self.lower else { return Ok(()) };
        lower.visit_map(super::group_at(self.first, group), &map, &mut |entry| {
            if left > 0 && table.find(LAYOUT, &Parts::of_map_entry(&entry)).is_none() {
                each(entry);
                left -= 1;
            }
            Ok(())
        })
    }

    /// Removes all entries of the map at (key, namespace) of `cell`; returns how many there were.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn clear(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<u64> {
        let mut map_keys: Vec<Vec<u8>> = Vec::new();
        self.scan(group, cell, usize::MAX, |entry| {
            map_keys.push(entry.map_key.to_vec())
        })?;
        for map_key in &map_keys {
            self.delete(group, &cell.with_map_key(map_key))?;
        }
        Ok(map_keys.len() as u64)
    }

    pub(super) fn visit(&self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        let Some(table) = self.tables.get(group.index().wrapping_sub(self.first.index())) else {
            return Ok(());
        };
        for cell in table.cells(LAYOUT) {
            each(cell.entry());
        }
        let Some(lower) = &self.lower else { return Ok(()) };
        lower.visit(group, &mut |entry| {
            if table.find(LAYOUT, &Parts::of_map_entry(&entry)).is_none() {
                each(entry);
            }
            Ok(())
        })
    }

    pub(super) fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        self.tables
            .iter_mut()
            .map(|table| FrozenGroup::Pages(table.freeze(era), LAYOUT))
            .collect()
    }
}

/// The locations of a map's entries.
fn list(table: &GroupTable, head: Location) -> impl Iterator<Item = Location> {
    let mut at = head;
    std::iter::from_fn(move || {
        at = table.view(LAYOUT, at).next();
        (!at.is_none()).then_some(at)
    })
}

/// Puts the entry at `location` into the list of the map that `head` addresses.
fn link(table: &mut GroupTable, head: &Parts<'_>, location: Location) {
    let head = match table.find(LAYOUT, head) {
        Some(Placed { location, .. }) => location,
        None => table.insert(LAYOUT, head, 0),
    };
    table.link_after(head, location);
}

fn remove_head(table: &mut GroupTable, head: &Parts<'_>) {
    if let Some(placed) = table.find(LAYOUT, head) {
        table.remove(LAYOUT, placed);
    }
}

/// Gives the memory of freed entries back by moving the others to new pages.
fn rebuild(table: &mut GroupTable) {
    let full = table.take_for_rebuild();
    table.reserve(full.len());
    for entry in full.entries(LAYOUT) {
        let location = table.insert_as_it_was(LAYOUT, &entry);
        if entry.is_present() {
            let (map_key, head) = (&[][..], true);
            let map = Parts::of_value(&entry.entry());
            link(table, &Parts { map_key, head, ..map }, location);
        }
    }
}
