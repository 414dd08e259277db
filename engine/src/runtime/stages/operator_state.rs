//! Operator state of a stage: opened with what the subtask restores, written with its snapshots.

use crate::checkpoint::SubtaskSnapshot;
use crate::runtime::snapshot::{OperatorName, SnapshotRun};
use crate::runtime::task::TaskContext;
use crate::state::{EncodedState, FunctionInitializationContext, OperatorStates};
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Opens the operator state of a subtask; `initialize` asks for the states that the program has.
pub(crate) fn open_operator_state(
    name: &OperatorName,
    task: &TaskContext,
    initialize: impl FnOnce(&mut FunctionInitializationContext<'_>) -> Result<()>,
) -> Result<OperatorStates> {
    let share = task
        .job
        .restored_share(&name.id, task.subtask)
        .unwrap_or_default();
    let mut states = OperatorStates::restore(share.operator_state, Arc::clone(&task.job.storage));
    initialize(&mut FunctionInitializationContext {
        states: &mut states,
        restored_checkpoint: task.job.restored_checkpoint().map(|restored| restored.id),
        subtask: task.subtask,
        parallelism: task.parallelism,
    })?;
    states.initialized(task.subtask, task.parallelism)?;
    Ok(states)
}

/// What is stored does not fit what the program has, or is not what was written: the attempt has not begun.
pub(crate) fn failed_to_open(error: Error) -> Error {
    match error.kind() {
        ErrorKind::State | ErrorKind::Damaged => Error::new(ErrorKind::Restore, error.to_string()),
        _ => error,
    }
}

/// The slow part of a snapshot.
pub(crate) fn write_operator_state(
    states: Vec<EncodedState>,
    run: &SnapshotRun,
    part: &mut SubtaskSnapshot,
) -> Result<()> {
    for state in states {
        if run.cancelled.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the snapshot was cancelled"));
        }
        let written = state.write(run.storage.as_ref(), run.id, &part.operator_name, part.subtask)?;
        part.operator_state.push(written);
    }
    Ok(())
}
