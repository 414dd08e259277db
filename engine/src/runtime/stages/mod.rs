//! The operators themselves, as stages of a chain.

mod element;
mod keyed;
mod keyed_storage;
mod outputs;
mod per_record;
mod sink;
mod two_phase;
mod watermarks;
mod windows;

pub(crate) use element::ElementStage;
pub(crate) use keyed::{KeySelector, KeyedStage, hash_keys, plan_states};
pub(crate) use keyed_storage::SharedFilesWritten;
pub(crate) use outputs::{Outputs, Side, TypedSide};
pub(crate) use per_record::PerRecord;
pub(crate) use sink::SinkStage;
pub(crate) use two_phase::TwoPhaseStage;
pub(crate) use watermarks::WatermarkStage;
pub use watermarks::WatermarkStrategy;
pub(crate) use windows::{WindowFold, Windowing};
