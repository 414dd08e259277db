//! The records that every engine under test is given, and the answer they must come to.
//!
//! All arithmetic wraps at 64 bits. Record `i` of a run has the key `splitmix64(i) mod K`; subtask `p` of `P` emits the records `p`,
//! `p + P`, `p + 2 P`, and so on. Checksums are sums over the records, so they depend on no order.

use std::ops::{AddAssign, Range};

/// The increment of splitmix64: 2^64 divided by the golden ratio.
pub(crate) const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Steele, Lea and Flood's mixer of 64 bits ("Fast splittable pseudorandom number generators", 2014).
#[inline]
pub(crate) fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(GOLDEN_GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The key of record `index` among `keys` keys, at least 1.
#[inline]
pub(crate) fn key_of(index: u64, keys: u64) -> u64 {
    splitmix64(index) % keys
}

/// The value of record `index` in windows: the top byte of its random number.
#[inline]
pub(crate) fn value_of(index: u64) -> u64 {
    splitmix64(index) >> 56
}

/// What stands for a word in checksums: the 64-bit FNV-1a hash of its bytes.
#[inline]
pub(crate) fn fnv1a(word: &[u8]) -> u64 {
    word.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Where the words of a line are: what stands between bytes up to the space, which are characters of their own in any text.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let gap = line.get(at..)?.iter().position(|byte| *byte > b' ')?;
        let from = at + gap;
        let len = line.get(from..)?.iter().position(|byte| *byte <= b' ');
        at = len.map_or(line.len(), |len| from + len);
        Some(from..at)
    })
}

/// What a run's outputs come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The number of outputs.
    pub(crate) outputs: u64,
    /// The sum of the counts or, of windows, of the sums that were emitted.
    pub(crate) sum_counts: u64,
    /// The sum over the outputs of `splitmix64(key + GOLDEN_GAMMA * count)`, of windows of `splitmix64(splitmix64(key + GOLDEN_GAMMA * start) + sum)`.
    pub(crate) checksum: u64,
}

impl Tally {
    /// Adds the output `(key, count)`.
    #[inline]
    pub(crate) fn add(&mut self, key: u64, count: u64) {
        let mixed = splitmix64(key.wrapping_add(GOLDEN_GAMMA.wrapping_mul(count)));
        self.outputs += 1;
        self.sum_counts = self.sum_counts.wrapping_add(count);
        self.checksum = self.checksum.wrapping_add(mixed);
    }
}

impl Tally {
    /// Adds the output `(key, start, sum)` of a window.
    #[inline]
    pub(crate) fn add_window(&mut self, key: u64, start: u64, sum: u64) {
        let mixed = splitmix64(key.wrapping_add(GOLDEN_GAMMA.wrapping_mul(start)));
        self.outputs += 1;
        self.sum_counts = self.sum_counts.wrapping_add(sum);
        self.checksum = self.checksum.wrapping_add(splitmix64(mixed.wrapping_add(sum)));
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.outputs += other.outputs;
        self.sum_counts = self.sum_counts.wrapping_add(other.sum_counts);
        self.checksum = self.checksum.wrapping_add(other.checksum);
    }
}

/// The most keys that a plain loop keeps counts of.
const KEYS_MAX: u64 = 200_000_000;

/// What `keyed-count` must come to, by a plain loop; `None` when the counts would not fit into memory.
pub(crate) fn expected_counts(records: u64, keys: u64) -> Option<Tally> {
    let all = Part {
        first: 0,
        step: 1,
        count: records,
    };
    expected_counts_of(&[all], keys)
}

/// Some of the records: those with the numbers `first`, `first + step`, and so on, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) step: u64,
    pub(crate) count: u64,
}

/// As [`expected_counts`], of the records of `parts` only.
pub(crate) fn expected_counts_of(parts: &[Part], keys: u64) -> Option<Tally> {
    if keys > KEYS_MAX {
        return None;
    }
    let mut counts = vec![0_u32; usize::try_from(keys).ok()?];
    let mut tally = Tally::default();
    for part in parts {
        for nth in 0..part.count {
            let key = key_of(part.first + nth * part.step, keys);
            let count = counts.get_mut(usize::try_from(key).ok()?)?;
            *count = count.checked_add(1)?;
            tally.add(key, u64::from(*count));
        }
    }
    Some(tally)
}

/// What `tumbling-window` must come to, by a plain loop; `None` when the sums would not fit into memory.
pub(crate) fn expected_windows(records: u64, keys: u64, ratio: u64, window_ms: u64) -> Option<Tally> {
    if keys > KEYS_MAX {
        return None;
    }
    let mut sums: Vec<Option<u64>> = vec![None; usize::try_from(keys).ok()?];
    let mut tally = Tally::default();
    let mut start = 0;
    let mut close = |start: u64, sums: &mut Vec<Option<u64>>| {
        for (key, sum) in (0_u64..).zip(sums.iter_mut()) {
            if let Some(sum) = sum.take() {
                tally.add_window(key, start, sum);
            }
        }
    };
    for index in 0..records {
        let time = index / ratio;
        let of_record = time - time % window_ms;
        if of_record != start {
            close(start, &mut sums);
            start = of_record;
        }
        let sum = sums.get_mut(usize::try_from(key_of(index, keys)).ok()?)?;
        *sum = Some(sum.unwrap_or(0) + value_of(index));
    }
    close(start, &mut sums);
    Some(tally)
}

/// What `exchange` must come to: every key once, with a count of 0.
pub(crate) fn expected_keys(records: u64, keys: u64) -> Tally {
    let mut tally = Tally::default();
    for index in 0..records {
        tally.add(key_of(index, keys), 0);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        // The first outputs of the reference generator seeded with 1234567.
        let seed = 1_234_567_u64;
        let outputs: Vec<u64> = (0..3_u64)
            .map(|n| splitmix64(seed.wrapping_add(GOLDEN_GAMMA.wrapping_mul(n))))
            .collect();
        assert_eq!(
            outputs,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn counts_of_one_key_are_one_two_three() {
        let tally = expected_counts(3, 1).unwrap();
        let mut by_hand = Tally::default();
        for count in 1..=3 {
            by_hand.add(0, count);
        }
        assert_eq!(tally, by_hand);
        assert_eq!(tally.sum_counts, 6);
    }

    #[test]
    fn parts_that_make_up_all_records_come_to_the_same() {
        let part = |first, count| Part {
            first,
            step: 3,
            count,
        };
        let parts = [part(0, 34), part(1, 33), part(2, 33)];
        assert_eq!(expected_counts_of(&parts, 7), expected_counts(100, 7));
        assert_ne!(expected_counts_of(&parts[..2], 7), expected_counts(100, 7));
    }

    #[test]
    fn windows_of_three_records_a_millisecond_end_where_the_time_does() {
        let tally = expected_windows(7, 1, 3, 2).unwrap();
        let mut by_hand = Tally::default();
        by_hand.add_window(0, 0, (0..6).map(value_of).sum());
        by_hand.add_window(0, 2, value_of(6));
        assert_eq!(tally, by_hand);
    }

    #[test]
    fn words_end_at_any_byte_up_to_the_space_and_have_the_published_hash() {
        let line = b"\tto be\r\x00or  not ";
        let found: Vec<&[u8]> = words(line).map(|range| &line[range]).collect();
        assert_eq!(found, [&b"to"[..], b"be", b"or", b"not"]);
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_tally_does_not_depend_on_the_order() {
        let (mut forth, mut back) = (Tally::default(), Tally::default());
        for key in 0..100 {
            forth.add(key, key % 7);
            back.add(99 - key, (99 - key) % 7);
        }
        assert_eq!(forth, back);
    }
}
