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
    ///
    /// Also sent for a savepoint that is complete and that the job goes on after: the job builds nothing upon it, and its sinks commit with the next checkpoint.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotOptions {
    /// The kind.
    pub kind: SnapshotKind,
    /// All sources have ended: this is the job's last checkpoint, taken so that sinks can commit the tail.
    pub is_final: bool,
}

/// Who owns the files of a snapshot, and what it may build upon.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotKind {
    /// A checkpoint: may name files of earlier ones (incremental), and later ones may name its files.
    Checkpoint,
    /// A checkpoint that names no earlier files.
    FullCheckpoint,
    /// Asked for by a person, self-contained and movable.
    Savepoint(SavepointOptions),
    /// No state is written at all: sinks prepare to commit, and commit on completion. The end of a job that runs without checkpoints.
    CommitOnly,
}

impl SnapshotKind {
    /// Whether operators write their state.
    #[must_use]
    pub fn writes_state(&self) -> bool {
        *self != Self::CommitOnly
    }

    /// What kind of savepoint it is, if it is one.
    #[must_use]
    pub fn savepoint(&self) -> Option<&SavepointOptions> {
        match self {
            Self::Savepoint(savepoint) => Some(savepoint),
            _ => None,
        }
    }

    /// How the job ends with the snapshot, if it does.
    #[must_use]
    pub fn stop(&self) -> Option<StopMode> {
        self.savepoint()?.stop
    }
}

/// A savepoint that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavepointOptions {
    /// The folder that everything of it goes to, an absolute path. It exists and nothing else is in it.
    pub folder: String,
    /// How keyed state is written.
    pub format: SavepointFormat,
    /// How the job ends with it; none: it goes on.
    pub stop: Option<StopMode>,
}

/// How the keyed state of a savepoint is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SavepointFormat {
    /// The same for every backend: a job may be started from it on another one.
    #[default]
    Canonical,
    /// The backend's own, which may be faster to write and to restore, by the same backend only.
    Native,
}

/// How a job ends with a savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StopMode {
    /// Sources stop where they are: the job can be started from the savepoint and goes on as if it had never stopped.
    Suspend,
    /// Event time is brought to its end first, so that every event-time timer fires and every window gives its result. For the end of a job for good: one
    /// that is started from the savepoint has given incomplete results already.
    Drain,
}
