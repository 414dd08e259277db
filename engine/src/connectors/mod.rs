//! The sources and sinks that come with the engine.
//!
//! | source | reads | after a failure |
//! |---|---|---|
//! | [`FromCollection`](sources::FromCollection) | the elements of a `Vec` | each record counts once |
//! | [`SequenceSource`](sources::SequenceSource) | numbers, or what a closure makes of them | each record counts once |
//! | [`TextFileSource`](sources::TextFileSource) | lines of files and folders, large files in parallel | each record counts once |
//! | [`ChannelSource`](sources::ChannelSource) | what other threads of the program send | records may be lost |
//!
//! | sink | writes | after a failure |
//! |---|---|---|
//! | [`FileSink`](sinks::FileSink) | rows into files that are finished by a rename | each row is there once |
//! | [`CollectSink`](sinks::CollectSink) | records into memory, as tests need it | each record is there once |
//! | [`PrintSink`](sinks::PrintSink) | lines to standard output or error | lines since the last checkpoint come again |
//! | [`ForEachSink`](sinks::ForEachSink) | each record to a closure | records since the last checkpoint come again |
//! | [`DiscardSink`](sinks::DiscardSink) | nothing | - |
//!
//! Others are written against the traits in [`api`](crate::api), as these are.

pub mod sinks;
pub mod sources;
