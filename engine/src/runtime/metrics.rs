//! Counters of a running job, for progress displays and summaries.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that tasks raise a batch at a time. Of this process only.
#[derive(Debug, Default)]
pub(crate) struct JobMetrics {
    /// Records that sources emitted, less those of attempts that failed after the checkpoint they went back to.
    pub(crate) source_records: AtomicU64,
    /// Records that sinks took.
    pub(crate) sink_records: AtomicU64,
    /// Records that windows left out because their window had fired.
    pub(crate) late_records_dropped: AtomicU64,
    /// Attempts that were started.
    pub(crate) attempts: AtomicU64,
}

impl JobMetrics {
    pub(crate) fn add(counter: &AtomicU64, records: usize) {
        counter.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
