//! The description of a snapshot, which travels in its handle: the states, and the chain of files from the oldest to the newest.
//!
//! ```text
//! varint  number of states, and for each
//!             framed name | kind (1 byte) | varint value width | framed codec
//! varint  number of layers, oldest first, and for each
//!             varint index in the handle's files | flags (1 byte: bit 0 base) | varint first key group | varint last key group
//!             | varint length of the plain file (0: the file is not compressed) | u32 CRC32 of the plain file's directory
//! u32     CRC32 of all of this
//! ```
//!
//! A layer shows the part of a file that lies in its key groups: after a rescale a file may be in the handles of several subtasks. The checksum of the
//! directory, which has the checksums of all else, tells the file from any other that is whole and of the same length.

use millpond_backend_api::canonical::bytes::{Bytes, put_varint};
use millpond_backend_api::canonical::{put_states, read_sealed, read_states, seal};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyGroupRange, StateDescriptor};

const BASE: u8 = 1;

/// What a handle's payload says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The states, those without entries too.
    pub(crate) states: Vec<StateDescriptor>,
    /// The layers, oldest first.
    pub(crate) layers: Vec<Layer>,
}

/// A file of the handle, and the key groups of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The index of the file in the handle.
    pub(crate) file: u32,
    /// Whether the file has every entry of its groups, so that nothing below it counts.
    pub(crate) base: bool,
    /// The key groups.
    pub(crate) groups: KeyGroupRange,
    /// The length of the plain file; 0 if the file is not compressed.
    pub(crate) plain_bytes: u64,
    /// The CRC32 of the plain file's directory.
    pub(crate) directory_crc32: u32,
}

impl Payload {
    /// The payload as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_states(&mut bytes, &self.states);
        put_varint(&mut bytes, self.layers.len() as u64);
        for layer in &self.layers {
            put_varint(&mut bytes, u64::from(layer.file));
            bytes.push(if layer.base { BASE } else { 0 });
            put_varint(&mut bytes, u64::from(layer.groups.first.0));
            put_varint(&mut bytes, u64::from(layer.groups.last.0));
            put_varint(&mut bytes, layer.plain_bytes);
            bytes.extend_from_slice(&layer.directory_crc32.to_le_bytes());
        }
        seal(bytes)
    }

    /// Reads a payload of a handle with `files` files.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`] when its checksum is wrong or it is no such description; the text says at which byte.
    pub(crate) fn read(payload: &[u8], files: usize) -> BackendResult<Self> {
        read_sealed(payload, |bytes| Self::read_body(bytes, files)).map_err(|what| damaged(&what))
    }

    fn read_body(bytes: &mut Bytes<'_>, files: usize) -> Option<Self> {
        // Nothing is reserved by the count: it is as untrusted as the rest.
        let mut payload = Self {
            states: read_states(bytes)?,
            ..Self::default()
        };
        for _ in 0..bytes.varint()? {
            let file = u32::try_from(bytes.varint()?).ok()?;
            let flags = bytes.byte()?;
            let first = u16::try_from(bytes.varint()?).ok()?;
            let last = u16::try_from(bytes.varint()?).ok()?;
            let plain_bytes = bytes.varint()?;
            let directory_crc32 = bytes.u32()?;
            if file as usize >= files || flags > BASE {
                return None;
            }
            payload.layers.push(Layer {
                file,
                base: flags == BASE,
                groups: KeyGroupRange::new(first, last)?,
                plain_bytes,
                directory_crc32,
            });
        }
        Some(payload)
    }
}

fn damaged(what: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupted,
        format!("the description of a snapshot (payload of its handle) is damaged: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::StateKind;

    fn sample() -> Payload {
        let mut count = StateDescriptor::new("count", StateKind::Value, 8);
        count.codec = vec![1, 2, 3].into();
        let layer = |file, base, first, last| Layer {
            file,
            base,
            groups: KeyGroupRange::new(first, last).unwrap(),
            plain_bytes: u64::from(first) * 100,
            directory_crc32: 0x0102_0300 + file,
        };
        Payload {
            states: vec![count, StateDescriptor::new("timers", StateKind::SortedMap, 0)],
            layers: vec![
                layer(0, true, 0, 63),
                layer(1, true, 64, 127),
                layer(2, false, 0, 127),
            ],
        }
    }

    #[test]
    fn a_payload_reads_back() {
        assert_eq!(Payload::read(&sample().to_bytes(), 3).unwrap(), sample());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let payload = sample().to_bytes();
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut damaged = payload.clone();
                damaged[at] ^= 1 << bit;
                let error = Payload::read(&damaged, 3).unwrap_err();
                assert_eq!(error.kind(), BackendErrorKind::Corrupted);
            }
            assert!(Payload::read(&payload[..at], 3).is_err());
        }
    }

    #[test]
    fn a_layer_of_a_file_that_the_handle_does_not_have_is_damage() {
        assert!(Payload::read(&sample().to_bytes(), 2).is_err());
    }
}
