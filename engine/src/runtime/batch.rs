//! What travels between operators: batches of records in columns, with event times and watermarks in band.

use crate::api::{Data, TimestampMs};
use crate::codec;
use serde::{Deserialize, Serialize};
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

/// How many records a batch has at most, as far as operators can choose. Enough to spread the costs of a call, few enough to stay in the cache.
pub(crate) const BATCH_RECORDS: usize = 4096;

/// A batch of records, with a mark behind the last of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Data")]
pub(crate) struct Batch<T> {
    /// The records, in the order in which they were emitted.
    pub(crate) records: Vec<T>,
    /// The hash of each record's key; empty where the stream is not keyed.
    pub(crate) hashes: Vec<u64>,
    /// The event time of each record; empty where records have none.
    pub(crate) timestamps: Vec<TimestampMs>,
    /// What the sender says of its stream behind these records.
    pub(crate) mark: Option<Mark>,
    /// To how many subtasks each record goes, 1 except on a broadcast edge before its exchange. Timely counts records on both ends of
    /// an edge, so copies have to be counted before they are made.
    pub(crate) copies: u32,
}

/// What one upstream subtask says of its stream to every downstream subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The upstream subtask.
    pub(crate) from: u32,
    /// No record with an event time at or below this follows; `WATERMARK_MAX`: no record follows at all.
    pub(crate) watermark: TimestampMs,
    /// The subtask has nothing to say for now: leave it out of the minimum.
    pub(crate) idle: bool,
    /// To how many subtasks the mark goes, for the same reason as [`Batch::copies`].
    pub(crate) targets: u32,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            hashes: Vec::new(),
            timestamps: Vec::new(),
            mark: None,
            copies: 1,
        }
    }
}

impl<T> Batch<T> {
    /// A batch that has only a mark.
    pub(crate) fn of_mark(mark: Mark) -> Self {
        Self {
            mark: Some(mark),
            ..Self::default()
        }
    }

    /// Takes the first `len` records out, with their hashes and event times, as a batch without a mark.
    pub(crate) fn take_first(&mut self, len: usize) -> Self {
        Self {
            records: self.records.drain(..len.min(self.records.len())).collect(),
            hashes: self.hashes.drain(..len.min(self.hashes.len())).collect(),
            timestamps: self.timestamps.drain(..len.min(self.timestamps.len())).collect(),
            mark: None,
            copies: self.copies,
        }
    }

    /// Removes everything; the memory stays.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.hashes.clear();
        self.timestamps.clear();
        self.mark = None;
        self.copies = 1;
    }
}

impl<T> Accountable for Batch<T> {
    #[inline]
    fn record_count(&self) -> i64 {
        let marks = self.mark.map_or(0, |mark| i64::from(mark.targets));
        i64::try_from(self.records.len()).unwrap_or(i64::MAX) * i64::from(self.copies) + marks
    }
}

impl<T: Data> ContainerBytes for Batch<T> {
    #[expect(
        clippy::expect_used,
        reason = "timely's trait has no error; the bytes come from the same program, over a checked connection"
    )]
    fn from_bytes(bytes: Bytes) -> Self {
        let mut rest: &[u8] = &bytes;
        codec::decode_prefix(&mut rest).expect("a batch from a peer of the same program cannot be decoded")
    }

    #[expect(
        clippy::expect_used,
        reason = "timely's trait has no error; a record that serde refuses ends the attempt with this text"
    )]
    fn length_in_bytes(&self) -> usize {
        (codec::encoded_len(self).expect("a record cannot be encoded") + 7) & !7
    }

    #[expect(
        clippy::expect_used,
        reason = "timely's trait has no error; a record that serde refuses ends the attempt with this text"
    )]
    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        let mut bytes = Vec::new();
        codec::encode_into(self, &mut bytes).expect("a record cannot be encoded");
        bytes.resize((bytes.len() + 7) & !7, 0);
        writer
            .write_all(&bytes)
            .expect("the buffer for a peer is as long as it was asked to be");
    }
}
