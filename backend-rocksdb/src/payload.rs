//! The description of a snapshot, which travels in its handle: the states, what each key group of them comes to, and the names of the files.
//!
//! ```text
//! varint  number of states, and for each
//!             framed name | kind (1 byte) | varint value width | framed codec
//! for each state
//!     u8      1 if what follows is exact, 0 if it may be too much: compactions drop what expires, and entries
//!             of sorted maps were put over others unseen; 2 if it is estimated: lists were appended to unseen
//!     varint  number of key groups that have cells, and for each, in order
//!             varint how many key groups without cells lie before it | varint number of cells | varint their bytes in a snapshot
//! varint  number of files, those of the handle in order, and for each
//!             framed name that RocksDB knows it by | u32 CRC32
//! u32     CRC32 of all of this
//! ```
//!
//! The checksums are those of the handle once more: RocksDB trusts what its smaller files say, so it is given none but those that were written with
//! this description.

use millpond_backend_api::canonical::bytes::{Bytes, put_framed, put_varint};
use millpond_backend_api::canonical::{put_states, read_sealed, read_states, seal};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, KeyGroupRange, SnapshotHandle, StateDescriptor,
};
use millpond_backend_memory::kinds::Counters;

/// The format of a handle's files: those of a RocksDB database.
pub(crate) const FORMAT: &str = "millpond-rocksdb/1";

/// What a handle's payload says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The states, those without entries too.
    pub(crate) states: Vec<StateDescriptor>,
    /// What each key group comes to, by state.
    pub(crate) counters: Vec<Vec<Counters>>,
    /// How near that is to the truth, by state.
    pub(crate) accuracy: Vec<Accuracy>,
    /// The files.
    pub(crate) files: Vec<NamedFile>,
}

/// How near the counters of a state are to what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Accuracy {
    /// They are that.
    #[default]
    Exact,
    /// There may be less: compactions drop what expires, and entries of sorted maps were put unseen.
    AtMost,
    /// There may be less or more: lists were appended to unseen.
    About,
}

impl Accuracy {
    const BYTES: [(Self, u8); 3] = [(Self::AtMost, 0), (Self::Exact, 1), (Self::About, 2)];

    fn to_byte(self) -> u8 {
        let known = Self::BYTES.iter().find(|(accuracy, _)| *accuracy == self);
        known.map_or(u8::MAX, |(_, byte)| *byte)
    }

    fn of_byte(byte: u8) -> Option<Self> {
        let known = Self::BYTES.iter().find(|(_, known)| *known == byte);
        known.map(|(accuracy, _)| *accuracy)
    }
}

/// A file of the handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    /// Its name in the database's folder.
    pub(crate) name: String,
    /// Its checksum.
    pub(crate) crc32: u32,
}

impl Payload {
    /// The payload as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_states(&mut bytes, &self.states);
        for (counters, accuracy) in self.counters.iter().zip(&self.accuracy) {
            bytes.push(accuracy.to_byte());
            put_counters(&mut bytes, counters);
        }
        put_varint(&mut bytes, self.files.len() as u64);
        for file in &self.files {
            put_framed(&mut bytes, file.name.as_bytes());
            bytes.extend_from_slice(&file.crc32.to_le_bytes());
        }
        seal(bytes)
    }

    /// Reads the payload of a handle.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`] when its checksum is wrong or it is no description of the handle.
    pub(crate) fn of(handle: &SnapshotHandle) -> BackendResult<Self> {
        let read = |bytes: &mut Bytes<'_>| Self::read_body(bytes, handle.key_groups);
        let payload = read_sealed(handle.payload.as_slice(), read).map_err(|what| damaged(&what))?;
        payload.check_files(handle)
    }

    fn read_body(bytes: &mut Bytes<'_>, range: KeyGroupRange) -> Option<Self> {
        // Nothing is reserved by a count: it is as untrusted as the rest.
        let states = read_states(bytes)?;
        let mut counters = Vec::new();
        let mut accuracy = Vec::new();
        for _ in &states {
            accuracy.push(Accuracy::of_byte(bytes.byte()?)?);
            counters.push(read_counters(bytes, range.len())?);
        }
        let mut files = Vec::new();
        for _ in 0..bytes.varint()? {
            let name = std::str::from_utf8(bytes.framed()?).ok()?;
            files.push(NamedFile {
                name: is_file_name(name).then(|| name.to_owned())?,
                crc32: bytes.u32()?,
            });
        }
        Some(Self {
            states,
            counters,
            accuracy,
            files,
        })
    }

    fn check_files(self, handle: &SnapshotHandle) -> BackendResult<Self> {
        if self.files.len() != handle.files.len() {
            return Err(damaged(&format!(
                "expected the {} files of the handle, found {}",
                handle.files.len(),
                self.files.len()
            )));
        }
        for (named, file) in self.files.iter().zip(&handle.files) {
            if named.crc32 != file.crc32 {
                return Err(damaged(&format!(
                    "snapshot file {} ({}): expected CRC32 {:08x}, found {:08x}",
                    file.token, named.name, named.crc32, file.crc32
                )));
            }
        }
        Ok(self)
    }
}

fn put_counters(bytes: &mut Vec<u8>, counters: &[Counters]) {
    let with_cells = || {
        counters
            .iter()
            .enumerate()
            .filter(|(_, counters)| counters.cells > 0)
    };
    put_varint(bytes, with_cells().count() as u64);
    let mut next = 0;
    for (group, counters) in with_cells() {
        put_varint(bytes, (group - next) as u64);
        put_varint(bytes, counters.cells);
        put_varint(bytes, counters.encoded_bytes);
        next = group + 1;
    }
}

fn read_counters(bytes: &mut Bytes<'_>, groups: usize) -> Option<Vec<Counters>> {
    let mut counters = vec![Counters::default(); groups];
    let mut next = 0_usize;
    for _ in 0..bytes.varint()? {
        let group = next.checked_add(bytes.len()?)?;
        *counters.get_mut(group)? = Counters {
            cells: bytes.varint()?,
            encoded_bytes: bytes.varint()?,
        };
        next = group + 1;
    }
    Some(counters)
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

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::{FileRef, StateKind};

    fn handle(payload: Vec<u8>, files: usize) -> SnapshotHandle {
        let file = FileRef {
            token: "token".into(),
            size: 1,
            crc32: 2,
            shared: true,
        };
        SnapshotHandle {
            key_groups: KeyGroupRange::new(3, 130).unwrap(),
            format: FORMAT.into(),
            files: vec![file; files].into(),
            payload: payload.into(),
            state_bytes: 0,
            new_bytes: 0,
        }
    }

    fn payload() -> Payload {
        let some = Counters {
            cells: 1 << 40,
            encoded_bytes: 7,
        };
        let mut counters = vec![Counters::default(); 128];
        (counters[0], counters[5], counters[127]) = (some, some, some);
        Payload {
            states: vec![
                StateDescriptor::new("a", StateKind::Value, 8),
                StateDescriptor::new("b", StateKind::SortedMap, 0),
            ],
            counters: vec![counters, vec![Counters::default(); 128]],
            accuracy: vec![Accuracy::Exact, Accuracy::About],
            files: ["000012.sst", "CURRENT"]
                .map(|name| NamedFile {
                    name: name.to_owned(),
                    crc32: 2,
                })
                .into(),
        }
    }

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        assert_eq!(Payload::of(&handle(payload().to_bytes(), 2)).unwrap(), payload());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = payload().to_bytes();
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let error = Payload::of(&handle(flipped, 2)).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Corrupted);
        }
        for len in 0..bytes.len() {
            assert!(Payload::of(&handle(bytes[..len].to_vec(), 2)).is_err());
        }
    }

    #[test]
    fn a_name_that_leads_out_of_the_folder_and_other_files_are_refused() {
        for name in ["../x", "/etc/passwd", "..", "", "a/b"] {
            let mut payload = payload();
            payload.files[0].name = name.to_owned();
            assert!(Payload::of(&handle(payload.to_bytes(), 2)).is_err(), "{name}");
        }
        assert!(Payload::of(&handle(payload().to_bytes(), 3)).is_err());
        let mut payload = payload();
        payload.files[1].crc32 = 3;
        assert!(Payload::of(&handle(payload.to_bytes(), 2)).is_err());
    }
}
