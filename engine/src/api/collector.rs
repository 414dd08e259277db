//! Where functions put their results.

use super::data::{Data, TimestampMs};
use crate::runtime::{BATCH_RECORDS, Batch};
use std::any::Any;
use std::marker::PhantomData;

/// Takes the records that a function emits. They keep the event time of the record that they come from.
pub struct Collector<T> {
    pub(crate) batch: Batch<T>,
    /// The event time of the record or timer that is being processed.
    pub(crate) timestamp: Option<TimestampMs>,
    pub(crate) sides: Vec<(String, Box<dyn SideBuffer>)>,
}

impl<T> std::fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector")
            .field("records", &self.batch.records.len())
            .finish_non_exhaustive()
    }
}

impl<T: Data> Collector<T> {
    pub(crate) fn new() -> Self {
        Self {
            batch: Batch::default(),
            timestamp: None,
            sides: Vec::new(),
        }
    }

    /// Emits a record.
    #[inline]
    pub fn collect(&mut self, record: T) {
        if let Some(timestamp) = self.timestamp {
            self.batch.timestamps.push(timestamp);
        }
        self.batch.records.push(record);
    }

    /// Emits a record to the side output `tag`. Lost if nobody reads that output: see [`DataStream::side_output`](super::DataStream::side_output).
    pub fn side_output<U: Data>(&mut self, tag: &OutputTag<U>, record: U) {
        let timestamp = self.timestamp;
        let side = self.sides.iter_mut().find(|(name, _)| *name == tag.name);
        if let Some(batch) = side.and_then(|(_, side)| side.as_any().downcast_mut::<Batch<U>>()) {
            batch.timestamps.extend(timestamp);
            batch.records.push(record);
        }
    }

    /// Whether enough was emitted to be handed on.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.batch.records.len() >= BATCH_RECORDS
    }
}

/// The records on their way to one side output.
pub(crate) trait SideBuffer {
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<U: Data> SideBuffer for Batch<U> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Names a side output and the type of its records.
pub struct OutputTag<T> {
    pub(crate) name: String,
    record: PhantomData<fn() -> T>,
}

impl<T: Data> OutputTag<T> {
    /// The side output `name`; names are unique within an operator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            record: PhantomData,
        }
    }
}

impl<T> Clone for OutputTag<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            record: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for OutputTag<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OutputTag").field(&self.name).finish()
    }
}
