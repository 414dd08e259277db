//! Starting a job from a snapshot: finding it, checking that it fits the job, and working out who gets which part.
//!
//! [`load`] turns a path that a person gave into a checkpoint, [`assign`] deals its state out to the subtasks of a job of any parallelism. Both report
//! what does not fit before anything runs.

mod assign;
mod dispose;
mod latest;
mod locate;
mod redistribute;
mod report;

pub use assign::{OperatorPlan, OperatorRestore, RestorePlan, SubtaskRestore, assign};
pub use dispose::{Disposed, dispose};
pub(crate) use locate::with_absolute_paths;
pub use locate::{load, locate, older_than, verify_bytes, verify_files};

pub use report::{OperatorFate, OperatorReport, OperatorStateReport, RestoreReport, StateReport};
pub(crate) use report::{PlannedOperator, report};

#[cfg(test)]
mod tests;
