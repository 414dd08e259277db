//! The runtime: how a job runs on timely dataflow.
//!
//! Each worker thread is a timely worker, a job is one dataflow, and subtask i of every operator runs on worker i. A timestamp is
//! a checkpoint epoch and a flow-control tick (`time`): timely's frontier leaving an epoch is the barrier. `plan` turns the program's
//! description into operators; `source_task` and `chain_task` are what runs in them; `control` brings commands in and reports out;
//! `job` starts attempts, and starts them again.

mod acks;
mod batch;
mod chain_task;
mod channels;
mod context;
mod control;
mod flow;
mod inputs;
pub(crate) mod job;
pub(crate) mod metrics;
mod outlets;
mod partition;
pub(crate) mod plan;
mod pool;
mod port;
mod rate;
mod report;
mod shape;
mod snapshot;
mod source_task;
mod stage;
pub(crate) mod stages;
mod task;
mod time;

pub(crate) use batch::{BATCH_RECORDS, Batch};
pub(crate) use snapshot::OperatorName;
pub(crate) use source_task::{SourcePorts, SourceTask};
pub(crate) use stage::{CoStage, Next, Stage};
pub use stages::WatermarkStrategy;
pub(crate) use task::TaskContext;
pub(crate) use task::now_ms;
pub(crate) use time::Time;
