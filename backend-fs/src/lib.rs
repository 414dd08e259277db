//! Millpond's state backend over files: working state in memory, snapshots in files that are mapped and probed in place when they
//! are restored.
//!
//! - [`mod@file`]: the file format `millpond-mapped/1` (see `FORMAT.md` beside this crate), its writer and its reader.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("files are mapped as a whole, which needs a 64-bit machine");

pub mod file;
