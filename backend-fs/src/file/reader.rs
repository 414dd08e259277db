//! An open file: its directory is read and right, its sections are verified block by block when they are touched.

use super::damage::{damaged_file, damaged_section, unreadable};
use super::directory::{Directory, Extent, SectionInfo};
use super::layout::{
    BLOCK_BYTES, CHECK_BYTES, HEADER_BYTES, HEADER_MAGIC, TRAILER_BYTES, Trailer, check_header, index_of,
};
use super::map::Region;
use super::section::Section;
use super::verify::GrowingSet;
use millpond_backend_api::canonical::bytes::Bytes;
use millpond_backend_api::{BackendError, BackendResult, KeyGroup, StateDescriptor};
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file on this machine, which is mapped; published, so that nobody writes it any more.
    File(PathBuf),
    /// Here.
    Bytes(Vec<u8>),
}

/// A file of the format [`FORMAT`](super::FORMAT), open for reading by any number of threads.
#[derive(Debug)]
pub struct SnapshotFile {
    name: String,
    region: Region,
    directory: Directory,
    directory_crc32: u32,
    /// The sections whose check tables were verified.
    tables: GrowingSet,
    /// The blocks that were verified.
    blocks: GrowingSet,
}

thread_local! {
    /// What is read to be verified.
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl SnapshotFile {
    /// Opens the file of `size` bytes that errors call `name`. Reads header, trailer and directory, and nothing of the sections.
    ///
    /// # Errors
    /// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted) when the length is another or one of these parts is damaged, with what was expected and found;
    /// [`Incompatible`](millpond_backend_api::BackendErrorKind::Incompatible) for a version that is not known;
    /// [`Io`](millpond_backend_api::BackendErrorKind::Io) when the file cannot be opened, mapped or read.
    pub fn open(source: Source, name: &str, size: u64) -> BackendResult<Arc<Self>> {
        let region = match source {
            Source::Bytes(bytes) => Region::Heap(bytes),
            Source::File(path) => Region::map(&path).map_err(|error| unreadable(name, 0, &error))?,
        };
        let found = region.bytes().len() as u64;
        if found != size || size < HEADER_BYTES + TRAILER_BYTES {
            let least = HEADER_BYTES + TRAILER_BYTES;
            return Err(damaged_file(
                name,
                "length",
                0,
                format_args!("{size} bytes, at least {least}"),
                format_args!("{found}"),
            ));
        }
        let read = |offset: u64, len: u64| {
            let mut bytes = vec![0; index_of(len)];
            region
                .read_at(offset, &mut bytes)
                .map(|()| bytes)
                .map_err(|error| cut_or_unreadable(name, offset, len, &error))
        };
        check_header(name, HEADER_MAGIC, &read(0, HEADER_BYTES)?)?;
        let trailer = Trailer::read(name, size, &read(size - TRAILER_BYTES, TRAILER_BYTES)?)?;
        // No longer than the file, as the trailer's reader has seen to.
        let bytes = read(trailer.directory_offset, trailer.directory_len)?;
        let crc32 = crc32fast::hash(&bytes);
        if crc32 != trailer.directory_crc32 {
            return Err(damaged_file(
                name,
                "directory",
                trailer.directory_offset,
                format_args!("CRC32 {:08x}", trailer.directory_crc32),
                format_args!("{crc32:08x}"),
            ));
        }
        let mut rest = Bytes::new(&bytes);
        let Some(directory) = Directory::read(&mut rest, trailer.directory_offset) else {
            return Err(damaged_file(
                name,
                "directory",
                trailer.directory_offset,
                "states, and sections that fill the file",
                format_args!(
                    "what does not belong there before byte {} of {}",
                    rest.position(),
                    bytes.len()
                ),
            ));
        };
        Ok(Arc::new(Self {
            name: name.to_owned(),
            region,
            tables: GrowingSet::new(directory.sections.len() as u64),
            blocks: GrowingSet::new(directory.blocks()),
            directory,
            directory_crc32: trailer.directory_crc32,
        }))
    }

    /// What errors call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.region.bytes().len() as u64
    }

    /// The CRC32 of the directory ([`FileFigures::directory_crc32`](super::FileFigures::directory_crc32)).
    #[must_use]
    pub fn directory_crc32(&self) -> u32 {
        self.directory_crc32
    }

    /// The states, those without sections too.
    #[must_use]
    pub fn states(&self) -> &[StateDescriptor] {
        &self.directory.states
    }

    /// The index of the state with the name `name` among [`SnapshotFile::states`].
    #[must_use]
    pub fn state(&self, name: &str) -> Option<u32> {
        let index = self.states().iter().position(|state| state.name == name)?;
        u32::try_from(index).ok()
    }

    /// The section of the state with the index `state` in `group`.
    #[must_use]
    pub fn section(&self, state: u32, group: KeyGroup) -> Option<Section<'_>> {
        self.section_at(self.section_number(state, group)?)
    }

    /// The number of the section of the state with the index `state` in `group`, for [`SnapshotFile::section_at`].
    #[must_use]
    pub fn section_number(&self, state: u32, group: KeyGroup) -> Option<usize> {
        self.directory.find(state, group)
    }

    /// Section `number`, in one step; the sections are numbered from 0 in the order of (key group, state).
    #[inline]
    #[must_use]
    pub fn section_at(&self, number: usize) -> Option<Section<'_>> {
        let (info, extent) = self.directory.sections.get(number)?;
        let state = self.directory.states.get(info.state as usize)?;
        let bytes = self.region.bytes().get(index_of(extent.offset)..)?;
        let area = bytes.get(..index_of(extent.area_len))?;
        Some(Section::new(self, number, state, info, extent, area))
    }

    /// All sections, in the order of (key group, state).
    pub fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        (0..self.directory.sections.len()).filter_map(|number| self.section_at(number))
    }

    /// Verifies every byte that was not verified yet.
    ///
    /// # Errors
    /// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted) for the first damage, with file, section, offset, expected and found CRC32;
    /// [`Io`](millpond_backend_api::BackendErrorKind::Io).
    pub fn verify_all(&self) -> BackendResult<()> {
        self.verify_some(&mut 0, u64::MAX).map(|_| ())
    }

    /// Verifies about `bytes_max` bytes, at least a block, of what was not verified yet; returns whether the end was reached. `cursor` is 0
    /// at first and belongs to this function. After an error it stands behind the damage.
    ///
    /// # Errors
    /// As [`SnapshotFile::verify_all`].
    pub fn verify_some(&self, cursor: &mut u64, bytes_max: u64) -> BackendResult<bool> {
        let sections = &self.directory.sections;
        let mut read = 0;
        while *cursor < self.directory.blocks() {
            if read >= bytes_max {
                return Ok(false);
            }
            let block = *cursor;
            *cursor += 1;
            if self.blocks.contains(block) {
                continue;
            }
            read += BLOCK_BYTES;
            // The last section that begins with this block or before it: those without blocks are passed over.
            let number = sections.partition_point(|(_, extent)| extent.first_block <= block);
            if let Some((info, extent)) = number.checked_sub(1).and_then(|number| sections.get(number)) {
                self.verify(number - 1, info, extent, block - extent.first_block)?;
            }
        }
        self.verify_empty_tables()?;
        Ok(true)
    }

    /// A table without blocks has no bytes; its checksum is that of none.
    fn verify_empty_tables(&self) -> BackendResult<()> {
        for (number, (info, extent)) in self.directory.sections.iter().enumerate() {
            if extent.blocks == 0 {
                self.verify_table(number, info, extent)?;
            }
        }
        Ok(())
    }

    /// Whether block `block` of a section was verified.
    #[inline]
    pub(super) fn is_verified(&self, extent: &Extent, block: u64) -> bool {
        self.blocks.contains(extent.first_block + block)
    }

    /// Has block `block` of a section read, if it was not verified yet. Only a hint.
    #[cold]
    pub(super) fn read_ahead(&self, extent: &Extent, block: u64) {
        let from = block * BLOCK_BYTES;
        let len = extent.area_len.saturating_sub(from).min(BLOCK_BYTES);
        self.region.read_ahead(extent.offset + from, len);
    }

    /// Verifies block `block` of section `number`.
    #[cold]
    pub(super) fn verify(
        &self,
        number: usize,
        info: &SectionInfo,
        extent: &Extent,
        block: u64,
    ) -> BackendResult<()> {
        self.verify_table(number, info, extent)?;
        let from = block * BLOCK_BYTES;
        let len = extent.area_len.saturating_sub(from).min(BLOCK_BYTES);
        let found = self.crc32_of(extent.offset + from, len)?;
        let check = index_of(extent.table_offset() + block * CHECK_BYTES);
        let check = self
            .region
            .bytes()
            .get(check..)
            .and_then(|rest| rest.first_chunk());
        let expected = u32::from_le_bytes(*check.unwrap_or(&[0; 4]));
        if found != expected {
            return Err(self.wrong_crc32(info, extent.offset + from, len, expected, found));
        }
        self.blocks.insert(extent.first_block + block);
        Ok(())
    }

    fn verify_table(&self, number: usize, info: &SectionInfo, extent: &Extent) -> BackendResult<()> {
        if self.tables.contains(number as u64) {
            return Ok(());
        }
        let found = self.crc32_of(extent.table_offset(), extent.table_len())?;
        if found != info.table_crc32 {
            return Err(self.wrong_crc32(
                info,
                extent.table_offset(),
                extent.table_len(),
                info.table_crc32,
                found,
            ));
        }
        self.tables.insert(number as u64);
        Ok(())
    }

    /// The checksum of what `len` bytes at `offset` are now; read, so that a failing medium is an error and not a signal.
    fn crc32_of(&self, offset: u64, len: u64) -> BackendResult<u32> {
        BLOCK.with_borrow_mut(|buffer| {
            buffer.resize(index_of(BLOCK_BYTES), 0);
            let mut hasher = crc32fast::Hasher::new();
            let mut done = 0;
            while done < len {
                let step = (len - done).min(BLOCK_BYTES);
                let piece = buffer.get_mut(..index_of(step)).unwrap_or_default();
                self.region
                    .read_at(offset + done, piece)
                    .map_err(|error| cut_or_unreadable(&self.name, offset + done, step, &error))?;
                hasher.update(piece);
                done += step;
            }
            Ok(hasher.finalize())
        })
    }

    fn wrong_crc32(
        &self,
        info: &SectionInfo,
        offset: u64,
        len: u64,
        expected: u32,
        found: u32,
    ) -> BackendError {
        self.damaged(
            info,
            offset,
            format_args!("CRC32 {expected:08x} of {len} bytes"),
            format_args!("{found:08x}"),
        )
    }

    /// Damage at `offset` of the file, in the section of `info`.
    pub(super) fn damaged(
        &self,
        info: &SectionInfo,
        offset: u64,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> BackendError {
        let state = self.directory.states.get(info.state as usize);
        let state = state.map_or("", |state| state.name.as_str());
        damaged_section(&self.name, state, info.group, offset, expected, found)
    }
}

/// A file that became shorter since it was opened is damaged; anything else is the storage's failure.
fn cut_or_unreadable(name: &str, offset: u64, len: u64, error: &io::Error) -> BackendError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        damaged_file(
            name,
            "length",
            offset,
            format_args!("{len} bytes"),
            "the end of the file",
        )
    } else {
        unreadable(name, offset, error)
    }
}
