//! The description of a snapshot, which travels in its handle: the states, what each key group of them comes to, and the names of the files.
//!
//! ```text
//! varint  number of states, and for each
//!             framed name | kind (1 byte) | varint value width | framed codec
//! for each state and each key group of the handle, in order
//!             varint number of cells | varint their bytes in a snapshot
//! varint  number of files, those of the handle in order, and for each
//!             framed name that RocksDB knows it by
//! u32     CRC32 of all of this
//! ```

use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, KeyGroupRange, SnapshotHandle, StateDescriptor,
};
use millpond_backend_memory::kinds::Counters;
use millpond_backend_memory::snapshot::format::{Bytes, put_framed, put_varint};
use millpond_backend_memory::snapshot::{put_states, read_states};

/// The format of a handle's files: those of a RocksDB database.
pub(crate) const FORMAT: &str = "millpond-rocksdb/1";

/// What a handle's payload says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The states, those without entries too.
    pub(crate) states: Vec<StateDescriptor>,
    /// What each key group comes to, by state.
    pub(crate) counters: Vec<Vec<Counters>>,
    /// The names of the files.
    pub(crate) names: Vec<String>,
}

impl Payload {
    /// The payload as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_states(&mut bytes, &self.states);
        for counters in self.counters.iter().flatten() {
            put_varint(&mut bytes, counters.cells);
            put_varint(&mut bytes, counters.encoded_bytes);
        }
        put_varint(&mut bytes, self.names.len() as u64);
        for name in &self.names {
            put_framed(&mut bytes, name.as_bytes());
        }
        let crc32 = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc32.to_le_bytes());
        bytes
    }

    /// Reads the payload of a handle.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`] when its checksum is wrong or it is no description of the handle.
    pub(crate) fn of(handle: &SnapshotHandle) -> BackendResult<Self> {
        let payload = handle.payload.as_slice();
        let Some((body, crc32)) = payload.split_last_chunk::<4>() else {
            return Err(damaged(&format!(
                "expected at least 4 bytes, found {}",
                payload.len()
            )));
        };
        let (expected, found) = (u32::from_le_bytes(*crc32), crc32fast::hash(body));
        if expected != found {
            return Err(damaged(&format!(
                "expected CRC32 {expected:08x}, found {found:08x}"
            )));
        }
        let mut bytes = Bytes::new(body);
        match Self::read_body(&mut bytes, handle.key_groups) {
            Some(payload) if bytes.is_empty() && payload.names.len() == handle.files.len() => Ok(payload),
            _ => Err(damaged(&format!(
                "what stands at byte {} of {} does not belong there",
                bytes.position(),
                body.len()
            ))),
        }
    }

    fn read_body(bytes: &mut Bytes<'_>, range: KeyGroupRange) -> Option<Self> {
        // Nothing is reserved by a count: it is as untrusted as the rest.
        let states = read_states(bytes)?;
        let mut counters = Vec::new();
        for _ in &states {
            let mut groups = Vec::new();
            for _ in range.iter() {
                groups.push(Counters {
                    cells: bytes.varint()?,
                    encoded_bytes: bytes.varint()?,
                });
            }
            counters.push(groups);
        }
        let mut names = Vec::new();
        for _ in 0..bytes.varint()? {
            let name = std::str::from_utf8(bytes.framed()?).ok()?;
            names.push(is_file_name(name).then(|| name.to_owned())?);
        }
        Some(Self {
            states,
            counters,
            names,
        })
    }
}

/// Whether `name` names a file in a folder, and nothing else.
fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.bytes().all(plain) && !name.bytes().all(|byte| byte == b'.')
}

#[cold]
fn damaged(what: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupted,
        format!("the description of a RocksDB snapshot is damaged: {what}"),
    )
}
