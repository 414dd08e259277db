//! Sinks: where results go.

mod collect;
mod discard;
mod file;
mod for_each;
mod print;
#[cfg(test)]
mod testing;

pub use collect::{CollectCommittable, CollectCommitter, CollectSink, CollectWriter, CollectedResults};
pub use discard::{DiscardSink, DiscardWriter};
pub use file::{FileCommittable, FileCommitter, FileSink, FileWriter, FileWriterState, ROLL_BYTES_DEFAULT};
pub use for_each::{ForEachSink, ForEachWriter};
pub use print::{PrintSink, PrintWriter};
