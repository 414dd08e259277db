//! How the tests of sources read.

use crate::api::{Data, ReaderContext, ReaderStatus, SourceOutput, SourceReader, SourceWaker};

/// A context whose waker does nothing.
pub(crate) fn context(subtask: u32) -> ReaderContext {
    ReaderContext {
        subtask,
        parallelism: 1,
        waker: SourceWaker::new(|| {}),
    }
}

/// Reads to the end, a few records at a time.
pub(crate) fn read_all<R: SourceReader<Record: Data>>(mut reader: R) -> Vec<R::Record> {
    let mut output = SourceOutput::new();
    while reader.poll(3, &mut output).unwrap() != ReaderStatus::Finished {}
    output.records
}

/// Reads exactly `count` records, one at a time.
pub(crate) fn read_some<R: SourceReader<Record: Data>>(reader: &mut R, count: usize) -> Vec<R::Record> {
    let mut output = SourceOutput::new();
    while output.records().len() < count {
        let before = output.records().len();
        let status = reader.poll(1, &mut output).unwrap();
        assert!(output.records().len() <= before + 1, "one record was asked for");
        assert!(
            status == ReaderStatus::More || output.records().len() == count,
            "the reader ended early"
        );
    }
    output.records
}
