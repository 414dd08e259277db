//! Values of fixed and of varying width, and lists, which are values that grow at their end: one cell at a time; `batches` of keys at once, and
//! `passes` over all that there is.

mod batches;
mod passes;

use super::below::Below;
use super::expire::Round;
use super::suffix::Uses;
use super::{Counters, Deletions, new_tables};
use crate::lower::LowerLayer;
use crate::table::{EntryView, GroupTable, Layout, Parts, Placed};
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, Cell, KeyGroup, KeyGroupRange};
use std::borrow::Cow;

/// What an entry of a fixed width takes beside key and value: header, share of the index.
pub(super) const OVERHEAD_BYTES: usize = 32;

/// If one of this many keys of the last batch was missed, what lies below is fetched for the whole next one.
const FETCHED_SHARE: usize = 8;

/// The value state or list state of a subtask.
///
/// Groups are named by their index in the range that the state was made for; one outside it holds nothing and takes nothing.
#[derive(Debug)]
pub struct ValueState {
    pub(super) layout: Layout,
    pub(super) shape: EntryShape,
    pub(super) first: KeyGroup,
    pub(super) tables: Vec<GroupTable>,
    pub(super) counters: Vec<Counters>,
    pub(super) below: Below,
    pub(super) deletions: Deletions,
    /// Whether slots are out.
    in_batch: bool,
    /// How often entries were moved.
    moves: u64,
    /// How many keys of the last batch had to be looked for below.
    missed: usize,
    /// About how many bytes index and entries take.
    pub(super) footprint: usize,
    /// What lists were used for since the last hint.
    pub(super) uses: Uses,
    /// The search for cells that have expired.
    pub(super) round: Round,
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
            below: Below::nothing(range),
            deletions: Deletions::default(),
            in_batch: false,
            moves: 0,
            missed: 0,
            footprint: 0,
            uses: Uses::default(),
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

    /// The index of a group that may be none of the state's.
    fn index_of(&self, group: KeyGroup) -> usize {
        group.index().wrapping_sub(self.first.index())
    }

    /// How often entries were moved to other places, which ends the life of all slots that were kept.
    #[inline]
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }

    /// Whether slots are out, so that no entry may move or go.
    #[inline]
    pub(super) fn in_batch(&self) -> bool {
        self.in_batch
    }

    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    pub(super) fn is_estimated(&self) -> bool {
        self.below.any_uncertain()
    }

    pub(super) fn doubt_counters(&mut self) {
        self.below.doubt_all();
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

    pub(super) fn find(&self, group: usize, parts: &Parts<'_>) -> Option<Placed> {
        self.tables.get(group)?.find(self.layout, parts)
    }

    fn is_absent(&self, group: usize, parts: &Parts<'_>) -> bool {
        let view = self
            .find(group, parts)
            .and_then(|placed| self.view(group, placed));
        view.is_some_and(|view| view.is_absent())
    }

    pub(super) fn view(&self, group: usize, placed: Placed) -> Option<EntryView<'_>> {
        Some(self.tables.get(group)?.view(self.layout, placed.location))
    }

    /// The value of a cell.
    ///
    /// # Errors
    /// Those of the lower layer, as for all calls that look for a cell.
    pub fn get(&mut self, group: usize, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        let parts = Parts::of_cell(cell);
        self.uses.reads += 1;
        if let Some(placed) = self.find_whole(group, &parts)? {
            let view = self.view(group, placed).filter(EntryView::is_present);
            return Ok(view.map(|view| view.value()));
        }
        let (Some(below), Some(table)) = (self.below.of(group), self.tables.get_mut(group)) else {
            return Ok(None);
        };
        match below.get(&parts)? {
            Some(Cow::Owned(value)) => {
                check_fetched(self.layout, &parts, &value)?;
                let location = table.insert_clean(self.layout, &parts, &value, self.deletions.below);
                below.took_one();
                self.footprint += OVERHEAD_BYTES + parts.key.len() + parts.namespace.len() + value.len();
                Ok(Some(table.view(self.layout, location).value()))
            }
            Some(Cow::Borrowed(value)) => Ok(Some(value)),
            None => {
                // What is not there is often put next. Entries without value of a fixed width are those of batches.
                if below.is_costly() && self.layout == Layout::Varying {
                    table.insert_absent(self.layout, &parts);
                    self.footprint += OVERHEAD_BYTES + parts.key.len() + parts.namespace.len();
                }
                Ok(None)
            }
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
        self.uses.appends += 1;
        if self.append_alone(group, &Parts::of_cell(cell), element)? {
            return Ok(());
        }
        self.write(group, cell, element, true)
    }

    fn write(&mut self, group: usize, cell: &Cell<'_>, value: &[u8], append: bool) -> BackendResult<()> {
        let parts = Parts::of_cell(cell);
        let found = self.find_whole(group, &parts)?;
        let present = found.and_then(|placed| self.view(group, placed));
        let present = present.filter(EntryView::is_present).map(|view| view.value_len());
        let below = match self.below.of(group) {
            Some(below) if found.is_none() => below.get(&parts)?,
            _ => None,
        };
        let before = present.or(below.as_ref().map(|value| value.len()));
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
                    rebuild(table, layout, table.len(), |_| true);
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
                if below.is_some() {
                    self.below.took(group);
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
        if let Some(placed) = self.find_whole(group, &parts)? {
            let present = self.view(group, placed).is_some_and(|view| view.is_present());
            if present {
                self.remove(group, &parts, placed);
            }
            return Ok(present);
        }
        let Some(below) = self.below.of(group) else {
            return Ok(false);
        };
        let Some(value) = below.get(&parts)? else {
            return Ok(false);
        };
        if let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) {
            let (key, namespace) = (parts.key.len(), parts.namespace.len());
            counters.remove(self.shape.encoded_bytes(key, namespace, 0, value.len()));
            table.insert_deletion(self.layout, &parts);
            below.took_one();
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
            rebuild(table, layout, table.len(), |_| true);
        }
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

/// Gives memory back by moving those entries to new pages that are to be kept, about `expected` in number.
pub(super) fn rebuild(
    table: &mut GroupTable,
    layout: Layout,
    expected: usize,
    keep: impl Fn(&EntryView<'_>) -> bool,
) {
    let full = table.take_for_rebuild();
    table.reserve(expected);
    for entry in full.entries(layout).filter(keep) {
        table.insert_as_it_was(layout, &entry);
    }
}
