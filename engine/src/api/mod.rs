//! What users write: environments, streams, functions, and the traits of sources and sinks.

mod data;
mod sink;
mod source;

pub use data::{Data, TimestampMs, WATERMARK_MAX, WATERMARK_MIN};
pub use sink::{
    Committer, PreCommit, Sink, SinkContext, SinkWriter, TwoPhaseCommitSink, TwoPhaseCommitWriter,
};
pub use source::{Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SourceWaker};
