//! The cells of a batch of keys at once: slots of values of a fixed width, and what is fetched ahead.

use super::{FETCHED_SHARE, OVERHEAD_BYTES, ValueState, check_fetched};
use crate::kinds::below::GroupBelow;
use crate::lower::Lower;
use crate::table::{FixedBatch, Layout, Missing, NoValue, Parts, SMALL_TABLE_BYTES, fixed_slots, hint_cells};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyBatch, KeyGroup, Slot};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

impl ValueState {
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
