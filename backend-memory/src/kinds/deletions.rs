//! What becomes of deleted entries: gone at once, or noted for the next increment; and which entries are clean.

use crate::table::{GroupTable, Layout, Parts, Placed};

/// How many deletions a group notes before it is worth looking which can be forgotten.
const NOTED_MIN: usize = 64;

/// Whether deletions of a state are noted, which notes nobody needs any more, and which entries also lie below.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deletions {
    /// Snapshots are increments: what they have must be noted when it is deleted.
    pub keep: bool,
    /// Notes of this epoch and earlier ones can go: nothing below, and no snapshot that a later one builds on, has the entries. What the tables
    /// have may be nowhere else.
    pub forget: u32,
    /// Everything that was changed in this epoch or before also lies below, deletions too: their notes can go, and entries that were not
    /// changed later are clean, so that they can be [evicted](super::KindState::evict). An owner that lets changes sink into what lies below raises it.
    pub below: u32,
}

impl Deletions {
    /// The epoch up to which notes can go.
    pub(super) fn forgettable(self) -> u32 {
        self.forget.max(self.below)
    }

    /// Deletes an entry that `parts` addresses and that is in no list.
    pub(super) fn delete(self, table: &mut GroupTable, layout: Layout, placed: Placed, parts: &Parts<'_>) {
        table.delete(layout, placed, parts, self.keep);
        if self.keep && table.deletions() >= NOTED_MIN {
            table.forget_deletions_up_to(layout, self.forgettable());
        }
    }
}
