//! How many operations a second the kinds take, one at a time: values of varying width, lists, maps and sorted maps.
//!
//! `cargo bench -p millpond-backend-memory --bench operations [-- KEYS...]`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "prints figures; does not use all that benches share"
)]

mod support;

use millpond_backend_api::{
    Cell, EntryBuffer, KeyGroup, KeyedState, StateDescriptor, StateId, StateKind, key_hash,
};
use millpond_backend_memory::MemoryKeyedState;
use std::time::Instant;
use support::{Batch, Records, Storage, open};

fn main() {
    let mut sizes: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 1_000_000];
    }
    for keys in sizes {
        let records = Records::new(4_000_000.max(keys * 2), keys, false);
        let batches = records.batches();
        let run =
            |kind: StateKind, name: &str, op: &mut dyn FnMut(&mut MemoryKeyedState, StateId, &Batch<'_>)| {
                let mut keyed = open(Vec::new(), &Storage::default());
                let state = keyed.register(&StateDescriptor::new("state", kind, 0)).unwrap();
                let mut rates = Vec::new();
                for _ in 0..2 {
                    let start = Instant::now();
                    for batch in &batches {
                        keyed.prefetch(state, &batch.keys());
                        op(&mut keyed, state, batch);
                    }
                    let rate = records.hashes.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
                    rates.push(format!("{rate:6.2}"));
                }
                println!("{keys:>10} keys, {name}: {} M/s", rates.join(" "));
            };
        run(
            StateKind::Value,
            "value: get and put of 20 bytes",
            &mut |keyed, state, batch| {
                for cell in batch.cells() {
                    let mut value = [0; 20];
                    if let Some(found) = keyed.get(state, &cell).unwrap() {
                        value.copy_from_slice(found);
                    }
                    value[0] = value[0].wrapping_add(1);
                    keyed.put(state, &cell, &value).unwrap();
                }
            },
        );
        run(
            StateKind::List,
            "list: append of 4 bytes",
            &mut |keyed, state, batch| {
                for cell in batch.cells() {
                    keyed.append(state, &cell, &[1; 4]).unwrap();
                }
            },
        );
        run(
            StateKind::Map,
            "map: get and put, 4 map keys a key",
            &mut |keyed, state, batch| {
                for cell in batch.cells() {
                    let map_key = [cell.hash.to_le_bytes()[0] & 3];
                    let cell = cell.with_map_key(&map_key);
                    let found = keyed.get(state, &cell).unwrap().map_or(0, |value| value[0]);
                    keyed.put(state, &cell, &[found.wrapping_add(1); 8]).unwrap();
                }
            },
        );
        timers(keys);
    }
}

/// Timers as the engine keeps them: put 1000, take the first 1000 away, in one sorted map of `size`.
fn timers(size: u64) {
    let mut keyed = open(Vec::new(), &Storage::default());
    let state = keyed
        .register(&StateDescriptor::new("timers", StateKind::SortedMap, 0))
        .unwrap();
    let at = Cell::of_key(key_hash(b""), KeyGroup(0), b"");
    let map_key = |time: u64, number: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&time.to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let mut next = 0_u64;
    let mut put = |keyed: &mut MemoryKeyedState, count: u64| {
        for _ in 0..count {
            next += 1;
            let time = next + (next.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % size;
            keyed
                .put(state, &at.with_map_key(&map_key(time, next)), b"")
                .unwrap();
        }
    };
    put(&mut keyed, size);
    let start = Instant::now();
    let mut entries = EntryBuffer::new();
    for _ in 0..1000 {
        put(&mut keyed, 1000);
        entries.clear();
        keyed.scan(state, &at, &[], 1000, &mut entries).unwrap();
        for entry in entries.iter() {
            keyed.delete(state, &at.with_map_key(entry.map_key)).unwrap();
        }
    }
    let rate = 1.0 / start.elapsed().as_secs_f64();
    println!("{size:>10} timers in one group: put, scan and delete of one: {rate:6.2} M/s");
}
