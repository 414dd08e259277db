//! Key groups: the unit in which keyed state is placed and moved.
//!
//! A key's hash picks its key group, and the group's number picks the subtask that owns it, so state can be rescaled by whole groups
//! without looking at a key. The rule is Flink's (`KeyGroupRangeAssignment`): with M = max parallelism and P = parallelism,
//! `group = murmur(hash32(key)) mod M`, `owner(group) = group * P / M`, and subtask i owns the groups
//! `(i * M + P - 1) / P ..= ((i + 1) * M - 1) / P`.

use abi_stable::StableAbi;
use std::fmt;

/// The highest max parallelism, and so the highest number of key groups, of an operator.
pub const MAX_PARALLELISM_LIMIT: u32 = 32_768;

/// The number of a key group, `0 .. max_parallelism` (at most [`MAX_PARALLELISM_LIMIT`]).
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

impl KeyGroup {
    /// The group as an index.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for KeyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An inclusive range of key groups, never empty.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyGroupRange {
    /// The first group of the range.
    pub first: KeyGroup,
    /// The last group of the range, itself included; not below `first`.
    pub last: KeyGroup,
}

impl KeyGroupRange {
    /// The range `first ..= last`; `None` when `first` is above `last`.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self {
            first: KeyGroup(first),
            last: KeyGroup(last),
        })
    }

    /// The range that subtask `subtask` of `parallelism` owns. `None` unless
    /// `subtask < parallelism <= max_parallelism <=` [`MAX_PARALLELISM_LIMIT`].
    #[must_use]
    pub fn of_subtask(subtask: u32, parallelism: u32, max_parallelism: u32) -> Option<Self> {
        if subtask >= parallelism || parallelism > max_parallelism || max_parallelism > MAX_PARALLELISM_LIMIT
        {
            return None;
        }
        let first = (subtask * max_parallelism).div_ceil(parallelism);
        let last = ((subtask + 1) * max_parallelism - 1) / parallelism;
        Self::new(u16::try_from(first).ok()?, u16::try_from(last).ok()?)
    }

    /// How many groups the range has, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> usize {
        self.last.index() - self.first.index() + 1
    }

    /// Whether `group` lies in the range.
    #[inline]
    #[must_use]
    pub fn contains(&self, group: KeyGroup) -> bool {
        self.first <= group && group <= self.last
    }

    /// The groups that both ranges have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.first.0.max(other.first.0), self.last.0.min(other.last.0))
    }

    /// The groups in order.
    pub fn iter(&self) -> impl Iterator<Item = KeyGroup> + use<> {
        (self.first.0..=self.last.0).map(KeyGroup)
    }
}

impl fmt::Display for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

/// The hash that every part of Millpond uses for a key: XXH3 (64 bits, seed 0) over the key's encoded bytes.
///
/// It is specified by its authors and does not change between versions, processes or machines, so it may be stored.
#[inline]
#[must_use]
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The key group of a key with the hash `key_hash`, as Flink places it: the upper half of the hash through Murmur3's finish, modulo
/// `max_parallelism` (1 ..= [`MAX_PARALLELISM_LIMIT`]; 0 counts as 1).
#[inline]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a hash are taken on purpose; the remainder is below 2^15"
)]
pub fn key_group(key_hash: u64, max_parallelism: u32) -> KeyGroup {
    let mixed = murmur_word((key_hash >> 32) as u32);
    let groups = max_parallelism.max(1);
    if groups.is_power_of_two() {
        KeyGroup((mixed & (groups - 1)) as u16)
    } else {
        KeyGroup((mixed % groups) as u16)
    }
}

/// The subtask that owns `group`: `group * parallelism / max_parallelism`.
#[inline]
#[must_use]
pub fn owner(group: KeyGroup, parallelism: u32, max_parallelism: u32) -> u32 {
    u32::from(group.0) * parallelism / max_parallelism.max(1)
}

/// The max parallelism of an operator that does not set one: 1.5 times the parallelism, rounded up to a power of two, within
/// 128 ..= [`MAX_PARALLELISM_LIMIT`].
#[must_use]
pub fn default_max_parallelism(parallelism: u32) -> u32 {
    let wanted = parallelism.saturating_add(parallelism / 2);
    wanted
        .checked_next_power_of_two()
        .unwrap_or(MAX_PARALLELISM_LIMIT)
        .clamp(128, MAX_PARALLELISM_LIMIT)
}

/// Murmur3-32 over one word with seed 0, made non-negative as Flink's `MathUtils.murmurHash` does.
#[inline]
fn murmur_word(word: u32) -> u32 {
    let mut code = word
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593);
    code = code.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    code ^= 4;
    code = (code ^ (code >> 16)).wrapping_mul(0x85eb_ca6b);
    code = (code ^ (code >> 13)).wrapping_mul(0xc2b2_ae35);
    code ^= code >> 16;
    // The minimum has no positive twin: it becomes 0.
    let signed = code.cast_signed();
    signed.checked_abs().map_or(0, i32::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_partition_the_groups_for_every_parallelism() {
        for (max, parallelisms) in [(128, 1..=128), (130, 1..=130), (1, 1..=1), (37, 1..=37)] {
            for parallelism in parallelisms {
                let mut next = 0;
                for subtask in 0..parallelism {
                    let range = KeyGroupRange::of_subtask(subtask, parallelism, max).unwrap();
                    assert_eq!(u32::from(range.first.0), next);
                    for group in range.iter() {
                        assert_eq!(owner(group, parallelism, max), subtask);
                    }
                    next = u32::from(range.last.0) + 1;
                }
                assert_eq!(next, max);
            }
        }
    }

    #[test]
    fn ranges_refuse_more_subtasks_than_groups() {
        assert_eq!(KeyGroupRange::of_subtask(0, 129, 128), None);
        assert_eq!(KeyGroupRange::of_subtask(4, 4, 128), None);
        assert_eq!(KeyGroupRange::of_subtask(0, 1, 40_000), None);
    }

    #[test]
    fn murmur_agrees_with_flink() {
        // MathUtils.murmurHash of 0, 1, 42 and -1.
        let reference = [
            (0_u32, 593_689_054_u32),
            (1, 68_075_478),
            (42, 1_134_849_565),
            (u32::MAX, 1_982_413_648),
        ];
        for (word, expected) in reference {
            assert_eq!(murmur_word(word), expected, "word {word}");
        }
    }

    #[test]
    fn the_key_hash_never_changes() {
        assert_eq!(key_hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(
            key_group(key_hash(b"flink"), 128),
            key_group(key_hash(b"flink"), 128)
        );
    }

    #[test]
    fn derived_max_parallelism_follows_flinks_rule() {
        assert_eq!(default_max_parallelism(1), 128);
        assert_eq!(default_max_parallelism(100), 256);
        assert_eq!(default_max_parallelism(u32::MAX), 32_768);
    }
}
