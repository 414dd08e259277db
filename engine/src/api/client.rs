//! A running job, as the program that started it sees it.

use crate::checkpoint::coordinator::CheckpointStats;
use crate::runtime::job::JobShared;
use crate::runtime::metrics::JobMetrics;
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How a job went that has ended well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobExecutionResult {
    /// The job's name.
    pub job_name: String,
    /// The id of this run of the job.
    pub job_id: String,
    /// From the start of the program's call to the end of the job.
    pub duration: Duration,
    /// Records that the sources of this process emitted, repetitions after failures included.
    pub source_records: u64,
    /// Records that the sinks of this process took, repetitions after failures included.
    pub sink_records: u64,
    /// Records that windows in this process left out because they came after their window had fired, repetitions after failures included.
    pub late_records_dropped: u64,
    /// Attempts that this process took part in.
    pub attempts: u64,
    /// How checkpoints went, in the coordinator's process.
    pub checkpoints: CheckpointStats,
    /// The job had ended before, in an earlier run of the program, and was not run again.
    pub had_finished_before: bool,
}

/// A running job.
#[derive(Debug)]
pub struct JobClient {
    pub(crate) shared: Arc<JobShared>,
    pub(crate) thread: JoinHandle<Result<JobExecutionResult>>,
}

impl JobClient {
    /// Waits for the end of the job.
    ///
    /// # Errors
    /// [`ErrorKind::JobFailed`] with the cause when the restart strategy has given up, [`ErrorKind::Cancelled`] when the job was cancelled.
    pub fn wait(self) -> Result<JobExecutionResult> {
        self.thread.join().unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Bug,
                "the thread that runs the job panicked; see the log above",
            ))
        })
    }

    /// Whether the job has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks the job to end without waiting for its input; [`wait`](Self::wait) then gives [`ErrorKind::Cancelled`].
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// A view of the job's counters that outlives the client.
    #[must_use]
    pub fn progress(&self) -> JobProgress {
        JobProgress {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The counters of a job.
#[derive(Clone, Debug)]
pub struct JobProgress {
    shared: Arc<JobShared>,
}

impl JobProgress {
    /// Records that the sources of this process emitted so far.
    #[must_use]
    pub fn source_records(&self) -> u64 {
        JobMetrics::get(&self.shared.metrics.source_records)
    }

    /// Records that the sinks of this process took so far.
    #[must_use]
    pub fn sink_records(&self) -> u64 {
        JobMetrics::get(&self.shared.metrics.sink_records)
    }

    /// Records that windows in this process left out so far because they came after their window had fired.
    #[must_use]
    pub fn late_records_dropped(&self) -> u64 {
        JobMetrics::get(&self.shared.metrics.late_records_dropped)
    }

    /// Attempts that were started.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        JobMetrics::get(&self.shared.metrics.attempts)
    }

    /// How checkpoints have gone so far; nothing in processes other than the coordinator's.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointStats {
        self.shared.checkpoints()
    }
}
