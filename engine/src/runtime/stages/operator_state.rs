//! Operator state of a stage: opened with what the subtask restores, written with its snapshots.

use crate::checkpoint::{
    CheckpointId, OperatorMetadata, OperatorStateShare, Redistribution, SubtaskSnapshot,
};
use crate::codec::{CodecId, Compatibility};
use crate::runtime::snapshot::{OperatorName, SnapshotRun};
use crate::runtime::task::TaskContext;
use crate::state::{
    EncodedState, FunctionInitializationContext, OperatorStates, PlannedOperatorState, PlannedState, Verdict,
};
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

/// An operator of a job, for which it is to be found out what would become of a snapshot of it.
#[derive(Clone, Copy)]
pub(crate) struct Planning<'a> {
    /// The operator's name, for people.
    pub(crate) name: &'a str,
    /// Its uid.
    pub(crate) uid: &'a str,
    /// The number of subtasks.
    pub(crate) parallelism: u32,
    /// The checkpoint.
    pub(crate) checkpoint: CheckpointId,
    /// What that has of the operator.
    pub(crate) stored: Option<&'a OperatorMetadata>,
}

/// What would become of the states of an operator.
#[derive(Default)]
pub(crate) struct PlannedStates {
    /// Keyed states that it registers.
    pub(crate) keyed: Vec<PlannedState>,
    /// Operator states; none: what it asks for is not known before it runs.
    pub(crate) operator: Option<Vec<PlannedOperatorState>>,
}

impl Planning<'_> {
    /// What is stored of each operator state: a state is stored in the same way by all subtasks.
    fn stored_operator_states(&self) -> Vec<OperatorStateShare> {
        let mut shares: Vec<OperatorStateShare> = Vec::new();
        let subtasks = self.stored.iter().flat_map(|stored| &stored.subtasks);
        for state in subtasks.flat_map(|subtask| &subtask.operator_state) {
            if !shares.iter().any(|share| share.name == state.name) {
                shares.push(OperatorStateShare {
                    name: state.name.clone(),
                    redistribution: state.redistribution,
                    codec: state.codec.clone(),
                    runs: Vec::new(),
                });
            }
        }
        shares
    }

    /// Has a function ask for its operator states, with nothing in them.
    pub(crate) fn operator_states(
        &self,
        initialize: impl FnOnce(&mut FunctionInitializationContext<'_>) -> Result<()>,
    ) -> Result<Vec<PlannedOperatorState>> {
        let mut states = OperatorStates::to_plan(self.stored_operator_states());
        initialize(&mut FunctionInitializationContext {
            states: &mut states,
            restored_checkpoint: Some(self.checkpoint),
            subtask: 0,
            parallelism: self.parallelism,
        })?;
        Ok(states.into_plan())
    }

    /// What would become of a state that the engine keeps for a source or sink, which is never migrated.
    pub(crate) fn own_state(
        &self,
        name: &str,
        redistribution: Redistribution,
        codec: &CodecId,
    ) -> PlannedOperatorState {
        let stored = self.stored_operator_states();
        let verdict = match stored.iter().find(|stored| stored.name == name) {
            None => Verdict::New,
            Some(stored) => match CodecId::check(&stored.codec, codec) {
                Compatibility::Incompatible { reason } => Verdict::Incompatible { reason },
                _ => Verdict::AsIs,
            },
        };
        PlannedOperatorState {
            name: name.to_owned(),
            redistribution,
            verdict,
        }
    }
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
    use crate::checkpoint::{FileLocation, JobId, OperatorId};
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
