//! Up to which epoch a database has the changes of a state.
//!
//! Who reads an entry that may be appended to while it reads has to know whether the database had that already, so a read and an advance exclude each other.
//! An advance is one file that is brought in, not the making of it.

use millpond_backend_api::BackendResult;
use std::sync::{PoisonError, RwLock};

/// What a database has of one state.
#[derive(Debug, Default)]
pub(crate) struct Contents(RwLock<u32>);

impl Contents {
    /// The epoch up to which changes are there, as far as any were brought in.
    pub(crate) fn up_to(&self) -> u32 {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads something, and tells the epoch that it is of.
    ///
    /// # Errors
    /// That of `read`.
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> BackendResult<T>) -> BackendResult<(T, u32)> {
        let up_to = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok((read()?, *up_to))
    }

    /// Brings in what was changed up to the epoch `to`.
    ///
    /// # Errors
    /// That of `bring_in`; then nothing of it is there.
    pub(crate) fn advance(&self, to: u32, bring_in: impl FnOnce() -> BackendResult<()>) -> BackendResult<()> {
        let mut up_to = self.0.write().unwrap_or_else(PoisonError::into_inner);
        bring_in()?;
        *up_to = to;
        Ok(())
    }
}
