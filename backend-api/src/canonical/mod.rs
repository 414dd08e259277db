//! The canonical form of snapshots, `millpond-canonical/1` (see `FORMAT.md` beside this file): its writer and its reader, for every backend.
//!
//! A savepoint in this form is restored with whatever backend the job has then. So each backend writes it when it is
//! [asked to](crate::SnapshotForm::Canonical), and restores handles that [are of it](is_canonical), beside those of its own format. Entries travel as
//! the engine knows them: key, namespace, map key, value; how a backend keeps them does not matter.
//!
//! To write, in a [`SnapshotWriter`](crate::SnapshotWriter), from the state at the time of the snapshot:
//!
//! ```
//! # use millpond_backend_api::canonical::CanonicalWriter;
//! # use millpond_backend_api::{BackendResult, Entry, KeyGroupRange, SnapshotHandle, SnapshotStreams, StateDescriptor};
//! # fn entries_of(_: usize, _: millpond_backend_api::KeyGroup) -> Vec<Entry<'static>> { Vec::new() }
//! fn write(streams: &SnapshotStreams, range: KeyGroupRange, states: &[StateDescriptor]) -> BackendResult<Vec<SnapshotHandle>> {
//!     let mut writer = CanonicalWriter::new(streams, range, states.to_vec());
//!     for group in range.iter() {
//!         for state in 0..states.len() {
//!             writer.begin(state, group)?;
//!             for entry in entries_of(state, group) {
//!                 writer.entry(&entry)?;
//!             }
//!             writer.end()?;
//!         }
//!     }
//!     writer.finish()
//! }
//! ```
//!
//! To restore, in [`open_keyed`](crate::StateBackend::open_keyed):
//!
//! ```
//! # use millpond_backend_api::canonical::{CanonicalReader, is_canonical};
//! # use millpond_backend_api::{BackendResult, Entry, KeyGroup, OpenKeyed, StateDescriptor};
//! # fn know(_: &StateDescriptor) -> BackendResult<()> { Ok(()) }
//! # fn put(_: &StateDescriptor, _: KeyGroup, _: &Entry<'_>) -> BackendResult<()> { Ok(()) }
//! fn restore(open: &OpenKeyed) -> BackendResult<()> {
//!     for handle in open.restore.iter().filter(|handle| is_canonical(handle)) {
//!         let mut reader = CanonicalReader::open(handle, open.key_groups, &open.files)?;
//!         // Those without entries too: they keep their codec.
//!         reader.states().iter().try_for_each(know)?;
//!         while let Some(section) = reader.next_section()? {
//!             for entry in section.entries() {
//!                 put(section.descriptor(), section.group(), &entry)?;
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The parts that formats are made of ([`bytes`], [`EntryShape`], [`seal`]) are there for formats of a backend's own, too.

pub mod bytes;
mod description;
mod entry;
mod reader;
mod sealed;
mod states;
#[cfg(test)]
#[cfg(feature = "contract")]
mod tests;
mod writer;

pub use entry::{EntryShape, put_entry};
pub use reader::{CanonicalReader, CanonicalSection, Entries};
pub use sealed::{read_sealed, seal};
pub use states::{put_states, read_states};
pub use writer::{CanonicalWriter, Totals};

use crate::error::{BackendError, BackendErrorKind};
use crate::snapshot::SnapshotHandle;

/// The format's name in handles.
pub const FORMAT: &str = "millpond-canonical/1";

/// What a file begins with.
const FILE_MAGIC: [u8; 8] = *b"mpcanon\x01";

/// The error of the backend that people know as `backend`, and that reads the canonical form and its own format `native`, about a `handle` that is neither.
#[must_use]
pub fn unknown_format(handle: &SnapshotHandle, backend: &str, native: &str) -> BackendError {
    let own = if native == FORMAT {
        String::new()
    } else {
        format!(" and {native:?}")
    };
    BackendError::new(
        BackendErrorKind::Incompatible,
        format!(
            "a snapshot of the format {:?} cannot be restored by the {backend} state backend, which reads {FORMAT:?}{own}; start the job with the state backend that wrote it, \
             and take a savepoint in canonical form there: every backend restores that",
            handle.format
        ),
    )
}

/// Whether `handle` is of the canonical form, whoever wrote it.
#[must_use]
pub fn is_canonical(handle: &SnapshotHandle) -> bool {
    handle.format.as_str() == FORMAT
}
