//! What becomes of deleted entries: gone at once, or noted for the next increment.

use crate::table::{GroupTable, Layout, Parts, Placed};

/// How many deletions a group notes before it is worth looking which can be forgotten.
const NOTED_MIN: usize = 64;

/// Whether deletions of a state are noted, and which notes nobody needs any more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deletions {
    /// Snapshots are increments: what they have must be noted when it is deleted.
    pub keep: bool,
    /// Notes of this epoch and earlier ones can go: a later snapshot has everything, without them.
    pub forget: u32,
}

impl Deletions {
    /// Deletes an entry that `parts` addresses and that is in no list.
    pub(super) fn delete(self, table: &mut GroupTable, layout: Layout, placed: Placed, parts: &Parts<'_>) {
        table.delete(layout, placed, parts, self.keep);
        if self.keep && table.deletions() >= NOTED_MIN {
            table.forget_deletions_up_to(layout, self.forget);
        }
    }
}
