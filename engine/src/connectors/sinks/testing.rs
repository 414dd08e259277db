//! What the tests of sinks share.

use crate::api::SinkContext;

/// A subtask of some attempt.
pub(crate) fn context(subtask: u32, parallelism: u32, attempt: u64) -> SinkContext {
    SinkContext {
        job_name: "job".to_owned(),
        job_id: "0".repeat(32),
        attempt,
        operator: "sink".to_owned(),
        subtask,
        parallelism,
        restored_checkpoint: None,
    }
}
