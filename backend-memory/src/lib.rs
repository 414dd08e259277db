//! Millpond's paged in-memory state table, and the state backend that keeps all of its state in it.
//!
//! - [`table`]: pages, the index over them, entries, and sharing of pages with snapshots; knows no kinds of state.
//! - [`kinds`]: value, list, map and sorted map on top of the table.
//! - [`lower`]: what may lie under the tables, such as mapped files.
//! - [`snapshot`]: snapshots in the canonical form, from frozen tables and what lies below them, and back.
//! - [`MemoryStateBackendFactory`]: the backend that the engine finds under `jobmanager`, `hashmap` and `memory`.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the table's locations need a 64-bit machine");

mod backend;
pub mod kinds;
pub mod lower;
mod paged;
mod plugin;
pub mod snapshot;
pub mod table;
mod tables;

pub use backend::{FullSnapshots, MemoryKeyedState, MemoryStateBackend, MemoryStateBackendFactory};
pub use paged::{PagedKeyedState, Snapshots};
pub use plugin::factory;
pub use tables::Tables;
