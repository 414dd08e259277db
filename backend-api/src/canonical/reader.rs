//! Reads canonical snapshots: section by section, each verified as a whole before anything of it is used.

use super::bytes::Bytes;
use super::description::{Description, Section};
use super::entry::EntryShape;
use super::{FILE_MAGIC, FORMAT, is_canonical};
use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::key_group::{KeyGroup, KeyGroupRange};
use crate::snapshot::{FileRef, SnapshotHandle};
use crate::state::{Entry, StateDescriptor};
use crate::streams::{RestoreFiles, RestoreStream};

/// What is read from the file at once; also the step in which a section's memory grows, so that a wrong length costs no memory.
const STEP_BYTES: usize = 1 << 20;

/// Reads what a canonical snapshot has in some key groups.
#[derive(Debug)]
pub struct CanonicalReader<'a> {
    description: Description,
    range: KeyGroupRange,
    files: &'a RestoreFiles,
    file: Option<&'a FileRef>,
    input: Option<Input<'a>>,
    /// The number of the next section in the description.
    next: usize,
    buffer: Vec<u8>,
}

/// Entries of one state in one key group, which were verified: checksum and number are right. A group's entries may come in several sections.
#[derive(Clone, Copy, Debug)]
pub struct CanonicalSection<'r> {
    descriptor: &'r StateDescriptor,
    section: Section,
    bytes: &'r [u8],
}

impl<'r> CanonicalSection<'r> {
    /// The index of the state among the reader's.
    #[must_use]
    pub fn state(&self) -> usize {
        self.section.state as usize
    }

    /// The state.
    #[must_use]
    pub fn descriptor(&self) -> &'r StateDescriptor {
        self.descriptor
    }

    /// The key group.
    #[must_use]
    pub fn group(&self) -> KeyGroup {
        self.section.group
    }

    /// How many entries there are; at least one.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.section.entries
    }

    /// The bytes of the entries, as [`EntryShape::encoded_bytes`] counts them.
    #[must_use]
    pub fn byte_count(&self) -> u64 {
        self.section.len
    }

    /// The entries, in the order in which they were written.
    #[must_use]
    pub fn entries(&self) -> Entries<'r> {
        Entries {
            shape: EntryShape::of(self.descriptor),
            bytes: Bytes::new(self.bytes),
        }
    }
}

/// The entries of a [section](CanonicalSection).
#[derive(Clone, Debug)]
pub struct Entries<'r> {
    shape: EntryShape,
    bytes: Bytes<'r>,
}

impl<'r> Iterator for Entries<'r> {
    type Item = Entry<'r>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'r>> {
        self.bytes.entry(self.shape)
    }
}

impl<'a> CanonicalReader<'a> {
    /// A reader of what `handle` has in the groups of `range`. Checks the description; opens the file when its first section is asked for.
    ///
    /// # Errors
    /// [`BackendErrorKind::Incompatible`] for another format, [`BackendErrorKind::Corrupted`] for damage.
    pub fn open(
        handle: &'a SnapshotHandle,
        range: KeyGroupRange,
        files: &'a RestoreFiles,
    ) -> BackendResult<Self> {
        if !is_canonical(handle) {
            return Err(BackendError::new(
                BackendErrorKind::Incompatible,
                format!(
                    "a snapshot of the format {:?} is not of the canonical form {FORMAT:?}",
                    handle.format
                ),
            ));
        }
        let description = Description::from_payload(handle.payload.as_slice())?;
        description.check(handle)?;
        Ok(Self {
            description,
            range,
            files,
            file: handle.files.first(),
            input: None,
            next: 0,
            buffer: Vec::new(),
        })
    }

    /// The states, also those without entries.
    #[must_use]
    pub fn states(&self) -> &[StateDescriptor] {
        &self.description.states
    }

    /// The next section, in the order of key groups and, in a group, of states; `None` behind the last.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`] for damage, with file, section, offset, what was expected and what was found; those of the storage.
    pub fn next_section(&mut self) -> BackendResult<Option<CanonicalSection<'_>>> {
        let rest = self.description.sections.get(self.next..).unwrap_or_default();
        let Some(skipped) = rest.iter().position(|section| self.range.contains(section.group)) else {
            self.next = self.description.sections.len();
            return Ok(None);
        };
        self.next += skipped + 1;
        let (Some(section), Some(file)) = (rest.get(skipped).copied(), self.file) else {
            return Ok(None);
        };
        let Some(descriptor) = self.description.states.get(section.state as usize) else {
            return Ok(None);
        };
        let input = match &mut self.input {
            Some(input) => input,
            None => self.input.insert(Input::open(self.files, file)?),
        };
        input.section(descriptor, &section, &mut self.buffer)?;
        Ok(Some(CanonicalSection {
            descriptor,
            section,
            bytes: &self.buffer,
        }))
    }
}

/// A file that is read from front to end.
#[derive(Debug)]
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
            let at = bytes.position();
            if bytes.entry(shape).is_none() {
                return damaged(
                    format!("{} entries", section.entries),
                    format!("{entries} entries and bytes that are none at byte {at}"),
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
