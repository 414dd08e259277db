//! Emits the lines of splits.

use super::fetcher::{Blocks, LineFetcher, TextFetcher};
use super::{Line, TextFileSplit};
use crate::Result;
use crate::api::{ReaderStatus, SourceOutput, SourceReader, SourceWaker};
use crate::connectors::sources::fetching::{FetchingReader, SplitEmitter};
use std::collections::VecDeque;
use std::marker::PhantomData;

/// Reads the splits of a [`TextFileSource`](super::TextFileSource) in one subtask, one after the other.
///
/// Text is read, cut into lines and checked a quarter of a megabyte at a time, by a [`FetchingReader`], so on a thread of its own when there is more than that. The memory is
/// used again; nothing but the lines is allocated.
#[derive(Debug)]
pub struct TextFileReader<L: Line> {
    reader: FetchingReader<LineFetcher<L>, LineEmitter<L>>,
}

impl<L: Line> TextFileReader<L> {
    pub(super) fn new(splits: Vec<TextFileSplit>, waker: SourceWaker) -> Self {
        let emitter = LineEmitter {
            splits: splits.clone().into(),
            lines: PhantomData,
        };
        let fetcher = LineFetcher {
            fetcher: TextFetcher::new(splits),
            lines: PhantomData,
        };
        Self {
            reader: FetchingReader::new(fetcher, emitter, waker),
        }
    }
}

impl<L: Line> SourceReader for TextFileReader<L> {
    type Record = L;
    type Split = TextFileSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<L>) -> Result<ReaderStatus> {
        self.reader.poll(max_records, output)
    }

    fn snapshot(&mut self) -> Result<Vec<TextFileSplit>> {
        self.reader.snapshot()
    }
}

/// Emits lines of blocks.
#[derive(Debug)]
struct LineEmitter<L> {
    /// What is left; the first one is being emitted.
    splits: VecDeque<TextFileSplit>,
    lines: PhantomData<fn() -> L>,
}

impl<L: Line> SplitEmitter for LineEmitter<L> {
    type Record = L;
    type Split = TextFileSplit;
    type Fetched = Blocks<L>;

    fn emit(
        &mut self,
        fetched: &mut Blocks<L>,
        max_records: usize,
        output: &mut SourceOutput<L>,
    ) -> Result<bool> {
        let full = output.records().len() + max_records;
        while let (Some(block), Some(split)) = (fetched.blocks.front_mut(), self.splits.front_mut()) {
            let room = full.saturating_sub(output.records().len());
            if !block.emit(split, room, output) {
                return Ok(false);
            }
            if block.ends_split {
                self.splits.pop_front();
            }
            fetched.spare.extend(fetched.blocks.pop_front());
        }
        Ok(true)
    }

    fn snapshot(&mut self) -> Result<Vec<TextFileSplit>> {
        Ok(self.splits.iter().cloned().collect())
    }
}
