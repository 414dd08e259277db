//! What all tasks of a job share in one attempt.

use crate::backend::Backend;
use crate::checkpoint::restore::{RestorePlan, SubtaskRestore};
use crate::checkpoint::storage::{CheckpointStorage, FileStorageOptions, SavepointStorage};
use crate::checkpoint::{CheckpointKey, CheckpointingMode, Lineage, OperatorId, SnapshotKind};
use crate::codec::CodecId;
use crate::state::ttl::TtlTimeProvider;
use crate::{Result, codec};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::metrics::JobMetrics;

/// The job and the attempt, as tasks see them.
pub(crate) struct JobContext {
    /// The job's name.
    pub(crate) job_name: String,
    /// The job's id, the same in all attempts.
    pub(crate) job_id: String,
    /// The attempt.
    pub(crate) attempt: u64,
    /// The guarantee.
    pub(crate) mode: CheckpointingMode,
    /// Where snapshots go.
    pub(crate) storage: Arc<dyn CheckpointStorage>,
    /// How the files of savepoints are written.
    pub(crate) savepoints: FileStorageOptions,
    /// Whether snapshots may name files of earlier checkpoints, if the backend can. Never where checkpoints have no files: their bytes travel whole each time.
    pub(crate) incremental: bool,
    /// Where keyed state lives.
    pub(crate) backend: Arc<Backend>,
    /// What the attempt starts from.
    pub(crate) restored: Option<RestoredJob>,
    /// The splits of each source that starts afresh, encoded, by operator.
    pub(crate) splits: HashMap<OperatorId, Vec<Vec<u8>>>,
    /// Runs what must not hold up a worker.
    pub(crate) tokio: tokio::runtime::Handle,
    /// The epoch that the attempt begins in: the same for all its tasks, above that of any checkpoint before.
    pub(crate) first_epoch: u64,
    /// The line of checkpoints that the attempt goes on with.
    pub(crate) lineage: Lineage,
    /// A folder for the working files of this attempt in this process.
    pub(crate) local_dir: PathBuf,
    /// Counters for people.
    pub(crate) metrics: Arc<JobMetrics>,
    /// The clock that state expires by.
    pub(crate) ttl_clock: Arc<dyn TtlTimeProvider>,
    /// Where flow control aims: how long what is in flight should take to be processed.
    pub(crate) in_flight_target: std::time::Duration,
    /// How many workers of this process take turns on a processor, if that are so many that flow control must heed it; otherwise 1.
    pub(crate) turns: u32,
}

/// The checkpoint that an attempt starts from, dealt out to the subtasks of this job.
pub(crate) struct RestoredJob {
    /// The checkpoint.
    pub(crate) checkpoint: CheckpointKey,
    /// Each subtask's share.
    pub(crate) plan: RestorePlan,
}

impl JobContext {
    /// What `subtask` of `operator` starts from: `None` at a fresh start, an empty share for an operator that the checkpoint does not have.
    pub(crate) fn restored_share(&self, operator: &OperatorId, subtask: u32) -> Option<SubtaskRestore> {
        let restored = self.restored.as_ref()?;
        Some(
            restored
                .plan
                .subtask(operator, subtask)
                .cloned()
                .unwrap_or_default(),
        )
    }

    /// Whether the checkpoint that the attempt starts from was taken after `operator` had processed all its input, in all its subtasks.
    pub(crate) fn had_finished(&self, operator: &OperatorId) -> bool {
        let restored = self.restored.as_ref();
        let operator = restored.and_then(|restored| restored.plan.operator(operator));
        operator.is_some_and(|operator| operator.finished)
    }

    /// The elements of the operator state `name` in a subtask's share; none if it is not there.
    pub(crate) fn elements<T: DeserializeOwned>(&self, share: &SubtaskRestore, name: &str) -> Result<Vec<T>> {
        let mut elements = Vec::new();
        for state in share.operator_state.iter().filter(|state| state.name == name) {
            state.check_codec(&CodecId::of::<T>())?;
            state.read(self.storage.as_ref(), &mut |element| {
                elements.push(codec::decode(element)?);
                Ok(())
            })?;
        }
        Ok(elements)
    }

    /// Where a snapshot of this kind goes.
    pub(crate) fn storage_of(&self, kind: &SnapshotKind) -> Arc<dyn CheckpointStorage> {
        match kind.savepoint() {
            Some(savepoint) => Arc::new(SavepointStorage::new(&savepoint.folder, self.savepoints.clone())),
            None => Arc::clone(&self.storage),
        }
    }

    /// The checkpoint that the attempt starts from.
    pub(crate) fn restored_checkpoint(&self) -> Option<CheckpointKey> {
        self.restored.as_ref().map(|restored| restored.checkpoint)
    }
}
