//! Maps: every entry is one of the table's, found in one step, and the entries of one map are in a list, so that a scan costs what
//! the map is large.
//!
//! The list is doubly linked by locations and begins at a head, an entry of its own under (key, namespace) without map key, which is there
//! as long as the map has entries. Snapshots leave heads and links out.

use super::{Counters, EntryShape, FrozenGroup, new_tables};
use crate::table::{
    EntryView, GroupTable, Layout, Location, Parts, Placed, SnapshotEra, cell_hash, map_entry_hash,
};
use millpond_backend_api::{BackendResult, Cell, Entry, KeyGroup, KeyGroupRange};

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

fn entry_view<'a>(view: &EntryView<'a>) -> Entry<'a> {
    Entry {
        key: view.key(),
        namespace: view.namespace(),
        map_key: view.map_key(),
        value: view.value(),
    }
}

impl MapState {
    /// An empty state for the groups of `range`; `epoch` snapshots were taken before.
    #[must_use]
    pub fn new(range: KeyGroupRange, epoch: u32) -> Self {
        Self {
            first: range.first,
            tables: new_tables(range, epoch),
            counters: vec![Counters::default(); range.len()],
        }
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn tables(&self) -> &[GroupTable] {
        &self.tables
    }

    /// The value of a cell.
    #[must_use]
    pub fn get(&self, group: usize, cell: &Cell<'_>) -> Option<&[u8]> {
        let table = self.tables.get(group)?;
        let placed = table.find(LAYOUT, &entry_of(cell))?;
        Some(table.view(LAYOUT, placed.location).value())
    }

    /// Sets the value of a cell.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than the table takes.
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let parts = entry_of(cell);
        parts.check(value.len())?;
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(());
        };
        if let Some(placed) = table.find(LAYOUT, &parts) {
            let before = table.view(LAYOUT, placed.location).value_len();
            let location = table.set_value(LAYOUT, placed, &parts, 0, value);
            if location != placed.location {
                table.relink(location);
            }
            counters.encoded_bytes =
                counters.encoded_bytes + encoded_bytes(&parts, value.len()) - encoded_bytes(&parts, before);
            if table.wants_rebuild() {
                rebuild(table);
            }
        } else {
            add(table, &head_of(cell), &parts, value);
            counters.add(encoded_bytes(&parts, value.len()));
        }
        Ok(())
    }

    /// Removes a cell; returns whether there was one.
    pub fn delete(&mut self, group: usize, cell: &Cell<'_>) -> bool {
        let parts = entry_of(cell);
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return false;
        };
        let Some(placed) = table.find(LAYOUT, &parts) else {
            return false;
        };
        let len = table.view(LAYOUT, placed.location).value_len();
        counters.remove(encoded_bytes(&parts, len));
        let emptied = table.unlink(placed.location).is_some();
        table.remove(LAYOUT, placed);
        if emptied && let Some(head) = table.find(LAYOUT, &head_of(cell)) {
            table.remove(LAYOUT, head);
        }
        if table.wants_rebuild() {
            rebuild(table);
        }
        true
    }

    /// Calls `each` with the entries of the map at (key, namespace) of `cell`, at most `limit`.
    pub fn scan(&self, group: usize, cell: &Cell<'_>, limit: usize, mut each: impl FnMut(Entry<'_>)) {
        let Some(table) = self.tables.get(group) else {
            return;
        };
        let Some(head) = table.find(LAYOUT, &head_of(cell)) else {
            return;
        };
        for location in list(table, head.location).take(limit) {
            each(entry_view(&table.view(LAYOUT, location)));
        }
    }

    /// Removes all entries of the map at (key, namespace) of `cell`; returns how many there were.
    pub fn clear(&mut self, group: usize, cell: &Cell<'_>) -> u64 {
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return 0;
        };
        let Some(head) = table.find(LAYOUT, &head_of(cell)) else {
            return 0;
        };
        let entries: Vec<Location> = list(table, head.location).collect();
        for location in &entries {
            let map_key = table.view(LAYOUT, *location).map_key().to_vec();
            let parts = entry_of(&cell.with_map_key(&map_key));
            let len = table.view(LAYOUT, *location).value_len();
            counters.remove(encoded_bytes(&parts, len));
            remove_at(table, &parts);
        }
        remove_at(table, &head_of(cell));
        if table.wants_rebuild() {
            rebuild(table);
        }
        entries.len() as u64
    }

    pub(super) fn visit(&self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) {
        if let Some(table) = self.tables.get(group.index().wrapping_sub(self.first.index())) {
            for cell in table.cells(LAYOUT) {
                each(entry_view(&cell));
            }
        }
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

fn add(table: &mut GroupTable, head: &Parts<'_>, parts: &Parts<'_>, value: &[u8]) {
    let head = match table.find(LAYOUT, head) {
        Some(Placed { location, .. }) => location,
        None => table.insert(LAYOUT, head, 0),
    };
    let location = table.insert_value(LAYOUT, parts, value);
    table.link_after(head, location);
}

fn remove_at(table: &mut GroupTable, parts: &Parts<'_>) {
    if let Some(placed) = table.find(LAYOUT, parts) {
        table.remove(LAYOUT, placed);
    }
}

/// Gives the memory of freed entries back by moving the others to new pages.
fn rebuild(table: &mut GroupTable) {
    let full = table.take_for_rebuild();
    table.reserve(full.len());
    for cell in full.cells(LAYOUT) {
        let parts = cell.parts();
        let head = Parts {
            hash: cell_hash(millpond_backend_api::key_hash(parts.key), parts.namespace),
            map_key: &[],
            head: true,
            ..parts
        };
        add(table, &head, &parts, cell.value());
    }
}
