//! Writes a frozen table, group by group, with a buffer that does not grow with the state.

use super::description::{Description, Section};
use super::format::{FILE_MAGIC, FORMAT, put_entry};
use crate::kinds::{Counters, EntryShape, FrozenGroup};
use crate::lower::LowerLayer;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, FileRef, KeyGroupRange, SnapshotHandle, SnapshotStream,
    SnapshotStreams, SnapshotWriter, StateDescriptor, StreamHint,
};

/// The bytes that are collected before they go to the stream. An entry that is larger is written by itself.
const BUFFER_BYTES: usize = 256 << 10;

/// A state as it was at the snapshot.
#[derive(Debug)]
pub struct FrozenState {
    /// The state.
    pub descriptor: StateDescriptor,
    /// What each group comes to, in the order of the groups.
    pub counters: Vec<Counters>,
    /// What lies below the state.
    pub lower: LowerLayer,
    /// The entries of each group.
    pub groups: Vec<FrozenGroup>,
}

/// Writes the states of a subtask as they were at the snapshot.
#[derive(Debug)]
pub struct TableWriter {
    range: KeyGroupRange,
    states: Vec<FrozenState>,
}

impl TableWriter {
    /// A writer of `states`, each with one entry in its columns for every group of `range`.
    #[must_use]
    pub fn new(range: KeyGroupRange, states: Vec<FrozenState>) -> Self {
        Self { range, states }
    }

    fn expected_bytes(&self) -> u64 {
        let states = self.states.iter().map(FrozenState::encoded_bytes);
        FILE_MAGIC.len() as u64 + states.sum::<u64>()
    }

    fn hint(&self) -> StreamHint {
        let largest = self.states.iter().max_by_key(|state| state.encoded_bytes());
        StreamHint {
            state: largest
                .map(|state| state.descriptor.name.clone())
                .unwrap_or_default(),
            expected_bytes: Some(self.expected_bytes()).into(),
            shared: false,
        }
    }

    fn write_file(&mut self, streams: &SnapshotStreams) -> BackendResult<(FileRef, Vec<Section>)> {
        let mut file = Output {
            stream: streams.open(self.hint())?,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            crc32: crc32fast::Hasher::new(),
        };
        let mut sections = Vec::new();
        file.buffer.extend_from_slice(&FILE_MAGIC);
        file.flush()?;
        for (index, group) in self.range.iter().enumerate() {
            for (number, state) in self.states.iter_mut().enumerate() {
                let counters = state.counters.get(index).copied().unwrap_or_default();
                let Some(frozen) = state.groups.get_mut(index) else {
                    continue;
                };
                if counters.cells == 0 {
                    continue;
                }
                streams.check_cancelled()?;
                let section = Section {
                    state: u32::try_from(number).unwrap_or(u32::MAX),
                    group,
                    offset: file.written,
                    len: counters.encoded_bytes,
                    entries: counters.cells,
                    crc32: 0,
                };
                // What was written need not be held any longer, and pages that were copied to be read least of all.
                let frozen = std::mem::replace(frozen, FrozenGroup::Below);
                let crc32 = file
                    .section(&frozen, EntryShape::of(&state.descriptor), &section)
                    .map_err(|error| {
                        error.context(format!("state {:?}, key group {group}", state.descriptor.name))
                    })?;
                sections.push(Section { crc32, ..section });
            }
        }
        streams.check_cancelled()?;
        Ok((file.stream.finish()?, sections))
    }
}

impl FrozenState {
    fn encoded_bytes(&self) -> u64 {
        self.counters.iter().map(|group| group.encoded_bytes).sum()
    }
}

impl SnapshotWriter for TableWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        streams.check_cancelled()?;
        if self.states.is_empty() {
            return Ok(Vec::new());
        }
        let cells = |state: &FrozenState| state.counters.iter().map(|group| group.cells).sum::<u64>();
        let (files, sections) = if self.states.iter().all(|state| cells(state) == 0) {
            (Vec::new(), Vec::new())
        } else {
            let (file, sections) = self.write_file(streams)?;
            (vec![file], sections)
        };
        let description = Description {
            states: self.states.iter().map(|state| state.descriptor.clone()).collect(),
            sections,
        };
        let bytes = files.iter().map(|file| file.size).sum();
        // What was written need not be held any longer, however long the writer is kept.
        self.states.clear();
        Ok(vec![SnapshotHandle {
            key_groups: self.range,
            format: FORMAT.into(),
            files: files.into(),
            payload: description.to_payload().into(),
            state_bytes: bytes,
            new_bytes: bytes,
        }])
    }
}

/// The file, with a buffer in front of it and the checksum of the section that is being written.
struct Output {
    stream: SnapshotStream,
    buffer: Vec<u8>,
    written: u64,
    crc32: crc32fast::Hasher,
}

impl Output {
    fn flush(&mut self) -> BackendResult<()> {
        self.crc32.update(&self.buffer);
        self.stream.write(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the entries of a group and returns their checksum.
    fn section(&mut self, frozen: &FrozenGroup, shape: EntryShape, section: &Section) -> BackendResult<u32> {
        self.crc32.reset();
        let mut entries = 0_u64;
        frozen.try_for_each(|entry| {
            entries += 1;
            put_entry(&mut self.buffer, shape, &entry);
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
            Ok::<_, BackendError>(())
        })?;
        self.flush()?;
        let found = self.written - section.offset;
        if found != section.len || entries != section.entries {
            return Err(BackendError::new(
                BackendErrorKind::Other,
                format!(
                    "wrote {entries} entries of {found} bytes where {} entries of {} bytes were counted: the table has a defect, or a batch was ended \
                     with absent values that its caller denied",
                    section.entries, section.len
                ),
            ));
        }
        // A large entry must not leave a large buffer behind.
        self.buffer.shrink_to(BUFFER_BYTES * 2);
        Ok(self.crc32.clone().finalize())
    }
}
