//! The job that the workloads with large state share: one value of a fixed width for each key, made, changed and read in phases that the
//! program directs from outside, with checkpoints that complete only while it lets them.

mod control;
mod facts;
mod function;
mod gate;
mod job;
mod source;
mod value;

pub(crate) use control::{Control, Opened, Phase};
pub(crate) use facts::CheckpointFacts;
pub(crate) use job::{Director, JobSetup, Start};
pub(crate) use value::{VALUE_BYTES, with_value_type};
