//! Sources: where records come from.

mod channel;
mod collection;
mod sequence;
#[cfg(test)]
mod testing;
mod text_file;

pub use channel::{ChannelReader, ChannelSender, ChannelSource, ChannelSplit, SendError};
pub use collection::{CollectionReader, CollectionSplit, FromCollection};
pub use sequence::{SequenceReader, SequenceSource, SequenceSplit};
pub use text_file::{LINE_BYTES_MAX, Line, TextFileReader, TextFileSource, TextFileSplit};
