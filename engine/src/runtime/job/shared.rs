//! What the program and its running job share.

use super::savepoints::Savepoints;
use crate::checkpoint::coordinator::CheckpointStats;
use crate::cluster::{AttemptControl, FailureCause};
use crate::runtime::metrics::JobMetrics;
use crate::{Error, ErrorKind, Result};
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
    savepoints: Door,
}

/// Whether savepoints can be asked for.
#[derive(Debug, Default)]
enum Door {
    /// The job is starting.
    #[default]
    NotYet,
    Open(Savepoints),
    /// Another process has the coordinator.
    Elsewhere,
    /// The job has ended.
    Closed,
}

/// Tells, when it is dropped, that the job has ended.
pub(super) struct EndOnDrop<'a>(pub(super) &'a JobShared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_door(Door::Closed);
    }
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

    fn set_door(&self, door: Door) {
        self.state().savepoints = door;
        self.changed.notify_all();
    }

    /// Savepoints can be asked for from now on; without any, in another process only.
    pub(super) fn set_savepoints(&self, savepoints: Option<Savepoints>) {
        self.set_door(savepoints.map_or(Door::Elsewhere, Door::Open));
    }

    /// What takes savepoints; waits while the job is starting.
    pub(crate) fn savepoints(&self) -> Result<Savepoints> {
        let mut state = self.state();
        loop {
            match &state.savepoints {
                Door::NotYet => {}
                Door::Open(savepoints) => return Ok(savepoints.clone()),
                Door::Elsewhere => {
                    return Err(Error::new(
                        ErrorKind::Configuration,
                        "savepoints can only be asked for in the first process of a cluster, which has the coordinator",
                    ));
                }
                Door::Closed => return Err(Error::new(ErrorKind::Cancelled, "the job has ended")),
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
