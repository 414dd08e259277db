//! The operators themselves, as stages of a chain.

mod co_function;
mod element;
mod folding;
mod function;
mod keyed;
mod keyed_pair;
mod keyed_storage;
mod operator_state;
mod outputs;
mod per_record;
mod sink;
mod two_phase;
mod watermarks;
mod windows;

pub(crate) use co_function::{BroadcastProcess, CoElements, CoLogic, CoProcess};
pub(crate) use element::ElementStage;
pub(crate) use folding::Folding;
pub(crate) use function::{FunctionStage, Moment, Process, plan_function};
pub(crate) use keyed::{KeySelector, KeyedBatch, KeyedStage, hash_keys, plan_keyed};
pub(crate) use keyed_pair::{BroadcastPerRecord, CoPerRecord, KeyedPair};
pub(crate) use keyed_storage::SharedFilesWritten;
pub(crate) use operator_state::{PlannedStates, Planning};
pub(crate) use outputs::{Outputs, Side, TypedSide};
pub(crate) use per_record::PerRecord;
pub(crate) use sink::SinkStage;
pub(crate) use two_phase::TwoPhaseStage;
pub(crate) use watermarks::WatermarkStage;
pub use watermarks::WatermarkStrategy;
pub(crate) use windows::{WindowFold, Windowing};
