//! The index of a section: built in memory when the section ends, probed in the file where it lies.
//!
//! Open addressing with linear probing over words of 16 bits tag (the hash's upper bits) and 48 bits offset plus 1, as the table in
//! memory has it; 0 is an empty word. The home of a hash is given by its low bits.

use super::layout::{OFFSET_MASK, index_of, index_words};

/// The tag of a hash, where a word has it.
#[inline]
pub(super) fn tag(hash: u64) -> u64 {
    hash & !OFFSET_MASK
}

/// What a word of an index says about a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing with this hash follows.
    Empty,
    /// An entry with another tag.
    Other,
    /// The entry at this offset of the section may be meant.
    Offset(u64),
    /// No writer writes this.
    Nonsense,
}

/// Reads `word` on behalf of `hash`.
#[inline]
pub(super) fn read_word(word: u64, hash: u64) -> Word {
    if word == 0 {
        return Word::Empty;
    }
    if tag(word) != tag(hash) {
        return Word::Other;
    }
    match word & OFFSET_MASK {
        0 => Word::Nonsense,
        number => Word::Offset(number - 1),
    }
}

/// Collects the entries of a section and makes its index. Its memory is used again for the next section.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    /// Hash and offset of each entry.
    entries: Vec<(u64, u64)>,
    words: Vec<u64>,
}

impl IndexBuilder {
    pub(super) fn begin(&mut self, entries_hint: usize) {
        self.entries.clear();
        self.entries.reserve(entries_hint);
    }

    #[inline]
    pub(super) fn push(&mut self, hash: u64, offset: u64) {
        self.entries.push((hash, offset));
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The words of the index. All offsets are below 2^48 - 1; equal hashes lie in the order in which they were pushed.
    pub(super) fn build(&mut self) -> &[u64] {
        let words = index_of(index_words(self.len()).unwrap_or(0));
        self.words.clear();
        self.words.resize(words, 0);
        let mask = words.wrapping_sub(1);
        for (hash, offset) in &self.entries {
            let mut at = index_of(*hash) & mask;
            // Ends at an empty word, and there is one: fewer entries than words.
            while let Some(place) = self.words.get_mut(at) {
                if *place == 0 {
                    *place = tag(*hash) | (offset + 1);
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        &self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hashes_lie_side_by_side_and_wrap_around() {
        let mut builder = IndexBuilder::default();
        builder.begin(3);
        let hash = 0xabcd_0000_0000_0007;
        for offset in [0, 10, 20] {
            builder.push(hash, offset);
        }
        let tag = 0xabcd << 48;
        assert_eq!(builder.build(), [tag | 11, tag | 21, 0, tag | 1]);
        builder.begin(0);
        assert_eq!(builder.build(), []);
    }

    #[test]
    fn a_word_is_read_for_what_it_is() {
        let hash = 0xabcd_0000_0000_0007;
        assert_eq!(read_word(0, hash), Word::Empty);
        assert_eq!(read_word(0xabce << 48 | 5, hash), Word::Other);
        assert_eq!(read_word(0xabcd << 48 | 5, hash), Word::Offset(4));
        assert_eq!(read_word(0xabcd << 48, hash), Word::Nonsense);
    }
}
