//! What the coordinator says to the operators.

use super::CheckpointId;
use serde::{Deserialize, Serialize};

/// A command that enters the dataflow at worker 0 and is broadcast to every subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take checkpoint `id`: sources record their positions and leave epoch `id` (they go on in epoch `id + 1`).
    Trigger {
        /// The checkpoint, and the epoch that ends.
        id: CheckpointId,
        /// When the coordinator started it, in milliseconds since 1970.
        timestamp_ms: u64,
        /// What kind of snapshot is asked for.
        options: SnapshotOptions,
    },
    /// Checkpoint `id` is durable, and a restart would find it: everything prepared under `id` or a lower number is to be committed.
    Complete {
        /// The checkpoint.
        id: CheckpointId,
    },
    /// Checkpoint `id` is given up. Running uploads stop; what was prepared under `id` is **kept** for the next one, as if `id` had never been triggered.
    Abort {
        /// The checkpoint.
        id: CheckpointId,
        /// The latest checkpoint that did complete.
        latest_completed: Option<CheckpointId>,
    },
    /// Sources leave their epoch for epoch `to` without a snapshot (a source has used up its ticks).
    AdvanceEpoch {
        /// The epoch that the sources go on in; no checkpoint below it will be triggered any more.
        to: u64,
    },
    /// Everything is done and committed: the dataflow ends.
    Stop,
}

/// What kind of snapshot a [`Command::Trigger`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotOptions {
    /// The kind.
    pub kind: SnapshotKind,
    /// All sources have ended: this is the job's last checkpoint, taken so that sinks can commit the tail.
    pub is_final: bool,
}

/// Who owns the files of a snapshot, and what it may build upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// A checkpoint: may name files of earlier ones (incremental), and later ones may name its files.
    Checkpoint,
    /// A checkpoint that names no earlier files.
    FullCheckpoint,
    /// Asked for by a person, self-contained and movable.
    Savepoint,
    /// No state is written at all: sinks prepare to commit, and commit on completion. The end of a job that runs without checkpoints.
    CommitOnly,
}

impl SnapshotKind {
    /// Whether operators write their state.
    #[must_use]
    pub fn writes_state(self) -> bool {
        self != Self::CommitOnly
    }
}
