//! The description of a snapshot, which travels in the handle: the states, and where each one's groups lie in the file.

use super::FILE_MAGIC;
use super::bytes::{Bytes, put_varint};
use super::sealed::{read_sealed, seal};
use super::states::{put_states, read_states};
use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::key_group::KeyGroup;
use crate::snapshot::SnapshotHandle;
use crate::state::StateDescriptor;

/// What a handle's payload says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// The states, those without entries too.
    pub(super) states: Vec<StateDescriptor>,
    /// The sections in the order in which they lie in the file. Groups without entries have none.
    pub(super) sections: Vec<Section>,
}

/// Entries of one state in one key group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The index of the state in the description.
    pub(super) state: u32,
    /// The key group.
    pub(super) group: KeyGroup,
    /// Where the section begins in the file.
    pub(super) offset: u64,
    /// Its length in bytes.
    pub(super) len: u64,
    /// How many entries it has.
    pub(super) entries: u64,
    /// The CRC32 (IEEE) of its bytes.
    pub(super) crc32: u32,
}

impl Description {
    /// The description as a payload, with its own CRC32 at the end.
    #[must_use]
    pub(super) fn to_payload(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_states(&mut bytes, &self.states);
        put_varint(&mut bytes, self.sections.len() as u64);
        for section in &self.sections {
            put_varint(&mut bytes, u64::from(section.state));
            put_varint(&mut bytes, u64::from(section.group.0));
            put_varint(&mut bytes, section.offset);
            put_varint(&mut bytes, section.len);
            put_varint(&mut bytes, section.entries);
            bytes.extend_from_slice(&section.crc32.to_le_bytes());
        }
        seal(bytes)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`] when its checksum is wrong or it is not such a description; the text says at which byte.
    pub(super) fn from_payload(payload: &[u8]) -> BackendResult<Self> {
        read_sealed(payload, Self::read).map_err(damaged)
    }

    /// Checks the sections against `handle`: they lie in its file without gaps, in order, in its key groups.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`].
    pub(super) fn check(&self, handle: &SnapshotHandle) -> BackendResult<()> {
        let expected = usize::from(!self.sections.is_empty());
        if handle.files.len() != expected {
            return Err(damaged(format!(
                "expected {expected} files in the handle, found {}",
                handle.files.len()
            )));
        }
        let mut place = (None, FILE_MAGIC.len() as u64);
        for (number, section) in self.sections.iter().enumerate() {
            let (last, offset) = place;
            let order = Some((section.group, section.state));
            let end = offset.checked_add(section.len);
            let fits = section.offset == offset && last <= order && section.entries > 0;
            let (true, true, Some(end)) = (fits, handle.key_groups.contains(section.group), end) else {
                return Err(damaged(format!(
                    "section {number} is expected in the key groups {}, at offset {offset} and behind {last:?} (key group, state), found {section:?}",
                    handle.key_groups
                )));
            };
            place = (order, end);
        }
        match handle.files.first() {
            Some(file) if file.size != place.1 => Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "snapshot file {}, offset {}: expected the end of the file behind its last section, found it at {}",
                    file.token, place.1, file.size
                ),
            )),
            _ => Ok(()),
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        // Nothing is reserved by the count: it is as untrusted as the rest.
        let mut description = Self {
            states: read_states(bytes)?,
            ..Self::default()
        };
        for _ in 0..bytes.varint()? {
            let section = Section {
                state: u32::try_from(bytes.varint()?).ok()?,
                group: KeyGroup(u16::try_from(bytes.varint()?).ok()?),
                offset: bytes.varint()?,
                len: bytes.varint()?,
                entries: bytes.varint()?,
                crc32: bytes.u32()?,
            };
            description.states.get(section.state as usize)?;
            description.sections.push(section);
        }
        Some(description)
    }
}

fn damaged(what: String) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupted,
        format!("the description of a snapshot (payload of its handle) is damaged: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateKind;

    fn sample() -> Description {
        let mut count = StateDescriptor::new("count", StateKind::Value, 8);
        count.codec = vec![1, 2, 3].into();
        Description {
            states: vec![count, StateDescriptor::new("timers", StateKind::SortedMap, 0)],
            sections: vec![Section {
                state: 1,
                group: KeyGroup(127),
                offset: 8,
                len: 300,
                entries: 10,
                crc32: 0xdead_beef,
            }],
        }
    }

    #[test]
    fn a_description_reads_back() {
        let payload = sample().to_payload();
        assert_eq!(Description::from_payload(&payload).unwrap(), sample());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let payload = sample().to_payload();
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut damaged = payload.clone();
                damaged[at] ^= 1 << bit;
                let error = Description::from_payload(&damaged).unwrap_err();
                assert_eq!(error.kind(), BackendErrorKind::Corrupted);
            }
            assert!(Description::from_payload(&payload[..at]).is_err());
        }
    }

    #[test]
    fn hostile_counts_with_a_right_checksum_give_an_error() {
        for body in [
            &[0xff, 0xff, 0xff, 0xff, 0x7f][..],
            &[1, 0xff, 0xff, 0x7f],
            &[0, 1, 0, 0, 0, 0, 0],
        ] {
            let mut payload = body.to_vec();
            payload.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
            let error = Description::from_payload(&payload).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Corrupted);
        }
    }
}
