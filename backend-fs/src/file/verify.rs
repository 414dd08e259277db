//! Which blocks were found to be what was written. Each is read and verified once, at its first touch or by the sweep.

use super::layout::index_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// A set of numbers `0 .. len` that only grows; shared by threads.
#[derive(Debug)]
pub(super) struct GrowingSet {
    words: Box<[AtomicU64]>,
}

impl GrowingSet {
    pub(super) fn new(len: u64) -> Self {
        let words = (0..len.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { words }
    }

    /// Whether `number` is in the set. The bytes that it stands for never change, so no order with other memory is needed.
    #[inline]
    pub(super) fn contains(&self, number: u64) -> bool {
        let word = self.words.get(index_of(number / 64));
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (number % 64) & 1 == 1)
    }

    pub(super) fn insert(&self, number: u64) {
        if let Some(word) = self.words.get(index_of(number / 64)) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_inserted_and_no_more() {
        let set = GrowingSet::new(130);
        for number in [0, 63, 64, 129] {
            assert!(!set.contains(number));
            set.insert(number);
            assert!(set.contains(number));
        }
        assert_eq!((0..400).filter(|number| set.contains(*number)).count(), 4);
    }
}
