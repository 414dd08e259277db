//! Values of fixed and of varying width, and lists, which are values that grow at their end.

use super::{Counters, Deletions, EntryShape, FrozenGroup, new_tables};
use crate::lower::LowerLayer;
use crate::table::{
    EntryView, FixedBatch, GroupTable, Layout, Missing, NoValue, Parts, Placed, SMALL_TABLE_BYTES,
    SnapshotEra, fixed_slots, hint_cells,
};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Cell, Entry, KeyBatch, KeyGroup, KeyGroupRange, Slot,
};
use std::borrow::Cow;
use std::collections::HashSet;

/// What an entry of a fixed width takes beside key and value: header, share of the index.
const OVERHEAD_BYTES: usize = 32;

/// If one of this many keys of the last batch was missed, what lies below is fetched for the whole next one.
const FETCHED_SHARE: usize = 8;

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
    lower: LowerLayer,
    deletions: Deletions,
    /// How many keys of the last batch had to be looked for below.
    missed: usize,
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
            lower: None,
            deletions: Deletions::default(),
            missed: 0,
            footprint: 0,
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

    fn group(&self, index: usize) -> KeyGroup {
        super::group_at(self.first, index)
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

    /// Fills `slots` for `keys`, whose groups are the state's and whose columns have one length, and returns how many have no value. The
    /// state has a fixed width.
    ///
    /// # Errors
    /// Those of the lower layer; no slot is out then.
    pub fn slots(&mut self, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        let how = self.batch(Missing::Insert);
        if let Some(lower) = &self.lower
            && self.missed * FETCHED_SHARE > keys.len()
        {
            lower.prefetch(keys);
        }
        let Self {
            shape,
            counters,
            footprint,
            first,
            lower,
            missed,
            layout,
            ..
        } = self;
        let mut failure = None;
        *missed = 0;
        let no_value = |group: usize, parts: &Parts<'_>, what: NoValue<'_>| {
            if let NoValue::Inserted(value) = what {
                *footprint += OVERHEAD_BYTES + shape.width as usize + parts.key.len();
                if let Some(lower) = lower {
                    *missed += 1;
                    let found = lower.get(super::group_at(*first, group), parts);
                    let checked = found.and_then(|found| {
                        let found = found.as_deref();
                        found.map_or(Ok(()), |found| check_fetched(*layout, parts, found))?;
                        Ok(found.map(|found| value.copy_from_slice(found)).is_some())
                    });
                    match checked {
                        Ok(true) => return true,
                        Ok(false) => {}
                        Err(error) => failure = Some(error),
                    }
                }
            }
            if let Some(counters) = counters.get_mut(group) {
                counters.add(shape.encoded_bytes(parts.key.len(), 0, 0, 0));
            }
            false
        };
        let absent = fixed_slots(&mut self.tables, how, keys, slots, no_value);
        if let Some(failure) = failure {
            self.remove_absent(keys);
            return Err(failure);
        }
        Ok(absent)
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
        fixed_slots(&mut self.tables, how, keys, &mut slots, |_, _, _| false);
        let mut absent = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            if !slot.is_null() && !crate::table::slot_has_value(*slot) {
                absent.push(index);
            }
        }
        // A key that comes twice in the batch is one entry, and may be there as a deletion once it is removed.
        let mut removed = HashSet::new();
        for index in absent {
            if let Some(cell) = keys.cell(index) {
                let group = cell.group.index() - self.first.index();
                let parts = Parts::of_cell(&cell);
                if let Some(placed) = self.find(group, &parts)
                    && removed.insert(parts.key)
                {
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
    ///
    /// # Errors
    /// Those of the lower layer, as for all calls that look for a cell.
    pub fn get(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        let parts = Parts::of_cell(cell);
        if let Some(placed) = self.find(group, &parts) {
            let view = self.view(group, placed).filter(EntryView::is_present);
            return Ok(view.map(|view| view.value()));
        }
        let key_group = self.group(group);
        let (Some(lower), Some(table)) = (&self.lower, self.tables.get_mut(group)) else {
            return Ok(None);
        };
        match lower.get(key_group, &parts)? {
            Some(Cow::Owned(value)) => {
                check_fetched(self.layout, &parts, &value)?;
                let location = table.insert_clean(self.layout, &parts, &value, self.deletions.below);
                self.footprint += OVERHEAD_BYTES + parts.key.len() + parts.namespace.len() + value.len();
                Ok(Some(table.view(self.layout, location).value()))
            }
            Some(Cow::Borrowed(value)) => Ok(Some(value)),
            None => Ok(None),
        }
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
        let key_group = self.group(group);
        let below = match &self.lower {
            Some(lower) if found.is_none() => lower.get(key_group, &parts)?,
            _ => None,
        };
        let present = found
            .and_then(|placed| self.view(group, placed))
            .filter(EntryView::is_present);
        let before = present
            .map(|view| view.value_len())
            .or(below.as_ref().map(|value| value.len()));
        let at = if append { before.unwrap_or(0) } else { 0 };
        parts.check(at + value.len())?;
        let layout = self.layout;
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(());
        };
        let bytes = |len: usize| {
            self.shape
                .encoded_bytes(parts.key.len(), parts.namespace.len(), 0, len)
        };
        if let Some(before) = before {
            counters.remove(bytes(before));
        }
        counters.add(bytes(at + value.len()));
        match found {
            Some(placed) => {
                table.set_value(layout, placed, &parts, at, value);
                if table.wants_rebuild() {
                    rebuild(table, layout);
                }
            }
            None => {
                match &below {
                    Some(start) if append => {
                        let whole = [start, value].concat();
                        table.insert_value(layout, &parts, &whole, true);
                    }
                    _ => {
                        table.insert_value(layout, &parts, value, below.is_some());
                    }
                }
                self.footprint += OVERHEAD_BYTES + parts.key.len() + parts.namespace.len() + at + value.len();
            }
        }
        Ok(())
    }

    /// Removes a cell; returns whether there was one.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn delete(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<bool> {
        let parts = Parts::of_cell(cell);
        if let Some(placed) = self.find(group, &parts) {
            let present = self.view(group, placed).is_some_and(|view| view.is_present());
            if present {
                self.remove(group, &parts, placed);
            }
            return Ok(present);
        }
        let key_group = self.group(group);
        let Some(below) = &self.lower else {
            return Ok(false);
        };
        let Some(value) = below.get(key_group, &parts)? else {
            return Ok(false);
        };
        if let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) {
            let (key, namespace) = (parts.key.len(), parts.namespace.len());
            counters.remove(self.shape.encoded_bytes(key, namespace, 0, value.len()));
            table.insert_deletion(self.layout, &parts);
            self.footprint += OVERHEAD_BYTES + key + namespace;
        }
        Ok(true)
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
        self.deletions.delete(table, layout, placed, parts);
        if table.wants_rebuild() {
            rebuild(table, layout);
        }
    }

    pub(super) fn visit(&self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        let Some(table) = self.tables.get(group.index().wrapping_sub(self.first.index())) else {
            return Ok(());
        };
        for cell in table.cells(self.layout) {
            each(cell.entry());
        }
        let Some(lower) = &self.lower else { return Ok(()) };
        lower.visit(group, &mut |entry| {
            if table.find(self.layout, &Parts::of_value(&entry)).is_none() {
                each(entry);
            }
            Ok(())
        })
    }

    pub(super) fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        let layout = self.layout;
        self.tables
            .iter_mut()
            .map(|table| FrozenGroup::Pages(table.freeze(era), layout))
            .collect()
    }
}

/// An error if a value that was found below cannot be one of this state.
fn check_fetched(layout: Layout, parts: &Parts<'_>, value: &[u8]) -> BackendResult<()> {
    if !matches!(layout, Layout::Fixed(_)) {
        return parts.check(value.len());
    }
    if value.len() != layout.width() {
        return Err(BackendError::new(
            BackendErrorKind::Corrupted,
            format!(
                "a snapshot has a value of {} bytes where the state's values have {}",
                value.len(),
                layout.width()
            ),
        ));
    }
    Ok(())
}

/// Gives the memory of freed entries back by moving the others to new pages.
fn rebuild(table: &mut GroupTable, layout: Layout) {
    let full = table.take_for_rebuild();
    table.reserve(full.len());
    for entry in full.entries(layout) {
        table.insert_as_it_was(layout, &entry);
    }
}
