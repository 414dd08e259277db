//! How many updates a second go through the slots of the table: one thread, keys and values of 8 bytes, 128 key groups, uniform keys,
//! hashes given, batches of 1024.
//!
//! `cargo bench -p millpond-backend-memory --bench table [-- KEYS...]` prints a line for each number of keys.
#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "plays the engine and prints figures"
)]

use abi_stable::std_types::{ROption, RSlice, RString, RVec};
use millpond_backend_api::abi::AbiResult;
use millpond_backend_api::streams::RestoreFilesApi;
use millpond_backend_api::{
    BackendError, BackendErrorKind, FileRef, KeyBatch, KeyGroup, KeyGroupRange, KeyedState, OpenKeyed,
    RestoreFiles, RestoreStream, Slot, SnapshotRequest, StateBackend, StateDescriptor, StateKind, key_group,
    key_hash,
};
use millpond_backend_memory::MemoryStateBackend;
use std::hint::black_box;
use std::time::Instant;

const BATCH: usize = 1024;
const GROUPS: u32 = 128;

#[derive(Debug)]
struct NoFiles;

impl RestoreFilesApi for NoFiles {
    fn open(&self, _file: &FileRef) -> AbiResult<RestoreStream> {
        Err(BackendError::new(BackendErrorKind::Io, "no files")).into()
    }

    fn local_path(&self, _file: &FileRef) -> AbiResult<ROption<RString>> {
        Ok(ROption::RNone).into()
    }
}

/// Records in columns, as they come out of the engine's exchange.
struct Records {
    keys: Vec<u8>,
    hashes: Vec<u64>,
    groups: Vec<KeyGroup>,
}

/// As in SplitMix64 (Steele, Lea and Flood 2014).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn records(len: u64, keys: u64) -> Records {
    let numbers = || (0..len).map(|at| (mix(at) % keys).to_le_bytes());
    let hashes: Vec<u64> = numbers().map(|key| key_hash(&key)).collect();
    Records {
        keys: numbers().flatten().collect(),
        groups: hashes.iter().map(|hash| key_group(*hash, GROUPS)).collect(),
        hashes,
    }
}

fn main() {
    let mut sizes: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000, 10_000_000];
    }
    for keys in sizes {
        run(keys);
    }
}

fn run(keys: u64) {
    let backend = MemoryStateBackend;
    let mut keyed = backend
        .open_keyed(OpenKeyed {
            job: RString::new(),
            operator: RString::new(),
            subtask: 0,
            parallelism: 1,
            max_parallelism: GROUPS,
            key_groups: KeyGroupRange::of_subtask(0, 1, GROUPS).unwrap(),
            local_dir: RString::new(),
            restore: RVec::new(),
            files: RestoreFiles::new(NoFiles),
        })
        .unwrap();
    let state = keyed
        .register(&StateDescriptor::new("count", StateKind::Value, 8))
        .unwrap();
    let records = records(20_000_000.max(keys * 2), keys);
    let mut slots = vec![Slot::NULL; BATCH];
    let mut seconds = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let columns = records
            .hashes
            .chunks(BATCH)
            .zip(records.groups.chunks(BATCH))
            .zip(records.keys.chunks(BATCH * 8));
        for ((hashes, groups), bytes) in columns {
            let batch = KeyBatch {
                hashes: hashes.into(),
                groups: groups.into(),
                bytes: bytes.into(),
                ends: RSlice::EMPTY,
                width: 8,
            };
            let slots = slots.get_mut(..hashes.len()).unwrap();
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
        seconds.push(start.elapsed().as_secs_f64());
    }
    let request = SnapshotRequest {
        checkpoint_id: 1,
        may_share: false,
    };
    let start = Instant::now();
    let writer = black_box(keyed.snapshot(&request).unwrap());
    let pause_us = start.elapsed().as_secs_f64() * 1e6;
    drop(writer);
    let bytes = keyed.metrics().first().map_or(0.0, |(_, bytes)| *bytes);
    let rate = |seconds: &f64| format!("{:7.2}", records.hashes.len() as f64 / seconds / 1e6);
    println!(
        "{keys:>10} keys: M/s in three rounds {}; {:.0} MB, snapshot freezes in {pause_us:.0} us",
        seconds.iter().map(rate).collect::<Vec<_>>().join(" "),
        bytes / 1e6,
    );
}
