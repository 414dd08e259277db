//! A source of the elements of a `Vec`.

use crate::api::{Boundedness, Data, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Emits the elements of a `Vec` in order, cut into one contiguous range for each subtask.
///
/// The position in a checkpoint is an index: a job that is restored must be given the same elements again.
pub struct FromCollection<T> {
    // A lock and not an `Arc<[T]>`, since records need not be `Sync`. Taken once a subtask and attempt.
    records: Mutex<Vec<T>>,
    len: u64,
}

impl<T: Data> FromCollection<T> {
    /// A source of `records`.
    pub fn new(records: impl IntoIterator<Item = T>) -> Self {
        let records: Vec<T> = records.into_iter().collect();
        Self {
            len: records.len() as u64,
            records: Mutex::new(records),
        }
    }
}

impl<T> std::fmt::Debug for FromCollection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromCollection")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// The part `next .. end` of the elements of a [`FromCollection`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionSplit {
    /// The index of the next element.
    pub next: u64,
    /// The index behind the last element.
    pub end: u64,
    /// How many elements the whole collection had.
    pub len: u64,
}

impl<T: Data> Source for FromCollection<T> {
    type Record = T;
    type Split = CollectionSplit;
    type Reader = CollectionReader<T>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<CollectionSplit>> {
        let parts = u64::from(parallelism.max(1));
        let (quotient, rest) = (self.len / parts, self.len % parts);
        let start_of = |part: u64| part * quotient + part.min(rest);
        Ok((0..parts)
            .map(|part| CollectionSplit {
                next: start_of(part),
                end: start_of(part + 1),
                len: self.len,
            })
            .filter(|split| split.next < split.end)
            .collect())
    }

    fn reader(&self, _: ReaderContext, splits: Vec<CollectionSplit>) -> Result<CollectionReader<T>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = splits.into_iter().map(|split| {
            let range = (split.len == self.len)
                .then(|| Some(usize::try_from(split.next).ok()?..usize::try_from(split.end).ok()?))
                .flatten();
            match range.and_then(|range| records.get(range)) {
                Some(part) => Ok((split, Vec::from(part).into_iter())),
                None => Err(Error::new(
                    ErrorKind::Restore,
                    format!(
                        "the checkpoint was taken with a collection of {} elements, and this one has {}: a restored job \
                         must be given the same elements",
                        split.len, self.len
                    ),
                )),
            }
        });
        Ok(CollectionReader {
            parts: parts.collect::<Result<_>>()?,
        })
    }
}

/// Reads parts of a [`FromCollection`], one after the other.
#[derive(Debug)]
pub struct CollectionReader<T> {
    parts: VecDeque<(CollectionSplit, std::vec::IntoIter<T>)>,
}

impl<T: Data> SourceReader for CollectionReader<T> {
    type Record = T;
    type Split = CollectionSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<T>) -> Result<ReaderStatus> {
        if let Some((split, records)) = self.parts.front_mut() {
            let before = records.len();
            output.collect_all(records.by_ref().take(max_records));
            split.next += (before - records.len()) as u64;
            if records.len() == 0 {
                self.parts.pop_front();
            }
        }
        Ok(if self.parts.is_empty() {
            ReaderStatus::Finished
        } else {
            ReaderStatus::More
        })
    }

    fn snapshot(&mut self) -> Result<Vec<CollectionSplit>> {
        Ok(self.parts.iter().map(|(split, _)| split.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::sources::testing::{context, read_all, read_some};

    #[test]
    fn every_element_is_in_exactly_one_split_in_order() {
        for len in [0, 1, 2, 3, 7, 100] {
            for parallelism in [1, 2, 3, 8] {
                let source = FromCollection::new(0..len);
                let splits = source.splits(parallelism).unwrap();
                let mut all = Vec::new();
                for split in splits {
                    all.extend(read_all(source.reader(context(0), vec![split]).unwrap()));
                }
                assert_eq!(all, (0..len).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_restored_reader_goes_on_at_the_next_element() {
        let source = FromCollection::new(0..10);
        let mut reader = source.reader(context(0), source.splits(2).unwrap()).unwrap();
        let mut seen = read_some(&mut reader, 7);
        let splits = reader.snapshot().unwrap();
        seen.extend(read_all(source.reader(context(0), splits).unwrap()));
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_restored_reader_refuses_a_collection_of_another_length() {
        let splits = FromCollection::new(0..10).splits(1).unwrap();
        let error = FromCollection::new(0..9).reader(context(0), splits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        assert!(error.message().contains("10 elements, and this one has 9"));
    }
}
