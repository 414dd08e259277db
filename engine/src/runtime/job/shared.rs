//! What the program and its running job share.

use crate::checkpoint::coordinator::CheckpointStats;
use crate::cluster::{AttemptControl, FailureCause};
use crate::runtime::metrics::JobMetrics;
use crate::{Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The connection between a [`JobClient`](crate::api::JobClient) and its job.
#[derive(Debug, Default)]
pub(crate) struct JobShared {
    pub(crate) metrics: Arc<JobMetrics>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    attempt: Option<AttemptControl>,
    stats: Option<watch::Receiver<CheckpointStats>>,
}

impl JobShared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the job.
    pub(crate) fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        if let Some(attempt) = &state.attempt {
            attempt.fail(FailureCause::of(&cancelled()));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the program asked for the end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Notes the attempt that runs now, and ends it at once if the job was cancelled before.
    pub(crate) fn set_attempt(&self, attempt: Option<AttemptControl>) {
        let mut state = self.state();
        if let (true, Some(attempt)) = (state.cancelled, &attempt) {
            attempt.fail(FailureCause::of(&cancelled()));
        }
        state.attempt = attempt;
    }

    pub(crate) fn set_stats(&self, stats: watch::Receiver<CheckpointStats>) {
        self.state().stats = Some(stats);
    }

    pub(crate) fn checkpoints(&self) -> CheckpointStats {
        self.state()
            .stats
            .as_ref()
            .map_or_else(CheckpointStats::default, |stats| stats.borrow().clone())
    }

    /// Lets `pause` pass, unless the job is cancelled before.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.state();
        while !state.cancelled {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// The error of a job that was cancelled.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the job was cancelled")
}
