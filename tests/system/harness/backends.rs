//! The settings by which tests run on one backend and another.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;

/// Keys and values of the configuration.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// Working state on the heap, written as a whole at each checkpoint: what a job has that names no backend.
pub(crate) const HEAP: Settings = &[];

/// Increments in files, however small they are: chains of files with folds and new bases.
pub(crate) const FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];

/// Increments, of which the small ones ride in the metadata: chains of both.
pub(crate) const FILES_AND_INLINE: Settings = &[("state.backend", "filesystem")];

/// Increments in compressed files.
pub(crate) const COMPRESSED: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.snapshot-compression", "true"),
];

/// Increments of several checkpoints at the same time, of which many are given up before they are complete.
pub(crate) const HASTY_FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.max-concurrent-checkpoints", "4"),
    ("execution.checkpointing.timeout", "60 ms"),
    ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
];

/// Every checkpoint whole, in files.
pub(crate) const WHOLE_FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.incremental", "false"),
];

/// Where `cargo xtask plugins` puts libraries.
const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins");

/// RocksDB out of its library, where it is not linked; increments in files.
pub(crate) const ROCKSDB: Settings = &[
    ("state.backend", "rocksdb"),
    ("plugins.dir", PLUGINS),
    ("execution.checkpointing.incremental", "true"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];

/// RocksDB with so little memory that tables of a megabyte are written out and looked up below all the time.
pub(crate) const ROCKSDB_LITTLE_MEMORY: Settings = &[
    ("state.backend", "rocksdb"),
    ("plugins.dir", PLUGINS),
    ("execution.checkpointing.incremental", "true"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("state.backend.rocksdb.memory.managed", "false"),
    ("state.backend.rocksdb.memory.fixed-per-tm", "1 mb"),
];

/// RocksDB with no memory to speak of: any state is too large. For small states, since each batch waits for the disk.
pub(crate) const ROCKSDB_NO_MEMORY: Settings = &[
    ("state.backend", "rocksdb"),
    ("plugins.dir", PLUGINS),
    ("execution.checkpointing.incremental", "true"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("state.backend.rocksdb.memory.managed", "false"),
    ("state.backend.rocksdb.memory.fixed-per-tm", "64 kb"),
];

/// The example backend over redb out of its library; files however small they are.
pub(crate) const REDB: Settings = &[
    ("state.backend", "redb"),
    ("plugins.dir", PLUGINS),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];

/// Whether jobs can run on RocksDB here: it is linked, or its library was built by `cargo xtask plugins`. Says so where they cannot.
///
/// # Panics
/// When the library is missing although `MILLPOND_ROCKSDB_LIBRARY` is set, by which whoever has built it says that no test may be left out for want of it.
pub(crate) fn has_rocksdb() -> bool {
    cfg!(feature = "rocksdb")
        || has_library("millpond_backend_rocksdb", "rocksdb", "MILLPOND_ROCKSDB_LIBRARY")
}

/// As [`has_rocksdb`], for the example backend over redb and `MILLPOND_REDB_LIBRARY`.
pub(crate) fn has_redb() -> bool {
    has_library("redb_backend", "redb", "MILLPOND_REDB_LIBRARY")
}

fn has_library(library: &str, backend: &str, needed: &str) -> bool {
    let library = format!("{DLL_PREFIX}{library}{DLL_SUFFIX}");
    let is_there = Path::new(PLUGINS).join(&library).is_file();
    if !is_there {
        assert!(
            std::env::var_os(needed).is_none(),
            "{library} is not in {PLUGINS}, and {needed} is set: run `cargo xtask plugins {backend}`"
        );
        println!("skipped: {library} is not in {PLUGINS}: run `cargo xtask plugins {backend}`");
    }
    is_there
}
