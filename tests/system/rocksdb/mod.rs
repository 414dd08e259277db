//! Jobs on RocksDB: killed, rescaled, with settings that cannot be, on disks that are full, from damaged files. Retention is in `increments`.
//!
//! The backend comes out of its library, which `cargo xtask plugins` builds; these tests are left out where there is none. With the cargo feature `rocksdb` it is
//! linked into the programs instead.

mod backlogs;
mod damage;
mod folders;
mod kill_loops;
#[cfg(feature = "rocksdb")]
mod linked;
mod settings;
mod syncs;
