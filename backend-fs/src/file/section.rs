//! The section of one state in one key group: its entries found, walked and verified in place.

use super::directory::{Extent, SectionInfo};
use super::entry::{FileEntry, LENGTHS_BYTES_MAX, Lengths};
use super::index::{Word, read_word};
use super::layout::{BLOCK_BYTES, WORD_BYTES, index_of};
use super::map::prefetch;
use super::reader::SnapshotFile;
use super::writer::GroupTotals;
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{BackendResult, Entry, KeyGroup, StateDescriptor};

/// What a section says about a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing: an older file may know it.
    Absent,
    /// It was deleted, whatever older files say.
    Deleted,
    /// It has this value.
    Value(&'a [u8]),
}

/// The entries of one state in one key group. What it gives out was verified.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    file: &'a SnapshotFile,
    number: usize,
    state: &'a StateDescriptor,
    info: &'a SectionInfo,
    extent: &'a Extent,
    /// Entries, index, index of maps.
    area: &'a [u8],
}

/// One of the two indexes of a section.
#[derive(Clone, Copy)]
struct IndexPart {
    /// Where it begins in the section.
    offset: u64,
    /// How many words it has.
    words: u64,
}

impl<'a> Section<'a> {
    #[inline]
    pub(super) fn new(
        file: &'a SnapshotFile,
        number: usize,
        state: &'a StateDescriptor,
        info: &'a SectionInfo,
        extent: &'a Extent,
        area: &'a [u8],
    ) -> Self {
        Self {
            file,
            number,
            state,
            info,
            extent,
            area,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &'a StateDescriptor {
        self.state
    }

    /// The index of the state among the file's.
    #[must_use]
    pub fn state_index(&self) -> u32 {
        self.info.state
    }

    /// The key group.
    #[must_use]
    pub fn group(&self) -> KeyGroup {
        self.info.group
    }

    /// What the state has in the group as of this file, older files included.
    #[must_use]
    pub fn totals(&self) -> GroupTotals {
        self.info.totals
    }

    /// How many entries the section has, deleted ones too.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.info.entries
    }

    /// How many of the entries are deleted ones.
    #[must_use]
    pub fn deleted(&self) -> u64 {
        self.info.deleted
    }

    /// How many maps have entries here; 0 for states of another kind.
    #[must_use]
    pub fn maps(&self) -> u64 {
        self.info.maps
    }

    /// The bytes of the entries.
    #[must_use]
    pub fn entries_bytes(&self) -> u64 {
        self.info.entries_len
    }

    /// What the section says about a cell. `hash` is the [entry's](super::Hashes). Takes the same time however large the section is,
    /// except for sorted maps, which have no index and are walked.
    ///
    /// # Errors
    /// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted) and [`Io`](millpond_backend_api::BackendErrorKind::Io) for the blocks that are touched for the first time.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8], namespace: &[u8], map_key: &[u8]) -> BackendResult<Found<'a>> {
        if self.extent.words == 0 {
            return self.find_by_walking(key, namespace, map_key);
        }
        let is_meant =
            |entry: &Entry<'_>| entry.key == key && entry.map_key == map_key && entry.namespace == namespace;
        let found = self.probe(self.index(), hash, is_meant)?;
        Ok(found.map_or(Found::Absent, |(_, entry)| found_of(&entry)))
    }

    fn find_by_walking(&self, key: &[u8], namespace: &[u8], map_key: &[u8]) -> BackendResult<Found<'a>> {
        let mut found = Found::Absent;
        let mut offset = 0;
        while offset < self.info.entries_len {
            let (entry, end) = self.entry_at(offset)?;
            let Entry {
                key: k,
                namespace: n,
                map_key: m,
                ..
            } = entry.entry;
            if (k, n, m) == (key, namespace, map_key) {
                found = found_of(&entry);
                break;
            }
            offset = end;
        }
        Ok(found)
    }

    /// Calls `each` with all entries in the order of the file.
    ///
    /// # Errors
    /// As [`Section::find`], and when the entries are not as many as the directory says; those of `each`.
    pub fn for_each(&self, mut each: impl FnMut(FileEntry<'a>) -> BackendResult<()>) -> BackendResult<()> {
        let (mut offset, mut entries, mut deleted) = (0, 0, 0);
        while offset < self.info.entries_len {
            let (entry, end) = self.entry_at(offset)?;
            entries += 1;
            deleted += u64::from(entry.deleted);
            each(entry)?;
            offset = end;
        }
        if (entries, deleted) != (self.info.entries, self.info.deleted) {
            return Err(self.damaged(
                0,
                format_args!(
                    "{} entries, {} of them deleted",
                    self.info.entries, self.info.deleted
                ),
                format_args!("{entries} and {deleted}"),
            ));
        }
        Ok(())
    }

    /// Calls `each` with the entries of the map at (`key`, `namespace`), in the order of the file; none if the section has none.
    /// `map_hash` is [`cell_hash`](millpond_backend_memory::table::cell_hash) of both. Sorted maps are walked.
    ///
    /// # Errors
    /// As [`Section::find`]; those of `each`.
    pub fn map_run(
        &self,
        map_hash: u64,
        key: &[u8],
        namespace: &[u8],
        mut each: impl FnMut(FileEntry<'a>) -> BackendResult<()>,
    ) -> BackendResult<()> {
        let is_meant = |entry: &Entry<'_>| entry.key == key && entry.namespace == namespace;
        let mut offset = 0;
        if self.extent.head_words > 0 {
            match self.probe(self.heads(), map_hash, is_meant)? {
                Some((at, _)) => offset = at,
                None => return Ok(()),
            }
        }
        let mut begun = false;
        while offset < self.info.entries_len {
            let (entry, end) = self.entry_at(offset)?;
            if is_meant(&entry.entry) {
                begun = true;
                each(entry)?;
            } else if begun {
                break;
            }
            offset = end;
        }
        Ok(())
    }

    /// Brings the word of the index closer where the search for `hash` begins, from the disk if need be. To be called for a batch of cells, then
    /// [`Section::prefetch_entry`] for the same, before they are looked up.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if self.extent.words > 0 {
            self.bring(self.word_offset(self.index(), hash));
        }
    }

    /// Brings the entry closer at which the search for `hash` begins.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let offset = self.word_offset(self.index(), hash);
        // What is damaged is reported by the look-up.
        if self.extent.words == 0 || self.check(offset, offset + WORD_BYTES).is_err() {
            return;
        }
        // The second word is likely in the cache line of the first.
        if let Word::Offset(offset) = read_word(self.word_at(offset), hash) {
            self.bring(offset);
        }
    }

    /// Brings the byte at `offset` of the section into the cache, or its block into memory.
    #[inline]
    fn bring(&self, offset: u64) {
        let block = offset / BLOCK_BYTES;
        if self.file.is_verified(self.extent, block) {
            prefetch(self.area, index_of(offset));
        } else {
            self.file.read_ahead(self.extent, block);
        }
    }

    #[inline]
    fn index(&self) -> IndexPart {
        IndexPart {
            offset: self.info.entries_len,
            words: self.extent.words,
        }
    }

    #[inline]
    fn heads(&self) -> IndexPart {
        IndexPart {
            offset: self.info.entries_len + self.extent.words * WORD_BYTES,
            words: self.extent.head_words,
        }
    }

    /// Where the word of `number`, modulo the words, lies in the section.
    #[inline]
    fn word_offset(&self, index: IndexPart, number: u64) -> u64 {
        index.offset + (number & index.words.saturating_sub(1)) * WORD_BYTES
    }

    #[inline]
    fn word_at(&self, offset: u64) -> u64 {
        let rest = self.area.get(index_of(offset)..).unwrap_or_default();
        u64::from_le_bytes(*rest.first_chunk().unwrap_or(&[0; 8]))
    }

    /// The first entry under `hash` that `is_meant`, with its offset in the section.
    #[inline]
    fn probe(
        &self,
        index: IndexPart,
        hash: u64,
        is_meant: impl Fn(&Entry<'_>) -> bool,
    ) -> BackendResult<Option<(u64, FileEntry<'a>)>> {
        for step in 0..index.words {
            let at = self.word_offset(index, hash.wrapping_add(step));
            // A word may lie across the border of two blocks.
            self.check(at, at + WORD_BYTES)?;
            match read_word(self.word_at(at), hash) {
                Word::Empty => return Ok(None),
                Word::Other => {}
                Word::Offset(offset) if offset < self.info.entries_len => {
                    let (entry, _) = self.entry_at(offset)?;
                    if is_meant(&entry.entry) {
                        return Ok(Some((offset, entry)));
                    }
                }
                Word::Offset(_) | Word::Nonsense => {
                    return Err(self.damaged(
                        at,
                        format_args!("an offset below {} in the index", self.info.entries_len),
                        format_args!("the word {:016x}", self.word_at(at)),
                    ));
                }
            }
        }
        Err(self.damaged(index.offset, "an index with empty words", "none"))
    }

    /// The entry at `offset`, which is below the entries' length, and where it ends.
    #[inline]
    fn entry_at(&self, offset: u64) -> BackendResult<(FileEntry<'a>, u64)> {
        let end = self.info.entries_len;
        self.check(offset, end.min(offset + LENGTHS_BYTES_MAX))?;
        let bytes = self.area.get(index_of(offset)..index_of(end)).unwrap_or_default();
        let lengths = Lengths::read(bytes, EntryShape::of(self.state));
        if let Some(lengths) = lengths
            && lengths.total() <= bytes.len()
        {
            let end = offset + lengths.total() as u64;
            self.check(offset, end)?;
            if let Some(entry) = lengths.entry(bytes) {
                return Ok((entry, end));
            }
        }
        Err(self.damaged(
            offset,
            format_args!("an entry of at most {} bytes", bytes.len()),
            format_args!("{lengths:?}"),
        ))
    }

    /// Verifies what is not verified yet of the blocks that `from .. to` lies in.
    #[inline]
    fn check(&self, from: u64, to: u64) -> BackendResult<()> {
        let mut block = from / BLOCK_BYTES;
        while block * BLOCK_BYTES < to {
            if !self.file.is_verified(self.extent, block) {
                self.file.verify(self.number, self.info, self.extent, block)?;
            }
            block += 1;
        }
        Ok(())
    }

    /// Damage at `offset` of the section.
    #[cold]
    fn damaged(
        &self,
        offset: u64,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> millpond_backend_api::BackendError {
        self.file
            .damaged(self.info, self.extent.offset + offset, expected, found)
    }
}

#[inline]
fn found_of<'a>(entry: &FileEntry<'a>) -> Found<'a> {
    if entry.deleted {
        Found::Deleted
    } else {
        Found::Value(entry.entry.value)
    }
}
