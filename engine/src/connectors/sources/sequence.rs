//! A source of numbers.

use crate::Result;
use crate::api::{Boundedness, Data, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Emits the numbers of a range, or what a closure makes of each.
///
/// Subtask `p` of `P` emits `from + p`, `from + p + P`, `from + p + 2 P`, and so on, so all subtasks are about equally far in the range at any time.
///
/// ```
/// use millpond_engine::connectors::sources::SequenceSource;
///
/// let numbers = SequenceSource::new(0..1_000_000);
/// let pairs = SequenceSource::generate(0..1_000_000, |i| (i % 1000, i));
/// ```
pub struct SequenceSource<F> {
    range: Range<u64>,
    generate: Arc<F>,
}

impl SequenceSource<fn(u64) -> u64> {
    /// The numbers of `range`, without its end.
    #[must_use]
    pub fn new(range: Range<u64>) -> Self {
        Self::generate(range, std::convert::identity)
    }
}

impl<F> SequenceSource<F> {
    /// `generate(i)` for each number of `range`, without its end. `generate` must give the same result for the same number each time: after a failure it is called again.
    pub fn generate<T: Data>(range: Range<u64>, generate: F) -> Self
    where
        F: Fn(u64) -> T + Send + Sync + 'static,
    {
        Self {
            range,
            generate: Arc::new(generate),
        }
    }
}

impl<F> std::fmt::Debug for SequenceSource<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequenceSource")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// The numbers `next`, `next + step`, and so on, below `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceSplit {
    /// The next number; nothing is left if it is not below `end`.
    pub next: u64,
    /// The distance between two numbers, at least 1.
    pub step: u64,
    /// The bound, exclusive.
    pub end: u64,
}

impl SequenceSplit {
    /// How many numbers are left.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.next).div_ceil(self.step.max(1))
    }
}

impl<T: Data, F: Fn(u64) -> T + Send + Sync + 'static> Source for SequenceSource<F> {
    type Record = T;
    type Split = SequenceSplit;
    type Reader = SequenceReader<F>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<SequenceSplit>> {
        let step = u64::from(parallelism.max(1));
        let first = self
            .range
            .clone()
            .take(usize::try_from(step).unwrap_or(usize::MAX));
        Ok(first
            .map(|next| SequenceSplit {
                next,
                step,
                end: self.range.end,
            })
            .collect())
    }

    fn reader(&self, _: ReaderContext, splits: Vec<SequenceSplit>) -> Result<SequenceReader<F>> {
        Ok(SequenceReader {
            splits: splits.into_iter().filter(|split| split.remaining() > 0).collect(),
            generate: Arc::clone(&self.generate),
        })
    }
}

/// Counts up the splits of a [`SequenceSource`].
pub struct SequenceReader<F> {
    splits: Vec<SequenceSplit>,
    generate: Arc<F>,
}

impl<F> std::fmt::Debug for SequenceReader<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequenceReader")
            .field("splits", &self.splits)
            .finish_non_exhaustive()
    }
}

impl<T: Data, F: Fn(u64) -> T + 'static> SourceReader for SequenceReader<F> {
    type Record = T;
    type Split = SequenceSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<T>) -> Result<ReaderStatus> {
        let mut left = max_records as u64;
        while left > 0 {
            // The split that is furthest behind, up to where the next one is: after a restore with fewer subtasks the numbers still rise.
            let behind = self.splits.iter_mut().enumerate();
            let Some((index, split)) = behind.min_by_key(|(_, split)| split.next) else {
                break;
            };
            let (first, step, remaining) = (split.next, split.step, split.remaining());
            let others = self
                .splits
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            let ahead = others.map(|(_, other)| other.next).min();
            let until_ahead = ahead.map_or(u64::MAX, |ahead| (ahead - first).div_ceil(step.max(1)).max(1));
            let count = remaining.min(left).min(until_ahead);
            let generate = &*self.generate;
            // A range has an exact length, so the output grows once and the loop has no branch but its own.
            output.collect_all((0..count).map(|i| generate(first + i * step)));
            left -= count;
            if count == remaining {
                self.splits.swap_remove(index);
            } else if let Some(split) = self.splits.get_mut(index) {
                split.next += count * step;
            }
        }
        Ok(if self.splits.is_empty() {
            ReaderStatus::Finished
        } else {
            ReaderStatus::More
        })
    }

    fn snapshot(&mut self) -> Result<Vec<SequenceSplit>> {
        Ok(self.splits.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::sources::testing::{context, read_all, read_some};

    #[test]
    fn every_number_is_emitted_once_at_any_parallelism() {
        for range in [0..0, 5..6, 3..20, 0..1000, u64::MAX - 10..u64::MAX] {
            for parallelism in [1, 2, 3, 8, 30] {
                let source = SequenceSource::new(range.clone());
                let mut all = Vec::new();
                for split in source.splits(parallelism).unwrap() {
                    all.extend(read_all(source.reader(context(0), vec![split]).unwrap()));
                }
                all.sort_unstable();
                assert_eq!(all, range.clone().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_subtask_emits_every_nth_number() {
        let source = SequenceSource::generate(10..20, |i| i * 2);
        let splits = source.splits(3).unwrap();
        let reader = source.reader(context(1), vec![splits[1]]).unwrap();
        assert_eq!(read_all(reader), [22, 28, 34]);
    }

    #[test]
    fn splits_survive_a_change_of_parallelism_and_the_numbers_still_rise() {
        let source = SequenceSource::new(0..1000);
        let mut seen = Vec::new();
        let mut left = Vec::new();
        for (index, split) in source.splits(4).unwrap().into_iter().enumerate() {
            let mut reader = source.reader(context(0), vec![split]).unwrap();
            seen.extend(read_some(&mut reader, 10 * index));
            left.extend(reader.snapshot().unwrap());
        }
        let rest = read_all(source.reader(context(0), left).unwrap());
        assert!(rest.is_sorted());
        seen.extend(rest);
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    /// Run with `cargo test --release -- --ignored --nocapture sequence_speed`.
    #[test]
    #[ignore = "a measurement"]
    fn sequence_speed() {
        let source = SequenceSource::new(0..1_000_000_000);
        let mut reader = source.reader(context(0), source.splits(1).unwrap()).unwrap();
        let mut output = SourceOutput::new();
        let start = std::time::Instant::now();
        let mut sum = 0u64;
        while reader.poll(4096, &mut output).unwrap() != ReaderStatus::Finished {
            sum = sum.wrapping_add(output.records[17]);
            output.records.clear();
        }
        println!(
            "{:.0} M records/s ({sum})",
            1000.0 / start.elapsed().as_secs_f64()
        );
    }
}
