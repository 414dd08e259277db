//! Why a checkpoint failed, and which failures count.

use crate::ErrorKind;
use crate::checkpoint::{CheckpointId, DeclineKind};
use std::fmt;
use std::time::Duration;

/// Why a checkpoint was given up, or never started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointFailure {
    /// A subtask declined.
    Declined {
        /// Name of the operator.
        operator: String,
        /// The subtask.
        subtask: u32,
        /// Why, as a sentence.
        reason: String,
        /// Why, as a kind.
        kind: DeclineKind,
    },
    /// It took longer than the timeout.
    Expired {
        /// The timeout.
        timeout: Duration,
    },
    /// The metadata could not be written or published.
    Finalize {
        /// Why.
        reason: String,
    },
    /// A newer checkpoint completed first.
    Subsumed {
        /// The newer one.
        by: CheckpointId,
    },
    /// The attempt ended.
    Suspended,
    /// It could not be started, because the number could not be recorded.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// Not all subtasks run (yet).
    NotRunning,
    /// Too many requests wait.
    QueueFull,
    /// The savepoint is complete, but the job did not stop with it.
    NotStopped {
        /// The savepoint's folder.
        savepoint: String,
    },
}

impl CheckpointFailure {
    /// Whether it counts against `execution.checkpointing.tolerable-failed-checkpoints`.
    #[must_use]
    pub fn counts(&self) -> bool {
        match self {
            Self::Declined { kind, .. } => kind.counts(),
            Self::Expired { .. } | Self::Finalize { .. } => true,
            Self::Subsumed { .. }
            | Self::Suspended
            | Self::NotStarted { .. }
            | Self::NotRunning
            | Self::QueueFull
            | Self::NotStopped { .. } => false,
        }
    }

    /// The kind of error that the attempt fails with when this was one failure too many.
    #[must_use]
    pub fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Declined { kind, .. } => kind.error_kind(),
            _ => ErrorKind::Storage,
        }
    }
}

impl fmt::Display for CheckpointFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined {
                operator,
                subtask,
                reason,
                ..
            } => write!(f, "subtask {subtask} of operator '{operator}' declined: {reason}"),
            Self::Expired { timeout } => write!(
                f,
                "it did not complete within {timeout:?} (execution.checkpointing.timeout)"
            ),
            Self::Finalize { reason } => write!(f, "its metadata could not be published: {reason}"),
            Self::Subsumed { by } => write!(f, "checkpoint {by} completed first"),
            Self::Suspended => f.write_str("the attempt ended"),
            Self::NotStarted { reason } => write!(f, "it could not be started: {reason}"),
            Self::NotRunning => f.write_str("not all subtasks run (yet), or the job is about to end"),
            Self::QueueFull => f.write_str("too many requests wait already"),
            Self::NotStopped { savepoint } => write!(
                f,
                "the savepoint '{savepoint}' is complete, but the attempt failed before the job had stopped with it, and the job goes on from there: \
                 what the savepoint covers is committed by the job"
            ),
        }
    }
}

/// Why [`Action::Persist`](super::Action::Persist) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistFailure {
    /// Why, as a sentence.
    pub reason: String,
    /// Nobody knows whether high availability names the checkpoint now. Its bytes must not be deleted; the next publication settles it.
    pub unknown_outcome: bool,
    /// Another program has taken the job over: this one must not go on.
    pub fenced: bool,
}
