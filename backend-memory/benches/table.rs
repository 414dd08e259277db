//! What updates through the slots of the table cost: one thread, values of 8 bytes, 128 key groups, uniform keys, hashes given, batches of 1024; keys are
//! numbers of 8 bytes, and texts of different lengths.
//!
//! `cargo bench -p millpond-backend-memory --bench table [-- FILTER]` prints the time of all updates of a round, and updates a second, by the number of keys: `update` of keys that
//! are there, `fill` of an empty table, with two updates a key.
#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "plays the engine and prints figures; does not use all that benches share"
)]

mod support;

use divan::Bencher;
use divan::counter::ItemsCount;
use millpond_backend_api::{KeyedState, Slot, StateDescriptor, StateId, StateKind};
use millpond_backend_memory::MemoryKeyedState;
use support::{BATCH, Batch, Records, Storage, open};

const SIZES: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];
/// Updates of a round.
const UPDATES: u64 = 4_000_000;

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn update(bencher: Bencher<'_, '_>, keys: u64) {
    updates(bencher, keys, false);
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn update_text(bencher: Bencher<'_, '_>, keys: u64) {
    updates(bencher, keys, true);
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn fill(bencher: Bencher<'_, '_>, keys: u64) {
    let records = Records::new(keys * 2, keys, false);
    let batches = records.batches();
    let bencher = bencher.counter(ItemsCount::new(keys * 2));
    bencher
        .with_inputs(empty)
        .bench_local_refs(|(keyed, state)| count(keyed, *state, &batches));
}

fn updates(bencher: Bencher<'_, '_>, keys: u64, text: bool) {
    let records = Records::new(UPDATES.max(keys * 2), keys, text);
    let batches = records.batches();
    let (mut keyed, state) = empty();
    count(&mut keyed, state, &batches);
    let number = records.hashes.len();
    bencher
        .counter(ItemsCount::new(number))
        .bench_local(|| count(&mut keyed, state, &batches));
}

fn empty() -> (MemoryKeyedState, StateId) {
    let mut keyed = open(Vec::new(), &Storage::default());
    let state = keyed.register(&StateDescriptor::new("count", StateKind::Value, 8));
    (keyed, state.unwrap())
}

/// Adds one to the value of each key, as the engine does.
fn count(keyed: &mut MemoryKeyedState, state: StateId, batches: &[Batch<'_>]) {
    let mut places = vec![Slot::NULL; BATCH];
    for batch in batches {
        let batch = batch.keys();
        let slots = &mut places[..batch.len()];
        keyed.slots(state, &batch, slots).unwrap();
        for slot in slots.iter() {
            // SAFETY: slots of this batch, one reference at a time.
            let value = unsafe { slot.value(8) };
            let count = u64::from_le_bytes(value.try_into().unwrap()) + 1;
            value.copy_from_slice(&count.to_le_bytes());
            // SAFETY: as above.
            unsafe { slot.set_present(true) };
        }
        keyed.end_batch(state, &batch, slots, false).unwrap();
    }
}
