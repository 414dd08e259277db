//! Writes entries, group by group, with a buffer that does not grow with the state.

use super::description::{Description, Section};
use super::entry::{EntryShape, put_entry};
use super::{FILE_MAGIC, FORMAT};
use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::key_group::{KeyGroup, KeyGroupRange};
use crate::snapshot::SnapshotHandle;
use crate::state::{Entry, StateDescriptor};
use crate::streams::{SnapshotStream, SnapshotStreams, StreamHint};

/// The bytes that are collected before they go to the stream. An entry that is larger goes by itself.
const BUFFER_BYTES: usize = 256 << 10;

/// A section ends with the entry that makes it this long: a reader has one section in memory.
const SECTION_BYTES: u64 = 32 << 20;

/// Writes a canonical snapshot of one subtask. Asks from time to time whether the snapshot is still wanted.
#[derive(Debug)]
pub struct CanonicalWriter<'s> {
    streams: &'s SnapshotStreams,
    key_groups: KeyGroupRange,
    states: Vec<StateDescriptor>,
    sizes: Sizes,
    section_bytes: u64,
    file: Option<SnapshotStream>,
    /// What was not given to the file yet.
    buffer: Vec<u8>,
    /// How many bytes were given to the file.
    written: u64,
    sections: Vec<Section>,
    crc32: crc32fast::Hasher,
    open: Option<Open>,
}

/// What is known of the bytes to come, by state.
#[derive(Debug)]
enum Sizes {
    Unknown,
    Roughly(Vec<u64>),
    Exactly(Vec<u64>),
}

/// The state and group whose entries are coming.
#[derive(Debug)]
struct Open {
    state: u32,
    group: KeyGroup,
    shape: EntryShape,
    /// What there was before the section that is being written.
    before: Totals,
    /// The section that is being written: where it begins, and how many entries it has. None before its first entry.
    section: Option<(u64, u64)>,
}

/// What the entries of a state in a key group come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are.
    pub entries: u64,
    /// Their bytes, as [`EntryShape::encoded_bytes`] counts them.
    pub bytes: u64,
}

impl<'s> CanonicalWriter<'s> {
    /// A writer of `states`, also of those without entries, in the groups of `key_groups`. Opens a file in `streams` when the first entry comes.
    #[must_use]
    pub fn new(
        streams: &'s SnapshotStreams,
        key_groups: KeyGroupRange,
        states: Vec<StateDescriptor>,
    ) -> Self {
        Self {
            streams,
            key_groups,
            states,
            sizes: Sizes::Unknown,
            section_bytes: SECTION_BYTES,
            file: None,
            buffer: Vec::new(),
            written: 0,
            sections: Vec::new(),
            crc32: crc32fast::Hasher::new(),
            open: None,
        }
    }

    /// Tells the bytes of each state's entries, as [`EntryShape::encoded_bytes`] counts them, so that a storage that takes only so many refuses before anything
    /// is written, and names the largest state. They must be exact.
    #[must_use]
    pub fn with_exact_sizes(mut self, bytes: Vec<u64>) -> Self {
        self.sizes = Sizes::Exactly(bytes);
        self
    }

    /// Tells about how large each state is, in any unit, so that errors about size name the largest.
    #[must_use]
    pub fn with_rough_sizes(mut self, bytes: Vec<u64>) -> Self {
        self.sizes = Sizes::Roughly(bytes);
        self
    }

    /// Lets sections end with the entry that makes them `bytes` long, instead of 32 MiB, which is right for everything but tests of readers. They end a little
    /// later where entries are small, since entries go to the file in blocks.
    #[must_use]
    pub fn with_sections_of(mut self, bytes: u64) -> Self {
        self.section_bytes = bytes;
        self
    }

    /// Begins the entries of the state with the index `state` in `group`. Groups come in order, and states within a group; those without entries may be
    /// left out.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`] out of this order, for another subtask's group, and for a state that there is not;
    /// [`BackendErrorKind::Cancelled`].
    pub fn begin(&mut self, state: usize, group: KeyGroup) -> BackendResult<()> {
        self.streams.check_cancelled()?;
        let number = u32::try_from(state).unwrap_or(u32::MAX);
        let last = self.sections.last();
        let in_order = last.is_none_or(|last| (last.group, last.state) < (group, number));
        match self.states.get(state) {
            Some(descriptor) if in_order && self.open.is_none() && self.key_groups.contains(group) => {
                self.open = Some(Open {
                    state: number,
                    group,
                    shape: EntryShape::of(descriptor),
                    before: Totals::default(),
                    section: None,
                });
                Ok(())
            }
            _ => Err(misuse(format!(
                "a canonical snapshot of the key groups {} and {} states cannot go on with state {state} in group {group}, after {:?}",
                self.key_groups,
                self.states.len(),
                last.map(|last| (last.group, last.state))
            ))),
        }
    }

    /// Writes an entry of the state and group that were begun. The order of entries does not matter, but none may come twice.
    ///
    /// # Errors
    /// Those of the stream, [`BackendErrorKind::Cancelled`], and [`BackendErrorKind::Misuse`] where nothing was begun or the value has another width than the
    /// state's.
    #[inline]
    pub fn entry(&mut self, entry: &Entry<'_>) -> BackendResult<()> {
        let Some(open) = &mut self.open else {
            return Err(misuse(
                "an entry of a canonical snapshot came before its state and group".to_owned(),
            ));
        };
        let shape = open.shape;
        if shape.width > 0 && entry.value.len() as u64 != u64::from(shape.width) {
            return Err(other_width(shape, entry));
        }
        match &mut open.section {
            Some((_, entries)) => *entries += 1,
            None => self.begin_section()?,
        }
        put_entry(&mut self.buffer, shape, entry);
        if self.buffer.len() >= BUFFER_BYTES.min(usize::try_from(self.section_bytes).unwrap_or(usize::MAX)) {
            self.flush_and_cut()?;
        }
        Ok(())
    }

    /// Ends the entries of the state and group that were begun, and tells what they came to.
    ///
    /// # Errors
    /// Those of the stream, and [`BackendErrorKind::Misuse`] where nothing was begun.
    pub fn end(&mut self) -> BackendResult<Totals> {
        self.end_section()?;
        match self.open.take() {
            Some(open) => Ok(open.before),
            None => Err(misuse(
                "a canonical snapshot has no state and group to be ended".to_owned(),
            )),
        }
    }

    /// Makes the file durable, and gives the handle; none where there is no state.
    ///
    /// # Errors
    /// Those of the stream, [`BackendErrorKind::Cancelled`], and [`BackendErrorKind::Misuse`] before the last state and group were ended.
    pub fn finish(self) -> BackendResult<Vec<SnapshotHandle>> {
        self.streams.check_cancelled()?;
        if self.open.is_some() {
            return Err(misuse(
                "a canonical snapshot cannot be finished within a group".to_owned(),
            ));
        }
        if self.states.is_empty() {
            return Ok(Vec::new());
        }
        let file = self.file.map(SnapshotStream::finish).transpose()?;
        let bytes = file.as_ref().map_or(0, |file| file.size);
        let description = Description {
            states: self.states,
            sections: self.sections,
        };
        Ok(vec![SnapshotHandle {
            key_groups: self.key_groups,
            format: FORMAT.into(),
            files: file.into_iter().collect(),
            payload: description.to_payload().into(),
            state_bytes: bytes,
            new_bytes: bytes,
        }])
    }

    fn hint(&self) -> StreamHint {
        let (sizes, expected) = match &self.sizes {
            Sizes::Unknown => (&[][..], None),
            Sizes::Roughly(sizes) => (sizes.as_slice(), None),
            Sizes::Exactly(sizes) => (
                sizes.as_slice(),
                Some(FILE_MAGIC.len() as u64 + sizes.iter().sum::<u64>()),
            ),
        };
        let largest = self.states.iter().zip(sizes).max_by_key(|(_, bytes)| **bytes);
        let largest = largest.map(|(state, _)| state).or(self.states.first());
        StreamHint {
            state: largest.map(|state| state.name.clone()).unwrap_or_default(),
            expected_bytes: expected.into(),
            shared: false,
        }
    }

    /// Begins a section, with its first entry.
    #[cold]
    fn begin_section(&mut self) -> BackendResult<()> {
        if self.file.is_none() {
            self.file = Some(self.streams.open(self.hint())?);
            self.buffer.reserve(BUFFER_BYTES);
            self.buffer.extend_from_slice(&FILE_MAGIC);
            self.flush()?;
        }
        self.crc32.reset();
        if let Some(open) = &mut self.open {
            open.section = Some((self.written, 1));
        }
        Ok(())
    }

    /// Ends the section that is being written, if there is one.
    fn end_section(&mut self) -> BackendResult<()> {
        self.flush()?;
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if let Some((offset, entries)) = open.section.take() {
            let len = self.written - offset;
            open.before.entries += entries;
            open.before.bytes += len;
            self.sections.push(Section {
                state: open.state,
                group: open.group,
                offset,
                len,
                entries,
                crc32: self.crc32.clone().finalize(),
            });
        }
        // A large entry must not leave a large buffer behind.
        self.buffer.shrink_to(BUFFER_BYTES * 2);
        Ok(())
    }

    #[cold]
    fn flush_and_cut(&mut self) -> BackendResult<()> {
        self.streams.check_cancelled()?;
        self.flush()?;
        let offset = self.open.as_ref().and_then(|open| open.section);
        if offset.is_some_and(|(offset, _)| self.written - offset >= self.section_bytes) {
            self.end_section()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> BackendResult<()> {
        if let Some(file) = &mut self.file
            && !self.buffer.is_empty()
        {
            self.crc32.update(&self.buffer);
            file.write(&self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

#[cold]
fn misuse(text: String) -> BackendError {
    BackendError::new(BackendErrorKind::Misuse, text)
}

#[cold]
fn other_width(shape: EntryShape, entry: &Entry<'_>) -> BackendError {
    misuse(format!(
        "a value of {} bytes cannot be written where every value has {}",
        entry.value.len(),
        shape.width
    ))
}
