//! The public trait for sources, so that others can be written outside this crate.
//!
//! A [`Source`] describes where records come from and cuts it into *splits*: parts that are read independently and that carry
//! their own position. Each subtask reads some of the splits with a [`SourceReader`]; what a checkpoint stores of a source is just its
//! splits with their positions, so a restored job, also one of another parallelism, goes on exactly where the checkpoint was taken.

use super::data::{Data, TimestampMs};
use crate::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Whether a source ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundedness {
    /// It ends, and the job with it.
    Bounded,
    /// It goes on until the job is cancelled.
    Unbounded,
}

/// A source of records.
///
/// # Contract
/// 1. [`splits`](Self::splits) is called once at a fresh start of the job, in one process, and never after a restore: the splits of
///    the checkpoint are what is left to read.
/// 2. A reader emits the records of its splits from the position that each split carries, always the same ones in the same order per
///    split. Without that no engine can count each record once.
/// 3. One `Source` is shared by all subtasks of all attempts.
pub trait Source: Send + Sync + 'static {
    /// What the source emits.
    type Record: Data;
    /// A part of the input together with the position up to which it has been read.
    type Split: Serialize + DeserializeOwned + Clone + Send + 'static;
    /// Reads splits in one subtask.
    type Reader: SourceReader<Record = Self::Record, Split = Self::Split>;

    /// Whether the source ends by itself.
    fn boundedness(&self) -> Boundedness;

    /// Cuts the input into splits for `parallelism` subtasks; more splits than subtasks balance better. Subtask `i` gets the splits `i`,
    /// `i + parallelism`, and so on.
    ///
    /// # Errors
    /// When the input cannot be listed; the job does not start.
    fn splits(&self, parallelism: u32) -> Result<Vec<Self::Split>>;

    /// Whether a job whose source this is may go on with `restored`, which a checkpoint has, though it may be another source than the one that made them: whoever changes what is to be
    /// read must be told that the checkpoint says otherwise. By default it may.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), naming both and the way out; the job does not start, and stays as it is.
    fn check_restored(&self, restored: &[Self::Split]) -> Result<()> {
        let _ = restored;
        Ok(())
    }

    /// Makes the reader of one subtask, in the thread that will use it.
    ///
    /// # Errors
    /// When the input cannot be opened; the attempt fails.
    fn reader(&self, context: ReaderContext, splits: Vec<Self::Split>) -> Result<Self::Reader>;
}

/// Reads the splits of one subtask. Lives on one thread.
pub trait SourceReader: 'static {
    /// What the reader emits.
    type Record: Data;
    /// As in [`Source::Split`].
    type Split;

    /// Emits at most `max_records` records (at least 1 is asked for) and says how it goes on. Must not block: a reader that has to wait
    /// says [`ReaderStatus::Idle`] and wakes the subtask by its [`ReaderContext::waker`]. One whose input blocks may be a
    /// [`FetchingReader`](crate::connectors::sources::FetchingReader), which has a thread for that.
    ///
    /// # Errors
    /// When the input cannot be read; the attempt fails.
    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<Self::Record>) -> Result<ReaderStatus>;

    /// The splits that are not read to their end, with the position after the last record that was emitted. Called between two polls.
    ///
    /// # Errors
    /// When the position cannot be told; the checkpoint is declined.
    fn snapshot(&mut self) -> Result<Vec<Self::Split>>;
}

/// How a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderStatus {
    /// There is more to read at once.
    More,
    /// There is nothing to read until the waker is called.
    Idle,
    /// There is nothing to read before this time has passed or the waker is called.
    IdleFor(Duration),
    /// All splits are read to their end.
    Finished,
}

/// What a reader knows about the subtask it works for.
#[derive(Clone)]
pub struct ReaderContext {
    /// The subtask, `0 .. parallelism`.
    pub subtask: u32,
    /// The parallelism of the source.
    pub parallelism: u32,
    /// Wakes the subtask after [`ReaderStatus::Idle`], from any thread.
    pub waker: SourceWaker,
}

impl std::fmt::Debug for ReaderContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderContext")
            .field("subtask", &self.subtask)
            .field("parallelism", &self.parallelism)
            .finish_non_exhaustive()
    }
}

/// Wakes an idle source from any thread, cheaply and as often as one likes.
#[derive(Clone)]
pub struct SourceWaker(Arc<dyn Fn() + Send + Sync>);

impl SourceWaker {
    /// A waker that calls `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Has the source polled again soon.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for SourceWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceWaker")
    }
}

/// Where a reader puts its records.
///
/// Records with and without timestamps are not mixed within one source.
#[derive(Debug)]
pub struct SourceOutput<T> {
    pub(crate) records: Vec<T>,
    pub(crate) timestamps: Vec<TimestampMs>,
    pub(crate) watermark: Option<TimestampMs>,
    pub(crate) is_idle: bool,
}

impl<T> Default for SourceOutput<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            timestamps: Vec::new(),
            watermark: None,
            is_idle: false,
        }
    }
}

impl<T> SourceOutput<T> {
    /// An empty output, as tests of readers need one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Emits a record without a timestamp.
    #[inline]
    pub fn collect(&mut self, record: T) {
        self.records.push(record);
    }

    /// Emits every record of an iterator without timestamps.
    #[inline]
    pub fn collect_all(&mut self, records: impl IntoIterator<Item = T>) {
        self.records.extend(records);
    }

    /// Emits a record with its event time.
    #[inline]
    pub fn collect_with_timestamp(&mut self, record: T, timestamp: TimestampMs) {
        self.records.push(record);
        self.timestamps.push(timestamp);
    }

    /// Promises that no record with a timestamp at or below `watermark` will follow from this subtask. Lower ones than before are ignored.
    /// The watermark goes out behind the records collected so far in this poll.
    pub fn emit_watermark(&mut self, watermark: TimestampMs) {
        self.watermark = Some(self.watermark.map_or(watermark, |old| old.max(watermark)));
    }

    /// Says that no record is to be expected for a while, so that watermarks elsewhere do not wait for this subtask. Records that come
    /// nevertheless may be late; the next one ends the idleness. Being without records for a moment ([`ReaderStatus::Idle`]) says nothing of the kind.
    pub fn mark_idle(&mut self) {
        self.is_idle = true;
    }

    /// The records that were collected, as tests of readers look at them.
    #[must_use]
    pub fn records(&self) -> &[T] {
        &self.records
    }
}
