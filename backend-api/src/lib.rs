//! The stable boundary between Millpond's engine and its state backends.
//!
//! A backend implements the traits of [`backend`] in plain Rust; `export_backends!` carries them over the boundary, statically linked
//! or from a library of its own. [`canonical`] has the form of snapshots that all backends share. `ABI.md` beside this crate tells a backend's author what is promised.

pub mod abi;
pub mod backend;
pub mod canonical;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
pub mod export;
mod key_group;
mod slot;
mod snapshot;
mod state;
pub mod streams;
pub mod ttl;

/// What `export_backends!` needs from abi_stable, so that a backend does not have to name it.
#[doc(hidden)]
pub mod reexport {
    pub use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult};
    pub use abi_stable::prefix_type::PrefixTypeTrait;
    pub use abi_stable::std_types::RVec;
}

pub use backend::{
    BackendConfig, Capabilities, CheckpointEvent, KeyedState, StateBackend, StateBackendFactory, unsupported,
};
pub use error::{BackendError, BackendErrorKind, BackendResult};
pub use key_group::{
    KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT, default_max_parallelism, key_group, key_hash, owner,
};
pub use slot::Slot;
pub use snapshot::{FileRef, OpenKeyed, SnapshotForm, SnapshotHandle, SnapshotRequest, SnapshotWriter};
pub use state::{Cell, Entry, EntryBuffer, KeyBatch, StateDescriptor, StateId, StateKind};
pub use streams::{RestoreFiles, RestoreStream, SnapshotStream, SnapshotStreams, StreamHint};
pub use ttl::StateTtl;
