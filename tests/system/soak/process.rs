//! What a process holds of the machine.

use std::fs;

/// More threads than slow work of one attempt at the largest parallelism of the soak wants at once.
const POOL: usize = 64;

/// Threads and open files of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) threads: usize,
    pub(super) files: usize,
}

impl Held {
    /// Those of the process `pid` just now. The files of sorted data of a database are not counted, which are as many as there is state, nor are the threads of
    /// the pool for slow work up to [`POOL`]: it has as many as were ever wanted at once, and lets them go only after a quiet time.
    pub(super) fn by(pid: u32) -> Self {
        let entries = |what: &str| {
            let entries = fs::read_dir(format!("/proc/{pid}/{what}"));
            entries.into_iter().flatten().flatten()
        };
        let is_data = |entry: &fs::DirEntry| {
            fs::read_link(entry.path())
                .is_ok_and(|path| path.extension().is_some_and(|extension| extension == "sst"))
        };
        let is_of_pool = |entry: &fs::DirEntry| {
            fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim() == "millpond-io")
        };
        let (pool, others): (Vec<_>, Vec<_>) = entries("task").partition(is_of_pool);
        Self {
            threads: others.len() + pool.len().saturating_sub(POOL),
            files: entries("fd").filter(|entry| !is_data(entry)).count(),
        }
    }

    /// Whether it is no more than `other`, but for `slack` of each.
    pub(super) fn is_within(self, other: Self, slack: usize) -> bool {
        self.threads <= other.threads + slack && self.files <= other.files + slack
    }
}
