//! The operators themselves, as stages of a chain.

mod element;
mod keyed;
mod keyed_storage;
mod outputs;
mod sink;
mod two_phase;
mod watermarks;

pub(crate) use element::ElementStage;
pub(crate) use keyed::{KeySelector, KeyedStage, hash_keys};
pub(crate) use keyed_storage::SharedFilesWritten;
pub(crate) use outputs::{Outputs, Side, TypedSide};
pub(crate) use sink::SinkStage;
pub(crate) use two_phase::TwoPhaseStage;
pub(crate) use watermarks::WatermarkStage;
pub use watermarks::WatermarkStrategy;
