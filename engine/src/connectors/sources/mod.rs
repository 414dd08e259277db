//! Sources: where records come from.

mod channel;
mod collection;
mod fetching;
mod sequence;
#[cfg(test)]
mod testing;
mod text_file;

pub use channel::{ChannelReader, ChannelSender, ChannelSource, ChannelSplit, SendError};
pub use collection::{CollectionReader, CollectionSplit, FromCollection};
pub use fetching::{FetchStatus, FetchingReader, SplitEmitter, SplitFetcher};
pub use sequence::{SequenceReader, SequenceSource, SequenceSplit};
pub use text_file::{LINE_BYTES_MAX, Line, TextFileReader, TextFileSource, TextFileSplit};
