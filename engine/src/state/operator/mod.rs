//! Operator state: what a subtask keeps that belongs to no key.
//!
//! | state | what it is | who gets it when a job is restored |
//! |---|---|---|
//! | list | elements of one subtask | its subtask; with another parallelism each element goes to one subtask, evenly |
//! | union list | elements of one subtask | every subtask gets the elements of all |
//! | broadcast | a map that is the same in all subtasks | every subtask gets a copy |
//!
//! A function asks for its states in `initialize_state`, which hands over what was restored, and keeps the handles. It may change them with every record, or only fill
//! them in `snapshot_state`, right before they are written. The states are in memory, whatever the state backend is, as in Flink; at a checkpoint they are
//! encoded on the worker and written beside it, into the same storage as keyed state.

mod broadcast;
mod context;
mod descriptor;
mod list;
mod store;
mod table;

#[cfg(test)]
mod tests;

pub use broadcast::{BroadcastState, BroadcastStates};
pub use context::{FunctionInitializationContext, FunctionSnapshotContext};
pub(crate) use descriptor::ErasedDescriptor;
pub use descriptor::{BroadcastStateDescriptor, ListStateDescriptor, MapStateDescriptor};
pub use list::{ListStates, OperatorListState};
pub(crate) use store::{EncodedState, OperatorStates, PlannedOperatorState};
