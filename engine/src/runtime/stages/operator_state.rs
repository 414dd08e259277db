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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::adapter::CancelFlag;
    use crate::checkpoint::storage::{CheckpointStorage, FileStorage, FileStorageOptions};
    use crate::checkpoint::{CheckpointId, FileLocation, JobId, OperatorId, Redistribution};
    use crate::runtime::stages::SharedFilesWritten;
    use crate::state::ListStateDescriptor;

    #[test]
    fn a_snapshot_writes_a_file_for_each_state_and_none_when_it_is_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let options = FileStorageOptions {
            inline_threshold: 0,
            ..FileStorageOptions::default()
        };
        let storage = Arc::new(FileStorage::new(dir.path(), &JobId::random(), options).unwrap());
        let mut states = OperatorStates::default();
        for name in ["one", "other"] {
            let descriptor = ListStateDescriptor::<u64>::new(name);
            let list = states.list_state(&descriptor, Redistribution::Split).unwrap();
            list.update(&mut states.lists, vec![1, 2, 3]).unwrap();
        }
        for is_cancelled in [false, true] {
            let id = CheckpointId(1 + u64::from(is_cancelled));
            let cancelled = CancelFlag::new();
            if is_cancelled {
                cancelled.cancel();
            }
            let run = SnapshotRun {
                id,
                cancelled,
                storage: Arc::clone(&storage) as Arc<dyn CheckpointStorage>,
                written: SharedFilesWritten::default(),
            };
            let mut part = SubtaskSnapshot::empty(OperatorId::new("op"), "Op", 0);
            let result = write_operator_state(states.encode().unwrap(), &run, &mut part);
            let folder = storage.paths().checkpoint(id);
            let files = std::fs::read_dir(folder).map_or(0, Iterator::count);
            if is_cancelled {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
                assert_eq!((files, part.operator_state.len()), (0, 0));
            } else {
                result.unwrap();
                assert_eq!((files, part.operator_state.len()), (2, 2));
                assert!(
                    part.files()
                        .all(|file| matches!(file.location, FileLocation::File(_)))
                );
                assert_eq!((part.state_bytes(), part.inline_bytes()), (48, 0));
            }
        }
    }
}
