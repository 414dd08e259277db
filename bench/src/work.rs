//! The workloads about the cost of a record: what they are called, and what they must come to.

use crate::generate::{Tally, expected_counts, expected_keys, expected_windows};
use crate::report::progress;
use crate::text;
use millpond_engine::Result;
use std::path::PathBuf;

/// Said where there is no right answer to compare with.
pub(crate) const NOT_VERIFIED: &str = "not verified: a plain loop over so many keys does not fit into memory";

/// What a run is to do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Count the records of each key.
    KeyedCount { records: u64, keys: u64 },
    /// Only exchange them.
    Exchange { records: u64, keys: u64 },
    /// Sum the values of each key in windows.
    TumblingWindow(Windows),
    /// Count the words of a file or folder.
    WordCount { text: PathBuf },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) records: u64,
    pub(crate) keys: u64,
    /// Records in a millisecond of event time.
    pub(crate) ratio: u64,
    pub(crate) window_ms: u64,
}

impl Work {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::KeyedCount { .. } => "keyed-count",
            Self::Exchange { .. } => "exchange",
            Self::TumblingWindow(_) => "tumbling-window",
            Self::WordCount { .. } => "word-count",
        }
    }

    /// The records, where they are known before the run.
    pub(crate) fn records(&self) -> Option<u64> {
        match self {
            Self::KeyedCount { records, .. } | Self::Exchange { records, .. } => Some(*records),
            Self::TumblingWindow(windows) => Some(windows.records),
            Self::WordCount { .. } => None,
        }
    }

    pub(crate) fn keys(&self) -> Option<u64> {
        match self {
            Self::KeyedCount { keys, .. } | Self::Exchange { keys, .. } => Some(*keys),
            Self::TumblingWindow(windows) => Some(windows.keys),
            Self::WordCount { .. } => None,
        }
    }

    /// Whether every record has an output.
    pub(crate) fn emits_each(&self) -> bool {
        !matches!(self, Self::TumblingWindow(_))
    }

    /// The same with so many records; all of the text if that is what there is.
    pub(crate) fn with_records(&self, number: u64) -> Self {
        let mut work = self.clone();
        match &mut work {
            Self::KeyedCount { records, .. } | Self::Exchange { records, .. } => *records = number,
            Self::TumblingWindow(windows) => windows.records = number,
            Self::WordCount { .. } => {}
        }
        work
    }

    /// What it must come to, by a plain loop; `None` where that would not fit into memory.
    ///
    /// # Errors
    /// When the text cannot be read.
    pub(crate) fn expected(&self) -> Result<Option<Tally>> {
        progress("working out the right answer in a plain loop");
        let expected = match self {
            Self::KeyedCount { records, keys } => expected_counts(*records, *keys),
            Self::Exchange { records, keys } => Some(expected_keys(*records, *keys)),
            Self::TumblingWindow(of) => expected_windows(of.records, of.keys, of.ratio, of.window_ms),
            Self::WordCount { text } => Some(text::expected_words(text)?),
        };
        if expected.is_none() {
            progress(NOT_VERIFIED);
        }
        Ok(expected)
    }
}
