//! What one look-up in the index of a table costs: keys that are there, keys that are not, and new ones while the index grows, by the size of the table.
//!
//! `cargo bench -p millpond-backend-memory --bench index [-- FILTER]` prints the time of all look-ups of a round, and look-ups a second; the hash is given, as the engine gives it.
#![expect(clippy::unwrap_used, reason = "prints figures")]

use divan::Bencher;
use divan::counter::ItemsCount;
use millpond_backend_api::{Cell, KeyGroup, key_hash};
use millpond_backend_memory::table::{GroupTable, Layout, Parts};
use std::hint::black_box;

const LAYOUT: Layout = Layout::Fixed(8);
const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
/// Look-ups of a round.
const LOOKUPS: u64 = 100_000;

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn insert(bencher: Bencher<'_, '_>, size: u64) {
    let keys = keys(0..size);
    let bencher = bencher.counter(ItemsCount::new(size));
    bencher
        .with_inputs(|| GroupTable::new(0))
        .bench_local_refs(|table| fill(table, &keys));
}

#[divan::bench(args = SIZES)]
fn hit(bencher: Bencher<'_, '_>, size: u64) {
    let table = filled(size);
    let keys = keys((0..LOOKUPS).map(|n| scattered(n) % size));
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        for cell in cells(&keys) {
            black_box(table.find(LAYOUT, &Parts::of_cell(&cell)).unwrap());
        }
    });
}

#[divan::bench(args = SIZES)]
fn miss(bencher: Bencher<'_, '_>, size: u64) {
    let table = filled(size);
    let keys = keys((0..LOOKUPS).map(|n| size + scattered(n) % size));
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        for cell in cells(&keys) {
            assert!(table.find(LAYOUT, &Parts::of_cell(&cell)).is_none());
        }
    });
}

#[divan::bench(args = SIZES, sample_count = 20)]
fn find_and_remove(bencher: Bencher<'_, '_>, size: u64) {
    let keys = keys(0..size);
    let bencher = bencher.counter(ItemsCount::new(size));
    bencher.with_inputs(|| filled(size)).bench_local_refs(|table| {
        for cell in cells(&keys) {
            let placed = table.find(LAYOUT, &Parts::of_cell(&cell)).unwrap();
            table.remove(LAYOUT, placed);
        }
    });
}

fn filled(size: u64) -> GroupTable {
    let mut table = GroupTable::new(0);
    fill(&mut table, &keys(0..size));
    table
}

fn fill(table: &mut GroupTable, keys: &[([u8; 8], u64)]) {
    for cell in cells(keys) {
        table.insert_value(LAYOUT, &Parts::of_cell(&cell), &[1; 8], false);
    }
}

/// Keys with their hashes, made before anything is measured.
fn keys(numbers: impl Iterator<Item = u64>) -> Vec<([u8; 8], u64)> {
    let keys = numbers.map(u64::to_le_bytes);
    keys.map(|key| (key, key_hash(&key))).collect()
}

fn cells(keys: &[([u8; 8], u64)]) -> impl Iterator<Item = Cell<'_>> {
    keys.iter()
        .map(|(key, hash)| Cell::of_key(*hash, KeyGroup(0), key))
}

/// As in SplitMix64 (Steele, Lea and Flood 2014).
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
