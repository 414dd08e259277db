//! Canonical snapshots of state that is larger than what is kept in memory on the way, and beside increments.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use millpond_backend_api::contract::{Address, Opened, Random, Shape, Suite};
use millpond_backend_api::{CheckpointEvent, SnapshotHandle, StateKind};
use std::collections::BTreeMap;

fn suite() -> Suite {
    Suite::new(millpond_backend_rocksdb::factory, &[])
}

fn sorted_files(handles: &[SnapshotHandle]) -> usize {
    let files = handles.iter().flat_map(|handle| &handle.files);
    // The others, of which each handle has three, change with every snapshot.
    files.filter(|file| file.shared).count()
}

/// Puts `cells` values of `len` bytes into the state "value", in the first `groups` key groups, and gives their sums.
fn fill(opened: &mut Opened, cells: usize, len: usize, groups: u16) -> BTreeMap<u32, u32> {
    let mut random = Random::new(3);
    let state = opened.register("value", StateKind::Value, 0);
    let mut sums = BTreeMap::new();
    let keys = (0_u32..).filter(|key| Address::new(key.to_be_bytes()).group < groups);
    for key in keys.take(cells) {
        let value = random.bytes(len);
        opened.put(state, &Address::new(key.to_be_bytes()), &value);
        sums.insert(key, crc32fast::hash(&value));
    }
    sums
}

fn check(opened: &mut Opened, sums: &BTreeMap<u32, u32>) {
    let state = opened.register("value", StateKind::Value, 0);
    assert_eq!(opened.count(state), sums.len() as u64);
    for (key, sum) in sums {
        let value = opened.get(state, &Address::new(key.to_be_bytes())).unwrap();
        assert_eq!(crc32fast::hash(&value), *sum, "{key}");
    }
}

#[test]
fn what_is_sorted_is_brought_in_as_files_that_follow_each_other() {
    let suite = suite();
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    // Each key group is longer than a section.
    let sums = fill(&mut opened, 3 * 44, 1 << 20, 3);
    let handles = opened.begin_canonical().write(&storage);
    opened.close();
    assert!(handles[0].state_bytes > 132 << 20);
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles).counting_from(2);
    let native = restored.snapshot(&storage);
    // Files end at 64 MiB, behind the section that makes them so long.
    let files = sorted_files(&native);
    assert!((2..=3).contains(&files), "{files} files");
    check(&mut restored, &sums);
    restored.close();
}

#[test]
fn increments_stay_small_although_canonical_snapshots_complete_in_between() {
    let suite = suite();
    let storage = suite.storage_on_disk();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let mut sums = fill(&mut opened, 20_000, 200, 16);
    let state = opened.register("value", StateKind::Value, 0);
    let full = opened.snapshot(&storage);
    opened.notify(&storage, 1, CheckpointEvent::Completed);
    for round in 0..3_u32 {
        opened.put(state, &Address::new(round.to_be_bytes()), b"new");
        sums.insert(round, crc32fast::hash(b"new"));
        let savepoint = opened.begin_canonical();
        let id = savepoint.checkpoint_id();
        let savepoint = savepoint.write(&storage);
        opened.notify(&storage, id, CheckpointEvent::Completed);
        let native = opened.begin_snapshot();
        let id = native.checkpoint_id();
        let native = native.write(&storage);
        opened.notify(&storage, id, CheckpointEvent::Completed);
        assert!(
            native[0].new_bytes < 200_000 && native[0].new_bytes * 10 < full[0].new_bytes,
            "{} bytes for one entry, {} for all",
            native[0].new_bytes,
            full[0].new_bytes
        );
        for handles in [savepoint, native] {
            let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
            check(&mut restored, &sums);
            restored.close();
        }
    }
    opened.close();
}

#[test]
fn the_more_is_sorted_at_once_the_fewer_files_there_are() {
    let heap = Suite::new(millpond_backend_memory::factory, &[]);
    let storage = heap.storage();
    let mut opened = heap.restored(&storage, Shape::ALONE, &[]);
    // A group of three sections, of which none has keys behind those of the one before.
    let state = opened.register("value", StateKind::Value, 0);
    let mut random = Random::new(5);
    let mut sums = BTreeMap::new();
    let keys = (0_u32..).filter(|key| Address::new(key.to_be_bytes()).group == 0);
    for key in keys.take(70).collect::<Vec<_>>().into_iter().rev() {
        let value = random.bytes(1 << 20);
        opened.put(state, &Address::new(key.to_be_bytes()), &value);
        sums.insert(key, crc32fast::hash(&value));
    }
    let handles = opened.begin_canonical().write(&storage);
    opened.close();
    for (batch, expected) in [("2 mb", 3), ("128 mb", 1), ("0", 2)] {
        let suite = Suite::new(
            millpond_backend_rocksdb::factory,
            &[("state.backend.rocksdb.write-batch-size", batch)],
        );
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles).counting_from(2);
        let files = sorted_files(&restored.snapshot(&storage));
        assert_eq!(files, expected, "{batch}");
        check(&mut restored, &sums);
        restored.close();
    }
}
