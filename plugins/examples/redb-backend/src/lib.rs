//! An example of a third-party state backend for Millpond: keyed state in a [redb] database file.
//!
//! It needs nothing of Millpond but `millpond-backend-api`. Built as a library (`cargo build --release`), dropped into the engine's plugins
//! folder and named in the configuration (`state.backend: redb`), it is used like a built-in one. The README says how; `FORMAT.md` describes the
//! snapshots.

mod cache_size;
mod entries;
mod factory;
mod keyed;
mod plugin;
mod rows;
mod snapshot;
mod store;

pub use factory::{RedbStateBackend, RedbStateBackendFactory};
pub use keyed::RedbKeyedState;
pub use snapshot::RedbSnapshotWriter;
