//! The two ends of a measured job: a source that tells when it begins, and a sink that sums up what comes out.

use crate::generate::Tally;
use crate::probe::Probe;
use crate::words::fnv1a;
use compact_str::CompactString;
use millpond_engine::Result;
use millpond_engine::api::{
    Boundedness, Data, ReaderContext, ReaderStatus, Sink, SinkContext, SinkWriter, Source, SourceOutput,
    SourceReader,
};
use std::marker::PhantomData;
use std::sync::Arc;

/// A source whose first record starts the clock.
#[derive(Debug)]
pub(crate) struct TimedSource<S> {
    source: S,
    probe: Arc<Probe>,
}

impl<S> TimedSource<S> {
    pub(crate) fn new(source: S, probe: Arc<Probe>) -> Self {
        Self { source, probe }
    }
}

impl<S: Source> Source for TimedSource<S> {
    type Record = S::Record;
    type Split = S::Split;
    type Reader = TimedReader<S::Reader>;

    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<S::Split>> {
        self.source.splits(parallelism)
    }

    fn reader(&self, context: ReaderContext, splits: Vec<S::Split>) -> Result<Self::Reader> {
        Ok(TimedReader {
            reader: self.source.reader(context, splits)?,
            probe: Some(Arc::clone(&self.probe)),
        })
    }
}

/// The reader of a [`TimedSource`].
pub(crate) struct TimedReader<R> {
    reader: R,
    /// Until the first poll.
    probe: Option<Arc<Probe>>,
}

impl<R: SourceReader> SourceReader for TimedReader<R> {
    type Record = R::Record;
    type Split = R::Split;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<R::Record>) -> Result<ReaderStatus> {
        if let Some(probe) = self.probe.take() {
            probe.started();
        }
        self.reader.poll(max_records, output)
    }

    fn snapshot(&mut self) -> Result<Vec<R::Split>> {
        self.reader.snapshot()
    }
}

/// What a job of ours emits.
pub(crate) trait Output: Data {
    /// Adds the output to a tally.
    fn add_to(&self, tally: &mut Tally);
}

/// A key and its count.
impl Output for (u64, u64) {
    #[inline]
    fn add_to(&self, tally: &mut Tally) {
        tally.add(self.0, self.1);
    }
}

/// A word and its count.
impl Output for (CompactString, u64) {
    #[inline]
    fn add_to(&self, tally: &mut Tally) {
        tally.add(fnv1a(self.0.as_bytes()), self.1);
    }
}

/// A key, the start of a window, and the sum of the key's values in it.
impl Output for (u64, i64, u64) {
    #[inline]
    fn add_to(&self, tally: &mut Tally) {
        tally.add_window(self.0, self.1.cast_unsigned(), self.2);
    }
}

/// A key that went through an exchange.
impl Output for u64 {
    #[inline]
    fn add_to(&self, tally: &mut Tally) {
        tally.add(*self, 0);
    }
}

/// Sums up what comes out, in each subtask for itself, and tells the probe at each checkpoint and at the end.
#[derive(Debug)]
pub(crate) struct TallySink<T> {
    probe: Arc<Probe>,
    /// Look at the records, not only at their number.
    look: bool,
    record: PhantomData<fn(T)>,
}

impl<T> TallySink<T> {
    pub(crate) fn new(probe: Arc<Probe>, look: bool) -> Self {
        Self {
            probe,
            look,
            record: PhantomData,
        }
    }
}

impl<T: Output> Sink for TallySink<T> {
    type Input = T;
    type Writer = TallyWriter<T>;

    fn writer(&self, _: &SinkContext) -> Result<TallyWriter<T>> {
        Ok(TallyWriter {
            probe: Arc::clone(&self.probe),
            look: self.look,
            tally: Tally::default(),
            record: PhantomData,
        })
    }
}

/// The writer of a [`TallySink`].
pub(crate) struct TallyWriter<T> {
    probe: Arc<Probe>,
    look: bool,
    tally: Tally,
    record: PhantomData<fn(T)>,
}

impl<T: Output> SinkWriter for TallyWriter<T> {
    type Input = T;

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        if self.look {
            // A copy on the stack, so that the sums stay in registers.
            let mut tally = self.tally;
            for record in records.iter() {
                record.add_to(&mut tally);
            }
            self.tally = tally;
        } else {
            self.tally.outputs += records.len() as u64;
        }
        records.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.probe.wrote(std::mem::take(&mut self.tally));
        Ok(())
    }
}
