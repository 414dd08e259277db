//! What the tables of a keyed state take of the memory, and what they may take.

use crate::options::TableShare;
use crate::store::Store;
use millpond_backend_memory::Tables;
use millpond_backend_memory::table::free_bytes_kept;

/// The memory of a keyed state.
#[derive(Debug)]
pub(crate) struct TableMemory {
    share: TableShare,
    /// The [bytes held](millpond_backend_memory::table::ArenaFigures::held_bytes) in all when no snapshot held any more.
    held_before: u64,
}

/// What is taken, and what may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Bytes of the tables, and of what only a snapshot holds.
    pub(crate) used: usize,
    /// The most that it should be.
    pub(crate) limit: usize,
}

impl TableMemory {
    pub(crate) fn new(share: TableShare) -> Self {
        Self {
            share,
            held_before: 0,
        }
    }

    /// The memory of `tables`, whose snapshots go into `store`.
    pub(crate) fn look(&mut self, tables: &Tables, store: &Store) -> Use {
        let mut bytes = 0;
        let mut held = 0;
        let mut states = 0;
        for (_, kind) in tables.iter() {
            states += 1;
            bytes += kind.bytes();
            held += kind
                .tables()
                .iter()
                .map(|table| table.figures().held_bytes)
                .sum::<u64>();
        }
        if !store.holds_pages() {
            self.held_before = held;
        }
        // What was copied is there twice until the snapshot has been brought in.
        let held = usize::try_from(held.saturating_sub(self.held_before)).unwrap_or(0);
        let used = bytes.saturating_add(held);
        Use {
            used,
            limit: self.share.limit_bytes(used, states, free_bytes_kept()),
        }
    }
}
