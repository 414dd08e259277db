//! A sink that drops everything.

use crate::Result;
use crate::api::{Data, Sink, SinkContext, SinkWriter};
use std::marker::PhantomData;

/// Drops every record: the end of benchmarks, and of pipelines that work by their side effects.
pub struct DiscardSink<T>(PhantomData<fn(T)>);

impl<T> DiscardSink<T> {
    /// A sink that drops everything.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for DiscardSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for DiscardSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiscardSink")
    }
}

impl<T: Data> Sink for DiscardSink<T> {
    type Input = T;
    type Writer = DiscardWriter<T>;

    fn writer(&self, _: &SinkContext) -> Result<DiscardWriter<T>> {
        Ok(DiscardWriter(PhantomData))
    }
}

/// Drops the records of one subtask.
pub struct DiscardWriter<T>(PhantomData<fn(T)>);

impl<T> std::fmt::Debug for DiscardWriter<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiscardWriter")
    }
}

impl<T: 'static> SinkWriter for DiscardWriter<T> {
    type Input = T;

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        records.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
