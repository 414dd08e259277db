//! Snapshots whose files were changed, cut or lost on the disk, where the files are linked: an error that names the file, or what was written; never another
//! value, a panic or a hang.
//!
//! Files of up to a mebibyte are verified when they are restored, the larger ones where RocksDB reads them, and as a whole by a sweep.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where it panics"
)]

use millpond_backend_api::contract::{Address, Opened, Random, Shape, Storage, Suite};
use millpond_backend_api::{
    BackendErrorKind, BackendResult, CheckpointEvent, FileRef, SnapshotHandle, StateDescriptor, StateId,
    StateKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const STATES: [(&str, StateKind); 2] = [("values", StateKind::Value), ("maps", StateKind::Map)];

/// The cells of each state.
type Cells = [BTreeMap<Address, Vec<u8>>; 2];

/// A snapshot and what it stands for.
struct Snapshot {
    suite: Suite,
    storage: Storage,
    handles: Vec<SnapshotHandle>,
    cells: Cells,
    /// Where it is restored.
    folder: tempfile::TempDir,
}

fn register(opened: &mut Opened) -> BackendResult<Vec<StateId>> {
    let states = STATES.iter();
    states
        .map(|(name, kind)| {
            let descriptor = StateDescriptor::new(*name, *kind, 0);
            opened.object().register(&descriptor).into_result()
        })
        .collect()
}

impl Snapshot {
    /// The second snapshot of `keys` keys in each state with values of `value_bytes`: it has the files of the first, and others that change or delete
    /// everything that stands in them. So whoever takes an older value for a newer one is found out.
    fn new(suite: Suite, keys: u32, value_bytes: usize) -> Self {
        let storage = suite.storage_on_disk();
        let mut random = suite.random();
        let mut cells = Cells::default();
        let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
        let ids = register(&mut opened).unwrap();
        let mut handles = Vec::new();
        for round in 0..2 {
            for (state, id) in ids.iter().enumerate() {
                for key in 0..keys {
                    let address = match STATES[state].1 {
                        StateKind::Map => Address::new((key / 8).to_le_bytes()).at(key.to_be_bytes()),
                        _ => Address::new(key.to_le_bytes()),
                    };
                    if round == 1 && key % 5 == 0 {
                        opened.delete(*id, &address);
                        cells[state].remove(&address);
                    } else {
                        let value = random.bytes(value_bytes);
                        opened.put(*id, &address, &value);
                        cells[state].insert(address, value);
                    }
                }
            }
            let checkpoint = opened.next_checkpoint();
            handles = opened.snapshot(&storage);
            opened.notify(&storage, checkpoint, CheckpointEvent::Completed);
        }
        opened.close();
        let snapshot = Self {
            suite,
            storage,
            handles,
            cells,
            folder: tempfile::tempdir().unwrap(),
        };
        snapshot.read_all().unwrap();
        snapshot
    }

    fn files(&self) -> Vec<FileRef> {
        let files = self.handles.iter().flat_map(|handle| handle.files.iter());
        files.cloned().collect()
    }

    fn restore(&self) -> BackendResult<Opened> {
        let folder = self.folder.path().join("db");
        assert!(!folder.exists(), "the one before has left something");
        self.suite
            .try_restored(self.storage.files(), Shape::ALONE, &self.handles, &folder)
    }

    /// Restores it, reads all cells one by one and in whole key groups, and compares them.
    fn read_all(&self) -> BackendResult<()> {
        let mut opened = self.restore()?;
        let result = self.compare(&mut opened);
        opened.close();
        result
    }

    fn compare(&self, opened: &mut Opened) -> BackendResult<()> {
        let ids = register(opened)?;
        for (id, cells) in ids.iter().zip(&self.cells) {
            // First what was deleted may not be found, nor an older value; then all the rest.
            let mut found = BTreeMap::new();
            for group in opened.range().iter().collect::<Vec<_>>() {
                found.extend(opened.try_visit(*id, group)?);
            }
            assert!(
                found == *cells,
                "{} cells instead of {}, or other values",
                found.len(),
                cells.len()
            );
        }
        for (id, cells) in ids.iter().zip(&self.cells) {
            for (address, value) in cells {
                let found = opened.object().get(*id, &address.cell()).into_result()?;
                assert!(found.into_option().as_deref() == Some(&value[..]), "{address:?}");
            }
        }
        Ok(())
    }

    /// Reads it with `bytes` in the place of those of `file`. Whether that failed; by which error is checked.
    fn is_found_with(&self, file: &FileRef, bytes: Vec<u8>, what: &str) -> bool {
        self.storage.replace(file, bytes);
        let Err(error) = self.read_all() else {
            return false;
        };
        let text = error.to_string();
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{what}: {text}");
        let name = format!("snapshot file {}", file.token);
        assert!(text.contains(&name), "{what}: '{name}' is not in: {text}");
        true
    }
}

/// The positions to try in a file of `len` bytes: a few everywhere, and more at the end, where RocksDB keeps what describes the file.
fn positions(len: usize, tries: usize, random: &mut Random) -> BTreeSet<usize> {
    let end = len.saturating_sub(4096);
    let everywhere = (0..tries).map(|number| number * len / tries);
    let mut positions: BTreeSet<usize> = everywhere.collect();
    positions.extend((0..tries).map(|_| end + random.below(len - end)));
    positions.extend([0, len - 1]);
    positions
}

fn suite() -> Suite {
    Suite::new(millpond_backend_rocksdb::factory, &[])
}

/// With so small a cache and tables that what is read is read from files.
fn suite_in_little_memory() -> Suite {
    Suite::new(
        millpond_backend_rocksdb::factory,
        &[
            ("state.backend.rocksdb.memory.managed", "false"),
            ("state.backend.rocksdb.memory.fixed-per-tm", "64 kb"),
        ],
    )
}

fn small() -> Snapshot {
    let snapshot = Snapshot::new(suite(), 40, 20);
    assert!(snapshot.files().iter().all(|file| file.size < 1 << 20));
    snapshot
}

/// Some of its files are not verified when they are restored.
fn large(suite: Suite) -> Snapshot {
    let snapshot = Snapshot::new(suite, 6000, 400);
    let large = snapshot.files().iter().filter(|file| file.size > 1 << 20).count();
    assert!(large >= 2, "{:?}", snapshot.files());
    snapshot
}

#[test]
fn every_flipped_bit_of_a_small_snapshot_is_found_and_the_file_is_named() {
    let snapshot = small();
    let mut random = snapshot.suite.random();
    for file in snapshot.files() {
        let whole = snapshot.storage.bytes(&file);
        for position in positions(whole.len(), 60, &mut random) {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << random.below(8);
            let what = format!("byte {position} of {file:?} flipped");
            assert!(snapshot.is_found_with(&file, damaged, &what), "{what}");
        }
        snapshot.storage.replace(&file, whole);
    }
    snapshot.read_all().unwrap();
}

#[test]
fn every_cut_of_a_small_snapshot_is_found_and_the_file_is_named() {
    let snapshot = small();
    let mut random = snapshot.suite.random();
    for file in snapshot.files() {
        let whole = snapshot.storage.bytes(&file);
        for len in positions(whole.len(), 40, &mut random) {
            let what = format!("{file:?} cut to {len} bytes");
            assert!(
                snapshot.is_found_with(&file, whole[..len].to_vec(), &what),
                "{what}"
            );
        }
        let longer = [&whole[..], &[0; 100]].concat();
        assert!(snapshot.is_found_with(&file, longer, "longer"), "{file:?}");
        snapshot.storage.replace(&file, whole);
    }
    snapshot.read_all().unwrap();
}

#[test]
fn a_missing_file_is_the_storages_error_and_nothing_is_left() {
    let count = small().files().len();
    let snapshots = (0..count).map(|number| (small(), number));
    for (snapshot, number) in snapshots.chain([(large(suite()), 0)]) {
        let file = &snapshot.files()[number];
        snapshot.storage.remove(file);
        let error = snapshot.restore().unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Io, "{error}");
        assert!(error.to_string().contains(file.token.as_str()), "{error}");
        assert!(!snapshot.folder.path().join("db").exists());
    }
}

/// What RocksDB reads it verifies block by block: here the values of all keys, so only what it never reads may be damaged without an error.
fn a_flipped_byte_is_an_error_or_harmless(snapshot: &Snapshot) {
    let mut random = snapshot.suite.random();
    for file in snapshot.files().iter().filter(|file| file.size > 1 << 20) {
        let whole = snapshot.storage.bytes(file);
        let (mut tried, mut found) = (0, 0);
        for position in positions(whole.len(), 40, &mut random) {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << random.below(8);
            let what = format!("byte {position} of {} of {file:?} flipped", whole.len());
            tried += 1;
            found += u32::from(snapshot.is_found_with(file, damaged, &what));
        }
        assert!(found > tried / 2, "{found} of {tried} were found in {file:?}");
        snapshot.storage.replace(file, whole);
    }
    snapshot.read_all().unwrap();
}

#[test]
fn a_flipped_byte_of_a_large_file_is_never_another_value() {
    a_flipped_byte_is_an_error_or_harmless(&large(suite()));
}

#[test]
fn a_flipped_byte_of_a_large_file_is_never_another_value_in_little_memory() {
    a_flipped_byte_is_an_error_or_harmless(&large(suite_in_little_memory()));
}

#[test]
fn a_cut_of_a_large_file_is_found_at_once() {
    let snapshot = large(suite());
    let mut random = snapshot.suite.random();
    for file in snapshot.files().iter().filter(|file| file.size > 1 << 20) {
        let whole = snapshot.storage.bytes(file);
        for len in positions(whole.len(), 10, &mut random) {
            snapshot.storage.replace(file, whole[..len].to_vec());
            let error = snapshot.restore().unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
            assert!(error.to_string().contains(file.token.as_str()), "{error}");
        }
        snapshot.storage.replace(file, whole);
    }
}

#[test]
fn damage_that_nobody_reads_is_told_at_a_checkpoint() {
    let snapshot = large(suite());
    let files = snapshot.files();
    let file = files.iter().find(|file| file.size > 1 << 20).unwrap();
    let mut damaged = snapshot.storage.bytes(file);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    snapshot.storage.replace(file, damaged);
    let mut opened = snapshot.restore().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = loop {
        let told = opened.object().notify(7, CheckpointEvent::Aborted).into_result();
        if let Err(error) = told {
            break error;
        }
        assert!(Instant::now() < deadline, "the sweep does not tell");
        std::thread::yield_now();
    };
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("snapshot file {}", file.token)) && text.contains("expected"),
        "{text}"
    );
    opened.close();
}
