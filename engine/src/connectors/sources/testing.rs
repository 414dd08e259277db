//! How the tests of sources read.

use crate::Result;
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
pub(crate) fn read_all<R: SourceReader<Record: Data>>(reader: R) -> Vec<R::Record> {
    let (records, end) = read_until_end(reader);
    end.unwrap();
    records
}

/// Reads to the end or an error, and tells what was read before it.
pub(crate) fn read_until_end<R: SourceReader<Record: Data>>(mut reader: R) -> (Vec<R::Record>, Result<()>) {
    let mut output = SourceOutput::new();
    loop {
        match reader.poll(3, &mut output) {
            Ok(ReaderStatus::Finished) => return (output.records, Ok(())),
            // A thread is at work.
            Ok(ReaderStatus::Idle) => std::thread::yield_now(),
            Ok(_) => {}
            Err(error) => return (output.records, Err(error)),
        }
    }
}

/// Reads exactly `count` records, one at a time.
pub(crate) fn read_some<R: SourceReader<Record: Data>>(reader: &mut R, count: usize) -> Vec<R::Record> {
    let mut output = SourceOutput::new();
    while output.records().len() < count {
        let before = output.records().len();
        let status = reader.poll(1, &mut output).unwrap();
        assert!(output.records().len() <= before + 1, "one record was asked for");
        assert!(
            status != ReaderStatus::Finished || output.records().len() == count,
            "the reader ended early"
        );
    }
    output.records
}
