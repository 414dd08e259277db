//! Fixed-width values that are changed in place while a snapshot of them is written on another thread.
#![expect(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "plays the engine, which accesses slots, under one argument each"
)]

use crate::support::{Content, Storage, all_groups, cell, content, freeze, group_of, open, register};
use millpond_backend_api::{
    KeyBatch, KeyGroup, KeyedState, Slot, SnapshotHandle, SnapshotWriter, StateId, StateKind, key_hash,
};
use millpond_backend_memory::MemoryKeyedState;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

const WIDTH: usize = 24;
const STATE_WIDTH: u32 = 24;

/// Random numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn index(&mut self, limit: u64) -> usize {
        usize::try_from(self.below(limit)).unwrap()
    }
}

fn value(seed: u64) -> [u8; WIDTH] {
    let mut value = [0; WIDTH];
    for (word, number) in value.chunks_exact_mut(8).zip(1..) {
        word.copy_from_slice(&seed.wrapping_mul(number * 2 + 1).to_le_bytes());
    }
    value
}

struct Job {
    keyed: MemoryKeyedState,
    state: StateId,
    model: BTreeMap<u64, u64>,
    /// Slots that are kept as the engine keeps them: until the next snapshot or removal.
    kept: Vec<(u64, Slot)>,
    numbers: Numbers,
    keys: u64,
    seed: u64,
}

impl Job {
    /// Sets the values of some keys through their slots, and those of keys whose slots are kept; keys that are not there are added.
    fn batch(&mut self, len: usize) {
        let keys: Vec<u64> = (0..len).map(|_| self.numbers.below(self.keys)).collect();
        let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        let hashes: Vec<u64> = keys.iter().map(|key| key_hash(&key.to_le_bytes())).collect();
        let groups: Vec<KeyGroup> = keys.iter().map(|key| group_of(&key.to_le_bytes())).collect();
        let batch = KeyBatch {
            hashes: (&hashes[..]).into(),
            groups: (&groups[..]).into(),
            bytes: (&bytes[..]).into(),
            ends: (&[][..]).into(),
            width: 8,
        };
        let mut slots = vec![Slot::NULL; len];
        self.keyed.slots(self.state, &batch, &mut slots).unwrap();
        let given: Vec<_> = keys.iter().copied().zip(slots.iter().copied()).collect();
        for (key, slot) in self.kept.iter().chain(&given) {
            self.seed += 1;
            // SAFETY: a slot of this batch, or one that was kept since the latest snapshot and removal; one reference at a time.
            unsafe {
                if slot.is_present() {
                    assert_eq!(slot.value(WIDTH), value(self.model[key]));
                }
                slot.value(WIDTH).copy_from_slice(&value(self.seed));
                slot.set_present(true);
            }
            self.model.insert(*key, self.seed);
        }
        self.keyed.end_batch(self.state, &batch, &slots, false).unwrap();
        if self.kept.len() < 500 {
            self.kept.extend(given.iter().step_by(16));
        }
    }

    /// Removes some keys and sets others, without slots. Places of removed entries are used again.
    fn calls(&mut self, len: usize) {
        self.kept.clear();
        for _ in 0..len {
            let key = self.numbers.below(self.keys);
            if self.numbers.below(3) == 0 {
                self.seed += 1;
                let bytes = key.to_le_bytes();
                self.keyed
                    .put(self.state, &cell(&bytes), &value(self.seed))
                    .unwrap();
                self.model.insert(key, self.seed);
            } else {
                let was_there = self.keyed.delete(self.state, &cell(&key.to_le_bytes())).unwrap();
                assert_eq!(self.model.remove(&key).is_some(), was_there);
            }
        }
    }

    fn content(&self) -> Content {
        let model = self.model.iter();
        let content = model.map(|(key, seed)| {
            let address = (key.to_le_bytes().to_vec(), Vec::new(), Vec::new());
            (address, value(*seed).to_vec())
        });
        content.collect()
    }

    fn change(&mut self) {
        if self.numbers.below(6) == 0 {
            self.calls(50);
        } else {
            let len = [1, 20, 100, 400][self.numbers.index(4)];
            self.batch(len);
        }
    }

    fn freeze(&mut self) -> impl SnapshotWriter + use<> {
        self.kept.clear();
        freeze(&mut self.keyed)
    }

    fn figure(&self, name: &str) -> f64 {
        let metrics = self.keyed.metrics();
        metrics.iter().find(|(known, _)| known == name).unwrap().1
    }
}

fn assert_has(handles: &[SnapshotHandle], storage: &Storage, expected: &Content) {
    let mut restored = open(all_groups(), handles, storage).unwrap();
    let state = register(&mut restored, "value", StateKind::Value, STATE_WIDTH);
    let found = content(&mut restored, state, all_groups());
    assert_eq!(found.len(), expected.len());
    assert!(found == *expected, "an entry is not as it was at the snapshot");
}

fn job(keys: u64, storage: &Storage) -> Job {
    let mut keyed = open(all_groups(), &[], storage).unwrap();
    let state = register(&mut keyed, "value", StateKind::Value, STATE_WIDTH);
    let mut job = Job {
        keyed,
        state,
        model: BTreeMap::new(),
        kept: Vec::new(),
        numbers: Numbers(keys),
        keys,
        seed: 0,
    };
    for _ in 0..keys.div_ceil(1000) {
        job.batch(1000);
    }
    job
}

#[test]
fn a_snapshot_has_what_was_there_whatever_is_changed_in_place_while_it_is_written() {
    for keys in [200, 40_000] {
        let storage = Storage::default();
        let mut job = job(keys, &storage);
        for round in 0..12 {
            let expected = job.content();
            let mut writer = job.freeze();
            // From none to most of the entries have been changed before the first page is read.
            for _ in 0..[0, 1, 10, 100][round % 4] {
                job.change();
            }
            let is_done = AtomicBool::new(false);
            let handles = std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let handles = writer.write(&storage.streams()).unwrap();
                    is_done.store(true, Ordering::Relaxed);
                    handles
                });
                while !is_done.load(Ordering::Relaxed) {
                    job.change();
                }
                thread.join().unwrap()
            });
            drop(writer);
            assert_has(&handles, &storage, &expected);
        }
        assert!(job.figure("entries_kept") > 1000.0);
        assert_eq!(job.figure("pages_shared"), 0.0);
        let content = content(&mut job.keyed, job.state, all_groups());
        assert!(content == job.content());
    }
}

#[test]
fn snapshots_that_overlap_have_each_what_was_there() {
    let storage = Storage::default();
    let mut job = job(5000, &storage);
    for round in 0..20 {
        let mut writers = Vec::new();
        for _ in 0..3 {
            let expected = job.content();
            writers.push((job.freeze(), expected));
            for _ in 0..job.numbers.below(20) {
                job.change();
            }
        }
        // The one whose pages are changed in place is the first, the last, or is given up.
        writers.rotate_left(round % 3);
        if round % 4 == 3 {
            writers.pop();
        }
        for (mut writer, expected) in writers {
            job.change();
            let handles = writer.write(&storage.streams()).unwrap();
            drop(writer);
            job.change();
            assert_has(&handles, &storage, &expected);
        }
        // Whatever was held back is no longer shared once it is touched.
        for _ in 0..40 {
            job.change();
        }
    }
    assert!(job.figure("entries_kept") > 1000.0 && job.figure("pages_copied") > 100.0);
}

#[test]
fn places_that_are_freed_and_used_again_are_kept_once() {
    let storage = Storage::default();
    let mut job = job(300, &storage);
    let places = job.figure("entries");
    let mut writer = job.freeze();
    let expected = job.content();
    for round in 0..200_u64 {
        for key in 0..300_u64 {
            let bytes = (key + round % 2 * 1000).to_le_bytes();
            job.keyed.put(job.state, &cell(&bytes), &value(key)).unwrap();
            job.keyed.delete(job.state, &cell(&bytes)).unwrap();
        }
    }
    assert!(job.figure("entries_kept") <= places);
    let handles = writer.write(&storage.streams()).unwrap();
    assert_has(&handles, &storage, &expected);
}
