//! Checkpoints.

/// The number of a checkpoint: 1, 2, 3, ... over the whole life of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct CheckpointId(pub u64);
