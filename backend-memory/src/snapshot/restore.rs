//! Reads snapshots: section by section, each verified as a whole before anything of it is used.

use super::description::{Description, Section};
use super::format::{Bytes, FILE_MAGIC, FORMAT};
use crate::kinds::EntryShape;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Entry, FileRef, KeyGroupRange, RestoreFiles,
    RestoreStream, SnapshotHandle, StateDescriptor,
};

/// What is read from the file at once; also the step in which a section's memory grows, so that a wrong length costs no memory.
const STEP_BYTES: usize = 1 << 20;

/// A section that was read: its length, checksum and entries are right.
#[derive(Debug)]
pub struct RestoredSection<'a> {
    /// The state.
    pub descriptor: &'a StateDescriptor,
    /// The section.
    pub section: Section,
    bytes: &'a [u8],
}

impl<'a> RestoredSection<'a> {
    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        let shape = EntryShape::of(self.descriptor);
        let mut bytes = Bytes::new(self.bytes);
        std::iter::from_fn(move || bytes.entry(shape))
    }
}

/// Reads the sections of `handle` that lie in `range` and calls `each` with them, in the order of the file. Returns the states of the
/// handle, also those without sections.
///
/// # Errors
/// [`BackendErrorKind::Incompatible`] for a format that is not known, [`BackendErrorKind::Corrupted`] for damage, with file, section, offset, what
/// was expected and what was found; those of the storage and of `each`.
pub fn read_sections(
    handle: &SnapshotHandle,
    range: KeyGroupRange,
    files: &RestoreFiles,
    mut each: impl FnMut(RestoredSection<'_>) -> BackendResult<()>,
) -> BackendResult<Vec<StateDescriptor>> {
    if handle.format.as_str() != FORMAT {
        return Err(BackendError::new(
            BackendErrorKind::Incompatible,
            format!(
                "a snapshot of the format {:?} cannot be restored by the memory state backend, which reads {FORMAT:?}",
                handle.format
            ),
        ));
    }
    let description = Description::from_payload(handle.payload.as_slice())?;
    let wanted = |section: &&Section| range.contains(section.group);
    if !description.sections.iter().any(|section| wanted(&section)) {
        return Ok(description.states);
    }
    let Some(file) = handle.files.first() else {
        return Err(BackendError::new(
            BackendErrorKind::Corrupted,
            "the description of a snapshot has sections, but its handle has no file",
        ));
    };
    let mut input = Input::open(files, file)?;
    let mut buffer = Vec::new();
    for section in description.sections.iter().filter(wanted) {
        let Some(descriptor) = description.states.get(section.state as usize) else {
            continue;
        };
        input.section(descriptor, section, &mut buffer)?;
        each(RestoredSection {
            descriptor,
            section: *section,
            bytes: &buffer,
        })?;
    }
    Ok(description.states)
}

/// A file that is read from front to end.
struct Input<'a> {
    file: &'a FileRef,
    stream: RestoreStream,
    position: u64,
}

impl<'a> Input<'a> {
    fn open(files: &RestoreFiles, file: &'a FileRef) -> BackendResult<Self> {
        let mut input = Self {
            file,
            stream: files.open(file)?,
            position: 0,
        };
        let mut magic = Vec::new();
        input.read(FILE_MAGIC.len() as u64, &mut magic)?;
        if magic != FILE_MAGIC {
            return Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "snapshot file {}, offset 0: expected the mark {FILE_MAGIC:02x?} of the format {FORMAT}, found {magic:02x?}",
                    file.token
                ),
            ));
        }
        Ok(input)
    }

    /// Reads `len` bytes, or up to the file's end, into `buffer`, which is emptied before.
    fn read(&mut self, len: u64, buffer: &mut Vec<u8>) -> BackendResult<()> {
        buffer.clear();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        while buffer.len() < len {
            let from = buffer.len();
            buffer.resize(len.min(from + STEP_BYTES), 0);
            let read = self.stream.read(buffer.get_mut(from..).unwrap_or_default())?;
            // A stream that claims more than it was asked for is not believed.
            buffer.truncate(from + read.min(buffer.len() - from));
            if read == 0 {
                break;
            }
        }
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn skip_to(&mut self, offset: u64, buffer: &mut Vec<u8>) -> BackendResult<()> {
        while self.position < offset {
            let before = self.position;
            self.read((offset - before).min(STEP_BYTES as u64), buffer)?;
            if self.position == before {
                break;
            }
        }
        Ok(())
    }

    /// Reads a section into `buffer` and checks it.
    fn section(
        &mut self,
        state: &StateDescriptor,
        section: &Section,
        buffer: &mut Vec<u8>,
    ) -> BackendResult<()> {
        let damaged = |expected: String, found: String| {
            Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "snapshot file {}, section of state {:?} in key group {}, offset {}: expected {expected}, found {found}",
                    self.file.token, state.name, section.group, section.offset
                ),
            ))
        };
        let end = section.offset.saturating_add(section.len);
        if section.offset < self.position || end > self.file.size {
            return damaged(
                format!(
                    "a section of {} bytes between {} and the file's end at {}",
                    section.len, self.position, self.file.size
                ),
                format!("one that ends at {end}"),
            );
        }
        self.skip_to(section.offset, buffer)?;
        self.read(section.len, buffer)?;
        let damaged = |expected: String, found: String| {
            Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "snapshot file {}, section of state {:?} in key group {}, offset {}: expected {expected}, found {found}",
                    self.file.token, state.name, section.group, section.offset
                ),
            ))
        };
        if buffer.len() as u64 != section.len {
            return damaged(
                format!("{} bytes", section.len),
                format!("{} bytes and the end of the file", buffer.len()),
            );
        }
        let crc32 = crc32fast::hash(buffer);
        if crc32 != section.crc32 {
            return damaged(format!("CRC32 {:08x}", section.crc32), format!("{crc32:08x}"));
        }
        let mut bytes = Bytes::new(buffer);
        let shape = EntryShape::of(state);
        let mut entries = 0_u64;
        while !bytes.is_empty() {
            if bytes.entry(shape).is_none() {
                return damaged(
                    format!("{} entries", section.entries),
                    format!(
                        "{entries} entries and bytes that are none at byte {}",
                        bytes.position()
                    ),
                );
            }
            entries += 1;
        }
        if entries != section.entries {
            return damaged(format!("{} entries", section.entries), format!("{entries}"));
        }
        Ok(())
    }
}
