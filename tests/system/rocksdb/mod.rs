//! Jobs on RocksDB: killed, rescaled, on damaged checkpoints, with settings that cannot be, over many checkpoints.
//!
//! The backend comes out of its library, which `cargo xtask plugins` builds; these tests are left out where there is none. With the cargo feature `rocksdb` it is
//! linked into the programs instead.

#[cfg(not(feature = "rocksdb"))]
mod folders;
#[cfg(not(feature = "rocksdb"))]
mod kill_loops;
#[cfg(feature = "rocksdb")]
mod linked;
#[cfg(not(feature = "rocksdb"))]
mod settings;
