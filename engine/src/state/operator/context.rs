//! What functions see when their operator state is set up and when it is written.

use super::broadcast::{BroadcastState, BroadcastStates};
use super::descriptor::{ListStateDescriptor, MapStateDescriptor};
use super::list::{ListStates, OperatorListState};
use super::store::OperatorStates;
use crate::Result;
use crate::api::Data;
use crate::checkpoint::{CheckpointId, Redistribution};

/// Where a function gets its operator state from, once, before it sees any record.
#[derive(Debug)]
pub struct FunctionInitializationContext<'a> {
    pub(crate) states: &'a mut OperatorStates,
    pub(crate) restored_checkpoint: Option<CheckpointId>,
    pub(crate) subtask: u32,
    pub(crate) parallelism: u32,
}

impl FunctionInitializationContext<'_> {
    /// A list of this subtask, with the elements that it is given at a restore. With unchanged parallelism these are its own, in order; else each element goes to one
    /// subtask, and all get as many.
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) when the state is stored with another type or as another kind, or its name is taken by a state of another
    /// type or kind; the error names both. [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) and others when its elements cannot be read.
    pub fn get_list_state<T: Data>(
        &mut self,
        descriptor: &ListStateDescriptor<T>,
    ) -> Result<OperatorListState<T>> {
        self.states.list_state(descriptor, Redistribution::Split)
    }

    /// A list of this subtask, with the elements of all subtasks at a restore. What is not to be there once for each subtask after the next restore has to
    /// be removed by all but one.
    ///
    /// # Errors
    /// As [`get_list_state`](Self::get_list_state).
    pub fn get_union_list_state<T: Data>(
        &mut self,
        descriptor: &ListStateDescriptor<T>,
    ) -> Result<OperatorListState<T>> {
        self.states.list_state(descriptor, Redistribution::Union)
    }

    /// A map that is the same in all subtasks, with a copy of what was stored at a restore.
    ///
    /// # Errors
    /// As [`get_list_state`](Self::get_list_state).
    pub fn get_broadcast_state<K: Data + Ord, V: Data>(
        &mut self,
        descriptor: &MapStateDescriptor<K, V>,
    ) -> Result<BroadcastState<K, V>> {
        self.states.broadcast_state(descriptor)
    }

    /// Whether the job goes on from a checkpoint. It may be one that the operator was not part of.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restored_checkpoint.is_some()
    }

    /// The checkpoint that the job goes on from.
    #[must_use]
    pub fn restored_checkpoint(&self) -> Option<CheckpointId> {
        self.restored_checkpoint
    }

    /// The subtask, `0 .. parallelism`.
    #[must_use]
    pub fn subtask(&self) -> u32 {
        self.subtask
    }

    /// The parallelism of the operator.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        self.parallelism
    }

    /// The lists.
    #[must_use]
    pub fn list_states(&mut self) -> &mut ListStates {
        &mut self.states.lists
    }

    /// The broadcast states.
    #[must_use]
    pub fn broadcast_states(&mut self) -> &mut BroadcastStates {
        &mut self.states.broadcast
    }
}

/// The last moment before the operator state of a subtask is written.
#[derive(Debug)]
pub struct FunctionSnapshotContext<'a> {
    pub(crate) states: &'a mut OperatorStates,
    pub(crate) checkpoint: CheckpointId,
}

impl FunctionSnapshotContext<'_> {
    /// The checkpoint, or savepoint.
    #[must_use]
    pub fn checkpoint_id(&self) -> CheckpointId {
        self.checkpoint
    }

    /// The lists.
    #[must_use]
    pub fn list_states(&mut self) -> &mut ListStates {
        &mut self.states.lists
    }

    /// The broadcast states.
    #[must_use]
    pub fn broadcast_states(&mut self) -> &mut BroadcastStates {
        &mut self.states.broadcast
    }
}
