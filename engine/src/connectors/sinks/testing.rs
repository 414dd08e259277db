//! What the tests of sinks share.

use crate::api::SinkContext;
use crate::checkpoint::Lineage;

/// A subtask of some attempt of some job.
pub(crate) fn context(subtask: u32, parallelism: u32, attempt: u64) -> SinkContext {
    context_on(&Lineage::new(), subtask, parallelism, attempt)
}

/// The same of a job that goes on with a line of checkpoints.
pub(crate) fn context_on(lineage: &Lineage, subtask: u32, parallelism: u32, attempt: u64) -> SinkContext {
    SinkContext {
        job_name: "job".to_owned(),
        job_id: "0".repeat(32),
        attempt,
        operator: "sink".to_owned(),
        subtask,
        parallelism,
        lineage: lineage.clone(),
        restored_checkpoint: None,
    }
}
