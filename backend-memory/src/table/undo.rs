//! Old entries, kept for a snapshot, so that its pages can be changed in place.
//!
//! Copying a page at its first write is dear where writes are spread: each one then costs a page. So while a single snapshot shares a page,
//! the owner keeps the old bytes of each *place* that it changes (an entry's, from its first byte to the end of its size class) in a log, and changes the
//! page itself. Who reads the snapshot comes to a page once:
//!
//! - If nothing on it was touched, the page is read where it lies; who wants to write to it from then on copies it ([`Keep::Copy`]).
//! - Otherwise the reader makes a page of its own: the bytes between the places that were kept, and the kept ones from the log. After that
//!   the page is the owner's alone ([`Keep::Free`]).
//!
//! Which of this has happened stands in one lock a page. The owner holds it while it keeps a place and *not* while it changes the place: slots are
//! written long after they were handed out. That is sound since the reader, who finds out under the same lock which places were kept, never
//! looks at those on the page, and the owner changes no other ones.
#![expect(
    unsafe_code,
    reason = "copies parts of a page while its owner changes other parts of it"
)]

use super::entry::{EPOCH, u32_at};
use super::fetch::{LINE, fetch_to_write};
use super::page::{Chunk, FrozenPage, PAGE_BYTES, PAGE_HEADER_BYTES, Page};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The smallest chunk of a log.
const CHUNK_BYTES_MIN: usize = 1 << 10;

/// What a record begins with: the number of the record before it (8 bytes), the place's offset in its page (4 bytes), its size (4 bytes).
const RECORD_HEAD: usize = 16;

/// What is kept of a group's pages for one snapshot. Shared by the owner of the pages and the snapshot.
pub(super) struct Undo {
    pages: Box<[Mutex<KeptPage>]>,
    /// The memory of the log. Whoever holds the lock of a page may wait for this one, not the other way round.
    chunks: Mutex<Vec<Arc<Chunk>>>,
}

/// Who may do what with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The owner may change what it has kept before.
    Owner,
    /// The page is read where it lies, and is not changed.
    Reader,
    /// The snapshot needs the page no more.
    Over,
}

/// What is known about a page of the snapshot.
struct KeptPage {
    /// The number of the newest record, 0 if there is none.
    newest: u64,
    /// How far the page was in use at the snapshot.
    used: u32,
    turn: Turn,
    /// The owner may have changed the page; also beyond `used`, where nothing is kept.
    touched: bool,
}

/// What the owner has to do before it changes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: what the snapshot needs of the place was kept by this call (`true`) or before, or it needs nothing.
    Kept(bool),
    /// Nothing, for any place of the page: the snapshot does not need the page any more.
    Free,
    /// To copy the page, and to leave the original as it is.
    Copy,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Undo {
    /// For `pages` as they are at a snapshot.
    pub(super) fn new(pages: &[Page]) -> Self {
        let pages = pages.iter().map(|page| {
            // A large entry has a page of its own: there are no others to be spared. Pages are not looked at, there may be very many.
            let turn = if page.used() as usize > PAGE_BYTES {
                Turn::Reader
            } else {
                Turn::Owner
            };
            Mutex::new(KeptPage {
                newest: 0,
                used: page.used(),
                turn,
                touched: false,
            })
        });
        Self {
            pages: pages.collect(),
            chunks: Mutex::default(),
        }
    }

    /// A copy of page `number`, which was `frozen`, as it was at the snapshot, or `None` if the page itself is that and stays it. To be called once a
    /// page.
    ///
    /// # Safety
    /// This is what is kept of the group that `frozen` belongs to, under that number, and the snapshot's `FrozenPages` is alive.
    pub(super) unsafe fn copy(&self, number: usize, frozen: FrozenPage) -> Option<Page> {
        let page = self.pages.get(number)?;
        let seen = {
            let mut page = lock(page);
            if !page.touched {
                page.turn = Turn::Reader;
                return None;
            }
            page.newest
        };
        // Most of the work is done before the owner is kept from the page.
        let mut copy = Page::with_bytes(frozen.used() as usize);
        let mut older = Vec::new();
        self.collect(seen, 0, &mut older);
        let mut records = Vec::new();
        let mut page = lock(page);
        self.collect(page.newest, seen, &mut records);
        records.append(&mut older);
        // A place may have been kept twice: first the newer bytes, and then the ones that count. The sort is stable.
        records.sort_by_key(|record| record.offset);
        let mut at = PAGE_HEADER_BYTES;
        for record in &records {
            // SAFETY: these bytes were in use at the snapshot and lie in no place that was kept, so the owner has not written to them, and will not
            // while it waits for the lock; whatever it wrote before the snapshot has happened before.
            unsafe { frozen.copy_to(&mut copy, at, record.offset) };
            at = at.max(record.offset + record.size);
        }
        // SAFETY: as above.
        unsafe { frozen.copy_to(&mut copy, at, frozen.used() as usize) };
        page.turn = Turn::Over;
        drop(page);
        let chunks = lock(&self.chunks);
        for record in &records {
            let Some(chunk) = chunks.get(record.chunk) else {
                continue;
            };
            // SAFETY: the bytes of a record are written once, before its number is made known under the page's lock.
            let bytes = unsafe { chunk.read(record.at, record.size) };
            if let Some(place) = copy.write_at(record.offset).get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        Some(copy)
    }

    /// Adds the records from `newest` on to those that are older, as far as the one with the number `end`, which is left out.
    fn collect(&self, newest: u64, end: u64, records: &mut Vec<Record>) {
        let chunks = lock(&self.chunks);
        let mut number = newest;
        while number != end && number != 0 {
            let (chunk, at) = place_of(number);
            let Some(written) = chunks.get(chunk) else { return };
            // SAFETY: the bytes of a record are written once, before its number is made known under the page's lock.
            let head = unsafe { written.read(at, RECORD_HEAD) };
            if head.is_empty() {
                return;
            }
            records.push(Record {
                chunk,
                at: at + RECORD_HEAD,
                offset: u32_at(head, 8) as usize,
                size: u32_at(head, 12) as usize,
            });
            number = u64::from(u32_at(head, 0)) | u64::from(u32_at(head, 4)) << 32;
        }
    }

    /// Nothing of the snapshot is read any more.
    pub(super) fn finish(&self) {
        for page in &self.pages {
            lock(page).turn = Turn::Over;
        }
        lock(&self.chunks).clear();
    }
}

/// A record of the log.
struct Record {
    chunk: usize,
    /// Where the bytes of the place begin in the chunk.
    at: usize,
    /// Where the place begins in its page.
    offset: usize,
    size: usize,
}

/// Records are numbered by where they begin: the index of the chunk, and the offset in the first [`PAGE_BYTES`] of it. None begins at 0.
fn place_of(number: u64) -> (usize, usize) {
    let number = super::index_of(number);
    (number / PAGE_BYTES, number % PAGE_BYTES)
}

/// The owner's end of an [`Undo`].
pub(super) struct Keeper {
    undo: Arc<Undo>,
    log: Log,
}

impl Keeper {
    /// The owner's end of `undo`, for pages of `bytes` in all.
    pub(super) fn new(undo: Arc<Undo>, bytes: usize) -> Self {
        let log = Log {
            chunk: None,
            at: 0,
            chunk_bytes: (bytes / 4).next_power_of_two().clamp(CHUNK_BYTES_MIN, PAGE_BYTES),
        };
        Self { undo, log }
    }

    /// Fetches what [`keep`](Self::keep) will look at for a place on page `number`.
    #[inline]
    pub(super) fn fetch(&self, number: usize) {
        fetch_to_write(self.undo.pages.as_ptr().wrapping_add(number));
    }

    /// Keeps the place of `size` bytes at `offset` of page `number`, if the snapshot needs it and does not have it yet: a place that is kept
    /// gets `epoch`, the current one, when it is changed.
    pub(super) fn keep(
        &mut self,
        number: usize,
        page: &Page,
        offset: usize,
        size: usize,
        epoch: u32,
    ) -> Keep {
        let Some(kept) = self.undo.pages.get(number) else {
            return Keep::Copy;
        };
        let mut kept = lock(kept);
        match kept.turn {
            Turn::Over => return Keep::Free,
            Turn::Reader => return Keep::Copy,
            Turn::Owner => {}
        }
        kept.touched = true;
        let mut is_new = false;
        if offset < kept.used as usize
            && let Some(place) = page.read_at(offset).get(..size)
            && u32_at(place, EPOCH) != epoch
        {
            kept.newest = self
                .log
                .append(&self.undo.chunks, kept.newest, super::len32(offset), place);
            is_new = true;
        }
        Keep::Kept(is_new)
    }
}

/// The end of the log, where records are added.
struct Log {
    /// The chunk that is being filled, with its index.
    chunk: Option<(usize, Arc<Chunk>)>,
    /// How far it is filled.
    at: usize,
    chunk_bytes: usize,
}

impl Log {
    /// Adds a record and returns its number.
    fn append(&mut self, chunks: &Mutex<Vec<Arc<Chunk>>>, previous: u64, offset: u32, place: &[u8]) -> u64 {
        let size = RECORD_HEAD + place.len();
        let has_room = |chunk: &Chunk| self.at < PAGE_BYTES && self.at + size <= chunk.len();
        if !self.chunk.as_ref().is_some_and(|(_, chunk)| has_room(chunk)) {
            let bytes = self.chunk_bytes.max(PAGE_HEADER_BYTES + size);
            let chunk = Arc::new(Chunk::new(bytes));
            let mut chunks = lock(chunks);
            chunks.push(Arc::clone(&chunk));
            self.chunk = Some((chunks.len() - 1, chunk));
            self.at = PAGE_HEADER_BYTES;
        }
        let Some((index, chunk)) = &self.chunk else {
            return previous;
        };
        let at = self.at;
        let head = u128::from(previous) | u128::from(offset) << 64 | (place.len() as u128) << 96;
        // SAFETY: only the owner of the log writes to its chunks, each byte once and before anybody is told of it.
        unsafe { chunk.write(at, &head.to_le_bytes()) };
        // SAFETY: as above.
        unsafe { chunk.write(at + RECORD_HEAD, place) };
        // The next record of this log comes after those of many others. Giving the lock back waits for what was written, so it should be in the cache.
        for line in (at + size..at + 2 * size + LINE).step_by(LINE) {
            chunk.fetch(line);
        }
        self.at = at + size;
        (index * PAGE_BYTES + at) as u64
    }
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Undo({})", self.pages.len())
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.undo.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use crate::table::{EraOfOwner, FrozenPages, GroupTable, Layout, Parts, SnapshotEra, cell_hash};
    use std::collections::BTreeMap;

    const LAYOUT: Layout = Layout::Fixed(8);

    fn put(table: &mut GroupTable, key: u64, value: u64) {
        let key = key.to_le_bytes();
        let parts = Parts {
            hash: cell_hash(millpond_backend_api::key_hash(&key), &[]),
            key: &key,
            namespace: &[],
            map_key: &[],
            head: false,
        };
        match table.find(LAYOUT, &parts) {
            Some(placed) => table.set_value(LAYOUT, placed, &parts, 0, &value.to_le_bytes()),
            None => table.insert_value(LAYOUT, &parts, &value.to_le_bytes(), false),
        };
    }

    fn content(frozen: &FrozenPages) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let cells = frozen.cells(LAYOUT);
        cells
            .map(|cell| (cell.key().to_vec(), cell.value().to_vec()))
            .collect()
    }

    #[test]
    fn a_page_that_was_read_stays_as_it_was_whether_entries_were_changed_or_added_or_none() {
        for (changed, added) in [(0, 0), (3, 0), (0, 1), (3, 1)] {
            let mut table = GroupTable::new(0);
            (0..100).for_each(|key| put(&mut table, key, 1));
            let era = SnapshotEra::begin(&mut EraOfOwner::default());
            let frozen = table.freeze(&era, true);
            let keys: u64 = 100;
            (0..changed).for_each(|key| put(&mut table, key, 2));
            (0..added).for_each(|key| put(&mut table, keys + key, 2));
            let before = content(&frozen);
            assert_eq!(before.len(), 100);
            assert!(before.values().all(|value| *value == 1_u64.to_le_bytes()));
            // Where nothing was touched the table's own page was read.
            (0..150).for_each(|key| put(&mut table, key, 3));
            assert!(content(&frozen) == before, "{changed} changed, {added} added");
            assert!(
                table
                    .cells(LAYOUT)
                    .all(|cell| cell.value() == 3_u64.to_le_bytes())
            );
            let figures = table.figures();
            assert_eq!(figures.entries_kept, changed);
            // The first page has what is changed, the last one of four what is added: such a page is never copied by the owner, since slots of
            // it may be out.
            assert_eq!(figures.pages_copied, 4 - changed / 3 - added);
        }
    }
}
