//! How many updates a second go through the slots of the table: one thread, values of 8 bytes, 128 key groups, uniform keys, hashes given,
//! batches of 1024; keys are numbers of 8 bytes, and texts of different lengths.
//!
//! `cargo bench -p millpond-backend-memory --bench table [-- KEYS...]` prints two lines for each number of keys.
#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "plays the engine and prints figures; does not use all that benches share"
)]

mod support;

use millpond_backend_api::{KeyedState, Slot, StateDescriptor, StateKind};
use std::time::Instant;
use support::{BATCH, Records, Storage, open};

fn main() {
    let mut sizes: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000, 10_000_000];
    }
    for keys in sizes {
        run(keys, false);
        run(keys, true);
    }
}

fn run(keys: u64, text: bool) {
    let mut keyed = open(Vec::new(), &Storage::default());
    let state = keyed
        .register(&StateDescriptor::new("count", StateKind::Value, 8))
        .unwrap();
    let records = Records::new(10_000_000.max(keys * 2), keys, text);
    let batches = records.batches();
    let mut places = vec![Slot::NULL; BATCH];
    let mut rates = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        for batch in &batches {
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
        let seconds = start.elapsed().as_secs_f64();
        rates.push(format!("{:7.2}", records.hashes.len() as f64 / seconds / 1e6));
    }
    let bytes = keyed.metrics()[0].1;
    println!(
        "{keys:>10} {} keys: M/s in three rounds {}; {:.0} MB",
        if text { "text  " } else { "number" },
        rates.join(" "),
        bytes / 1e6,
    );
}
