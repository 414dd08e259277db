//! Snapshots in the format `acme-redb/1`, one file of a header and sections, of which `FORMAT.md` has the bytes; and in the canonical form.

mod canonical;
mod read;
mod write;

pub(crate) use read::{check_same, restore};
pub use write::RedbSnapshotWriter;

/// The format's name in handles. Another version gets another name.
const FORMAT: &str = "acme-redb/1";
/// What a file starts with.
const MAGIC: [u8; 8] = *b"ACMEREDB";
/// The bytes in front of a section's rows: state, key group, number of rows, bytes of the rows.
const SECTION_HEAD_BYTES: usize = 4 + 2 + 4 + 8;
/// The state number of the section that ends a file.
const END: u32 = u32::MAX;

/// The numbers in front of a section's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SectionHead {
    state: u32,
    group: u16,
    rows: u32,
    bytes: u64,
}

impl SectionHead {
    fn to_bytes(self) -> [u8; SECTION_HEAD_BYTES] {
        let mut bytes = [0; SECTION_HEAD_BYTES];
        let parts = self
            .state
            .to_le_bytes()
            .into_iter()
            .chain(self.group.to_le_bytes())
            .chain(self.rows.to_le_bytes())
            .chain(self.bytes.to_le_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (state, rest) = bytes.split_first_chunk()?;
        let (group, rest) = rest.split_first_chunk()?;
        let (rows, rest) = rest.split_first_chunk()?;
        let (body, _) = rest.split_first_chunk()?;
        Some(Self {
            state: u32::from_le_bytes(*state),
            group: u16::from_le_bytes(*group),
            rows: u32::from_le_bytes(*rows),
            bytes: u64::from_le_bytes(*body),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_head_survives_its_bytes() {
        let head = SectionHead {
            state: 1,
            group: 2,
            rows: 3,
            bytes: 4,
        };
        assert_eq!(SectionHead::from_bytes(&head.to_bytes()), Some(head));
        assert_eq!(SectionHead::from_bytes(&head.to_bytes()[1..]), None);
    }
}
