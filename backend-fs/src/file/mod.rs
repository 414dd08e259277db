//! The file format `millpond-mapped/1`: a file of keyed state that is written once, front to back, and read in place.
//!
//! A file has one section for each (key group, state): the entries, an index from hashes to entries that is probed where it lies, and
//! a checksum for every 64 KiB. A directory at the end tells where the sections are, so opening a file takes the same time however much
//! state is in it. `FORMAT.md` beside the crate has the bytes.
//!
//! ```
//! use millpond_backend_api::{Entry, KeyGroup, StateDescriptor, StateKind, key_hash};
//! use millpond_backend_fs::file::{FileWriter, Found, GroupTotals, Hashes, SnapshotFile, Source};
//!
//! let states = [StateDescriptor::new("count", StateKind::Value, 2)];
//! let mut writer = FileWriter::new(Vec::new(), &states)?;
//! writer.begin_section(0, KeyGroup(7), 1)?;
//! let entry = Entry { key: b"fish", namespace: b"", map_key: b"", value: &[3, 0] };
//! writer.entry(Hashes::of_cell(key_hash(b"fish")), &entry)?;
//! writer.end_section(GroupTotals { cells: 1, encoded_bytes: 8 })?;
//! let (bytes, figures) = writer.finish()?;
//!
//! let file = SnapshotFile::open(Source::Bytes(bytes), "example", figures.bytes)?;
//! let section = file.section(0, KeyGroup(7)).ok_or("no such section")?;
//! assert_eq!(section.find(key_hash(b"fish"), b"fish", b"", b"")?, Found::Value(&[3, 0]));
//! assert_eq!(section.find(key_hash(b"frog"), b"frog", b"", b"")?, Found::Absent);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blocks;
mod compress;
mod damage;
mod directory;
mod entry;
mod expand;
mod index;
mod layout;
mod map;
mod output;
mod reader;
mod section;
mod verify;
mod writer;

pub use compress::{CompressedFigures, Compressor, FORMAT_COMPRESSED};
pub use entry::FileEntry;
pub use expand::{expand, expand_into};
pub use layout::{BLOCK_BYTES, FORMAT, VERSION_CURRENT, VERSION_OLDEST};
pub use output::Output;
pub use reader::{SnapshotFile, Source};
pub use section::{Found, Section};
pub use writer::{FileFigures, FileWriter, GroupTotals, Hashes, SectionSize, file_bytes};
