//! What people are told of checkpoints.

use super::{CheckpointFailure, Report};

/// Writes a line to the log.
pub(super) fn log(report: &Report) {
    match report {
        Report::Triggered(id) => tracing::debug!(checkpoint = %id, "checkpoint started"),
        Report::Completed {
            id,
            duration_ms,
            new_bytes,
            path,
        } => {
            tracing::info!(checkpoint = %id, duration_ms, new_bytes, path, "checkpoint completed");
        }
        Report::Saved {
            id,
            duration_ms,
            new_bytes,
            folder,
        } => {
            tracing::info!(checkpoint = %id, duration_ms, new_bytes, folder, "savepoint completed");
        }
        Report::NotSaved { id, failure } => {
            tracing::warn!(checkpoint = %id, "savepoint failed: {failure}");
        }
        Report::Failed { id, failure, counted } => match failure {
            CheckpointFailure::Suspended | CheckpointFailure::Subsumed { .. } => {
                tracing::info!(checkpoint = %id, "checkpoint given up: {failure}");
            }
            _ if *counted == 0 => tracing::warn!(checkpoint = %id, "checkpoint failed: {failure}"),
            _ => {
                tracing::warn!(checkpoint = %id, failures_since_a_success = counted, "checkpoint failed: {failure}")
            }
        },
        Report::LateAcks(id) => {
            tracing::debug!(checkpoint = %id, "late acknowledgements; their files are deleted");
        }
    }
}
