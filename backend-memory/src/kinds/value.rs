//! Values of fixed and of varying width, and lists, which are values that grow at their end.

use super::below::{Below, GroupBelow};
use super::evict::evictable;
use super::expire::Round;
use super::suffix::Uses;
use super::suffix::together;
use super::{Counters, Deletions, FrozenGroup, new_tables};
use crate::lower::{Lower, LowerLayer};
use crate::table::{
    EntryView, FixedBatch, GroupTable, Layout, Missing, NoValue, Parts, Placed, SMALL_TABLE_BYTES,
    SnapshotEra, fixed_slots, hint_cells, index_of,
};
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Cell, Entry, KeyBatch, KeyGroup, KeyGroupRange, Slot,
};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

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

    /// Fills `slots` for `keys`, whose groups are the state's and whose columns have one length, and returns how many have no value. The
    /// state has a fixed width. Entries stay where they are until [`end_batch`](Self::end_batch).
    ///
    /// # Errors
    /// Those of the lower layer; no slot is out then.
    pub fn slots(&mut self, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        let how = self.batch(Missing::Insert);
        let ask_later = self.below.is_costly();
        if let Some(layer) = self.below.layer()
            && !ask_later
            && self.missed * FETCHED_SHARE > keys.len()
        {
            layer.prefetch(keys);
        }
        let Self {
            shape,
            counters,
            footprint,
            below,
            missed,
            layout,
            ..
        } = self;
        let mut failure = None;
        *missed = 0;
        let no_value = |group: usize, parts: &Parts<'_>, what: NoValue<'_>| {
            if let NoValue::Inserted(value) = what {
                *footprint += OVERHEAD_BYTES + shape.width as usize + parts.key.len();
                if let Some(below) = below.of(group) {
                    *missed += 1;
                    if !ask_later {
                        match copy_from(&below, *layout, parts, value) {
                            Ok(true) => {
                                below.took_one();
                                return true;
                            }
                            Ok(false) => {}
                            Err(error) => failure = Some(error),
                        }
                    }
                }
            }
            if let Some(counters) = counters.get_mut(group) {
                counters.add(shape.encoded_bytes(parts.key.len(), 0, 0, 0));
            }
            false
        };
        let absent = fixed_slots(&mut self.tables, how, keys, slots, no_value);
        let found = match failure {
            Some(failure) => Err(failure),
            None if ask_later && self.missed > 0 => self.fill(keys, slots),
            None => Ok(0),
        };
        if found.is_err() {
            self.remove_absent(keys);
        }
        self.in_batch = found.is_ok();
        Ok(absent - found?)
    }

    /// Asks below, once, for the keys whose entries were inserted for `slots`, which are out, in groups of which something lies only there, and fills
    /// them. Returns how many were found.
    fn fill(&mut self, keys: &KeyBatch<'_>, slots: &[Slot]) -> BackendResult<u64> {
        // Looked for anew, so that the pass over the batch has nothing to do with it.
        let mut asked = HashSet::new();
        let mut cells = Vec::with_capacity(self.missed);
        for (number, slot) in slots.iter().enumerate() {
            if !slot.is_null()
                && !crate::table::slot_has_value(*slot)
                && let Some(cell) = keys.cell(number)
                && let Some((_, group)) = self.below.layer_of(self.index_of(cell.group))
                && let parts = Parts::of_cell(&cell)
                && self.is_absent(self.index_of(group), &parts)
                && asked.insert(parts.key)
            {
                cells.push((group, parts));
            }
        }
        let Some(layer) = self.below.layer().clone() else {
            return Ok(0);
        };
        let values = get_many(&*layer, &cells)?;
        // All are looked at before anything is changed.
        for ((_, parts), value) in cells.iter().zip(&values) {
            if let Some(value) = value {
                check_fetched(self.layout, parts, value)?;
            }
        }
        let mut found = 0;
        for ((group, parts), value) in cells.iter().zip(&values) {
            let index = self.index_of(*group);
            if let Some(value) = value
                && let (Some(table), Some(counters)) =
                    (self.tables.get_mut(index), self.counters.get_mut(index))
                && let Some(placed) = table.find(self.layout, parts)
            {
                table.fill(self.layout, placed, value);
                // It was counted as one that is new.
                counters.remove(self.shape.encoded_bytes(parts.key.len(), 0, 0, 0));
                self.below.took(index);
                found += 1;
            }
        }
        Ok(found)
    }

    /// Ends a batch: the slots are no longer out. `any_absent` says that there may be some without value, which are removed.
    pub fn end_batch(&mut self, keys: &KeyBatch<'_>, any_absent: bool) {
        self.in_batch = false;
        if any_absent {
            self.remove_absent(keys);
        }
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
    fn remove_absent(&mut self, keys: &KeyBatch<'_>) {
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

    /// Fetches what look-ups of `keys` will need; only a hint. With a costly layer below, the values of all keys that are not in memory are asked
    /// for at once. For states of a fixed width, [`slots`](Self::slots) does that.
    pub fn prefetch(&mut self, keys: &KeyBatch<'_>) {
        if self.footprint >= SMALL_TABLE_BYTES {
            hint_cells(&self.tables, self.first, keys);
        }
        let uses = std::mem::take(&mut self.uses);
        if self.below.is_costly() && self.layout == Layout::Varying && uses.want_values() {
            self.bring_in(keys);
        }
    }

    /// Brings in the cells of `keys` that lie only below.
    fn bring_in(&mut self, keys: &KeyBatch<'_>) {
        let mut asked = HashSet::new();
        let mut cells = Vec::new();
        let mut asked_layer = None;
        for cell in (0..keys.len()).filter_map(|index| keys.cell(index)) {
            let group = self.index_of(cell.group);
            if let Some((layer, _)) = self.below.layer_of(group) {
                let parts = Parts::of_cell(&cell);
                if self.find(group, &parts).is_none() && asked.insert(parts.key) {
                    cells.push((cell.group, parts));
                    asked_layer.get_or_insert_with(|| Arc::clone(layer));
                }
            }
        }
        let Some(layer) = asked_layer else { return };
        // The call that needs a cell asks again, and tells what is wrong.
        let Ok(values) = get_many(&*layer, &cells) else {
            return;
        };
        for ((group, parts), value) in cells.iter().zip(&values) {
            let index = self.index_of(*group);
            let Some(table) = self.tables.get_mut(index) else {
                continue;
            };
            match value {
                Some(value) if parts.check(value.len()).is_ok() => {
                    table.insert_clean(self.layout, parts, value, self.deletions.below);
                    self.below.took(index);
                    self.footprint += OVERHEAD_BYTES + parts.key.len() + value.len();
                }
                Some(_) => {}
                None => {
                    table.insert_absent(self.layout, parts);
                    self.footprint += OVERHEAD_BYTES + parts.key.len();
                }
            }
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

    pub(super) fn visit(&self, group: KeyGroup, mut each: impl FnMut(Entry<'_>)) -> BackendResult<()> {
        let index = self.index_of(group);
        let Some(table) = self.tables.get(index) else {
            return Ok(());
        };
        let below = self.below.layer_of(index);
        for cell in table.cells(self.layout) {
            match (cell.suffix(), &below) {
                (Some(segments), Some((layer, group))) => {
                    let entry = cell.entry();
                    let (base, up_to) = layer.get_as_of(*group, &Parts::of_value(&entry))?;
                    if let Some(value) = together(base.as_deref(), segments.after(up_to)) {
                        each(Entry {
                            value: &value,
                            ..entry
                        });
                    }
                }
                _ => each(cell.entry()),
            }
        }
        let Some((layer, _)) = below else {
            return Ok(());
        };
        layer.visit(group, &mut |entry| {
            if table.find(self.layout, &Parts::of_value(&entry)).is_none() {
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
            let shape = self.shape;
            let bytes = |entry: &Entry<'_>| {
                shape.encoded_bytes(entry.key.len(), entry.namespace.len(), 0, entry.value.len())
            };
            let mut counters = Counters::default();
            let (mut suffixes, mut below_suffixes) = (0, 0);
            for cell in table.cells(self.layout) {
                let entry = cell.entry();
                let Some(segments) = cell.suffix() else {
                    counters.add(bytes(&entry));
                    continue;
                };
                let (base, up_to) = layer.get_as_of(group, &Parts::of_value(&entry))?;
                suffixes += 1;
                below_suffixes += u64::from(base.is_some());
                if let Some(value) = together(base.as_deref(), segments.after(up_to)) {
                    counters.add(bytes(&Entry {
                        value: &value,
                        ..entry
                    }));
                }
            }
            let in_table = counters.cells;
            layer.visit(group, &mut |entry| {
                if table.find(self.layout, &Parts::of_value(&entry)).is_none() {
                    counters.add(bytes(&entry));
                }
                Ok(())
            })?;
            // The beginnings of suffixes lie only there, too.
            self.below
                .set_missing(index, counters.cells - in_table + below_suffixes);
            if suffixes > 0 {
                self.below.doubt(index);
            }
            if let Some(place) = self.counters.get_mut(index) {
                *place = counters;
            }
        }
        Ok(())
    }

    pub(super) fn evict(&mut self, group: usize, up_to: u32) -> usize {
        let layout = self.layout;
        let Some(table) = self.tables.get_mut(group) else {
            return 0;
        };
        let Some(evictable) = evictable(table, layout, up_to) else {
            return 0;
        };
        let before = table.bytes();
        self.moves += 1;
        rebuild(table, layout, evictable.kept, |entry| entry.epoch() > up_to);
        let entries = index_of(evictable.cells + evictable.suffixes) + evictable.absent;
        let overhead = OVERHEAD_BYTES * entries;
        self.footprint = self.footprint.saturating_sub(overhead + evictable.bytes);
        self.below.add_missing(group, evictable.cells);
        if evictable.suffixes > 0 {
            self.below.doubt(group);
        }
        before.saturating_sub(table.bytes())
    }

    pub(super) fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        // What is written from now on goes to copies of the pages; and not every owner freezes in a snapshot that the engine knows of.
        self.moves += 1;
        let layout = self.layout;
        let in_place = matches!(layout, Layout::Fixed(_));
        self.tables
            .iter_mut()
            .map(|table| FrozenGroup::Pages(table.freeze(era, in_place), layout))
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

/// Copies what lies below to its place in a table; whether there is something.
fn copy_from(
    below: &GroupBelow<'_>,
    layout: Layout,
    parts: &Parts<'_>,
    place: &mut [u8],
) -> BackendResult<bool> {
    let Some(value) = below.get(parts)? else {
        return Ok(false);
    };
    check_fetched(layout, parts, &value)?;
    place.copy_from_slice(&value);
    Ok(true)
}

/// What `layer` has of `cells`, a value or none for each.
fn get_many<'a>(
    layer: &'a dyn Lower,
    cells: &[(KeyGroup, Parts<'_>)],
) -> BackendResult<Vec<Option<Cow<'a, [u8]>>>> {
    let values = layer.get_many(cells)?;
    if values.len() != cells.len() {
        return Err(BackendError::new(
            BackendErrorKind::Other,
            format!(
                "{layer:?} was asked for {} values and gave {}: it has a defect",
                cells.len(),
                values.len()
            ),
        ));
    }
    Ok(values)
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
