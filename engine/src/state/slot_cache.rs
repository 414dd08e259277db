//! The slots of hot keys, kept from batch to batch.
//!
//! Where few keys take most of the records, most look-ups of the state table give what they gave a moment ago. A small cache in front answers
//! them with one comparison; the backend is asked for the rest of the batch. It is for keys of 8 bytes, which compare as numbers, and it
//! stands aside while it does not pay.

use super::key_hashes::{group_hashes, hash_eight_byte_keys};
use super::keys::KeyColumn;
use crate::Result;
use crate::backend::KeyedBackend;
use millpond_backend_api::{KeyBatch, KeyGroup, Slot, StateId};

/// The sets of the cache, a power of two: 64 KiB, within the second-level cache of a core.
const SETS: usize = 2048;
/// The cache stands aside for at most so many batches at a time.
const PAUSE_MAX: u32 = 64;

/// Two keys with their slots: half a cache line.
#[derive(Clone, Copy, Debug)]
struct Set {
    keys: [u64; 2],
    slots: [Slot; 2],
}

const EMPTY: Set = Set {
    keys: [0; 2],
    slots: [Slot::NULL; 2],
};

/// A two-way cache from keys to slots.
#[derive(Debug)]
pub(super) struct SlotCache {
    sets: Vec<Set>,
    /// Nothing is in it.
    is_empty: bool,
    /// The backend's generation that the slots are of.
    generation: u64,
    /// How many batches to leave out.
    pause: u32,
    /// How many batches are left out the next time.
    next_pause: u32,
}

impl SlotCache {
    pub(super) fn new() -> Self {
        Self {
            sets: vec![EMPTY; SETS],
            is_empty: true,
            generation: Slot::STAY,
            pause: 0,
            next_pause: 1,
        }
    }

    /// Whether to use the cache for the next batch.
    pub(super) fn is_worth_it(&mut self) -> bool {
        if self.pause == 0 {
            return true;
        }
        self.pause -= 1;
        false
    }

    pub(super) fn clear(&mut self) {
        if !std::mem::replace(&mut self.is_empty, true) {
            self.sets.fill(EMPTY);
        }
    }

    /// Keeps what is in it only if the backend is still at the generation that it is of.
    #[inline]
    pub(super) fn begin(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.clear();
        }
    }

    /// Fills in the slots that are known and notes the keys that are not.
    pub(super) fn look_up(&mut self, keys: &[[u8; 8]], slots: &mut [Slot], asked: &mut AskedKeys) {
        for (record, (key, slot)) in keys.iter().zip(slots.iter_mut()).enumerate() {
            let number = u64::from_le_bytes(*key);
            let set = self.sets.get(set_of(number)).unwrap_or(&EMPTY);
            let way = usize::from(set.keys[0] != number);
            let found = if way == 0 { set.slots[0] } else { set.slots[1] };
            if (way == 0 || set.keys[1] == number) && !found.is_null() {
                *slot = found;
            } else {
                asked.push_key(key, record);
            }
        }
        if self.is_empty {
            // It was emptied, which says nothing about the keys.
            return;
        }
        if asked.len() * 4 > keys.len() * 3 {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
        } else {
            self.next_pause = 1;
        }
    }

    fn insert(&mut self, key: [u8; 8], slot: Slot) {
        let number = u64::from_le_bytes(key);
        self.is_empty = false;
        if let Some(set) = self.sets.get_mut(set_of(number)) {
            // The newer one goes first, unless it is there already.
            if set.keys[0] != number || set.slots[0].is_null() {
                set.keys = [number, set.keys[0]];
                set.slots = [slot, set.slots[0]];
            }
        }
    }
}

/// The set of a key, by Fibonacci hashing: keys that follow each other spread over all sets.
#[inline]
fn set_of(number: u64) -> usize {
    const SHIFT: u32 = 64 - SETS.trailing_zeros();
    usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHIFT).unwrap_or(0)
}

/// The keys of a batch that the backend is asked for, and what it said.
#[derive(Debug, Default)]
pub(super) struct AskedKeys {
    hashes: Vec<u64>,
    groups: Vec<KeyGroup>,
    bytes: Vec<u8>,
    /// Which record of the column each key belongs to.
    records: Vec<usize>,
    slots: Vec<Slot>,
    /// The backend was asked, and the batch has to be ended.
    is_open: bool,
}

impl AskedKeys {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the backend has an open batch of these keys.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn clear(&mut self) {
        self.is_open = false;
        self.hashes.clear();
        self.groups.clear();
        self.bytes.clear();
        self.records.clear();
        self.slots.clear();
    }

    #[inline]
    pub(super) fn push_key(&mut self, key: &[u8], record: usize) {
        self.bytes.extend_from_slice(key);
        self.records.push(record);
    }

    /// The keys as the backend takes them.
    pub(super) fn batch(&self) -> KeyBatch<'_> {
        KeyBatch {
            hashes: self.hashes.as_slice().into(),
            groups: self.groups.as_slice().into(),
            bytes: self.bytes.as_slice().into(),
            ends: (&[][..]).into(),
            width: 8,
        }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn ask_backend(
        &mut self,
        backend: &mut KeyedBackend,
        state: StateId,
        keys: &KeyColumn,
        from: usize,
    ) -> Result<u64> {
        self.hashes.clear();
        if keys.has_hashes() {
            self.hashes
                .extend(self.records.iter().map(|record| keys.hash(from + record)));
        } else {
            hash_eight_byte_keys(self.bytes.as_chunks::<8>().0, &mut self.hashes);
        }
        self.groups.clear();
        group_hashes(&self.hashes, keys.max_parallelism(), &mut self.groups);
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.resize(self.hashes.len(), Slot::NULL);
        let result = backend.slots(state, &self.batch(), &mut slots);
        self.slots = slots;
        result
    }

    /// Asks the backend for the slots of the keys, puts them into `slots` by record, and into the cache. Returns how many have no value.
    /// Records count from record `from` of `keys`. Where slots may move, the backend is asked also for none, so that it knows that others are in use.
    pub(super) fn ask(
        &mut self,
        backend: &mut KeyedBackend,
        state: StateId,
        keys: &KeyColumn,
        from: usize,
        slots: &mut [Slot],
        cache: &mut SlotCache,
    ) -> Result<u64> {
        if self.records.is_empty() && cache.generation == Slot::STAY {
            return Ok(0);
        }
        let absent = self.ask_backend(backend, state, keys, from)?;
        self.is_open = true;
        let (asked, _) = self.bytes.as_chunks::<8>();
        for ((record, slot), key) in self.records.iter().zip(&self.slots).zip(asked) {
            if let Some(place) = slots.get_mut(*record) {
                *place = *slot;
            }
            cache.insert(*key, *slot);
        }
        Ok(absent)
    }

    /// Asks the backend for the slots of the keys, whose records count from the first one of `keys`.
    pub(super) fn ask_again(
        &mut self,
        backend: &mut KeyedBackend,
        state: StateId,
        keys: &KeyColumn,
    ) -> Result<()> {
        self.ask_backend(backend, state, keys, 0).map(drop)
    }

    /// Whether the backend was asked for the key of this record.
    pub(super) fn has_asked(&self, record: usize) -> bool {
        self.records.binary_search(&record).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "slots of a local array, which outlives them")]
    fn the_cache_answers_what_was_put_in_and_pauses_while_it_does_not_pay() {
        let mut memory = [[0_u8; 16]; 4];
        let slots: Vec<Slot> = memory
            .iter_mut()
            // SAFETY: each cell has a flag byte and 8 bytes behind it, and outlives the slot.
            .map(|cell| unsafe { Slot::new(cell.as_mut_ptr().wrapping_add(8)) })
            .collect();
        let mut cache = SlotCache::new();
        // Three keys of one set: the oldest falls out.
        let same_set: Vec<u64> = (0..)
            .filter(|number| set_of(*number) == set_of(0))
            .take(4)
            .collect();
        let keys: Vec<[u8; 8]> = same_set.iter().map(|number| number.to_le_bytes()).collect();
        for (key, slot) in keys.iter().zip(&slots).take(3) {
            cache.insert(*key, *slot);
        }
        let mut found = vec![Slot::NULL; 4];
        let mut asked = AskedKeys::default();
        cache.look_up(&keys, &mut found, &mut asked);
        assert_eq!(found, [Slot::NULL, slots[1], slots[2], Slot::NULL]);
        assert_eq!(asked.records, [0, 3]);
        assert!(cache.is_worth_it());
        asked.clear();
        cache.clear();
        cache.look_up(&keys, &mut found, &mut asked);
        assert_eq!(asked.len(), 4, "key 0 is not taken for an empty place");
        assert!(cache.is_worth_it(), "an empty cache is not judged");
        asked.clear();
        let elsewhere = (0..).find(|number| set_of(*number) != set_of(0));
        cache.insert(elsewhere.unwrap_or(0_u64).to_le_bytes(), slots[0]);
        cache.look_up(&keys, &mut found, &mut asked);
        assert_eq!(asked.len(), 4);
        assert!(!cache.is_worth_it());
        assert!(cache.is_worth_it(), "a pause ends");
    }
}
