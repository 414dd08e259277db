//! What the tables of a keyed state may take of the memory.

use millpond_backend_memory::Tables;

/// The share of a keyed state.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) limit: usize,
}

impl Share {
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit
    }

    pub(crate) fn used_bytes(&self, tables: &Tables) -> usize {
        tables.iter().map(|(_, kind)| kind.bytes()).sum()
    }
}
