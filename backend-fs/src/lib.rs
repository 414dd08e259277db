//! Millpond's state backend over files: working state in memory, snapshots in files that are mapped and probed in place when they
//! are restored.
//!
//! - [`mod@file`]: the file format `millpond-mapped/1` (see `FORMAT.md` beside this crate), its writer and its reader.
//! - `chain`: which files a snapshot consists of, and what the next one writes; `payload`: how a handle says so.
//! - `layers`, `restore`, `sweep`: restored files below the tables of [`millpond_backend_memory`], looked into and verified in place.
//! - `snapshots`, `writer`: what is done at a checkpoint, on the worker and beside it.
//! - [`FsStateBackendFactory`]: the backend that the engine finds under `filesystem` and `fs`.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("files are mapped as a whole, which needs a 64-bit machine");

mod backend;
mod chain;
pub mod file;
mod layers;
mod options;
mod payload;
mod plugin;
mod restore;
mod snapshots;
mod sweep;
mod writer;

pub use backend::{FsKeyedState, FsStateBackend, FsStateBackendFactory};
pub use plugin::factory;
pub use snapshots::ChainSnapshots;
pub use writer::{ChainWriter, FsWriter};
