//! Values of fixed and of varying width, and lists, which are values that grow at their end.

use super::{Counters, EntryShape, FrozenGroup, new_tables};
use crate::table::{
    EntryView, FixedBatch, GroupTable, Layout, Missing, Parts, Placed, SMALL_TABLE_BYTES, SnapshotEra,
    fixed_slots, hint_cells,
};
use millpond_backend_api::{BackendResult, Cell, Entry, KeyBatch, KeyGroup, KeyGroupRange, Slot};

/// What an entry of a fixed width takes beside key and value: header, share of the index.
const OVERHEAD_BYTES: usize = 32;

/// The value state or list state of a subtask.
///
/// Groups are named by their index in the range that the state was made for; one outside it holds nothing and takes nothing.
#[derive(Debug)]
pub struct ValueState {
    layout: Layout,
    shape: EntryShape,
    first: KeyGroup,
    tables: Vec<GroupTable>,
    counters: Vec<Counters>,
    /// About how many bytes index and entries take.
    footprint: usize,
}

impl ValueState {
    /// An empty state for the groups of `range`; `epoch` snapshots were taken before.
    #[must_use]
    pub fn new(shape: EntryShape, range: KeyGroupRange, epoch: u32) -> Self {
        Self {
            layout: if shape.width > 0 {
                Layout::Fixed(shape.width)
            } else {
                Layout::Varying
            },
            shape,
            first: range.first,
            tables: new_tables(range, epoch),
            counters: vec![Counters::default(); range.len()],
            footprint: 0,
        }
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn tables(&self) -> &[GroupTable] {
        &self.tables
    }

    /// The layout of the entries.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Makes room for `entries` in a group.
    pub fn reserve(&mut self, group: usize, entries: usize) {
        if let Some(table) = self.tables.get_mut(group) {
            table.reserve(entries);
        }
    }

    /// Fills `slots` for `keys`, whose groups are the state's and whose columns have one length, and returns how many entries were
    /// added. The state has a fixed width.
    pub fn slots(&mut self, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> u64 {
        let how = self.batch(Missing::Insert);
        let Self {
            shape,
            counters,
            footprint,
            ..
        } = self;
        let on_insert = |group: usize, key: &[u8]| {
            if let Some(counters) = counters.get_mut(group) {
                counters.add(shape.encoded_bytes(key.len(), 0, 0, 0));
            }
            *footprint += OVERHEAD_BYTES + shape.width as usize + key.len();
        };
        fixed_slots(&mut self.tables, how, keys, slots, on_insert)
    }

    fn batch(&self, missing: Missing) -> FixedBatch {
        FixedBatch {
            first: self.first,
            width: self.shape.width,
            missing,
            small: self.footprint < SMALL_TABLE_BYTES,
        }
    }

    /// Removes the entries of `keys` that have no value.
    pub fn remove_absent(&mut self, keys: &KeyBatch<'_>) {
        // The slots that the caller holds are not trusted: they are found again.
        let mut slots = vec![Slot::NULL; keys.len()];
        let how = self.batch(Missing::Skip);
        fixed_slots(&mut self.tables, how, keys, &mut slots, |_, _| {});
        let mut absent = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            if !slot.is_null() && !crate::table::slot_has_value(*slot) {
                absent.push(index);
            }
        }
        for index in absent {
            if let Some(cell) = keys.cell(index) {
                let group = cell.group.index() - self.first.index();
                let parts = Parts::of_cell(&cell);
                if let Some(placed) = self.find(group, &parts) {
                    self.remove(group, &parts, placed);
                }
            }
        }
    }

    /// Fetches what look-ups of `keys` will need. Slots do that by themselves.
    pub fn hint(&self, keys: &KeyBatch<'_>) {
        if self.footprint >= SMALL_TABLE_BYTES {
            hint_cells(&self.tables, self.first, keys);
        }
    }

    fn find(&self, group: usize, parts: &Parts<'_>) -> Option<Placed> {
        self.tables.get(group)?.find(self.layout, parts)
    }

    fn view(&self, group: usize, placed: Placed) -> Option<EntryView<'_>> {
        Some(self.tables.get(group)?.view(self.layout, placed.location))
    }

    /// The value of a cell.
    #[must_use]
    pub fn get(&self, group: usize, cell: &Cell<'_>) -> Option<&[u8]> {
        let placed = self.find(group, &Parts::of_cell(cell))?;
        Some(self.view(group, placed)?.value())
    }

    /// Sets the value of a cell; with a fixed width `value` has it.
    ///
    /// # Errors
    /// [`Misuse`](millpond_backend_api::BackendErrorKind::Misuse) when the cell is larger than the table takes.
    pub fn put(&mut self, group: usize, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        self.write(group, cell, value, false)
    }

    /// Appends to the value of a cell.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn append(&mut self, group: usize, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        self.write(group, cell, element, true)
    }

    fn write(&mut self, group: usize, cell: &Cell<'_>, value: &[u8], append: bool) -> BackendResult<()> {
        let parts = Parts::of_cell(cell);
        let found = self.find(group, &parts);
        let before = found
            .and_then(|placed| self.view(group, placed))
            .map_or(0, |view| view.value_len());
        let at = if append { before } else { 0 };
        parts.check(at + value.len())?;
        let layout = self.layout;
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(());
        };
        let bytes = |len: usize| {
            self.shape
                .encoded_bytes(parts.key.len(), parts.namespace.len(), 0, len)
        };
        match found {
            Some(placed) => {
                table.set_value(layout, placed, &parts, at, value);
                counters.encoded_bytes = counters.encoded_bytes + bytes(at + value.len()) - bytes(before);
                if table.wants_rebuild() {
                    rebuild(table, layout);
                }
            }
            None => {
                table.insert_value(layout, &parts, value);
                counters.add(bytes(value.len()));
                self.footprint += OVERHEAD_BYTES + parts.key.len() + parts.namespace.len() + value.len();
            }
        }
        Ok(())
    }

    /// Removes a cell; returns whether there was one.
    pub fn delete(&mut self, group: usize, cell: &Cell<'_>) -> bool {
        let parts = Parts::of_cell(cell);
        let Some(placed) = self.find(group, &parts) else {
            return false;
        };
        self.remove(group, &parts, placed);
        true
    }

    fn remove(&mut self, group: usize, parts: &Parts<'_>, placed: Placed) {
        let layout = self.layout;
        let len = self.view(group, placed).map_or(0, |view| view.value_len());
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return;
        };
        counters.remove(
            self.shape
                .encoded_bytes(parts.key.len(), parts.namespace.len(), 0, len),
        );
        self.footprint = self
            .footprint
            .saturating_sub(OVERHEAD_BYTES + parts.key.len() + parts.namespace.len() + len);
        table.remove(layout, placed);
        if table.wants_rebuild() {
            rebuild(table, layout);
        }
    }

    pub(super) fn visit(&self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) {
        let Some(table) = self.tables.get(group.index().wrapping_sub(self.first.index())) else {
            return;
        };
        for cell in table.cells(self.layout) {
            each(Entry {
                key: cell.key(),
                namespace: cell.namespace(),
                map_key: &[],
                value: cell.value(),
            });
        }
    }

    pub(super) fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        let layout = self.layout;
        self.tables
            .iter_mut()
            .map(|table| FrozenGroup::Pages(table.freeze(era), layout))
            .collect()
    }
}

/// Gives the memory of freed entries back by moving the others to new pages.
fn rebuild(table: &mut GroupTable, layout: Layout) {
    let full = table.take_for_rebuild();
    table.reserve(full.len());
    for cell in full.cells(layout) {
        table.insert_value(layout, &cell.parts(), cell.value());
    }
}
