//! Writes a snapshot from a read transaction, on any thread.

use super::{END, FORMAT, MAGIC, SECTION_HEAD_BYTES, SectionHead, canonical};
use crate::keyed::State;
use crate::rows::{self, GROUP_PREFIX_BYTES};
use crate::store::{Frozen, ROWS, redb_error};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, KeyGroup, KeyGroupRange, SnapshotForm, SnapshotHandle,
    SnapshotStream, SnapshotStreams, SnapshotWriter, StreamHint,
};

/// A section ends with the row that fills it to this; so memory stays small, and a cancellation is seen soon.
const SECTION_BYTES: usize = 256 << 10;

/// The asynchronous part of a snapshot: the database as it was.
pub struct RedbSnapshotWriter {
    form: SnapshotForm,
    frozen: Frozen,
    key_groups: KeyGroupRange,
    states: Vec<State>,
}

impl std::fmt::Debug for RedbSnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbSnapshotWriter")
            .field("key_groups", &self.key_groups)
            .finish_non_exhaustive()
    }
}

impl RedbSnapshotWriter {
    pub(crate) fn new(
        form: SnapshotForm,
        frozen: Frozen,
        key_groups: KeyGroupRange,
        states: Vec<State>,
    ) -> Self {
        Self {
            form,
            frozen,
            key_groups,
            states,
        }
    }
}

impl SnapshotWriter for RedbSnapshotWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        streams.check_cancelled()?;
        if self.form == SnapshotForm::Canonical {
            return canonical::write(streams, &self.frozen, self.key_groups, &self.states);
        }
        let Some(largest) = self.states.iter().max_by_key(|state| state.bytes) else {
            return Ok(Vec::new());
        };
        let stream = streams.open(StreamHint {
            state: largest.descriptor.name.clone(),
            // Sections are cut while the rows are read, so the size shows at the end.
            expected_bytes: None.into(),
            shared: false,
        })?;
        let mut file = FileWriter {
            stream,
            streams,
            section: vec![0; SECTION_HEAD_BYTES],
            rows: 0,
            sections: 0,
        };
        file.stream.write(&header(&self.states)?)?;
        let table = self.frozen.transaction.open_table(ROWS).map_err(redb_error)?;
        for number in (0..).take(self.states.len()) {
            for group in self.key_groups.iter() {
                let range = rows::range_of(&rows::group_prefix(number, group));
                let rows = table
                    .range(range.start.as_slice()..range.end.as_slice())
                    .map_err(redb_error)?;
                for row in rows {
                    let (row, value) = row.map_err(redb_error)?;
                    let suffix = row.value().get(GROUP_PREFIX_BYTES..).unwrap_or_default();
                    file.push(suffix, value.value())?;
                    if file.section.len() >= SECTION_BYTES {
                        file.end_section(number, group)?;
                    }
                }
                file.end_section(number, group)?;
            }
        }
        let file = file.finish()?;
        Ok(vec![SnapshotHandle {
            key_groups: self.key_groups,
            format: FORMAT.into(),
            state_bytes: file.size,
            new_bytes: file.size,
            files: [file].into_iter().collect(),
            payload: Default::default(),
        }])
    }
}

/// Magic, length, the states, checksum.
fn header(states: &[State]) -> BackendResult<Vec<u8>> {
    let mut body = len_u32(states.len())?.to_vec();
    for State { descriptor, .. } in states {
        body.extend(len_u32(descriptor.name.len())?);
        body.extend_from_slice(descriptor.name.as_bytes());
        body.push(descriptor.kind as u8);
        body.extend(descriptor.value_width.to_le_bytes());
        body.extend(len_u32(descriptor.codec.len())?);
        body.extend_from_slice(&descriptor.codec);
    }
    let mut header = MAGIC.to_vec();
    header.extend(len_u32(body.len())?);
    header.append(&mut body);
    let checksum = crc32fast::hash(&header);
    header.extend(checksum.to_le_bytes());
    Ok(header)
}

fn len_u32(len: usize) -> BackendResult<[u8; 4]> {
    let len = u32::try_from(len).map_err(|_| {
        BackendError::new(
            BackendErrorKind::TooLarge,
            format!(
                "{FORMAT} cannot hold {len} bytes in one piece, at most {}",
                u32::MAX
            ),
        )
    })?;
    Ok(len.to_le_bytes())
}

struct FileWriter<'s> {
    stream: SnapshotStream,
    streams: &'s SnapshotStreams,
    /// Room for the head of the running section, then its rows.
    section: Vec<u8>,
    rows: u32,
    sections: u32,
}

impl FileWriter<'_> {
    fn push(&mut self, suffix: &[u8], value: &[u8]) -> BackendResult<()> {
        self.section.extend(len_u32(suffix.len())?);
        self.section.extend(len_u32(value.len())?);
        self.section.extend_from_slice(suffix);
        self.section.extend_from_slice(value);
        self.rows += 1;
        Ok(())
    }

    fn end_section(&mut self, state: u32, group: KeyGroup) -> BackendResult<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.streams.check_cancelled()?;
        self.write_section(SectionHead {
            state,
            group: group.0,
            rows: self.rows,
            bytes: (self.section.len() - SECTION_HEAD_BYTES) as u64,
        })?;
        self.rows = 0;
        self.sections += 1;
        Ok(())
    }

    fn write_section(&mut self, head: SectionHead) -> BackendResult<()> {
        // In one piece: each write is a call across the boundary.
        if let Some(place) = self.section.first_chunk_mut() {
            *place = head.to_bytes();
        }
        let checksum = crc32fast::hash(&self.section);
        self.section.extend(checksum.to_le_bytes());
        self.stream.write(&self.section)?;
        self.section.truncate(SECTION_HEAD_BYTES);
        Ok(())
    }

    fn finish(mut self) -> BackendResult<millpond_backend_api::FileRef> {
        self.streams.check_cancelled()?;
        self.write_section(SectionHead {
            state: END,
            group: 0,
            rows: self.sections,
            bytes: 0,
        })?;
        self.stream.finish()
    }
}
