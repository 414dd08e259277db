//! Checkpoints: who decides about them, what is in them, where they are kept and how a job starts from one.
//!
//! A checkpoint is a consistent cut through a running job. Sources draw the cut (`Trigger{n}` makes them leave epoch `n`), operators
//! snapshot their state when their input has left epoch `n`, and each sends one [`Ack`] to worker 0. When the frontier of the
//! acknowledgements has passed `n`, the checkpoint is whole: its [`CheckpointMetadata`] is written durably, and only then are the operators told.
//!
//! | part | what it does |
//! |---|---|
//! | [`coordinator`] | decides when a checkpoint starts, succeeds, is given up, and when failures fail the job; the [`coordinator::CoordinatorHandle`] is what a runtime talks to |
//! | [`storage`] | streams that operators write snapshots to, in files or in memory |
//! | [`metadata`] | the `_metadata` file |
//! | [`store`] | completed checkpoints: how many are kept, which files are still in use |
//! | [`ha`] | finding the latest checkpoint again when the program was killed |
//! | [`restore`] | who gets which part of a snapshot, at any parallelism |
//! | [`sweep`] | what no checkpoint needs, of jobs that nobody starts again |
//!
//! What may be deleted is decided by one rule: a file named by a *relative* path belongs to this job, one named by an absolute path
//! belongs to somebody else (the checkpoint that the job was started from) and is never deleted.

mod bytes;
mod command;
pub mod coordinator;
mod envelope;
pub mod ha;
mod handle;
pub(crate) mod hold;
mod id;
mod lineage;
pub mod metadata;
mod operator_state;
pub mod restore;
mod settings;
pub mod storage;
pub mod store;
pub mod sweep;

#[cfg(test)]
mod crash_tests;

pub use command::{Command, SavepointFormat, SavepointOptions, SnapshotKind, SnapshotOptions, StopMode};
pub use handle::{Ack, AckMessage, DeclineKind, FileLocation, FileRef, KeyedHandle, SubtaskSnapshot};
pub use id::{CheckpointId, CheckpointingMode, JobId, OperatorId};
pub use lineage::{CheckpointKey, Lineage, LineageId};
pub use metadata::{CheckpointMetadata, OperatorMetadata, StateDescription};
pub use operator_state::{
    ElementOffsets, ElementRun, OperatorStateShare, OperatorStateSnapshot, Redistribution,
};
pub use settings::{CheckpointSettings, Retention};
