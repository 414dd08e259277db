//! What happens to the coordinator, and what it wants done.

use super::failure::{CheckpointFailure, PersistFailure};
use crate::checkpoint::{
    Ack, CheckpointId, CheckpointMetadata, Command, OperatorId, SavepointOptions, SnapshotKind,
};
use crate::{Error, ErrorKind};
use std::sync::Arc;

/// An operator of the running job, as the coordinator has to know it for the metadata.
///
/// Exactly the operators that acknowledge are listed: a checkpoint for which an acknowledgement of any of their subtasks is missing fails, so that a
/// fault in the dataflow can never pass for a subtask without state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorInfo {
    /// Who owns the state.
    pub id: OperatorId,
    /// The operator's name, for people.
    pub name: String,
    /// Number of subtasks.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// The sources whose records come to it, itself for a source: when all of them have finished, so has the operator.
    pub sources: Vec<OperatorId>,
}

/// Names a request of a user until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something that happened. Events may be sent from any thread and are handled one after the other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// All subtasks of an attempt run; periodic checkpoints begin.
    AttemptStarted {
        /// The attempt's number.
        attempt: u64,
        /// The operators of the job.
        operators: Vec<OperatorInfo>,
        /// A random number in `0.0..1.0`: where between the minimal pause and the period the first checkpoint starts.
        first_delay: f64,
    },
    /// The attempt is over, for whatever reason: nothing is triggered until the next one starts, what is pending is given up. A
    /// checkpoint that is already whole and only being written is not lost.
    AttemptFailed,
    /// The user asked for the end: as [`Event::AttemptFailed`], and no attempt follows.
    Cancel,
    /// The time of [`Coordinator::next_wakeup`](super::Coordinator::next_wakeup) has come.
    Tick,
    /// Somebody asks for a snapshot now.
    UserTrigger {
        /// Comes back with [`Action::Reply`].
        request: RequestId,
        /// What is asked for.
        kind: SnapshotKind,
    },
    /// The frontier of the acknowledgements has passed `id`: these are all there will ever be.
    Acks {
        /// The checkpoint.
        id: CheckpointId,
        /// The answers of all subtasks.
        acks: Vec<Ack>,
    },
    /// A decline that was seen before the frontier has passed its checkpoint, which can therefore be given up early.
    EarlyDecline {
        /// The checkpoint.
        id: CheckpointId,
        /// The decline.
        ack: Ack,
    },
    /// Every source of the job has ended and everything before the end has been emitted.
    AllSourcesFinished,
    /// A source is about to run out of ticks in its epoch. It says so again from time to time until its epoch is over.
    SourceNeedsEpoch {
        /// The epoch that the source is in.
        epoch: u64,
    },
    /// The answer to [`Action::Persist`] and [`Action::PersistSavepoint`].
    Persisted {
        /// The checkpoint.
        id: CheckpointId,
        /// Where the metadata is (nowhere for a snapshot in memory), or why it is not.
        result: Result<Option<String>, PersistFailure>,
    },
    /// An [`Action::DiscardCheckpoint`] has been carried out, or given up.
    Cleaned,
    /// The answer to an [`Action::ReserveIds`] that failed.
    ReserveFailed {
        /// Why.
        reason: String,
        /// Another program has taken the job over.
        fenced: bool,
    },
}

/// Something to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Send the command into the dataflow.
    Send(Command),
    /// Record durably that all numbers below `below` may have been used, before anything else is done. If that fails, the rest of
    /// the actions is dropped and [`Event::ReserveFailed`] sent.
    ReserveIds {
        /// The first number that has not been used.
        below: CheckpointId,
    },
    /// Write the metadata, then have high availability name exactly the checkpoints `retained`; answer with [`Event::Persisted`].
    Persist {
        /// What to write.
        metadata: Arc<CheckpointMetadata>,
        /// The checkpoints to be named afterwards, this one included, in rising order.
        retained: Vec<CheckpointId>,
        /// The first number that has not been used.
        next_id: CheckpointId,
    },
    /// Write the metadata of a savepoint into its folder; answer with [`Event::Persisted`].
    PersistSavepoint {
        /// What to write; its paths start at the folder.
        metadata: Arc<CheckpointMetadata>,
        /// Where.
        savepoint: SavepointOptions,
        /// Of a savepoint that the job stops with: a restart begins from it if the end does not come off. So high availability is to name exactly these
        /// checkpoints afterwards, in rising order, the savepoint included; and the first number that has not been used.
        retained: Option<(Vec<CheckpointId>, CheckpointId)>,
    },
    /// Delete the folder of a savepoint that came to nothing.
    DiscardSavepoint(String),
    /// Delete the folder of a checkpoint; it may be missing or incomplete.
    DiscardCheckpoint(CheckpointId),
    /// Delete the snapshot that the job was started from and has claimed, given by its metadata file.
    DiscardClaimed(String),
    /// Delete shared files (paths below the job's checkpoint folder); they may be missing.
    DiscardFiles(Vec<String>),
    /// End the attempt: the restart strategy decides what follows.
    Fail(FailCause),
    /// Answer a request.
    Reply {
        /// The request.
        request: RequestId,
        /// The checkpoint it led to and its path, or why there is none.
        result: Result<(CheckpointId, Option<String>), CheckpointFailure>,
    },
    /// Tell people.
    Report(Report),
}

/// Why an attempt has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailCause {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// What happened, as a sentence.
    pub message: String,
}

impl From<FailCause> for Error {
    fn from(cause: FailCause) -> Self {
        Self::new(cause.kind, cause.message)
    }
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Report {
    /// A checkpoint was started.
    Triggered(CheckpointId),
    /// A checkpoint is complete.
    Completed {
        /// The checkpoint.
        id: CheckpointId,
        /// From trigger to completion, in milliseconds.
        duration_ms: u64,
        /// Bytes written for it.
        new_bytes: u64,
        /// Where its metadata is.
        path: Option<String>,
    },
    /// A savepoint is complete.
    Saved {
        /// Its number.
        id: CheckpointId,
        /// From trigger to completion, in milliseconds.
        duration_ms: u64,
        /// Bytes written for it.
        new_bytes: u64,
        /// Its folder.
        folder: String,
    },
    /// A savepoint was given up, which never counts.
    NotSaved {
        /// Its number.
        id: CheckpointId,
        /// Why.
        failure: CheckpointFailure,
    },
    /// A checkpoint was given up.
    Failed {
        /// The checkpoint.
        id: CheckpointId,
        /// Why.
        failure: CheckpointFailure,
        /// How many counted failures there have been since the last success, this one included.
        counted: u32,
    },
    /// Acknowledgements came for a checkpoint that was given up before or never existed; their files are deleted.
    LateAcks(CheckpointId),
}
