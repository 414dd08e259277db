//! When a checkpoint starts, when it is complete, when it is given up, and when that fails the job.
//!
//! [`Coordinator`] is a pure state machine: it takes the time and an [`Event`] and gives back [`Action`]s; it reads no clock, draws no random
//! numbers and does no I/O. A task of its own does that ([`spawn`]), and [`CoordinatorHandle`] is how the rest of the engine talks to it.
//!
//! The rules are those of Flink's `CheckpointCoordinator`, `CheckpointRequestDecider` and `CheckpointFailureManager`, with one difference:
//! nobody counts acknowledgements. A checkpoint is whole when the dataflow's frontier says that no more can come.

mod assemble;
mod budget;
mod cleaner;
mod core;
mod driver;
mod ends;
mod event;
mod failure;
mod handle;
mod holds;
mod log;
mod persist;
mod stats;

pub use core::{Coordinator, Now};
pub use event::{Action, Event, FailCause, OperatorInfo, Report, RequestId};
pub use failure::{CheckpointFailure, PersistFailure};
pub use handle::{AttemptStart, CoordinatorConfig, CoordinatorHandle, Output, Triggered, spawn};
pub use stats::CheckpointStats;
