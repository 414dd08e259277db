//! A running job, as the program that started it sees it.

use crate::checkpoint::coordinator::CheckpointStats;
use crate::checkpoint::{SavepointFormat, StopMode};
use crate::runtime::job::{JobShared, Wanted};
use crate::runtime::metrics::{BackendFigures, JobMetrics};
use crate::{Error, ErrorKind, Result};
use std::path::PathBuf;
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
    /// The folder of the savepoint that the job was stopped with, if it was; in the coordinator's process.
    pub savepoint: Option<PathBuf>,
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

    /// Takes a savepoint: a snapshot of the whole job in a folder of its own, from which a job can be started later, on another backend or at another parallelism
    /// too, and which can be moved. The job goes on meanwhile and afterwards; the call comes back when the savepoint is complete.
    ///
    /// `target` is the folder below which the savepoint gets its own, `savepoint-<6 digits of the job id>-<random>`: a path or a `file://` address, made if it
    /// is missing. `None`: the one that `execution.checkpointing.savepoint-dir` names. Returns the savepoint's own folder.
    ///
    /// Savepoints do not wait for checkpoints, and checkpoints neither contain nor replace them; nobody but you deletes one. What sinks have
    /// prepared by then is in the savepoint, but is committed with the next checkpoint only.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when there is no target, or in a process without the coordinator; [`ErrorKind::Storage`] and others when the savepoint failed,
    /// or not all subtasks run: the job goes on, no folder is left, and nothing is counted against
    /// `execution.checkpointing.tolerable-failed-checkpoints`. [`ErrorKind::Cancelled`] when the job has ended.
    pub fn trigger_savepoint(&self, target: Option<&str>, format: SavepointFormat) -> Result<PathBuf> {
        self.take_savepoint(target, format, None)
    }

    /// Ends the job with a savepoint; comes back when it has ended, with the savepoint's folder. Sources stop, everything before is processed and is in the savepoint,
    /// sinks commit it, and [`wait`](Self::wait) gives the result of a job that has finished.
    ///
    /// With `drain`, event time is brought to its end before, so that every event-time timer fires and every window gives its result: for the end of a
    /// job for good. Without it, a job that is started from the savepoint goes on as if this one had never stopped.
    ///
    /// `target` and `format` are those of [`trigger_savepoint`](Self::trigger_savepoint).
    ///
    /// # Errors
    /// As [`trigger_savepoint`](Self::trigger_savepoint). When the savepoint fails, the job goes on: its sources read on, or with `drain`, since the end of event time cannot be
    /// taken back, a new attempt goes on from the latest checkpoint as after a failure. An error that names a complete savepoint says that the job
    /// failed before it had stopped, and goes on from that savepoint.
    pub fn stop_with_savepoint(
        &self,
        target: Option<&str>,
        drain: bool,
        format: SavepointFormat,
    ) -> Result<PathBuf> {
        let mode = if drain { StopMode::Drain } else { StopMode::Suspend };
        self.take_savepoint(target, format, Some(mode))
    }

    fn take_savepoint(
        &self,
        target: Option<&str>,
        format: SavepointFormat,
        stop: Option<StopMode>,
    ) -> Result<PathBuf> {
        let wanted = Wanted {
            target: target.map(str::to_owned),
            format,
            stop,
        };
        let taken = self.shared.savepoints()?.take(&wanted);
        taken.map_err(|not_taken| not_taken.error)
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

    /// What the state backends of this process said of themselves when a checkpoint was last completed: for each operator with keyed state, in the order of
    /// uids, its subtasks.
    #[must_use]
    pub fn backend_figures(&self) -> Vec<BackendFigures> {
        self.shared.metrics.backends()
    }

    /// How checkpoints have gone so far; nothing in processes other than the coordinator's.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointStats {
        self.shared.checkpoints()
    }
}

#[cfg(test)]
mod tests {
    use crate::api::{JobProgress, StreamExecutionEnvironment};
    use crate::connectors::sinks::DiscardSink;
    use std::time::Duration;

    #[test]
    fn what_backends_say_of_themselves_is_told_for_each_subtask() {
        let folder = tempfile::tempdir().unwrap();
        let env = StreamExecutionEnvironment::new();
        // One checkpoint, at the end of the input.
        env.set_parallelism(2)
            .set_state_backend("hashmap")
            .enable_checkpointing(Duration::from_secs(3600))
            .configure(|config| {
                config.set_string("execution.checkpointing.dir", folder.path().display().to_string());
            });
        env.from_sequence(0, 999)
            .key_by(|number| number % 100)
            .count()
            .uid("counts")
            .sink_to(DiscardSink::new());
        let client = env.execute_async("figures").unwrap();
        let progress: JobProgress = client.progress();
        client.wait().unwrap();
        let figures = progress.backend_figures();
        let subtasks: Vec<_> = figures.iter().map(|figures| figures.subtask).collect();
        assert_eq!(subtasks, [0, 1]);
        assert!(figures.iter().all(|figures| figures.checkpoint > 0));
        let entries = figures.iter().filter_map(|figures| figures.get("entries"));
        let entries: f64 = entries.sum();
        assert!((99.5..100.5).contains(&entries), "{entries} of 100 keys");
        assert_eq!(figures[0].get("no such figure"), None);
    }
}
