//! What snapshots cost: the pause, the updates after it, writing, and restoring. One state of numbers of 8 bytes to values of 8 bytes.
//!
//! `cargo bench -p millpond-backend-memory --bench snapshots [-- KEYS...]`
#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "plays the engine and prints figures; does not use all that benches share"
)]

mod support;

use millpond_backend_api::{
    KeyedState, Slot, SnapshotForm, SnapshotRequest, SnapshotWriter, StateDescriptor, StateId, StateKind,
};
use millpond_backend_memory::MemoryKeyedState;
use std::time::Instant;
use support::{BATCH, Batch, Records, Storage, open};

fn main() {
    let mut sizes: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000_000, 10_000_000];
    }
    for keys in sizes {
        run(keys);
    }
}

fn count(keyed: &mut MemoryKeyedState, state: StateId, batches: &[Batch<'_>]) -> f64 {
    let mut places = vec![Slot::NULL; BATCH];
    let start = Instant::now();
    for batch in batches {
        let batch = batch.keys();
        let slots = &mut places[..batch.len()];
        keyed.slots(state, &batch, slots).unwrap();
        for slot in slots.iter() {
            // SAFETY: slots of this batch.
            unsafe { slot.set_present(true) };
        }
        keyed.end_batch(state, &batch, slots, false).unwrap();
    }
    start.elapsed().as_secs_f64()
}

fn run(keys: u64) {
    let storage = Storage::default();
    let mut keyed = open(Vec::new(), &storage);
    let descriptor = StateDescriptor::new("count", StateKind::Value, 8);
    let state = keyed.register(&descriptor).unwrap();
    let records = Records::new(keys * 2, keys, false);
    let batches = records.batches();
    count(&mut keyed, state, &batches);
    let plain = count(&mut keyed, state, &batches);
    let request = SnapshotRequest {
        checkpoint_id: 1,
        may_share: false,
        form: SnapshotForm::Native,
    };
    let start = Instant::now();
    let mut writer = keyed.snapshot(&request).unwrap();
    let pause_us = start.elapsed().as_secs_f64() * 1e6;
    let sharing = count(&mut keyed, state, &batches);
    let copied = keyed.metrics()[3].1;
    let start = Instant::now();
    let handles = writer.write(&storage.streams()).unwrap();
    let write = start.elapsed().as_secs_f64();
    let file_mb = handles[0].state_bytes as f64 / 1e6;
    let start = Instant::now();
    drop(writer);
    let release = start.elapsed().as_secs_f64();
    // As under way: a snapshot is written by another thread while the updates go on, once a round.
    let rounds: Vec<String> = (0..4)
        .map(|_| {
            let mut writer = keyed.snapshot(&request).unwrap();
            let storage = Storage::default();
            let thread = std::thread::spawn(move || drop(writer.write(&storage.streams()).unwrap()));
            let seconds = count(&mut keyed, state, &batches);
            thread.join().unwrap();
            format!("{seconds:.3}")
        })
        .collect();
    let start = Instant::now();
    let restored = open(handles, &storage);
    let restore = start.elapsed().as_secs_f64();
    println!(
        "{keys:>10} keys, {:.0} MB in memory, {file_mb:.0} MB written: pause {pause_us:.0} us; {} updates in {plain:.3} s, \
         after the pause in {sharing:.3} s ({:.0} pages copied), beside a writer in {} s; write {:.0} MB/s; free {:.0} ms; restore {:.0} MB/s, {:.2} M entries/s",
        keyed.metrics()[0].1 / 1e6,
        keys * 2,
        copied,
        rounds.join(" "),
        file_mb / write,
        release * 1e3,
        file_mb / restore,
        restored.metrics()[1].1 / restore / 1e6,
    );
}
