//! Restores a snapshot, or the part of it that lies in some key groups.

use super::{END, FORMAT, MAGIC, SECTION_HEAD_BYTES, SectionHead, canonical};
use crate::keyed::{State, row_bytes};
use crate::rows::{self, RowParts};
use crate::store::Store;
use millpond_backend_api::canonical::is_canonical;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, FileRef, KeyGroup, KeyGroupRange, RestoreFiles,
    RestoreStream, SnapshotHandle, StateDescriptor, StateKind,
};
use redb::ReadableTable;

/// The bytes that are asked for at once.
const STEP_BYTES: usize = 256 << 10;

/// An error unless `new` stores its cells as `old` does.
pub(crate) fn check_same(old: &StateDescriptor, new: &StateDescriptor) -> BackendResult<()> {
    if (old.kind, old.value_width) == (new.kind, new.value_width) {
        return Ok(());
    }
    let describe = |state: &StateDescriptor| match state.value_width {
        0 => state.kind.name().to_owned(),
        width => format!("{} of {width} bytes", state.kind.name()),
    };
    Err(BackendError::new(
        BackendErrorKind::Incompatible,
        format!(
            "state {}: stored as {}, registered as {}",
            old.name,
            describe(old),
            describe(new)
        ),
    ))
}

/// The number of the state with the index `index` in the database.
pub(super) fn state_number(index: usize) -> BackendResult<u32> {
    u32::try_from(index).map_err(|_| BackendError::new(BackendErrorKind::Other, "too many states"))
}

/// Brings the cells of `handle` that lie in `key_groups` into the store, and its states into `states`.
pub(crate) fn restore(
    handle: &SnapshotHandle,
    files: &RestoreFiles,
    key_groups: KeyGroupRange,
    store: &mut Store,
    states: &mut Vec<State>,
) -> BackendResult<()> {
    if is_canonical(handle) {
        return canonical::restore(handle, files, key_groups, store, states);
    }
    if handle.format != FORMAT {
        return Err(BackendError::new(
            BackendErrorKind::Incompatible,
            format!(
                "the snapshot has the format '{}', this backend reads '{FORMAT}'",
                handle.format
            ),
        ));
    }
    for file in &handle.files {
        let mut reader = FileReader {
            file,
            stream: files.open(file)?,
            step: vec![0; STEP_BYTES],
            offset: 0,
            checksum: crc32fast::Hasher::new(),
        };
        let numbers = merge(reader.header()?, states)?;
        let mut sections = 0;
        while let Some((head, body)) = reader.section(sections)? {
            sections += 1;
            let group = KeyGroup(head.group);
            let number = numbers
                .get(usize::try_from(head.state).unwrap_or(usize::MAX))
                .filter(|_| handle.key_groups.contains(group));
            let Some(number) = number else {
                return Err(reader.damaged(format!(
                    "a section of state {} in key group {group}, expected one of {} states in {}",
                    head.state,
                    numbers.len(),
                    handle.key_groups
                )));
            };
            if key_groups.contains(group) {
                reader.insert(*number, head, &body, store, states)?;
            }
        }
        reader.end()?;
    }
    Ok(())
}

/// Adds the states of a file to those that there are, and gives the number of each.
pub(super) fn merge(descriptors: Vec<StateDescriptor>, states: &mut Vec<State>) -> BackendResult<Vec<usize>> {
    descriptors
        .into_iter()
        .map(|descriptor| {
            let known = states
                .iter()
                .position(|state| state.descriptor.name == descriptor.name);
            if let Some(state) = known.and_then(|number| states.get(number)) {
                check_same(&state.descriptor, &descriptor)?;
            }
            Ok(known.unwrap_or_else(|| {
                states.push(State::new(descriptor));
                states.len() - 1
            }))
        })
        .collect()
}

struct FileReader<'f> {
    file: &'f FileRef,
    stream: RestoreStream,
    /// Where one read goes.
    step: Vec<u8>,
    /// Where the next read starts.
    offset: u64,
    checksum: crc32fast::Hasher,
}

impl FileReader<'_> {
    #[cold]
    fn damaged(&self, what: impl std::fmt::Display) -> BackendError {
        BackendError::new(
            BackendErrorKind::Corrupted,
            format!(
                "snapshot file {} near offset {}: {what}",
                self.file.token, self.offset
            ),
        )
    }

    /// The next `len` bytes. Memory is taken as bytes arrive, so a made-up length takes none.
    fn read(&mut self, len: u64) -> BackendResult<Vec<u8>> {
        if self.file.size.saturating_sub(self.offset) < len {
            return Err(self.damaged(format!(
                "{len} bytes were expected, but the file has {}",
                self.file.size
            )));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let missing = usize::try_from(len - bytes.len() as u64).unwrap_or(usize::MAX);
            let step = missing.min(self.step.len());
            let step = self.step.get_mut(..step).unwrap_or_default();
            // Fewer bytes than were asked for may come.
            let read = self.stream.read(step)?;
            if read == 0 {
                return Err(self.damaged("the file ends too early"));
            }
            bytes.extend_from_slice(step.get(..read).unwrap_or_default());
        }
        self.offset += len;
        self.checksum.update(&bytes);
        Ok(bytes)
    }

    fn u32(&mut self) -> BackendResult<u32> {
        let bytes = self.read(4)?;
        bytes
            .first_chunk()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .ok_or_else(|| self.damaged("no number"))
    }

    fn check(&mut self, part: &str, found: u32) -> BackendResult<()> {
        let expected = self.u32()?;
        if expected == found {
            return Ok(());
        }
        Err(self.damaged(format!(
            "{part} has the CRC32 {found:08x}, expected {expected:08x}"
        )))
    }

    fn header(&mut self) -> BackendResult<Vec<StateDescriptor>> {
        let magic = self.read(MAGIC.len() as u64)?;
        if magic != MAGIC {
            return Err(self.damaged(format!("starts with {magic:02x?}, expected {MAGIC:02x?}")));
        }
        let len = self.u32()?;
        let body = self.read(u64::from(len))?;
        self.check("the header", self.checksum.clone().finalize())?;
        descriptors(&body).ok_or_else(|| self.damaged("the header's states cannot be read"))
    }

    /// The next section; `None` at the last one, which must tell that there were `sections`.
    fn section(&mut self, sections: u32) -> BackendResult<Option<(SectionHead, Vec<u8>)>> {
        let head_bytes = self.read(SECTION_HEAD_BYTES as u64)?;
        let head = SectionHead::from_bytes(&head_bytes).ok_or_else(|| self.damaged("no section"))?;
        let body = self.read(head.bytes)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&head_bytes);
        checksum.update(&body);
        let part = format!("the section of state {}, key group {}", head.state, head.group);
        self.check(&part, checksum.finalize())?;
        if head.state != END {
            return Ok(Some((head, body)));
        }
        if head.rows != sections {
            return Err(self.damaged(format!("{sections} sections, expected {}", head.rows)));
        }
        Ok(None)
    }

    fn insert(
        &mut self,
        number: usize,
        head: SectionHead,
        body: &[u8],
        store: &mut Store,
        states: &mut [State],
    ) -> BackendResult<()> {
        let unreadable = || self.damaged(format!("rows of state {} cannot be read", head.state));
        let state = states.get_mut(number).ok_or_else(unreadable)?;
        let StateDescriptor {
            kind, value_width, ..
        } = state.descriptor;
        let prefix = rows::group_prefix(
            u32::try_from(number).map_err(|_| unreadable())?,
            KeyGroup(head.group),
        );
        let mut rest = body;
        let mut row = Vec::new();
        for _ in 0..head.rows {
            let (suffix, value, after) = split_row(rest).ok_or_else(unreadable)?;
            rest = after;
            let parts = RowParts::parse(suffix, kind).ok_or_else(unreadable)?;
            if value_width > 0 && value.len() as u64 != u64::from(value_width) {
                return Err(unreadable());
            }
            row.clear();
            row.extend_from_slice(&prefix);
            row.extend_from_slice(suffix);
            // The elements of a list come in order, and only the first makes a cell.
            let list_prefix = row.len() - parts.rest.len();
            let is_new = store.write(|rows| {
                let goes_on = kind == StateKind::List && {
                    let prefix = row.get(..list_prefix).unwrap_or_default();
                    rows.range(prefix..row.as_slice())?.next().is_some()
                };
                let replaced = rows.insert(row.as_slice(), value)?.is_some();
                Ok((!replaced).then_some(!goes_on))
            })?;
            let Some(is_new_cell) = is_new else {
                return Err(self.damaged(format!("a row of state {} is there twice", head.state)));
            };
            state.cells += u64::from(is_new_cell);
            state.bytes += row_bytes(&row, value);
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(unreadable())
        }
    }

    /// Nothing may follow, and the whole must be what was written.
    fn end(mut self) -> BackendResult<()> {
        let more = self.stream.read(&mut [0])?;
        let found = self.checksum.clone().finalize();
        if more == 0 && self.offset == self.file.size && found == self.file.crc32 {
            return Ok(());
        }
        Err(self.damaged(format!(
            "the file should end, with {} bytes and the CRC32 {:08x}; found {} and {found:08x}",
            self.file.size,
            self.file.crc32,
            self.offset + more as u64
        )))
    }
}

/// Row key without state and group, value, and what follows the row.
fn split_row(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (suffix_len, rest) = bytes.split_first_chunk::<4>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (suffix, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*suffix_len)).ok()?)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*value_len)).ok()?)?;
    Some((suffix, value, rest))
}

/// The states of a header's body.
fn descriptors(body: &[u8]) -> Option<Vec<StateDescriptor>> {
    let (count, mut rest) = body.split_first_chunk::<4>()?;
    let mut sized = |len: Option<usize>| {
        let len = match len {
            Some(len) => len,
            None => {
                let (len, after) = rest.split_first_chunk::<4>()?;
                rest = after;
                usize::try_from(u32::from_le_bytes(*len)).ok()?
            }
        };
        let (part, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(part)
    };
    let mut states = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let name = std::str::from_utf8(sized(None)?).ok()?;
        let kind = StateKind::from_number(*sized(Some(1))?.first()?)?;
        let width = u32::from_le_bytes(*sized(Some(4))?.first_chunk()?);
        let mut state = StateDescriptor::new(name, kind, width);
        state.codec = sized(None)?.into();
        states.push(state);
    }
    rest.is_empty().then_some(states)
}
