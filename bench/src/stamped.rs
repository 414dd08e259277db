//! A source of numbered records with event times.

use crate::generate::{key_of, value_of};
use millpond_engine::Result;
use millpond_engine::api::{
    Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, TimestampMs,
};
use millpond_engine::connectors::sources::{SequenceSource, SequenceSplit};
use std::ops::Range;

/// Emits key and value of each number of a range with the event time `number / ratio`; the watermark follows a millisecond behind.
#[derive(Clone, Debug)]
pub(crate) struct StampedSource {
    pub(crate) range: Range<u64>,
    pub(crate) keys: u64,
    /// Records in a millisecond of event time.
    pub(crate) ratio: u64,
}

/// The reader of a [`StampedSource`].
pub(crate) struct StampedReader {
    source: StampedSource,
    splits: Vec<SequenceSplit>,
}

impl Source for StampedSource {
    type Record = (u64, u64);
    type Split = SequenceSplit;
    type Reader = StampedReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<SequenceSplit>> {
        SequenceSource::new(self.range.clone()).splits(parallelism)
    }

    fn reader(&self, _: ReaderContext, splits: Vec<SequenceSplit>) -> Result<StampedReader> {
        Ok(StampedReader {
            source: self.clone(),
            splits,
        })
    }
}

impl StampedReader {
    fn time_of(&self, number: u64) -> TimestampMs {
        (number / self.source.ratio).cast_signed()
    }
}

impl SourceReader for StampedReader {
    type Record = (u64, u64);
    type Split = SequenceSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<(u64, u64)>) -> Result<ReaderStatus> {
        // A run does not restore, so there is one split a subtask; of several the one that is furthest behind goes on.
        self.splits.retain(|split| split.remaining() > 0);
        let behind = (0..self.splits.len()).min_by_key(|at| self.splits.get(*at).map(|split| split.next));
        let Some(split) = behind.and_then(|at| self.splits.get(at).copied()) else {
            return Ok(ReaderStatus::Finished);
        };
        let count = split.remaining().min(max_records as u64);
        let keys = self.source.keys;
        for n in 0..count {
            let number = split.next + n * split.step;
            let record = (key_of(number, keys), value_of(number));
            output.collect_with_timestamp(record, self.time_of(number));
        }
        if let Some(split) = behind.and_then(|at| self.splits.get_mut(at)) {
            split.next += count * split.step;
        }
        if let Some(next) = self.splits.iter().map(|split| split.next).min() {
            // Numbers from here on are not lower, but they may still be in the same millisecond.
            output.emit_watermark(self.time_of(next) - 1);
        }
        Ok(ReaderStatus::More)
    }

    fn snapshot(&mut self) -> Result<Vec<SequenceSplit>> {
        Ok(self.splits.clone())
    }
}
