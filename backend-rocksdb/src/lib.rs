//! Millpond's state backend over RocksDB: state larger than memory, behind a write-back cache.
//!
//! The [tables](millpond_backend_memory) of a subtask hold what is hot, changed or not, within the memory budget; RocksDB lies below them and
//! has everything else. At a checkpoint, or when memory runs out, what was changed is frozen by sharing its pages, sorted beside the worker,
//! and brought in as files; then entries that are below as they are can be dropped.
//!
//! - `keys`: how cells are named; `database`: one database, a column family a state; `below`: a state of it below the tables; `contents`: up to which
//!   moment a database has a state; `lists`: how what is appended comes together.
//! - `store`: the databases of a subtask, and the order in which changes come into them; `ingest`: changes as sorted files;
//!   `abreast`: by several threads where there is much to look through.
//! - `snapshots`, `writer`, `upload`, `transfers`, `payload`: what is done at a checkpoint, on the worker and beside it, and how a handle tells of it.
//! - `canonical`: the form of snapshots that all backends share, out of a database and into one.
//! - `restore`, `sweep`, `origins`: from handles to databases, the verification of their files, and what these are in the snapshot.
//! - `merge`: one database in place of several, after the parallelism was changed.
//! - `room`, `spill`, `memory`: what the tables may take, and what gives way.
//! - `unsynced`: working files that nobody waits for.
//! - [`mod@options`]: what the configuration says, the memory of the process, folders, figures.
//! - [`RocksDbStateBackendFactory`]: the backend that the engine finds under `rocksdb`.

mod abreast;
mod backend;
mod below;
mod canonical;
mod contents;
mod database;
mod error;
mod expiry;
mod folder;
mod ingest;
mod keys;
mod lists;
mod memory;
mod merge;
pub mod options;
mod origins;
mod payload;
mod plugin;
mod restore;
mod room;
mod snapshots;
mod spill;
mod store;
mod sweep;
mod transfers;
mod unsynced;
mod upload;
mod writer;

pub use backend::{RocksDbKeyedState, RocksDbStateBackend, RocksDbStateBackendFactory};
pub use plugin::factory;
pub use snapshots::RocksDbSnapshots;
pub use writer::RocksDbWriter;
