//! The paged table: entries in pages, found by an index, shared with snapshots until they are written.
//!
//! One [`GroupTable`] holds the entries of one state in one key group. Entries lie in the pages of an arena; they do not move
//! when the table grows, so the address of a value is good for a whole batch. An open-addressing index leads from a hash to
//! the entry's [`Location`]; each group grows its own, so that there is never a pause for one giant rehash.
//!
//! A snapshot takes the list of pages and no more ([`GroupTable::freeze`]). From then on, the first write to a page that was
//! there replaces it by a copy; the original lives until the last snapshot that may read it is gone ([`SnapshotEra`]). Pages of fixed-width
//! entries that one snapshot shares are changed in place instead: the old bytes of each entry that is changed are kept, and the copy is made by
//! the thread that reads the snapshot, if at all (`undo`).

mod arena;
mod batch;
mod class;
mod entry;
mod fetch;
mod frozen;
mod group;
mod index;
mod page;
mod parts;
mod pool;
mod segments;
mod undo;
mod words;

pub use arena::ArenaFigures;
pub(crate) use batch::slot_has_value;
pub use batch::{FixedBatch, Missing, NoValue, SMALL_TABLE_BYTES, fixed_slots, hint_cells};
pub use entry::{EntryView, Layout};
pub use frozen::{EraOfOwner, FrozenPages, SnapshotEra};
pub use group::{GroupTable, Placed};
pub use page::{Location, PAGE_BYTES, pages_in_use_bytes};
pub use parts::{Parts, cell_hash, map_entry_hash};
pub use pool::{free_bytes_kept, release_free_bytes};
pub use segments::Segments;

/// The low 32 bits of `number`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub(crate) fn low32(number: u64) -> u32 {
    number as u32
}

/// `number` as an index; the crate is for 64-bit machines only.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the crate does not build where this would truncate"
)]
pub(crate) fn index_of(number: u64) -> usize {
    number as usize
}

/// A length that is known to be below 4 GiB as 32 bits; checked where the length enters ([`Parts::check`]).
#[inline]
pub(crate) fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
