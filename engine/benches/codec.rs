//! What the codec takes to write and read values, by their type.
//!
//! `cargo bench -p millpond-engine --bench codec [-- FILTER]` prints the time of a round over 256 values, which stay within the first-level cache, and values a second.
#![expect(clippy::unwrap_used, reason = "prints figures")]

use divan::Bencher;
use divan::counter::ItemsCount;
use millpond_engine::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

const VALUES: usize = 256;

/// A type of which there are different values.
trait Sample: Serialize + DeserializeOwned {
    fn of(number: u64) -> Self;
}

/// A record as programs have them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    items: Vec<(u32, f64)>,
    note: Option<String>,
}

impl Sample for u64 {
    fn of(number: u64) -> Self {
        number
    }
}

impl Sample for (u64, u64) {
    fn of(number: u64) -> Self {
        (number, number * 3)
    }
}

impl Sample for [u8; 32] {
    fn of(number: u64) -> Self {
        [number.to_le_bytes()[0]; 32]
    }
}

/// Of ten bytes.
impl Sample for String {
    fn of(number: u64) -> Self {
        format!("{number:010}")
    }
}

impl Sample for Order {
    fn of(number: u64) -> Self {
        Self {
            id: number,
            customer: format!("customer {number}"),
            items: (0..4).map(|item| (item, 1.5)).collect(),
            note: number.is_multiple_of(2).then(|| "fragile".to_owned()),
        }
    }
}

fn main() {
    divan::main();
}

#[divan::bench(types = [u64, (u64, u64), [u8; 32], String, Order])]
fn write<T: Sample>(bencher: Bencher<'_, '_>) {
    let (values, mut bytes) = (values::<T>(), Vec::new());
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        bytes.clear();
        for value in &values {
            codec::encode_into(black_box(value), &mut bytes).unwrap();
        }
    });
}

/// Into a place of the right length, as keys and slots are written where the type has one width.
#[divan::bench(types = [u64, (u64, u64), [u8; 32]])]
fn write_in_place<T: Sample>(bencher: Bencher<'_, '_>) {
    let values = values::<T>();
    let width = codec::shape_of::<T>().fixed_width().unwrap();
    let mut places = vec![0; width * VALUES];
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        for (value, place) in values.iter().zip(places.chunks_exact_mut(width)) {
            codec::encode_fixed(black_box(value), place).unwrap();
        }
        black_box(&mut places);
    });
}

#[divan::bench(types = [u64, (u64, u64), [u8; 32], String, Order])]
fn read<T: Sample>(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    for value in values::<T>() {
        codec::encode_into(&value, &mut bytes).unwrap();
    }
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            black_box(codec::decode_prefix::<T>(&mut rest).unwrap());
        }
    });
}

fn values<T: Sample>() -> Vec<T> {
    (0..VALUES as u64).map(T::of).collect()
}
