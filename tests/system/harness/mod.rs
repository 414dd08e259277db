//! What the tests of whole programs share.

mod backends;
mod checkpoints;
mod disk;
mod folder;
mod interrupted;
mod program;
mod random;
mod strace;
mod text;

pub(crate) use backends::{
    COMPRESSED, FILES, FILES_AND_INLINE, HASTY_FILES, HEAP, REDB, ROCKSDB, ROCKSDB_LITTLE_MEMORY,
    ROCKSDB_NO_MEMORY, Settings, WHOLE_FILES, has_redb, has_rocksdb,
};
pub(crate) use checkpoints::{checkpoints_below, latest_checkpoint};
pub(crate) use disk::{Disk, SmallDisk};
pub(crate) use folder::{JobFolder, base_bytes, bytes_below, job_folders, longest_chain};
pub(crate) use interrupted::Interrupted;
pub(crate) use program::{Ended, Program, Running};
pub(crate) use random::Random;
pub(crate) use strace::Strace;
pub(crate) use text::{
    assert_exactly, assert_nothing_missing, awk_lines, checkpoints_completed, finished_lines,
    latest_completed, lines_of, write_text,
};

/// The number in the environment variable `name`, else `default`.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}='{text}' is not a number")),
        Err(_) => default,
    }
}
