//! Writes a file front to back, with memory for one section's index.

use super::blocks::Sink;
use super::damage::misuse;
use super::directory::{Extent, SectionInfo};
use super::entry::{FileEntry, write_entry};
use super::index::IndexBuilder;
use super::layout::{HEADER_BYTES, HEADER_MAGIC, OFFSET_MASK, TRAILER_BYTES, Trailer, header};
use super::output::Output;
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::canonical::bytes::put_varint;
use millpond_backend_api::canonical::put_states;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Entry, KeyGroup, StateDescriptor, StateKind,
};
use std::fmt;

/// The most entries for which memory is reserved because a caller said that they will come.
const RESERVE_MAX: u64 = 1 << 20;

/// What a state has in a key group as of a file, its older files included: cells that are there, and the bytes that they take in a full
/// snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupTotals {
    /// How many cells there are.
    pub cells: u64,
    /// The bytes of their entries ([`EntryShape::encoded_bytes`]).
    pub encoded_bytes: u64,
}

/// The hashes under which an entry is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    cell: u64,
    entry: u64,
}

impl Hashes {
    /// Those of an entry of a value or a list: [`cell_hash`](millpond_backend_memory::table::cell_hash) of key and namespace.
    #[inline]
    #[must_use]
    pub fn of_cell(hash: u64) -> Self {
        Self {
            cell: hash,
            entry: hash,
        }
    }

    /// Those of an entry of a map: [`cell_hash`](millpond_backend_memory::table::cell_hash) of the map's key and namespace, and
    /// [`map_entry_hash`](millpond_backend_memory::table::map_entry_hash) of that and the map key.
    #[inline]
    #[must_use]
    pub fn of_map_entry(map: u64, entry: u64) -> Self {
        Self { cell: map, entry }
    }

    /// For entries of sorted maps, which are not found by hash.
    #[inline]
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}

/// What a finished file comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFigures {
    /// Its length.
    pub bytes: u64,
    /// The CRC32 of its directory, which has the checksums of all else: two files of one length with the same are the same file.
    pub directory_crc32: u32,
    /// Its sections.
    pub sections: u64,
    /// Its entries, deleted ones too.
    pub entries: u64,
    /// Its deleted entries.
    pub deleted: u64,
}

/// The section that is being written.
struct OpenSection {
    info: SectionInfo,
    offset: u64,
    kind: StateKind,
    shape: EntryShape,
}

/// Writes a file of the format [`FORMAT`](super::FORMAT) to an [`Output`].
///
/// Sections come in the order of (key group, state); the entries of a section in any order for values and lists, those of one map side by
/// side for maps, in the order of (key, namespace, map key) for sorted maps. No cell may come twice in a section.
pub struct FileWriter<O> {
    sink: Sink<O>,
    states: Vec<StateDescriptor>,
    sections: Vec<SectionInfo>,
    open: Option<OpenSection>,
    index: IndexBuilder,
    heads: IndexBuilder,
    previous: Previous,
}

impl<O> fmt::Debug for FileWriter<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter")
            .field("states", &self.states.len())
            .field("sections", &self.sections.len())
            .finish_non_exhaustive()
    }
}

impl<O: Output> FileWriter<O> {
    /// Begins a file of `states` in `output`, whose names differ.
    ///
    /// # Errors
    /// Those of `output`; [`BackendErrorKind::Misuse`] for two states of one name or a width where there can be none.
    pub fn new(output: O, states: &[StateDescriptor]) -> BackendResult<Self> {
        for (number, state) in states.iter().enumerate() {
            if state.value_width > 0 && state.kind != StateKind::Value {
                return Err(misuse(format_args!(
                    "the {} state {:?} has a value width",
                    state.kind.name(),
                    state.name
                )));
            }
            if states.iter().take(number).any(|other| other.name == state.name) {
                return Err(misuse(format_args!("two states have the name {:?}", state.name)));
            }
        }
        let mut sink = Sink::new(output);
        sink.append(&header(HEADER_MAGIC))?;
        Ok(Self {
            sink,
            states: states.to_vec(),
            sections: Vec::new(),
            open: None,
            index: IndexBuilder::default(),
            heads: IndexBuilder::default(),
            previous: Previous::default(),
        })
    }

    /// Begins the section of the state with the index `state` in `group`; about `entries_hint` entries will follow.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`] when the section is out of order, or the last one was not ended.
    pub fn begin_section(&mut self, state: u32, group: KeyGroup, entries_hint: u64) -> BackendResult<()> {
        let last = self.sections.last();
        let in_order = last.is_none_or(|last| (last.group, last.state) < (group, state));
        let Some(descriptor) = self.states.get(state as usize).filter(|_| in_order) else {
            return Err(misuse(format_args!(
                "the section of state {state} in key group {group} does not come here"
            )));
        };
        if self.open.is_some() {
            return Err(misuse("a section begins in another"));
        }
        // Large sections grow their memory: the hint may be far off.
        let reserve = super::layout::index_of(entries_hint.min(RESERVE_MAX));
        let indexed = descriptor.kind != StateKind::SortedMap;
        self.index.begin(if indexed { reserve } else { 0 });
        self.heads.begin(0);
        self.previous.clear();
        self.open = Some(OpenSection {
            info: SectionInfo {
                state,
                group,
                entries_len: 0,
                entries: 0,
                deleted: 0,
                maps: 0,
                totals: GroupTotals::default(),
                table_crc32: 0,
            },
            offset: self.sink.position(),
            kind: descriptor.kind,
            shape: EntryShape::of(descriptor),
        });
        self.sink.begin_blocks();
        Ok(())
    }

    /// Writes a cell that is there.
    ///
    /// # Errors
    /// Those of the output; [`BackendErrorKind::Misuse`] outside of a section, for a value that has not the state's width, and in sorted maps
    /// for an entry that is not above the one before; [`BackendErrorKind::TooLarge`] for a section of 2^48 bytes.
    #[inline]
    pub fn entry(&mut self, hashes: Hashes, entry: &Entry<'_>) -> BackendResult<()> {
        let entry = FileEntry {
            deleted: false,
            entry: *entry,
        };
        self.put(hashes, &entry)
    }

    /// Writes that a cell was deleted, for older files to be overruled; the value of `entry` has no meaning.
    ///
    /// # Errors
    /// As [`FileWriter::entry`].
    pub fn deleted(&mut self, hashes: Hashes, entry: &Entry<'_>) -> BackendResult<()> {
        let entry = FileEntry {
            deleted: true,
            entry: Entry { value: &[], ..*entry },
        };
        self.put(hashes, &entry)
    }

    #[inline]
    fn put(&mut self, hashes: Hashes, entry: &FileEntry<'_>) -> BackendResult<()> {
        let Some(open) = &mut self.open else {
            return Err(misuse("an entry outside of a section"));
        };
        let offset = self.sink.position() - open.offset;
        if offset >= OFFSET_MASK - 1 {
            return Err(too_large(open));
        }
        let width = open.shape.width as usize;
        if width > 0 && !entry.deleted && entry.entry.value.len() != width {
            return Err(misuse(format_args!(
                "a value of {} bytes in a state whose values have {width}",
                entry.entry.value.len()
            )));
        }
        match open.kind {
            StateKind::Value | StateKind::List => self.index.push(hashes.entry, offset),
            StateKind::Map => {
                self.index.push(hashes.entry, offset);
                if self.previous.begins_map(hashes.cell, &entry.entry) {
                    self.heads.push(hashes.cell, offset);
                }
            }
            StateKind::SortedMap => {
                if !self.previous.is_below(&entry.entry) {
                    return Err(misuse("the entries of a sorted map are not in order"));
                }
            }
        }
        open.info.entries += 1;
        open.info.deleted += u64::from(entry.deleted);
        write_entry(&mut self.sink, open.shape, entry)
    }

    /// Ends the section; `totals` is what the state has in the group as of this file.
    ///
    /// # Errors
    /// Those of the output; [`BackendErrorKind::Misuse`] outside of a section, [`BackendErrorKind::TooLarge`] for a section of 2^48 bytes.
    pub fn end_section(&mut self, totals: GroupTotals) -> BackendResult<()> {
        let Some(mut open) = self.open.take() else {
            return Err(misuse("the end of a section that did not begin"));
        };
        open.info.entries_len = self.sink.position() - open.offset;
        if open.info.entries_len >= OFFSET_MASK {
            return Err(too_large(&open));
        }
        open.info.maps = self.heads.len();
        open.info.totals = totals;
        self.sink.append_words(self.index.build())?;
        self.sink.append_words(self.heads.build())?;
        let mut table = Vec::new();
        for check in self.sink.end_blocks() {
            table.extend_from_slice(&check.to_le_bytes());
        }
        open.info.table_crc32 = crc32fast::hash(&table);
        self.sink.append(&table)?;
        self.sections.push(open.info);
        Ok(())
    }

    /// Writes directory and trailer and gives the output back, with the figures of the file.
    ///
    /// # Errors
    /// Those of the output; [`BackendErrorKind::Misuse`] when a section was not ended.
    pub fn finish(mut self) -> BackendResult<(O, FileFigures)> {
        if self.open.is_some() {
            return Err(misuse("its last section was not ended"));
        }
        let mut directory = Vec::new();
        put_states(&mut directory, &self.states);
        put_varint(&mut directory, self.sections.len() as u64);
        for section in &self.sections {
            section.put(&mut directory);
        }
        let trailer = Trailer {
            directory_offset: self.sink.position(),
            directory_len: directory.len() as u64,
            directory_crc32: crc32fast::hash(&directory),
        };
        self.sink.append(&directory)?;
        self.sink.append(&trailer.to_bytes())?;
        let sum = |of: fn(&SectionInfo) -> u64| self.sections.iter().map(of).sum();
        let (entries, deleted) = (sum(|info| info.entries), sum(|info| info.deleted));
        let sections = self.sections.len() as u64;
        let (output, bytes) = self.sink.finish()?;
        let figures = FileFigures {
            bytes,
            directory_crc32: trailer.directory_crc32,
            sections,
            entries,
            deleted,
        };
        Ok((output, figures))
    }
}

/// A section of a file that is only to be written, without deleted entries and with totals that are just its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionSize {
    /// The state's index.
    pub state: u32,
    /// The key group.
    pub group: KeyGroup,
    /// How many cells there are.
    pub cells: u64,
    /// The bytes of their entries ([`EntryShape::encoded_bytes`]).
    pub encoded_bytes: u64,
    /// How many different (key, namespace) there are; of meaning for maps only.
    pub maps: u64,
}

/// The exact length of a file that has these states and sections; a section's `state` must be one of `states`. It saturates.
#[must_use]
pub fn file_bytes(states: &[StateDescriptor], sections: impl Iterator<Item = SectionSize>) -> u64 {
    let mut directory = Vec::new();
    put_states(&mut directory, states);
    let mut bytes = HEADER_BYTES + TRAILER_BYTES + directory.len() as u64;
    let mut count = 0;
    for size in sections {
        let kind = states
            .get(size.state as usize)
            .map_or(StateKind::Value, |state| state.kind);
        let info = SectionInfo {
            state: size.state,
            group: size.group,
            // One byte an entry says that it is there.
            entries_len: size.encoded_bytes.saturating_add(size.cells),
            entries: size.cells,
            deleted: 0,
            maps: if kind == StateKind::Map { size.maps } else { 0 },
            totals: GroupTotals {
                cells: size.cells,
                encoded_bytes: size.encoded_bytes,
            },
            table_crc32: 0,
        };
        directory.clear();
        info.put(&mut directory);
        let section = Extent::of(kind, &info, 0, 0).map_or(u64::MAX, |extent| extent.end());
        bytes = bytes
            .saturating_add(section)
            .saturating_add(directory.len() as u64);
        count += 1;
    }
    directory.clear();
    put_varint(&mut directory, count);
    bytes.saturating_add(directory.len() as u64)
}

#[cold]
fn too_large(open: &OpenSection) -> BackendError {
    BackendError::new(
        BackendErrorKind::TooLarge,
        format!(
            "a snapshot file: the section of state {} in key group {} has 2^48 bytes or more",
            open.info.state, open.info.group
        ),
    )
}

/// The entry before, as far as the next one is compared with it.
#[derive(Debug, Default)]
struct Previous {
    any: bool,
    cell: u64,
    key: Vec<u8>,
    namespace: Vec<u8>,
    map_key: Vec<u8>,
}

impl Previous {
    fn clear(&mut self) {
        self.any = false;
    }

    fn keep(&mut self, entry: &Entry<'_>) {
        self.any = true;
        set(&mut self.key, entry.key);
        set(&mut self.namespace, entry.namespace);
    }

    /// Whether `entry` is the first of its map, which has the hash `cell`; keeps it.
    #[inline]
    fn begins_map(&mut self, cell: u64, entry: &Entry<'_>) -> bool {
        let same =
            self.any && self.cell == cell && self.key == entry.key && self.namespace == entry.namespace;
        if !same {
            self.cell = cell;
            self.keep(entry);
        }
        !same
    }

    /// Whether `entry` comes after the one before; keeps it.
    #[inline]
    fn is_below(&mut self, entry: &Entry<'_>) -> bool {
        let kept = (&self.key[..], &self.namespace[..], &self.map_key[..]);
        if self.any && kept >= (entry.key, entry.namespace, entry.map_key) {
            return false;
        }
        self.keep(entry);
        set(&mut self.map_key, entry.map_key);
        true
    }
}

fn set(to: &mut Vec<u8>, bytes: &[u8]) {
    to.clear();
    to.extend_from_slice(bytes);
}
