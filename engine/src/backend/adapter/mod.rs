//! The engine's side of the plugin boundary: abi_stable's objects in safe wrappers.
//!
//! Nothing outside this folder sees an ABI object, and no backend sees an engine type. Errors are turned into
//! [`crate::Error`] here, with the place they happened at.

mod error;
mod factory;
mod keyed;
mod restore;
mod snapshot;
pub mod storage;

pub use error::Place;
pub use factory::{Backend, BackendFactory, FactoryOrigin, OpenSubtask};
pub use keyed::KeyedBackend;
pub use snapshot::{CancelFlag, SnapshotTask};
pub use storage::{FileHint, KeyedSnapshot, SnapshotFile, SnapshotSink, SnapshotSource, StoredFile};

#[cfg(test)]
mod tests;
