//! Words of lines and their hashes, as the jobs compute them: what [`generate`](crate::generate) defines byte by byte, here without a branch a byte.

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Calls `take` with each word of a line: what stands between bytes up to the space.
#[inline]
pub(crate) fn each_word<'a>(line: &'a str, mut take: impl FnMut(&'a str)) {
    let (blocks, rest) = line.as_bytes().as_chunks::<BLOCK>();
    let mut words = Words {
        line,
        began: None,
        take: &mut take,
    };
    let mut at = 0;
    for block in blocks {
        words.block(at, gaps(block));
        at += BLOCK;
    }
    // What lies behind the end is a gap and ends the last word.
    let mut last = [0; BLOCK];
    if let Some(place) = last.get_mut(..rest.len()) {
        place.copy_from_slice(rest);
    }
    words.block(at, gaps(&last));
}

/// The words of a line as far as it was looked at.
struct Words<'a, 'f, F> {
    line: &'a str,
    /// Where a word began that has not ended.
    began: Option<usize>,
    take: &'f mut F,
}

impl<'a, F: FnMut(&'a str)> Words<'a, '_, F> {
    /// The block at `at`, with a bit for each byte between words.
    #[inline]
    fn block(&mut self, at: usize, gaps: u64) {
        // A bit at each byte that is not of the sort of the one before it.
        let before = u64::from(self.began.is_none());
        let mut edges = gaps ^ (gaps << 1 | before);
        let mut next = || {
            let edge = edges.trailing_zeros() as usize;
            let is_one = edges != 0;
            edges &= edges.wrapping_sub(1);
            is_one.then_some(at + edge)
        };
        loop {
            let Some(from) = self.began.take().or_else(&mut next) else {
                return;
            };
            let Some(to) = next() else {
                self.began = Some(from);
                return;
            };
            // Both are beside a character of one byte, or at an end.
            if let Some(word) = self.line.get(from..to) {
                (self.take)(word);
            }
        }
    }
}

/// A bit for each byte up to the space, the lowest for the first one.
#[inline]
fn gaps(block: &[u8; BLOCK]) -> u64 {
    /// In each byte.
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const TO_HIGH_BIT: u64 = 0x0101_0101_0101_0101 * (0x7f - b' ' as u64);
    /// Brings the lowest bits of eight bytes together in the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = block.as_chunks::<8>();
    eights.iter().rev().fold(0, |gaps, eight| {
        let bytes = u64::from_le_bytes(*eight);
        // The high bit of each byte above the space; no sum leaves its byte.
        let above = ((bytes & LOW_BITS) + TO_HIGH_BIT) | bytes;
        let gap = (!above & !LOW_BITS) >> 7;
        gaps << 8 | gap.wrapping_mul(GATHER) >> 56
    })
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// What takes back the steps for so many bytes of zero: the powers of the prime's inverse.
#[expect(
    clippy::indexing_slicing,
    reason = "constant: an index beyond the powers would not compile"
)]
const TAKEN_BACK: [u64; 9] = {
    let mut inverse = FNV_PRIME;
    let mut round = 0;
    // Newton's iteration, from 3 right bits on.
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(FNV_PRIME.wrapping_mul(inverse)));
        round += 1;
    }
    let mut powers = [1_u64; 9];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = powers[index - 1].wrapping_mul(inverse);
        index += 1;
    }
    powers
};

/// The 64-bit FNV-1a hash of a word, eight bytes at a time.
///
/// A byte of zero only multiplies by the prime, which can be taken back. So eight steps are always done and the surplus taken back, instead of a loop whose length
/// the processor can only guess.
#[inline]
pub(crate) fn fnv1a(word: &[u8]) -> u64 {
    let (eights, rest) = word.as_chunks::<8>();
    let hash = eights.iter().fold(FNV_OFFSET, |hash, eight| {
        eight_steps(hash, u64::from_le_bytes(*eight))
    });
    if rest.is_empty() {
        return hash;
    }
    let surplus = TAKEN_BACK.get(8 - rest.len()).copied().unwrap_or(1);
    eight_steps(hash, little_endian(rest)).wrapping_mul(surplus)
}

#[inline]
fn eight_steps(hash: u64, bytes: u64) -> u64 {
    (0..8).fold(hash, |hash, index| {
        (hash ^ (bytes >> (8 * index) & 0xff)).wrapping_mul(FNV_PRIME)
    })
}

/// Up to eight bytes as a number, the first one lowest.
#[inline]
fn little_endian(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The bytes that both have fall on themselves.
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first))
                | u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4))
        }
        _ => bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;

    fn words_of(line: &str) -> Vec<&str> {
        let mut words = Vec::new();
        each_word(line, |word| words.push(word));
        words
    }

    #[test]
    fn words_are_those_of_the_plain_loop_at_any_place_of_a_block() {
        let gaps = [" ", "\t", "\u{0}", "\r\n ", "\u{1f}"];
        let parts = ["a", "!", "to", "\u{7f}", "ü", "日本語", "sixteen-letters!", "€ "];
        let mut line = String::new();
        for round in 0..400_usize {
            assert_eq!(
                words_of(&line),
                generate::words(line.as_bytes())
                    .map(|range| &line[range])
                    .collect::<Vec<_>>(),
                "{line:?}"
            );
            let random = usize::try_from(generate::splitmix64(round as u64) >> 32).unwrap();
            line.push_str(parts[random % parts.len()]);
            if random & 64 != 0 {
                line.push_str(gaps[random / 256 % gaps.len()]);
            }
            if round % 40 == 39 {
                line.clear();
            }
        }
        assert_eq!(words_of(&"x".repeat(BLOCK)), ["x".repeat(BLOCK)]);
        assert_eq!(words_of(&" ".repeat(BLOCK + 1)), [""; 0]);
        for at in 0..3 * BLOCK {
            let line = format!("{}two{}", " ".repeat(at), "words ".repeat(at));
            assert_eq!(words_of(&line), line.split_whitespace().collect::<Vec<_>>());
        }
    }

    #[test]
    fn hashes_are_those_of_the_plain_loop_at_any_length() {
        let bytes: Vec<u8> = (0..40_u8)
            .map(|index| index.wrapping_mul(7).wrapping_add(190))
            .collect();
        for from in 0..bytes.len() {
            for to in from..=bytes.len() {
                let word = &bytes[from..to];
                assert_eq!(fnv1a(word), generate::fnv1a(word), "{word:?}");
            }
        }
        assert_eq!(fnv1a(&[0; 5]), generate::fnv1a(&[0; 5]));
    }
}
