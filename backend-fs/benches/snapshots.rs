//! What snapshots of the filesystem backend cost, without the engine: the pause, writing a base and an increment to a real disk, updates while one is
//! written, and restoring. One state of numbers of 8 bytes to values of 100 bytes.
//!
//! `cargo bench -p millpond-backend-fs --bench snapshots [-- KEYS...]`
#![expect(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "plays the engine and prints figures; does not use all that it shares with the tests"
)]

#[path = "../tests/chain/folder.rs"]
mod folder;

use folder::Folder;
use millpond_backend_api::{
    BackendConfig, Cell, CheckpointEvent, KeyBatch, KeyGroup, KeyGroupRange, KeyedState, OpenKeyed, Slot,
    SnapshotHandle, SnapshotRequest, SnapshotWriter, StateBackend, StateBackendFactory, StateDescriptor,
    StateId, StateKind, key_group, key_hash,
};
use millpond_backend_fs::{FsKeyedState, FsStateBackendFactory};
use std::time::Instant;

const BATCH: usize = 1024;
const GROUPS: u32 = 128;
const WIDTH: u32 = 100;

fn main() {
    let words = std::env::args().skip(1);
    let mut sizes: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1_000_000, 10_000_000];
    }
    for keys in sizes {
        run(keys);
    }
}

fn open(folder: &Folder, handles: Vec<SnapshotHandle>) -> (FsKeyedState, StateId) {
    let backend = FsStateBackendFactory.create(&BackendConfig::default()).unwrap();
    let open = OpenKeyed {
        job: "bench".into(),
        operator: "bench".into(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: GROUPS,
        key_groups: KeyGroupRange::of_subtask(0, 1, GROUPS).unwrap(),
        local_dir: folder.path("local").to_str().unwrap().into(),
        restore: handles.into(),
        files: folder.files(),
    };
    let mut keyed = backend.open_keyed(open).unwrap();
    let descriptor = StateDescriptor::new("profile", StateKind::Value, WIDTH);
    let state = keyed.register(&descriptor).unwrap();
    (keyed, state)
}

/// Numbers in an order that looks random: a permutation of `0 .. keys` for every `step` that has no factor with it.
struct Keys {
    keys: u64,
    next: u64,
    step: u64,
}

impl Keys {
    fn new(keys: u64) -> Self {
        Self {
            keys,
            next: 0,
            step: (7_777_777_777 % keys) | 1,
        }
    }

    fn next(&mut self) -> u64 {
        self.next = (self.next + self.step) % self.keys;
        self.next
    }
}

/// The seconds that this thread has been on a core: others may use the machine meanwhile.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

/// Updates `count` keys batch by batch.
fn update(keyed: &mut FsKeyedState, state: StateId, keys: &mut Keys, count: u64) -> f64 {
    let started = cpu_seconds();
    let mut slots = vec![Slot::NULL; BATCH];
    let (mut bytes, mut hashes, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count / BATCH as u64 {
        bytes.clear();
        hashes.clear();
        groups.clear();
        for _ in 0..BATCH {
            let key = keys.next().to_le_bytes();
            let hash = key_hash(&key);
            bytes.extend_from_slice(&key);
            hashes.push(hash);
            groups.push(key_group(hash, GROUPS));
        }
        let batch = KeyBatch {
            hashes: hashes.as_slice().into(),
            groups: groups.as_slice().into(),
            bytes: bytes.as_slice().into(),
            ends: (&[][..]).into(),
            width: 8,
        };
        keyed.slots(state, &batch, &mut slots).unwrap();
        for slot in &slots {
            // SAFETY: a slot of this batch.
            unsafe { slot.set_present(true) };
            // SAFETY: as above, one reference at a time.
            let value = unsafe { slot.value(WIDTH as usize) };
            value[0] = value[0].wrapping_add(1);
            value[99] = value[0];
        }
        keyed.end_batch(state, &batch, &slots, false).unwrap();
    }
    cpu_seconds() - started
}

fn write(mut writer: impl SnapshotWriter, folder: &Folder) -> (Vec<SnapshotHandle>, f64) {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let handles = writer.write(&folder.streams()).unwrap();
    for file in handles.iter().flat_map(|handle| &handle.files) {
        std::fs::File::open(folder.path(&file.token))
            .unwrap()
            .sync_all()
            .unwrap();
    }
    println!("  writer: {:.2} s of CPU", cpu_seconds() - cpu);
    (handles, started.elapsed().as_secs_f64())
}

fn run(keys: u64) {
    let folder = Folder::new();
    let (mut keyed, state) = open(&folder, Vec::new());
    let mut order = Keys::new(keys);
    let fill = update(&mut keyed, state, &mut order, keys + BATCH as u64);
    let plain = update(&mut keyed, state, &mut order, keys);
    println!(
        "{keys} keys: fill {:.1} M/s, update {:.1} M/s",
        keys as f64 / fill / 1e6,
        keys as f64 / plain / 1e6
    );
    let mut id = 0;
    let mut begin = |keyed: &mut FsKeyedState| {
        id += 1;
        let started = Instant::now();
        let writer = keyed
            .snapshot(&SnapshotRequest {
                checkpoint_id: id,
                may_share: true,
                form: millpond_backend_api::SnapshotForm::Native,
            })
            .unwrap();
        (id, writer, started.elapsed().as_secs_f64() * 1e3)
    };
    let (first, writer, pause) = begin(&mut keyed);
    let (handles, seconds) = write(writer, &folder);
    let bytes = handles[0].new_bytes;
    println!(
        "base: pause {pause:.3} ms, {bytes} bytes, {:.0} MB/s",
        bytes as f64 / seconds / 1e6
    );
    keyed.notify(first, CheckpointEvent::Completed).unwrap();
    update(&mut keyed, state, &mut order, keys / 100);
    let (second, writer, pause) = begin(&mut keyed);
    let (handles, seconds) = write(writer, &folder);
    let delta = handles[0].new_bytes;
    println!(
        "1 % changed: pause {pause:.3} ms, {delta} bytes ({:.2} %), {:.0} ms",
        delta as f64 / bytes as f64 * 100.0,
        seconds * 1e3
    );
    keyed.notify(second, CheckpointEvent::Completed).unwrap();
    for round in 0..7 {
        let (id, writer, pause) = begin(&mut keyed);
        let updating = std::thread::scope(|scope| {
            let writing = scope.spawn(|| write(writer, &folder));
            let updating = update(&mut keyed, state, &mut order, keys);
            let (handles, seconds) = writing.join().unwrap();
            println!(
                "round {round}: pause {pause:.3} ms, {} bytes in {:.2} s",
                handles[0].new_bytes, seconds
            );
            updating
        });
        println!(
            "round {round}: {keys} updates while it is written: {:.2} of plain",
            plain / updating
        );
        keyed.notify(id, CheckpointEvent::Completed).unwrap();
    }
    let (_, writer, _) = begin(&mut keyed);
    let (handles, _) = write(writer, &folder);
    drop(keyed);
    for cold in [false, true] {
        if cold {
            let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
        }
        let started = Instant::now();
        let (mut keyed, state) = open(&folder, handles.clone());
        let opened = started.elapsed().as_secs_f64() * 1e3;
        let key = 7_u64.to_le_bytes();
        let hash = key_hash(&key);
        let cell = Cell::of_key(hash, key_group(hash, GROUPS), &key);
        assert!(keyed.get(state, &cell).unwrap().is_some());
        let first = started.elapsed().as_secs_f64() * 1e3;
        let all = update(&mut keyed, state, &mut order, keys);
        println!(
            "restore (cold: {cold}): {opened:.2} ms to open, {first:.2} ms to the first value, {all:.2} s to change every key"
        );
    }
    let _ = KeyGroup(0);
}
