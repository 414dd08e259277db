//! Which entries of a table can be evicted: those that are also below, and those that say nothing.

use super::Deletions;
use crate::table::{GroupTable, Layout};

/// A table is rebuilt if one of this many bytes goes by that, so that few bytes are moved for each one that is given back.
const WORTH_SHARE: usize = 8;

/// The part of a table that an eviction drops, if there is any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evictable {
    /// How many entries stay.
    pub(super) kept: usize,
    /// How many cells go.
    pub(super) cells: u64,
    /// How many [suffixes](crate::table::EntryView::suffix) go, which are not among the cells: the lists lie below.
    pub(super) suffixes: u64,
    /// How many marks go that say of a cell that it is nowhere.
    pub(super) absent: usize,
    /// The bytes of keys, namespaces, map keys and values of the cells and marks that go.
    pub(super) bytes: usize,
}

impl Deletions {
    /// The epoch up to which entries are clean, at most `up_to`; `None` if none is.
    pub(super) fn clean_up_to(self, up_to: u32) -> Option<u32> {
        // Where deletions leave no note, nothing can be said about what lies below.
        self.keep.then(|| up_to.min(self.below))
    }
}

/// What is dropped of `table` if all goes that was not changed after the epoch `up_to`; `None` if that is not worth it.
pub(super) fn evictable(table: &GroupTable, layout: Layout, up_to: u32) -> Option<Evictable> {
    let mut found = Evictable::default();
    let mut gone = 0;
    for entry in table.places(layout) {
        let is_note = entry.is_deletion();
        if entry.is_absent() {
            found.absent += 1;
        } else if !entry.is_cell() && !is_note {
            continue;
        } else if entry.epoch() > up_to {
            found.kept += 1;
            continue;
        } else if entry.suffix().is_some() {
            found.suffixes += 1;
        } else if !is_note {
            found.cells += 1;
        }
        gone += entry.size();
        if !is_note {
            let parts = entry.entry();
            found.bytes += parts.key.len() + parts.namespace.len() + parts.map_key.len() + parts.value.len();
        }
    }
    let figures = table.figures();
    let freed = gone + figures.free_bytes;
    let is_worth_it = freed > 0 && freed * WORTH_SHARE >= figures.live_bytes + figures.free_bytes;
    (is_worth_it || found.kept == 0 && figures.page_bytes > 0).then_some(found)
}
