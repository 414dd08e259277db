//! Numbers about checkpoints, for progress bars, metrics and tests.

use crate::checkpoint::CheckpointId;

/// How checkpoints have gone so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointStats {
    /// Number of checkpoints completed by this process.
    pub completed: u64,
    /// Number of checkpoints given up.
    pub failed: u64,
    /// Number of savepoints completed by this process; they are not among the checkpoints.
    pub savepoints: u64,
    /// The folder of the newest of them.
    pub last_savepoint: Option<String>,
    /// The folder of the savepoint that the job has stopped with.
    pub stopped_with: Option<String>,
    /// Number of checkpoints and savepoints under way.
    pub in_progress: u64,
    /// The newest completed checkpoint, a restored one included.
    pub last_completed_id: Option<CheckpointId>,
    /// From trigger to completion of the newest, in milliseconds.
    pub last_duration_ms: u64,
    /// Bytes written for the newest.
    pub last_size_bytes: u64,
    /// Bytes of state that the newest stands for.
    pub last_full_size_bytes: u64,
    /// Where the newest's metadata is; none for snapshots kept in memory.
    pub last_path: Option<String>,
    /// Why the last one that failed did so.
    pub last_failure: Option<String>,
    /// How often recovery went back to an older checkpoint because a newer one was damaged (`execution.state-recovery.on-damage: previous`).
    pub went_back: u64,
}
