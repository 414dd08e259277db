//! What the codec takes to write and read one value, by the type of the value.
//!
//! `cargo bench -p millpond-engine --bench codec` prints nanoseconds a value and bytes a value.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "prints figures")]

use millpond_engine::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Instant;

/// Values that are written and read over and over, within the first-level cache.
const VALUES: usize = 256;
const ROUNDS: usize = 20_000;

/// A record as programs have them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    items: Vec<(u32, f64)>,
    note: Option<String>,
}

fn main() {
    measure("u64", |n| n);
    measure("(u64, u64)", |n| (n, n * 3));
    measure("[u8; 32]", |n| [n.to_le_bytes()[0]; 32]);
    measure("String of 10 bytes", |n| format!("{n:010}"));
    measure("struct with a list and texts", |n| Order {
        id: n,
        customer: format!("customer {n}"),
        items: (0..4).map(|item| (item, 1.5)).collect(),
        note: (n % 2 == 0).then(|| "fragile".to_owned()),
    });
}

fn measure<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    name: &str,
    make: impl Fn(u64) -> T,
) {
    let values: Vec<T> = (0..VALUES as u64).map(make).collect();
    let mut bytes = Vec::new();
    let write = per_value(|| {
        bytes.clear();
        for value in &values {
            codec::encode_into(black_box(value), &mut bytes).unwrap();
        }
    });
    let read = per_value(|| {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            black_box(codec::decode_prefix::<T>(&mut rest).unwrap());
        }
    });
    let first: T = codec::decode_prefix(&mut bytes.as_slice()).unwrap();
    assert_eq!(Some(&first), values.first());
    let len = bytes.len() / VALUES;
    // Into a place of the right length, as keys and slots are written, where the type has one width.
    let fixed = codec::shape_of::<T>().fixed_width().map(|width| {
        let mut places = vec![0; width * VALUES];
        per_value(|| {
            for (value, place) in values.iter().zip(places.chunks_exact_mut(width)) {
                codec::encode_fixed(black_box(value), place).unwrap();
            }
            black_box(&mut places);
        })
    });
    let fixed = fixed.map_or_else(|| "     -".to_owned(), |ns| format!("{ns:6.2}"));
    println!("{name:>30}: write {write:6.2} ns, in place {fixed} ns, read {read:6.2} ns, {len} bytes");
}

/// Nanoseconds a value of a round over all values, the best of three.
#[expect(clippy::cast_precision_loss, reason = "a run is shorter than 2^53 ns")]
fn per_value(mut round: impl FnMut()) -> f64 {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                round();
            }
            start.elapsed().as_nanos() as f64 / (ROUNDS * VALUES) as f64
        })
        .fold(f64::INFINITY, f64::min)
}
