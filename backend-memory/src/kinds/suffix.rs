//! Lists of which the table has the end and what lies below the rest: appending to such a list reads nothing.
//!
//! A suffix is made where something is appended to a list that may lie below and is not in the table. It stays one while there is nothing but appends: whatever
//! else is asked of the list fetches the rest, and makes it whole. What was appended is handed on with the increments as such, and comes to lie behind
//! the rest there; then the suffix is clean and can be dropped as anything else, or appended to anew.
//!
//! # What is counted
//! Whether there is a list below that a suffix goes on with is not known, only that there may be one. It is taken for granted: a suffix is no cell of its own,
//! and its bytes are counted without those of key and lengths. Where that is wrong the counters are too low, so the group is asked for below from
//! then on, whatever is counted ([`Below::doubt`](super::below::Below::doubt)), until it is counted anew.

use super::value::{OVERHEAD_BYTES, rebuild};
use super::{Counters, ValueState};
use crate::table::{Parts, Placed, Segments};
use millpond_backend_api::BackendResult;
use std::borrow::Cow;

/// If there is one read or more for this many appends, lists are worth being fetched before they are asked for.
const READ_SHARE: usize = 8;

/// What the cells of a state were used for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    pub(super) reads: usize,
    pub(super) appends: usize,
}

impl Uses {
    /// Whether the values of the keys that come next are likely to be asked for.
    pub(super) fn want_values(self) -> bool {
        self.reads * READ_SHARE >= self.appends
    }
}

/// The list of `base`, what lies below, and what was appended to it since; `None` if there is neither.
pub(super) fn together(base: Option<&[u8]>, appended: Segments<'_>) -> Option<Vec<u8>> {
    if base.is_none() && appended.is_empty() {
        return None;
    }
    let base = base.unwrap_or_default();
    let mut whole = Vec::with_capacity(base.len() + appended.len());
    whole.extend_from_slice(base);
    appended.iter().for_each(|bytes| whole.extend_from_slice(bytes));
    Some(whole)
}

impl Counters {
    /// A cell has grown by so many bytes.
    fn grow(&mut self, bytes: u64) {
        self.encoded_bytes = self.encoded_bytes.saturating_add(bytes);
    }
}

impl ValueState {
    /// Appends to a list without looking for what lies below; whether that could be done.
    pub(super) fn append_alone(
        &mut self,
        group: usize,
        parts: &Parts<'_>,
        element: &[u8],
    ) -> BackendResult<bool> {
        let found = self.find(group, parts);
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(false);
        };
        match found {
            Some(placed) => {
                let view = table.view(self.layout, placed.location);
                if view.suffix().is_none() {
                    return Ok(false);
                }
                parts.check(view.value_len() + element.len())?;
                table.append_to_suffix(self.layout, placed, parts, element, self.deletions.below);
                if table.wants_rebuild() {
                    rebuild(table, self.layout, table.len(), |_| true);
                }
            }
            None => {
                let below = self.below.of(group);
                if !below.is_some_and(|below| below.takes_suffix_of(parts)) {
                    return Ok(false);
                }
                parts.check(element.len())?;
                table.insert_suffix(self.layout, parts, element);
                self.below.doubt(group);
                self.footprint += OVERHEAD_BYTES + parts.key.len() + parts.namespace.len();
            }
        }
        self.footprint += element.len();
        counters.grow(element.len() as u64);
        Ok(true)
    }

    /// Where the entry is that `parts` addresses; one that is a suffix is made whole before.
    #[inline]
    pub(super) fn find_whole(&mut self, group: usize, parts: &Parts<'_>) -> BackendResult<Option<Placed>> {
        let found = self.find(group, parts);
        if let Some(placed) = found
            && let Some(view) = self.view(group, placed)
            && view.suffix().is_some()
        {
            self.make_whole(group, parts, placed)?;
            return Ok(self.find(group, parts));
        }
        Ok(found)
    }

    fn make_whole(&mut self, group: usize, parts: &Parts<'_>, placed: Placed) -> BackendResult<()> {
        let layout = self.layout;
        let (base, up_to) = match self.below.of(group) {
            Some(below) => below.get_as_of(parts)?,
            None => (None, 0),
        };
        let base = base.map(Cow::into_owned);
        let (Some(table), Some(counters)) = (self.tables.get_mut(group), self.counters.get_mut(group)) else {
            return Ok(());
        };
        let Some(segments) = table.view(layout, placed.location).suffix() else {
            return Ok(());
        };
        let appended = segments.after(up_to);
        let Some(whole) = together(base.as_deref(), appended) else {
            // It was below, and has expired there.
            table.remove(layout, placed);
            return Ok(());
        };
        parts.check(whole.len())?;
        if base.is_some() {
            self.below.took(group);
        } else {
            // It was taken for the end of another one.
            let (key, namespace) = (parts.key.len(), parts.namespace.len());
            let bytes = self.shape.encoded_bytes(key, namespace, 0, whole.len());
            counters.cells = counters.cells.saturating_add(1);
            counters.grow(bytes.saturating_sub(whole.len() as u64));
        }
        self.footprint += base.map_or(0, |base| base.len());
        table.make_whole(layout, placed, parts, &whole, self.deletions.below);
        if table.wants_rebuild() {
            rebuild(table, layout, table.len(), |_| true);
        }
        Ok(())
    }
}
