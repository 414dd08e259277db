//! Counters of a running job, for progress displays and summaries.

use crate::checkpoint::OperatorId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
    /// What state backends said last, by operator and subtask.
    backends: Mutex<BTreeMap<(String, u32), BackendFigures>>,
}

/// What the state backend of a subtask said of itself when a checkpoint was completed.
///
/// The names are the backend's, with the unit last, such as `table_bytes`: how much memory it takes, how large its files are, what it evicted. Those that only grow
/// begin at zero with each attempt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackendFigures {
    /// The operator's name.
    pub operator: String,
    /// The subtask, from 0.
    pub subtask: u32,
    /// The number of the checkpoint.
    pub checkpoint: u64,
    /// The figures by name, in the backend's order.
    pub figures: Vec<(String, f64)>,
}

impl BackendFigures {
    /// The figure `name`, if the backend has one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|(known, _)| known == name);
        figure.map(|(_, figure)| *figure)
    }
}

impl JobMetrics {
    pub(crate) fn add(counter: &AtomicU64, records: usize) {
        counter.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Takes note of what the backend of a subtask of `operator` said, in the place of what it said before, and writes it to the log at level debug.
    pub(crate) fn note_backend(&self, operator: &OperatorId, figures: BackendFigures) {
        tracing::debug!(
            operator = figures.operator,
            subtask = figures.subtask,
            checkpoint = figures.checkpoint,
            figures = ?figures.figures,
            "the state backend's figures"
        );
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        backends.insert((operator.uid().to_owned(), figures.subtask), figures);
    }

    pub(crate) fn backends(&self) -> Vec<BackendFigures> {
        let backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        backends.values().cloned().collect()
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
