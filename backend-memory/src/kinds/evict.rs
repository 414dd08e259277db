//! Which entries of a table can be evicted: those that are also below, and those that say nothing.

use super::Deletions;
use crate::table::{GroupTable, Layout};

/// The part of a table that an eviction drops, if there is any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evictable {
    /// How many entries stay.
    pub(super) kept: usize,
    /// How many cells go.
    pub(super) cells: u64,
    /// How many marks go that say of a cell that it is nowhere.
    pub(super) absent: usize,
    /// How many notes of deletions go.
    pub(super) deletions: usize,
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

/// What is dropped of `table` if all goes that was not changed after the epoch `up_to`.
pub(super) fn evictable(table: &GroupTable, layout: Layout, up_to: u32) -> Option<Evictable> {
    let mut found = Evictable::default();
    for entry in table.places(layout) {
        let mut counted = true;
        if entry.is_absent() {
            found.absent += 1;
        } else if !entry.is_cell() && !entry.is_deletion() {
            counted = false;
        } else if entry.epoch() > up_to {
            found.kept += 1;
            counted = false;
        } else if entry.is_cell() {
            found.cells += 1;
        } else {
            found.deletions += 1;
            counted = false;
        }
        if counted {
            let parts = entry.entry();
            found.bytes += parts.key.len() + parts.namespace.len() + parts.map_key.len() + parts.value.len();
        }
    }
    (found.cells > 0 || found.absent > 0 || found.deletions > 0).then_some(found)
}
