//! A source that ends when it is told to.

use millpond_engine::Result;
use millpond_engine::api::{Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader};
use std::path::PathBuf;

/// Emits what another source does, until there is a file: so a run lasts as long as the test has something to do with it, on every machine.
#[derive(Debug)]
pub(crate) struct UntilTold<S> {
    source: S,
    /// `None`: only the other source ends it.
    file: Option<PathBuf>,
}

impl<S> UntilTold<S> {
    pub(crate) fn new(source: S, file: Option<PathBuf>) -> Self {
        Self { source, file }
    }
}

impl<S: Source> Source for UntilTold<S> {
    type Record = S::Record;
    type Split = S::Split;
    type Reader = UntilToldReader<S::Reader>;

    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<S::Split>> {
        self.source.splits(parallelism)
    }

    fn reader(&self, context: ReaderContext, splits: Vec<S::Split>) -> Result<Self::Reader> {
        Ok(UntilToldReader {
            reader: self.source.reader(context, splits)?,
            file: self.file.clone(),
            has_ended: false,
        })
    }
}

pub(crate) struct UntilToldReader<R> {
    reader: R,
    file: Option<PathBuf>,
    has_ended: bool,
}

impl<R: SourceReader> SourceReader for UntilToldReader<R> {
    type Record = R::Record;
    type Split = R::Split;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<R::Record>) -> Result<ReaderStatus> {
        self.has_ended = self.has_ended || self.file.as_ref().is_some_and(|file| file.exists());
        if self.has_ended {
            return Ok(ReaderStatus::Finished);
        }
        self.reader.poll(max_records, output)
    }

    fn snapshot(&mut self) -> Result<Vec<R::Split>> {
        if self.has_ended {
            return Ok(Vec::new());
        }
        self.reader.snapshot()
    }
}
