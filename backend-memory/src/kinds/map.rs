//! Maps: every entry is one of the table's, found in one step, and the entries of one map are in a list, so that a scan costs what
//! the map is large.
//!
//! The list is doubly linked by locations and begins at a head, an entry of its own under (key, namespace) without map key, which is there
//! as long as the map has entries. Snapshots leave heads and links out.

use super::below::Below;
use super::evict::evictable;
use super::expire::Round;
use super::{Counters, Deletions, FrozenGroup, new_tables};
use crate::lower::LowerLayer;
use crate::table::{
    EntryView, GroupTable, Layout, Location, Parts, Placed, SnapshotEra, cell_hash, map_entry_hash,
};
use millpond_backend_api::canonical::EntryShape;
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
    pub(super) first: KeyGroup,
    pub(super) tables: Vec<GroupTable>,
    counters: Vec<Counters>,
    below: Below,
    deletions: Deletions,
    /// The search for entries that have expired.
    pub(super) round: Round,
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
            below: Below::nothing(range),
            deletions: Deletions::default(),
            round: Round::default(),
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
        let Some(below) = self.below.of(group) else {
            return Ok(None);
        };
        match below.get(&parts)? {
            Some(Cow::Owned(value)) => {
                parts.check(value.len())?;
                let location = table.insert_clean(LAYOUT, &parts, &value, self.deletions.below);
                link(table, &head_of(cell), location);
                below.took_one();
                Ok(Some(table.view(LAYOUT, location).value()))
            }
            Some(Cow::Borrowed(value)) => Ok(Some(value)),
            None => {
                // What is not there is often put next.
                if below.is_costly() {
                    table.insert_absent(LAYOUT, &parts);
                }
                Ok(None)
            }
        }
    }

    /// The entry that `parts` addresses: where it is in the table, and the length of its value, if it has one there or below.
    fn look_up(&mut self, group: usize, parts: &Parts<'_>) -> BackendResult<(Option<Placed>, Option<usize>)> {
        let Some(table) = self.tables.get(group) else {
            return Ok((None, None));
        };
        if let Some(placed) = table.find(LAYOUT, parts) {
            let view = table.view(LAYOUT, placed.location);
            return Ok((Some(placed), view.is_present().then(|| view.value_len())));
        }
        let below = match self.below.of(group) {
            Some(below) => below.get(parts)?,
            None => None,
        };
        Ok((None, below.map(|value| value.len())))
    }

    /// Sets the value of a cell.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than the table takes; as for [`get`](Self::get).
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let parts = entry_of(cell);
        parts.check(value.len())?;
        let (found, before) = self.look_up(group, &parts)?;
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
                    rebuild(table, table.len(), |_| true);
                }
            }
            None => {
                let location = table.insert_value(LAYOUT, &parts, value, before.is_some());
                link(table, &head_of(cell), location);
                if before.is_some() {
                    self.below.took(group);
                }
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
        let (found, before) = self.look_up(group, &parts)?;
        if let Some(before) = before {
            self.remove(group, cell, &parts, found, before);
        }
        Ok(before.is_some())
    }

    /// Removes a cell that is there with a value of `len` bytes: in the table, where it was found, or below.
    fn remove(
        &mut self,
        group: usize,
        cell: &Cell<'_>,
        parts: &Parts<'_>,
        found: Option<Placed>,
        len: usize,
    ) {
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return;
        };
        counters.remove(encoded_bytes(parts, len));
        match found {
            Some(placed) => {
                let emptied = table.unlink(placed.location).is_some();
                self.deletions.delete(table, LAYOUT, placed, parts);
                if emptied {
                    remove_head(table, &head_of(cell));
                }
                if table.wants_rebuild() {
                    rebuild(table, table.len(), |_| true);
                }
            }
            None => {
                table.insert_deletion(LAYOUT, parts);
                self.below.took(group);
            }
        }
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
        let Some((layer, group)) = self.below.layer_of(group) else {
            return Ok(());
        };
        layer.visit_map(group, &map, &mut |entry| {
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
        let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
        self.scan(group, cell, usize::MAX, |entry| {
            entries.push((entry.map_key.to_vec(), entry.value.len()));
        })?;
        for (map_key, len) in &entries {
            // What lies below was seen, and need not be asked for again.
            let cell = cell.with_map_key(map_key);
            let parts = entry_of(&cell);
            let found = self
                .tables
                .get(group)
                .and_then(|table| table.find(LAYOUT, &parts));
            self.remove(group, &cell, &parts, found, *len);
        }
        Ok(entries.len() as u64)
    }

    pub(super) fn visit(&self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        let index = group.index().wrapping_sub(self.first.index());
        let Some(table) = self.tables.get(index) else {
            return Ok(());
        };
        for cell in table.cells(LAYOUT) {
            each(cell.entry());
        }
        let Some((layer, _)) = self.below.layer_of(index) else {
            return Ok(());
        };
        layer.visit(group, &mut |entry| {
            if table.find(LAYOUT, &Parts::of_map_entry(&entry)).is_none() {
                each(entry);
            }
            Ok(())
        })
    }

    pub(super) fn recount(&mut self) -> BackendResult<()> {
        for index in 0..self.tables.len() {
            let (Some(table), Some((layer, group))) = (self.tables.get(index), self.below.layer_of(index))
            else {
                continue;
            };
            let bytes = |entry: &Entry<'_>| encoded_bytes(&Parts::of_map_entry(entry), entry.value.len());
            let mut counters = Counters::default();
            for cell in table.cells(LAYOUT) {
                counters.add(bytes(&cell.entry()));
            }
            let in_table = counters.cells;
            layer.visit(group, &mut |entry| {
                if table.find(LAYOUT, &Parts::of_map_entry(&entry)).is_none() {
                    counters.add(bytes(&entry));
                }
                Ok(())
            })?;
            self.below.set_missing(index, counters.cells - in_table);
            if let Some(place) = self.counters.get_mut(index) {
                *place = counters;
            }
        }
        Ok(())
    }

    pub(super) fn evict(&mut self, group: usize, up_to: u32) -> usize {
        let Some(table) = self.tables.get_mut(group) else {
            return 0;
        };
        let Some(evictable) = evictable(table, LAYOUT, up_to) else {
            return 0;
        };
        let before = table.bytes();
        rebuild(table, evictable.kept, |entry| entry.epoch() > up_to);
        self.below.add_missing(group, evictable.cells);
        before.saturating_sub(table.bytes())
    }

    pub(super) fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        self.tables
            .iter_mut()
            .map(|table| FrozenGroup::Pages(table.freeze(era, false), LAYOUT))
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

/// Gives memory back by moving those entries to new pages that are to be kept, about `expected` in number. A map of which none is kept has no
/// head any more.
fn rebuild(table: &mut GroupTable, expected: usize, keep: impl Fn(&EntryView<'_>) -> bool) {
    let full = table.take_for_rebuild();
    table.reserve(expected);
    for entry in full.entries(LAYOUT).filter(keep) {
        let location = table.insert_as_it_was(LAYOUT, &entry);
        if entry.is_present() {
            let (map_key, head) = (&[][..], true);
            let map = Parts::of_value(&entry.entry());
            link(table, &Parts { map_key, head, ..map }, location);
        }
    }
}
