//! The index: from a hash to the locations of entries.
//!
//! Open addressing with linear probing over words of 16 bits tag (the hash's upper bits) and 48 bits [`Location`]; at most three quarters
//! are in use. A removed word is filled by moving later ones of its run up, so there are no tombstones. The words hold too little of
//! the hash to be placed anew, so growing and removing ask for the low half of an entry's hash.

use super::page::Location;
use super::words::Words;

const FIRST_WORDS: usize = 8;

/// How many words are gone through at once when an index grows, whose entries are fetched together.
const FETCH_STEP: usize = 32;

/// What an index asks of the entries that it leads to.
pub(super) trait Entries {
    /// The low half of the hash of the entry at a location.
    fn hash(&self, location: Location) -> u32;

    /// Fetches what [`hash`](Self::hash) will read.
    fn fetch(&self, location: Location);
}

/// An index of one group.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) words: Words,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            words: Words::new(FIRST_WORDS),
            used: 0,
        }
    }
}

/// The tag of a hash, where a word has it.
#[inline]
pub(super) fn tag(hash: u64) -> u64 {
    hash & !Location::MASK
}

impl Index {
    /// How many entries there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The bytes of the index.
    pub(super) fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    #[inline]
    pub(super) fn mask(&self) -> usize {
        self.words.len() - 1
    }

    /// The number of the word where probing for `hash` starts.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        super::index_of(hash) & self.mask()
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.words.get(at & self.mask()).copied().unwrap_or(0)
    }

    /// The first location with the tag of `hash` that `matches`, and the number of its word.
    #[inline]
    pub(super) fn find(&self, hash: u64, matches: impl Fn(Location) -> bool) -> Option<(usize, Location)> {
        let mut at = self.home(hash);
        loop {
            let word = self.word(at);
            if word == 0 {
                return None;
            }
            let location = Location::from_word(word);
            if tag(word) == tag(hash) && matches(location) {
                return Some((at & self.mask(), location));
            }
            at += 1;
        }
    }

    /// Adds an entry that is not there. `entries` are needed when the index grows.
    pub(super) fn insert(&mut self, hash: u64, location: Location, entries: &impl Entries) {
        if (self.used + 1) * 4 > self.words.len() * 3 {
            self.grow(self.words.len() * 2, entries);
        }
        self.used += 1;
        self.place(super::low32(hash), tag(hash) | location.number());
    }

    /// Makes room for `count` in all.
    pub(super) fn reserve(&mut self, count: usize, entries: &impl Entries) {
        let words = (count.saturating_mul(4) / 3 + 1)
            .next_power_of_two()
            .max(FIRST_WORDS);
        if words > self.words.len() {
            self.grow(words, entries);
        }
    }

    fn place(&mut self, hash: u32, word: u64) {
        let mut at = hash as usize;
        while self.word(at) != 0 {
            at += 1;
        }
        self.set(at, word);
    }

    fn set(&mut self, at: usize, word: u64) {
        let mask = self.mask();
        if let Some(place) = self.words.get_mut(at & mask) {
            *place = word;
        }
    }

    fn grow(&mut self, words: usize, entries: &impl Entries) {
        let old = std::mem::replace(&mut self.words, Words::new(words));
        for step in old.chunks(FETCH_STEP) {
            for word in step.iter().filter(|word| **word != 0) {
                entries.fetch(Location::from_word(*word));
            }
            for word in step.iter().filter(|word| **word != 0) {
                self.place(entries.hash(Location::from_word(*word)), *word);
            }
        }
    }

    /// Lets the word `at` lead to another location of the same entry.
    pub(super) fn move_to(&mut self, at: usize, location: Location) {
        let word = tag(self.word(at)) | location.number();
        self.set(at, word);
    }

    /// Removes the word `at`.
    pub(super) fn remove(&mut self, at: usize, entries: &impl Entries) {
        let mask = self.mask();
        let mut hole = at & mask;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let word = self.word(next);
            if word == 0 {
                break;
            }
            let home = entries.hash(Location::from_word(word)) as usize & mask;
            // The word may move up only if its home is not between the hole and itself.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.set(hole, word);
                hole = next;
            }
        }
        self.set(hole, 0);
        self.used -= 1;
    }
}
