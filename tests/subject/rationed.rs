//! A source that goes on with the checkpoints and not with the clock.

use millpond_engine::Result;
use millpond_engine::api::{
    Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SourceWaker,
};

/// Emits what another source does, at most so many records in each subtask from one checkpoint to the next: so how much a checkpoint has to write
/// is the same on every machine.
#[derive(Debug)]
pub(crate) struct Rationed<S> {
    source: S,
    between_checkpoints: usize,
}

impl<S> Rationed<S> {
    pub(crate) fn new(source: S, between_checkpoints: usize) -> Self {
        Self {
            source,
            between_checkpoints,
        }
    }
}

impl<S: Source> Source for Rationed<S> {
    type Record = S::Record;
    type Split = S::Split;
    type Reader = RationedReader<S::Reader>;

    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<S::Split>> {
        self.source.splits(parallelism)
    }

    fn reader(&self, context: ReaderContext, splits: Vec<S::Split>) -> Result<Self::Reader> {
        Ok(RationedReader {
            waker: context.waker.clone(),
            reader: self.source.reader(context, splits)?,
            between_checkpoints: self.between_checkpoints,
            left: self.between_checkpoints,
        })
    }
}

pub(crate) struct RationedReader<R> {
    reader: R,
    waker: SourceWaker,
    between_checkpoints: usize,
    left: usize,
}

impl<R: SourceReader> SourceReader for RationedReader<R> {
    type Record = R::Record;
    type Split = R::Split;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<R::Record>) -> Result<ReaderStatus> {
        if self.left == 0 {
            return Ok(ReaderStatus::Idle);
        }
        let asked = max_records.min(self.left);
        self.left -= asked;
        self.reader.poll(asked, output)
    }

    fn snapshot(&mut self) -> Result<Vec<R::Split>> {
        self.left = self.between_checkpoints;
        self.waker.wake();
        self.reader.snapshot()
    }
}
