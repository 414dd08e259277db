//! What one look-up in the index of a table costs: keys that are there, keys that are not, and new ones while the index grows, by the size of the table.
//!
//! `cargo bench -p millpond-backend-memory --bench index [-- KEYS...]` prints nanoseconds an operation; the hash is given, as the engine gives it.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "prints figures")]

use millpond_backend_api::{Cell, KeyGroup, key_hash};
use millpond_backend_memory::table::{GroupTable, Layout, Parts};
use std::hint::black_box;
use std::time::Instant;

const LAYOUT: Layout = Layout::Fixed(8);
/// Look-ups of each measurement.
const LOOKUPS: u64 = 4_000_000;

fn main() {
    let mut sizes: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![100, 10_000, 1_000_000];
    }
    for keys in sizes {
        let mut table = GroupTable::new(0);
        let insert = per_operation(keys, 0..keys, |cell| {
            table.insert_value(LAYOUT, &Parts::of_cell(cell), &[1; 8], false);
        });
        let hit = per_operation(LOOKUPS, (0..LOOKUPS).map(|n| scattered(n) % keys), |cell| {
            black_box(table.find(LAYOUT, &Parts::of_cell(cell)).unwrap());
        });
        let miss = per_operation(
            LOOKUPS,
            (0..LOOKUPS).map(|n| keys + scattered(n) % keys),
            |cell| {
                assert!(table.find(LAYOUT, &Parts::of_cell(cell)).is_none());
            },
        );
        let remove = per_operation(keys, 0..keys, |cell| {
            let placed = table.find(LAYOUT, &Parts::of_cell(cell)).unwrap();
            table.remove(LAYOUT, placed);
        });
        println!(
            "{keys:>10} keys: insert {insert:6.1} ns, hit {hit:6.1} ns, miss {miss:6.1} ns, find and remove {remove:6.1} ns"
        );
    }
}

/// As in SplitMix64 (Steele, Lea and Flood 2014).
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Nanoseconds that `operation` takes; keys and hashes are made before.
#[expect(clippy::cast_precision_loss, reason = "a run is shorter than 2^53 ns")]
fn per_operation(count: u64, keys: impl Iterator<Item = u64>, mut operation: impl FnMut(&Cell<'_>)) -> f64 {
    let keys: Vec<([u8; 8], u64)> = keys
        .map(u64::to_le_bytes)
        .map(|key| (key, key_hash(&key)))
        .collect();
    let start = Instant::now();
    for (key, hash) in &keys {
        operation(&Cell::of_key(*hash, KeyGroup(0), key));
    }
    start.elapsed().as_nanos() as f64 / count as f64
}
