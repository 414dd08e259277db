//! What one completed checkpoint was like, as its metadata tells.

use millpond_engine::checkpoint::{CheckpointId, CheckpointMetadata, OperatorId, SubtaskSnapshot};
use std::path::PathBuf;

/// What there is to know of the keyed function's part of a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointFacts {
    pub(crate) id: CheckpointId,
    /// When it was triggered, in milliseconds since 1970.
    pub(crate) triggered_unix_ms: u64,
    /// From trigger to completion.
    pub(crate) duration_ms: u64,
    /// The longest synchronous part of a subtask.
    pub(crate) sync_ms_max: f64,
    /// The same over the state of the subtask, in milliseconds per 10^9 bytes; of the subtask where it is highest.
    pub(crate) sync_ms_per_gb_max: f64,
    /// The longest asynchronous part of a subtask.
    pub(crate) async_ms_max: f64,
    /// The longest alignment of a subtask.
    pub(crate) alignment_ms_max: f64,
    /// Bytes written.
    pub(crate) new_bytes: u64,
    /// Bytes of state that it stands for.
    pub(crate) state_bytes: u64,
    /// Where the metadata is.
    pub(crate) path: PathBuf,
}

impl CheckpointFacts {
    /// The facts of the operator `uid`.
    #[expect(clippy::cast_precision_loss, reason = "a state is smaller than 2^53 bytes")]
    pub(crate) fn of(
        metadata: &CheckpointMetadata,
        uid: &str,
        duration_ms: u64,
        path: PathBuf,
    ) -> Option<Self> {
        let subtasks = &metadata.operator(&OperatorId::new(uid))?.subtasks;
        let max = |of: fn(&SubtaskSnapshot) -> f64| subtasks.iter().map(of).fold(0.0, f64::max);
        Some(Self {
            id: metadata.id,
            triggered_unix_ms: metadata.timestamp_ms,
            duration_ms,
            sync_ms_max: max(|subtask| subtask.sync_ms),
            sync_ms_per_gb_max: max(|subtask| subtask.sync_ms / (subtask.state_bytes().max(1) as f64 / 1e9)),
            async_ms_max: max(|subtask| subtask.async_ms),
            alignment_ms_max: max(|subtask| subtask.alignment_ms),
            new_bytes: subtasks.iter().map(SubtaskSnapshot::new_bytes).sum(),
            state_bytes: subtasks.iter().map(SubtaskSnapshot::state_bytes).sum(),
            path,
        })
    }

    /// Whether it wrote the state anew instead of what had changed: at least nine tenths of the bytes it stands for.
    pub(crate) fn is_full(&self) -> bool {
        self.new_bytes > 0 && self.new_bytes * 10 >= self.state_bytes * 9
    }

    /// Bytes written per second of the asynchronous part, in units of 10^6.
    #[expect(clippy::cast_precision_loss, reason = "a state is smaller than 2^53 bytes")]
    pub(crate) fn write_mb_per_s(&self) -> f64 {
        self.new_bytes as f64 / 1e3 / self.async_ms_max.max(1e-6)
    }
}
