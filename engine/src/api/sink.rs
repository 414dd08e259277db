//! The public traits for sinks, so that others can be written outside this crate.
//!
//! A [`Sink`] takes records as they come: after a failure it sees those since the last checkpoint again. A [`TwoPhaseCommitSink`] makes
//! results visible exactly once: what was written between two checkpoints is *pre-committed* with the checkpoint and *committed* when the
//! checkpoint is complete; after a restore everything that the checkpoint remembers is committed again, so commits must be idempotent.
//!
//! The order is Flink's (`TwoPhaseCommitSinkFunction`): write, pre-commit at the barrier, commit at or after the completion of that or a
//! later checkpoint, in the order of the checkpoints; after a restore first commit what is remembered, then drop what was open.

use super::data::Data;
use crate::Result;
use crate::checkpoint::{CheckpointKey, Lineage};
use crate::state::{FunctionInitializationContext, FunctionSnapshotContext};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a sink knows about the subtask it works for.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// The job's name.
    pub job_name: String,
    /// The job's id, the same in all attempts of a job.
    pub job_id: String,
    /// The attempt, higher at each restart, also of the program.
    pub attempt: u64,
    /// The sink's uid.
    pub operator: String,
    /// The subtask, `0 .. parallelism`.
    pub subtask: u32,
    /// The parallelism of the sink.
    pub parallelism: u32,
    /// The line of checkpoints that the attempt goes on with: what it [includes](Lineage::includes) is or will be committed, what it [has left](Lineage::has_left) is not its own.
    pub lineage: Lineage,
    /// The checkpoint that the attempt was restored from; `None` at a fresh start.
    pub restored_checkpoint: Option<CheckpointKey>,
}

/// A sink without transactions.
pub trait Sink: Send + Sync + 'static {
    /// What the sink takes.
    type Input: Data;
    /// Takes records in one subtask.
    type Writer: SinkWriter<Input = Self::Input>;

    /// Makes the writer of one subtask, in the thread that will use it.
    ///
    /// # Errors
    /// When the target cannot be opened; the attempt fails.
    fn writer(&self, context: &SinkContext) -> Result<Self::Writer>;
}

/// Takes the records of one subtask. Lives on one thread.
pub trait SinkWriter: 'static {
    /// What the writer takes.
    type Input;

    /// Takes a batch of records, in order; drains `records`.
    ///
    /// # Errors
    /// When they cannot be written; the attempt fails.
    fn write(&mut self, records: &mut Vec<Self::Input>) -> Result<()>;

    /// Makes everything visible that was written: called at each checkpoint and at the end of input.
    ///
    /// # Errors
    /// When it cannot be done; the checkpoint is declined.
    fn flush(&mut self) -> Result<()>;

    /// Asks for [operator state](crate::state::operator), such as a list of what is buffered, and takes back what was restored of it. Comes first, once.
    ///
    /// # Errors
    /// Those of the context; the attempt fails.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Puts into the operator state what has to outlive a failure: at each checkpoint, after [`flush`](Self::flush).
    ///
    /// # Errors
    /// The writer's; the attempt fails.
    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }
}

/// A sink whose results become visible exactly once.
pub trait TwoPhaseCommitSink: Send + Sync + 'static {
    /// What the sink takes.
    type Input: Data;
    /// What is to be committed: enough to do it in another process. Stored in checkpoints.
    type Committable: Serialize + DeserializeOwned + Clone + Send + 'static;
    /// What a writer must know again after a restore, such as its next sequence number. Every subtask gets that of all subtasks.
    type WriterState: Serialize + DeserializeOwned + Clone + Send + 'static;
    /// Takes records in one subtask.
    type Writer: TwoPhaseCommitWriter<
            Input = Self::Input,
            Committable = Self::Committable,
            WriterState = Self::WriterState,
        >;
    /// Commits, in any thread.
    type Committer: Committer<Committable = Self::Committable>;

    /// Checks at a start of the job that is no restore, once and in one process, that the target can be used and that nothing of another run
    /// would be mixed with this one's results.
    ///
    /// # Errors
    /// When it cannot be used; the job does not start.
    fn check_fresh_start(&self) -> Result<()>;

    /// Makes the writer of one subtask, in the thread that will use it. `restored` has the states of all subtasks of the checkpoint (empty
    /// at a fresh start); what they remember as committable is committed by the engine before this is called, and handed over in `pending`
    /// (of all subtasks), so that everything else that an earlier attempt left half-done can be dropped.
    ///
    /// # Errors
    /// When the target cannot be opened; the attempt fails.
    fn writer(
        &self,
        context: &SinkContext,
        restored: Vec<Self::WriterState>,
        pending: &[Self::Committable],
    ) -> Result<Self::Writer>;

    /// Makes the committer of one subtask.
    ///
    /// # Errors
    /// When the target cannot be reached; the attempt fails.
    fn committer(&self, context: &SinkContext) -> Result<Self::Committer>;
}

/// Takes the records of one subtask of a [`TwoPhaseCommitSink`]. Lives on one thread.
pub trait TwoPhaseCommitWriter: 'static {
    /// What the writer takes.
    type Input;
    /// As in [`TwoPhaseCommitSink::Committable`].
    type Committable;
    /// As in [`TwoPhaseCommitSink::WriterState`].
    type WriterState;

    /// Takes a batch of records, in order, into the open transaction; drains `records`.
    ///
    /// # Errors
    /// When they cannot be written; the attempt fails.
    fn write(&mut self, records: &mut Vec<Self::Input>) -> Result<()>;

    /// Ends the open transaction so that it can be committed whatever happens to this process, and begins a new one with the next
    /// record. `checkpoint` is the checkpoint that it belongs to, by a name that no other checkpoint of any run ever has; at the end of a job without checkpoints
    /// it is one that is never taken. A sink whose target remembers what was committed last has to remember this name whole: the number alone comes again
    /// when a job goes back to an older checkpoint, with other records.
    ///
    /// # Errors
    /// When it cannot be done; the attempt fails, since the records of the transaction would be lost to a later checkpoint.
    fn pre_commit(
        &mut self,
        checkpoint: CheckpointKey,
    ) -> Result<PreCommit<Self::Committable, Self::WriterState>>;
}

/// What [`TwoPhaseCommitWriter::pre_commit`] gives back.
pub struct PreCommit<C, S> {
    /// What is to be committed when the checkpoint is complete; nothing when nothing was written.
    pub committables: Vec<C>,
    /// What the writer must know again after a restore.
    pub state: S,
    /// The slow part, such as an fsync: run on another thread before the checkpoint is acknowledged. If it fails, the checkpoint is
    /// declined and the attempt ends.
    pub finish: Option<Box<dyn FnOnce() -> Result<()> + Send>>,
}

impl<C: std::fmt::Debug, S: std::fmt::Debug> std::fmt::Debug for PreCommit<C, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreCommit")
            .field("committables", &self.committables)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Commits what was pre-committed. Used by one thread at a time, in the order of the checkpoints.
pub trait Committer: Send + 'static {
    /// As in [`TwoPhaseCommitSink::Committable`].
    type Committable;

    /// Makes `committables` visible. Idempotent: what is committed already counts as done.
    ///
    /// # Errors
    /// When it cannot be done; the attempt fails and the next one commits again.
    fn commit(&mut self, committables: Vec<Self::Committable>) -> Result<()>;
}
