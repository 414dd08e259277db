//! A source that ends when it is told to.

use crate::generate::Part;
use millpond_engine::Result;
use millpond_engine::api::{Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader};
use millpond_engine::connectors::sources::SequenceSplit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends the readers, and knows how far they had come.
#[derive(Debug, Default)]
pub(super) struct Until {
    is_over: AtomicBool,
    positions: Mutex<Vec<SequenceSplit>>,
}

impl Until {
    /// Has each reader end with its next poll.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// The numbers that were emitted.
    pub(super) fn parts(&self) -> Vec<Part> {
        let splits = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        // Split `p` of `P` goes from `p` in steps of `P`.
        let parts = splits.iter().map(|split| Part {
            first: split.next % split.step,
            step: split.step,
            count: split.next / split.step,
        });
        parts.collect()
    }
}

/// The records of another source until its end or [`Until::end`].
#[derive(Debug)]
pub(super) struct UntilSource<S> {
    source: S,
    until: Arc<Until>,
}

impl<S> UntilSource<S> {
    pub(super) fn new(source: S, until: Arc<Until>) -> Self {
        Self { source, until }
    }
}

impl<S: Source<Split = SequenceSplit>> Source for UntilSource<S> {
    type Record = S::Record;
    type Split = SequenceSplit;
    type Reader = UntilReader<S::Reader>;

    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<SequenceSplit>> {
        self.source.splits(parallelism)
    }

    fn reader(&self, context: ReaderContext, splits: Vec<SequenceSplit>) -> Result<Self::Reader> {
        Ok(UntilReader {
            reader: self.source.reader(context, splits)?,
            is_noted: false,
            until: Arc::clone(&self.until),
        })
    }
}

/// The reader of an [`UntilSource`].
pub(super) struct UntilReader<R> {
    reader: R,
    /// Its positions are.
    is_noted: bool,
    until: Arc<Until>,
}

impl<R: SourceReader<Split = SequenceSplit>> SourceReader for UntilReader<R> {
    type Record = R::Record;
    type Split = SequenceSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<R::Record>) -> Result<ReaderStatus> {
        if !self.until.is_over.load(Ordering::Relaxed) {
            return self.reader.poll(max_records, output);
        }
        if !std::mem::replace(&mut self.is_noted, true) {
            let splits = self.reader.snapshot()?;
            let positions = self.until.positions.lock();
            positions.unwrap_or_else(PoisonError::into_inner).extend(splits);
        }
        Ok(ReaderStatus::Finished)
    }

    fn snapshot(&mut self) -> Result<Vec<SequenceSplit>> {
        self.reader.snapshot()
    }
}
