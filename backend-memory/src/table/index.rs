//! The index: from a hash to the locations of entries.
//!
//! Words of 27 bits of the hash, its low ones, and 37 bits for the [`Location`], in an open-addressing table; at most three quarters are in use.
//! Probing goes around the line of the cache that the hash leads to, and on to the next line only where all of that one is in use. So nearly
//! every look-up costs one line, which can be fetched ahead, also if there is nothing to be found.
//!
//! Words are placed anew by the bits of the hash that they hold, when the index grows and when one before them is removed, so there are no tombstones.
//! Only an index with more words than those bits can number asks the entries for the low half of their hash. One that doubles splits each line into two, in the order
//! of memory, instead of probing for each word.

use super::page::Location;
use super::words::{LINE_WORDS, Line, Words};

/// How many lines are gone through at once when an index grows, whose entries are fetched together.
const FETCH_LINES: usize = 4;

/// The low bits of a word, which say where the entry lies.
const LOCATION_BITS: u32 = 64 - HASH_BITS;

/// The bits of the hash in a word.
const HASH_BITS: u32 = 27;

/// How many of the bits of the hash are used to place words. Fewer in tests, which cannot have very large indexes.
const PLACE_BITS: u32 = if cfg!(test) { 10 } else { HASH_BITS };

// The locations of a group fit: entries lie at multiples of 8, in at most 2^24 pages of 64 KiB or more.
const _: () = assert!(LOCATION_BITS >= 24 + 16 - Location::ZERO_BITS);

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
    words: Words,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            words: Words::new(1),
            used: 0,
        }
    }
}

/// The word for an entry with this hash.
#[inline(always)]
fn word_of(hash: u64, location: Location) -> u64 {
    let place = location.number() >> Location::ZERO_BITS;
    debug_assert!(
        place >> LOCATION_BITS == 0,
        "a group has less than a tebibyte of pages"
    );
    hash << LOCATION_BITS | place
}

/// Whether a word is one of an entry with this hash, as far as words tell.
#[inline(always)]
fn may_be(word: u64, hash: u64) -> bool {
    (word ^ hash << LOCATION_BITS) >> LOCATION_BITS == 0
}

/// Where the entry of a word lies.
#[inline(always)]
fn location_of(word: u64) -> Location {
    Location::from_word(word << HASH_BITS >> (HASH_BITS - Location::ZERO_BITS))
}

/// A bit for each place of a line, in the order in which they are looked at: around the line from where `hash` leads.
#[inline(always)]
fn from_hash(places: u32, hash: u32) -> u32 {
    (places | places << LINE_WORDS) >> (hash as usize % LINE_WORDS) & ((1 << LINE_WORDS) - 1)
}

/// The first place of a line that `hash` leads to and that is not in use, by a bit for each that is; there is one.
#[inline(always)]
fn first_free(used: u32, hash: u32) -> usize {
    let free = !used & ((1 << LINE_WORDS) - 1);
    (hash as usize + from_hash(free, hash).trailing_zeros() as usize) % LINE_WORDS
}

/// Bit `n` is set where `of` holds for the word that is looked at in step `n`. Without a branch, since nothing could be foreseen.
#[inline(always)]
fn bits(line: &Line, hash: u32, of: impl Fn(u64) -> bool) -> u32 {
    let mut places = 0_u32;
    for (number, word) in line.iter().enumerate() {
        places |= u32::from(of(*word)) << number;
    }
    from_hash(places, hash)
}

/// What probing for an entry comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// Its word and its location.
    Entry(usize, Location),
    /// The word that it would get.
    Free(usize),
}

/// The number of the word that is looked at in step `step`, where `hash` leads: around the line, then around the next one.
#[inline(always)]
fn probe(hash: u32, step: usize) -> usize {
    let hash = hash as usize;
    let line = hash / LINE_WORDS + step / LINE_WORDS;
    line * LINE_WORDS + (hash + step) % LINE_WORDS
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

    /// How many words there are.
    fn words(&self) -> usize {
        self.words.len() * LINE_WORDS
    }

    /// The bytes of the index.
    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[Line]>(&self.words)
    }

    /// The word `at`, modulo how many there are.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        let line = self.words.get((at / LINE_WORDS) & (self.words.len() - 1));
        line.and_then(|line| line.get(at % LINE_WORDS))
            .copied()
            .unwrap_or(0)
    }

    #[inline(always)]
    fn set(&mut self, at: usize, word: u64) {
        let last = self.words.len() - 1;
        if let Some(line) = self.words.get_mut((at / LINE_WORDS) & last)
            && let Some(place) = line.get_mut(at % LINE_WORDS)
        {
            *place = word;
        }
    }

    /// The line where probing for `hash` starts.
    #[inline(always)]
    pub(super) fn line(&self, hash: u64) -> Option<&Line> {
        self.line_at(hash, 0)
    }

    /// The line where probing for `hash` goes on if all of that one is in use, as it is for a few of a hundred.
    #[inline(always)]
    pub(super) fn next_line(&self, hash: u64) -> Option<&Line> {
        let is_full = !self.line(hash)?.contains(&0);
        if is_full { self.line_at(hash, 1) } else { None }
    }

    #[inline(always)]
    fn line_at(&self, hash: u64, further: usize) -> Option<&Line> {
        let line = super::low32(hash) as usize / LINE_WORDS + further;
        self.words.get(line & (self.words.len() - 1))
    }

    /// A location that may have an entry with `hash`, from a line that probing for it comes to. Only a hint: the entry may be another one, or
    /// lie further on.
    #[inline(always)]
    pub(super) fn hint(line: &Line, hash: u64) -> Option<Location> {
        // All words are compared, which costs less than to foresee where to stop.
        let mut found = 0;
        for word in line {
            found = if may_be(*word, hash) { *word } else { found };
        }
        (found != 0).then(|| location_of(found))
    }

    /// The first location that may have an entry with `hash` and `matches`, and the number of its word.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, matches: impl FnMut(Location) -> bool) -> Option<(usize, Location)> {
        match self.probe_from(0, hash, matches) {
            Probed::Entry(at, location) => Some((at, location)),
            Probed::Free(_) => None,
        }
    }

    /// As [`find`](Self::find), and where the word would be if there is none: faster where there mostly is none.
    #[inline(always)]
    pub(super) fn probe(&self, hash: u64, mut matches: impl FnMut(Location) -> bool) -> Probed {
        let start = super::low32(hash);
        let Some(line) = self.line(hash) else {
            return Probed::Free(0);
        };
        let free = bits(line, start, |word| word == 0);
        // Those in front of the first free one.
        let mut alike = bits(line, start, |word| may_be(word, hash)) & free.wrapping_sub(1) & !free;
        while alike != 0 {
            let at = probe(start, alike.trailing_zeros() as usize);
            let location = location_of(self.word(at));
            if matches(location) {
                return Probed::Entry(at, location);
            }
            alike &= alike - 1;
        }
        if free != 0 {
            return Probed::Free(probe(start, free.trailing_zeros() as usize));
        }
        self.probe_from(LINE_WORDS, hash, matches)
    }

    #[inline(always)]
    fn probe_from(&self, mut step: usize, hash: u64, mut matches: impl FnMut(Location) -> bool) -> Probed {
        let start = super::low32(hash);
        loop {
            let at = probe(start, step);
            let word = self.word(at);
            if word == 0 {
                return Probed::Free(at);
            }
            if may_be(word, hash) && matches(location_of(word)) {
                return Probed::Entry(at, location_of(word));
            }
            step += 1;
        }
    }

    /// Whether one more entry is added without growing.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        (self.used + 1) * 4 <= self.words() * 3
    }

    /// Adds an entry that is not there. `entries` are needed when the index grows.
    pub(super) fn insert(&mut self, hash: u64, location: Location, entries: &impl Entries) {
        if !self.has_room() {
            self.grow(self.words.len() * 2, entries);
        }
        self.used += 1;
        self.place(super::low32(hash), word_of(hash, location));
    }

    /// Adds an entry that is not there at the [free](Probed::Free) word that probing for it came to. The index [has room](Self::has_room).
    #[inline(always)]
    pub(super) fn insert_at(&mut self, at: usize, hash: u64, location: Location) {
        debug_assert!(self.has_room() && self.word(at) == 0, "the word is free");
        self.used += 1;
        self.set(at, word_of(hash, location));
    }

    /// Makes room for `count` in all.
    pub(super) fn reserve(&mut self, count: usize, entries: &impl Entries) {
        let words = (count.saturating_mul(4) / 3 + 1).next_power_of_two();
        let lines = words.div_ceil(LINE_WORDS);
        if lines > self.words.len() {
            self.grow(lines, entries);
        }
    }

    /// Puts a word into the first free place that probing for `hash` comes to.
    #[inline(always)]
    fn place(&mut self, hash: u32, word: u64) {
        let mut step = 0;
        while self.word(probe(hash, step)) != 0 {
            step += 1;
        }
        self.set(probe(hash, step), word);
    }

    /// Whether words hold as much of the hash as is needed to place them.
    fn can_place_words(&self) -> bool {
        (self.words() - 1) >> PLACE_BITS == 0
    }

    /// Places words that are not in the index.
    fn place_all<'a>(&mut self, words: impl Iterator<Item = &'a u64> + Clone, entries: &impl Entries) {
        let words = words.filter(|word| **word != 0);
        if self.can_place_words() {
            words.for_each(|word| self.place(super::low32(*word >> LOCATION_BITS), *word));
            return;
        }
        words.clone().for_each(|word| entries.fetch(location_of(*word)));
        words.for_each(|word| self.place(entries.hash(location_of(*word)), *word));
    }

    fn grow(&mut self, lines: usize, entries: &impl Entries) {
        let old = std::mem::replace(&mut self.words, Words::new(lines));
        if lines == old.len() * 2 && self.can_place_words() {
            self.split(&old);
            return;
        }
        for lines in old.chunks(FETCH_LINES) {
            self.place_all(lines.iter().flatten(), entries);
        }
    }

    /// Places the words of an index of half as many lines. Those that probing for them starts at become two lines, one after the other, without anything to foresee.
    fn split(&mut self, old: &Words) {
        let mut further = Vec::new();
        let half = old.len();
        let (low, high) = self.words.split_at_mut(half);
        for (number, ((old, low), high)) in old.iter().zip(low).zip(high).enumerate() {
            let (mut words, mut count) = ([0; LINE_WORDS], 0);
            for word in old {
                if let Some(place) = words.get_mut(count) {
                    *place = *word;
                }
                count += usize::from(*word != 0);
            }
            let (mut used_low, mut used_high) = (0, 0);
            for word in words.iter().take(count) {
                let hash = super::low32(word >> LOCATION_BITS);
                let line = hash as usize / LINE_WORDS;
                if line & (half - 1) != number {
                    further.push(*word);
                    continue;
                }
                let (line, used) = if line & half == 0 {
                    (&mut *low, &mut used_low)
                } else {
                    (&mut *high, &mut used_high)
                };
                let at = first_free(*used, hash);
                *used |= 1 << at;
                if let Some(place) = line.get_mut(at) {
                    *place = *word;
                }
            }
        }
        // Now that all others are where they are found, these go where there is room behind them.
        for word in further {
            self.place(super::low32(word >> LOCATION_BITS), word);
        }
    }

    /// Lets the word `at` lead to another location of the same entry.
    pub(super) fn move_to(&mut self, at: usize, location: Location) {
        let hash = self.word(at) >> LOCATION_BITS;
        self.set(at, word_of(hash, location));
    }

    /// Removes the word `at`.
    pub(super) fn remove(&mut self, at: usize, entries: &impl Entries) {
        self.set(at, 0);
        self.used -= 1;
        // Whatever probing came past this word to lies in its line, or, if all of that was in use, in those that follow until one was not.
        let last = self.words.len() - 1;
        let mut number = (at / LINE_WORDS) & last;
        let Some(line) = self.words.get_mut(number) else {
            return;
        };
        let line = std::mem::take(line);
        let mut taken = Vec::new();
        let mut was_full = line.iter().filter(|word| **word == 0).count() == 1;
        while was_full {
            number = (number + 1) & last;
            let Some(next) = self.words.get_mut(number) else {
                return;
            };
            was_full = !next.contains(&0);
            taken.extend(std::mem::take(next));
        }
        self.place_all(line.iter(), entries);
        self.place_all(taken.iter(), entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Entries that are nowhere but here: the hash of each by its location.
    #[derive(Default)]
    struct Hashes(HashMap<Location, u64>);

    impl Entries for Hashes {
        fn hash(&self, location: Location) -> u32 {
            crate::table::low32(self.0[&location])
        }

        fn fetch(&self, _location: Location) {}
    }

    fn check(places: usize, hash_of: impl Fn(usize) -> u64) {
        let mut index = Index::default();
        let mut entries = Hashes::default();
        for number in 0..places {
            let location = Location::new(number * 7, 65_528 - number % 100 * 8);
            entries.0.insert(location, hash_of(number));
            index.insert(hash_of(number), location, &entries);
        }
        assert_eq!(index.len(), places);
        let find = |index: &Index, number: usize, page: usize| {
            index.find(hash_of(number), |location| location.page() == page)
        };
        let moved = |number: usize| (1 << 24) - 1 - number;
        for number in 0..places {
            let (at, location) = find(&index, number, number * 7).unwrap();
            assert_eq!(entries.0[&location], hash_of(number));
            if number % 3 == 0 {
                index.remove(at, &entries);
            } else if number % 3 == 1 {
                let other = Location::new(moved(number), 8);
                entries.0.insert(other, hash_of(number));
                index.move_to(at, other);
            }
        }
        assert_eq!(index.len(), places - places.div_ceil(3));
        for number in 0..places {
            assert_eq!(
                find(&index, number, number * 7).is_some(),
                number % 3 == 2,
                "{number}"
            );
            assert_eq!(
                find(&index, number, moved(number)).is_some(),
                number % 3 == 1,
                "{number}"
            );
        }
    }

    fn scattered(number: usize) -> u64 {
        (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn entries_are_found_where_the_index_has_grown_and_others_were_removed() {
        for places in [1, 6, 7, 100, 700] {
            check(places, scattered);
        }
    }

    #[test]
    fn an_index_with_more_words_than_they_hold_of_a_hash_asks_the_entries() {
        check(5 << PLACE_BITS, scattered);
    }

    #[test]
    fn hashes_that_are_all_the_same_or_nearly_cost_time_and_nothing_else() {
        check(300, |_| u64::MAX);
        check(300, |number| number as u64 % 3 + (1 << 40));
        check(300, |number| (number as u64) << 3);
    }
}
