//! The directory: the states of a file and its sections. It is small, read as a whole when the file is opened, and holds the checksums of
//! the tables that hold the checksums of everything else.

use super::layout::{CHECK_BYTES, HEADER_BYTES, OFFSET_MASK, WORD_BYTES, blocks, index_words};
use super::writer::GroupTotals;
use millpond_backend_api::canonical::bytes::{Bytes, put_varint};
use millpond_backend_api::canonical::read_states;
use millpond_backend_api::{KeyGroup, StateDescriptor, StateKind};

/// The section of one state in one key group, as the directory describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SectionInfo {
    /// The state's index in the directory.
    pub(super) state: u32,
    pub(super) group: KeyGroup,
    /// The bytes of the entries.
    pub(super) entries_len: u64,
    /// How many entries there are, deleted ones too.
    pub(super) entries: u64,
    pub(super) deleted: u64,
    /// How many different (key, namespace) there are; counted for maps only, 0 for other kinds.
    pub(super) maps: u64,
    pub(super) totals: GroupTotals,
    /// The CRC32 of the check table.
    pub(super) table_crc32: u32,
}

/// Where the parts of a section lie: follows from the sections before it and its own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The section's first byte in the file.
    pub(super) offset: u64,
    /// The words of the index.
    pub(super) words: u64,
    /// The words of the index of maps.
    pub(super) head_words: u64,
    /// The bytes that are checksummed by blocks: entries, index, index of maps.
    pub(super) area_len: u64,
    /// The number of its first block among all blocks of the file.
    pub(super) first_block: u64,
    pub(super) blocks: u64,
}

impl Extent {
    /// The extent of a section that begins at `offset`, its first block having the number `first_block`. `None` for numbers that no
    /// section can have.
    pub(super) fn of(kind: StateKind, info: &SectionInfo, offset: u64, first_block: u64) -> Option<Self> {
        let indexed = if kind == StateKind::SortedMap {
            0
        } else {
            info.entries
        };
        let words = index_words(indexed)?;
        let head_words = index_words(info.maps)?;
        let area_len = words
            .checked_add(head_words)?
            .checked_mul(WORD_BYTES)?
            .checked_add(info.entries_len)?;
        let possible = info.entries_len < OFFSET_MASK
            && info.deleted <= info.entries
            && info.maps <= info.entries
            && (kind == StateKind::Map || info.maps == 0)
            && (info.entries == 0) == (info.entries_len == 0);
        possible.then_some(Self {
            offset,
            words,
            head_words,
            area_len,
            first_block,
            blocks: blocks(area_len),
        })
    }

    /// Where the check table begins.
    pub(super) fn table_offset(&self) -> u64 {
        self.offset.saturating_add(self.area_len)
    }

    pub(super) fn table_len(&self) -> u64 {
        self.blocks.saturating_mul(CHECK_BYTES)
    }

    /// The first byte behind the section.
    pub(super) fn end(&self) -> u64 {
        self.table_offset().saturating_add(self.table_len())
    }
}

/// The states and sections of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) states: Vec<StateDescriptor>,
    /// In the order of (group, state), none twice.
    pub(super) sections: Vec<(SectionInfo, Extent)>,
}

/// The order of sections in a file.
fn rank(info: &SectionInfo) -> (KeyGroup, u32) {
    (info.group, info.state)
}

impl Directory {
    /// Reads the directory of a file whose sections must fill what is between the header and `end`. `None` if they do not, or `bytes` is
    /// no directory.
    pub(super) fn read(bytes: &mut Bytes<'_>, end: u64) -> Option<Self> {
        // Nothing is reserved by these counts: they are as untrusted as the rest.
        let mut directory = Self {
            states: read_states(bytes)?,
            ..Self::default()
        };
        let (mut offset, mut first_block) = (HEADER_BYTES, 0);
        for _ in 0..bytes.varint()? {
            let info = SectionInfo::read(bytes)?;
            let state = directory.states.get(info.state as usize)?;
            let extent = Extent::of(state.kind, &info, offset, first_block)?;
            let last = directory.sections.last();
            if last.is_some_and(|(last, _)| rank(last) >= rank(&info)) || extent.end() > end {
                return None;
            }
            offset = extent.end();
            first_block += extent.blocks;
            directory.sections.push((info, extent));
        }
        (offset == end && bytes.is_empty()).then_some(directory)
    }

    /// The number of the section of a state in a group.
    pub(super) fn find(&self, state: u32, group: KeyGroup) -> Option<usize> {
        self.sections
            .binary_search_by_key(&(group, state), |(info, _)| rank(info))
            .ok()
    }

    /// How many blocks the sections have.
    pub(super) fn blocks(&self) -> u64 {
        let last = self.sections.last();
        last.map_or(0, |(_, extent)| extent.first_block + extent.blocks)
    }
}

impl SectionInfo {
    /// Appends the section as a directory has it.
    pub(super) fn put(&self, to: &mut Vec<u8>) {
        for number in [
            u64::from(self.state),
            u64::from(self.group.0),
            self.entries_len,
            self.entries,
            self.deleted,
            self.maps,
            self.totals.cells,
            self.totals.encoded_bytes,
        ] {
            put_varint(to, number);
        }
        to.extend_from_slice(&self.table_crc32.to_le_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            state: u32::try_from(bytes.varint()?).ok()?,
            group: KeyGroup(u16::try_from(bytes.varint()?).ok()?),
            entries_len: bytes.varint()?,
            entries: bytes.varint()?,
            deleted: bytes.varint()?,
            maps: bytes.varint()?,
            totals: GroupTotals {
                cells: bytes.varint()?,
                encoded_bytes: bytes.varint()?,
            },
            table_crc32: bytes.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::canonical::put_states;

    fn section(group: u16, state: u32, entries: u64) -> SectionInfo {
        SectionInfo {
            state,
            group: KeyGroup(group),
            entries_len: entries * 10,
            entries,
            deleted: 0,
            maps: 0,
            totals: GroupTotals::default(),
            table_crc32: 5,
        }
    }

    fn states() -> Vec<StateDescriptor> {
        vec![
            StateDescriptor::new("a", StateKind::Value, 8),
            StateDescriptor::new("b", StateKind::Map, 0),
            StateDescriptor::new("c", StateKind::SortedMap, 0),
        ]
    }

    fn bytes(states: &[StateDescriptor], sections: &[SectionInfo]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_states(&mut bytes, states);
        put_varint(&mut bytes, sections.len() as u64);
        sections.iter().for_each(|section| section.put(&mut bytes));
        bytes
    }

    fn read(states: &[StateDescriptor], sections: &[SectionInfo], end: u64) -> Option<Directory> {
        Directory::read(&mut Bytes::new(&bytes(states, sections)), end)
    }

    /// Three sections, and where the last ends: 10 entries in 16 words, 1 in 2 and a head in 2, 7 without index; a block each.
    fn sample() -> ([SectionInfo; 3], u64) {
        let map = SectionInfo {
            maps: 1,
            ..section(3, 1, 1)
        };
        let sections = [section(3, 0, 10), map, section(4, 2, 7)];
        (sections, 16 + (100 + 128 + 4) + (10 + 16 + 16 + 4) + (70 + 4))
    }

    #[test]
    fn sections_lie_one_behind_the_other_up_to_the_directory() {
        let (sections, end) = sample();
        let directory = read(&states(), &sections, end).unwrap();
        assert_eq!(directory.states, states());
        let infos: Vec<SectionInfo> = directory.sections.iter().map(|(info, _)| *info).collect();
        assert_eq!(infos, sections);
        let offsets: Vec<u64> = directory
            .sections
            .iter()
            .map(|(_, extent)| extent.offset)
            .collect();
        assert_eq!(offsets, [16, 248, 294]);
        assert_eq!(directory.blocks(), 3);
        assert_eq!(directory.find(1, KeyGroup(3)), Some(1));
        assert_eq!(directory.find(1, KeyGroup(4)), None);
        for end in [end - 1, end + 1, 16, u64::MAX] {
            assert_eq!(read(&states(), &sections, end), None, "{end}");
        }
    }

    #[test]
    fn sections_out_of_order_or_twice_are_refused() {
        let ([a, b, c], end) = sample();
        for sections in [[b, a, c], [a, c, b], [c, a, b]] {
            assert_eq!(read(&states(), &sections, end), None);
        }
        let twice = [section(3, 0, 10), section(3, 0, 10)];
        assert_eq!(read(&states(), &twice, 16 + 2 * 232), None);
    }

    #[test]
    fn numbers_that_no_section_can_have_are_refused() {
        let ([a, b, c], end) = sample();
        let change = |of: fn(&mut [SectionInfo; 3])| {
            let mut sections = [a, b, c];
            of(&mut sections);
            read(&states(), &sections, end)
        };
        assert!(change(|_| ()).is_some());
        assert_eq!(change(|[a, ..]| a.state = 3), None);
        assert_eq!(change(|[a, ..]| a.deleted = 11), None);
        assert_eq!(change(|[a, ..]| a.maps = 1), None);
        assert_eq!(change(|[_, b, _]| b.maps = 2), None);
        assert_eq!(change(|[_, _, c]| c.entries = 0), None);
        assert_eq!(change(|[_, _, c]| c.entries_len = 0), None);
        assert_eq!(change(|[_, _, c]| c.entries_len = OFFSET_MASK), None);
        assert_eq!(change(|[_, _, c]| c.entries_len = u64::MAX), None);
        assert_eq!(change(|[a, ..]| a.entries = u64::MAX), None);
        assert_eq!(change(|[a, ..]| a.entries = 1 << 62), None);
        // Sums that come out right after an overflow.
        assert_eq!(change(|[a, ..]| a.entries = 1 << 60), None);
    }

    #[test]
    fn states_that_cannot_be_are_refused() {
        let mut twice = states();
        twice[2].name = "a".into();
        assert_eq!(read(&twice, &[], 16), None);
        let mut wide = states();
        wide[1].value_width = 8;
        assert_eq!(read(&wide, &[], 16), None);
        let right = bytes(&states(), &[]);
        assert!(Directory::read(&mut Bytes::new(&right), 16).is_some());
        let mut longer = right.clone();
        longer.push(0);
        assert!(Directory::read(&mut Bytes::new(&longer), 16).is_none());
        for len in 0..right.len() {
            assert!(Directory::read(&mut Bytes::new(&right[..len]), 16).is_none());
        }
        for hostile in [
            &[0xff, 0xff, 0xff, 0xff, 0x7f][..],
            &[0, 0xff, 0xff, 0x7f],
            &[1, 1, 0xff, 0, 0, 0, 0],
        ] {
            assert!(Directory::read(&mut Bytes::new(hostile), 16).is_none());
        }
    }
}
