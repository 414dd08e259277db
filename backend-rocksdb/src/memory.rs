//! What the tables of a keyed state take of the memory, and what they may take.

use crate::options::TableShare;
use crate::store::Store;
use millpond_backend_memory::Tables;
use millpond_backend_memory::table::PAGE_BYTES;

/// The memory of a keyed state.
#[derive(Debug)]
pub(crate) struct TableMemory {
    share: TableShare,
    /// How many pages had been copied for snapshots when none was held.
    copied_before: u64,
}

/// What is taken, and what may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Bytes of the tables, and of the pages that only a snapshot holds.
    pub(crate) used: usize,
    /// The most that it should be.
    pub(crate) limit: usize,
}

impl TableMemory {
    pub(crate) fn new(share: TableShare) -> Self {
        Self {
            share,
            copied_before: 0,
        }
    }

    /// The memory of `tables`, whose snapshots go into `store`.
    pub(crate) fn look(&mut self, tables: &Tables, store: &Store) -> Use {
        let mut bytes = 0;
        let mut copied = 0;
        let mut states = 0;
        for (_, kind) in tables.iter() {
            states += 1;
            bytes += kind.bytes();
            copied += kind
                .tables()
                .iter()
                .map(|table| table.figures().pages_copied)
                .sum::<u64>();
        }
        if !store.holds_pages() {
            self.copied_before = copied;
        }
        // Each page that was copied is there twice until the snapshot has been brought in.
        let held = usize::try_from(copied.saturating_sub(self.copied_before)).unwrap_or(0);
        let used = bytes + held.saturating_mul(PAGE_BYTES);
        Use {
            used,
            limit: self.share.limit_bytes(used, states),
        }
    }
}
