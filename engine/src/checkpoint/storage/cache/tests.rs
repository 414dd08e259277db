use super::*;
use crate::checkpoint::storage::tests::{hint, write};
use crate::checkpoint::storage::{
    CheckpointStorage, FileStorageOptions, ObjectStorage, RemoteLocation, RemoteStorage, Scope,
    SnapshotInput, SnapshotStream, StreamHint, read_all,
};
use crate::checkpoint::{CheckpointId, FileLocation, FileRef, JobId};
use object_store::memory::InMemory;
use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Remote storage that counts how often its files are opened.
#[derive(Debug)]
struct Counting {
    inner: ObjectStorage,
    opened: AtomicUsize,
    /// Held by a test, it keeps who opens a file waiting, so that others ask for the same meanwhile.
    gate: RwLock<()>,
    /// Told of every file that is opened.
    arrived: Sender<()>,
}

impl RemoteStorage for Counting {
    fn address_of(&self, path: &str) -> String {
        self.inner.address_of(path)
    }
}

impl CheckpointStorage for Counting {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn probe(&self) -> Result<()> {
        self.inner.probe()
    }

    fn open_stream(
        &self,
        id: CheckpointId,
        scope: Scope,
        hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>> {
        self.inner.open_stream(id, scope, hint)
    }

    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        // The test may have gone, or have no interest.
        let _ = self.arrived.send(());
        drop(self.gate.read().unwrap());
        self.inner.open_input(file)
    }

    fn local_path(&self, file: &FileRef) -> Option<PathBuf> {
        self.inner.local_path(file)
    }

    fn ack_bytes_max(&self) -> u64 {
        self.inner.ack_bytes_max()
    }

    fn publish_metadata(&self, id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>> {
        self.inner.publish_metadata(id, bytes)
    }

    fn discard_checkpoint(&self, id: CheckpointId) -> Result<()> {
        self.inner.discard_checkpoint(id)
    }

    fn discard_file(&self, path: &str) -> Result<()> {
        self.inner.discard_file(path)
    }

    fn delete_orphans(
        &self,
        retained: &[CheckpointId],
        next_id: CheckpointId,
        shared: &HashSet<String>,
        still_leads: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        self.inner.delete_orphans(retained, next_id, shared, still_leads)
    }

    fn remove_empty_folders(&self) -> Result<()> {
        self.inner.remove_empty_folders()
    }

    fn job_folder(&self) -> Option<&Path> {
        self.inner.job_folder()
    }
}

/// A remote storage and a folder for its cache.
struct Fixture {
    remote: Arc<Counting>,
    arrived: Receiver<()>,
    settings: CacheSettings,
    dir: tempfile::TempDir,
    _runtime: Runtime,
}

fn fixture(bytes_max: u64) -> Fixture {
    let (arrived_sender, arrived) = channel();
    let runtime = Runtime::new().unwrap();
    let location = RemoteLocation::parse("test", "memory:///c").unwrap().unwrap();
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let inner = ObjectStorage::with_store(
        Arc::new(InMemory::new()),
        &location,
        &JobId::random(),
        options,
        runtime.handle().clone(),
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    Fixture {
        remote: Arc::new(Counting {
            inner,
            opened: AtomicUsize::new(0),
            gate: RwLock::default(),
            arrived: arrived_sender,
        }),
        arrived,
        settings: CacheSettings {
            folder: dir.path().join("cache"),
            bytes_max,
            backup: false,
            from_local: false,
        },
        dir,
        _runtime: runtime,
    }
}

impl Fixture {
    /// The storage as an attempt, or a process, opens it.
    fn open(&self) -> CachedStorage {
        self.open_with(|_| {})
    }

    fn open_with(&self, change: impl FnOnce(&mut CacheSettings)) -> CachedStorage {
        let mut settings = self.settings.clone();
        change(&mut settings);
        CachedStorage::new(Arc::clone(&self.remote) as Arc<dyn RemoteStorage>, &settings, 0).unwrap()
    }

    /// A remote file of `size` times `byte`.
    fn remote_file(&self, byte: u8, size: usize) -> FileRef {
        write(self.remote.as_ref(), 1, Scope::Shared, &[&vec![byte; size]])
    }

    fn opened(&self) -> usize {
        self.remote.opened.load(Ordering::SeqCst)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(&self.settings.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    }
}

fn both(settings: &mut CacheSettings) {
    settings.backup = true;
    settings.from_local = true;
}

/// As if the file had been used last so long ago.
fn age(path: &Path, seconds: u64) {
    let file = File::open(path).unwrap();
    let now = SystemTime::now();
    file.set_modified(now - Duration::from_secs(seconds)).unwrap();
}

#[test]
fn remote_file_is_fetched_once_and_read_from_its_local_path() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open();
    let file = fixture.remote_file(7, 1000);
    let path = storage.local_path(&file).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [7; 1000]);
    assert_eq!(storage.local_path(&file), Some(path));
    assert_eq!(fixture.opened(), 1);
    assert_eq!(storage.local_path(&FileRef::inline(vec![1])), None);
}

#[test]
fn what_many_ask_for_at_once_is_fetched_once() {
    const THREADS: usize = 8;
    let fixture = fixture(1 << 20);
    let file = fixture.remote_file(7, 1000);
    let storages = [fixture.open(), fixture.open()];
    let gate = fixture.remote.gate.write().unwrap();
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (storage, file) = (&storages[number % 2], &file);
            scope.spawn(move || {
                let path = storage.local_path(file).unwrap();
                assert_eq!(fs::read(path).unwrap(), [7; 1000]);
            });
        }
        // The one who fetches stands before the gate.
        fixture.arrived.recv().unwrap();
        drop(gate);
    });
    assert_eq!(fixture.opened(), 1);
    assert_eq!(fixture.entries().len(), 1, "{:?}", fixture.entries());
}

#[test]
fn without_local_recovery_the_copy_goes_with_the_attempt() {
    let fixture = fixture(1 << 20);
    let file = fixture.remote_file(7, 1000);
    let (one, two) = (fixture.open(), fixture.open());
    one.local_path(&file).unwrap();
    let path = two.local_path(&file).unwrap();
    drop(one);
    assert!(path.exists(), "the other one still uses it");
    drop(two);
    assert_eq!(fixture.entries(), Vec::<PathBuf>::new());
}

#[test]
fn backup_is_restored_from_without_a_remote_byte() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open_with(both);
    let parts: [&[u8]; 3] = [&[1; 100], &[2; 5000], &[3; 7]];
    let file = write(&storage, 3, Scope::Exclusive, &parts);
    drop(storage);
    let storage = fixture.open_with(both);
    assert_eq!(read_all(&storage, &file).unwrap(), parts.concat());
    let path = storage.local_path(&file).unwrap();
    assert_eq!(fs::read(path).unwrap(), parts.concat());
    assert_eq!(fixture.opened(), 0);
    // Not asked for, the copy is not read by who reads a stream.
    let storage = fixture.open();
    assert_eq!(read_all(&storage, &file).unwrap(), parts.concat());
    assert_eq!(fixture.opened(), 1);
}

#[test]
fn backup_goes_with_the_checkpoint_or_the_file_that_is_discarded() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open_with(both);
    write(&storage, 3, Scope::Exclusive, &[b"x"]);
    write(&storage, 33, Scope::Exclusive, &[b"y"]);
    let shared = write(&storage, 3, Scope::Shared, &[b"z"]);
    assert_eq!(fixture.entries().len(), 3);
    storage.discard_checkpoint(CheckpointId(3)).unwrap();
    assert_eq!(fixture.entries().len(), 2);
    storage.discard_file(shared.owned_path().unwrap()).unwrap();
    assert_eq!(fixture.entries().len(), 1);
}

#[test]
fn stream_that_is_dropped_leaves_no_copy() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open_with(both);
    let mut stream = storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&[0; 1000]).unwrap();
    assert_eq!(fixture.entries().len(), 1);
    drop(stream);
    assert_eq!(fixture.entries(), Vec::<PathBuf>::new());
}

#[test]
fn copy_that_cannot_be_written_fails_no_checkpoint() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open_with(both);
    fs::remove_dir(&fixture.settings.folder).unwrap();
    let file = write(&storage, 1, Scope::Exclusive, &[&[5; 1000]]);
    assert_eq!(read_all(&storage, &file).unwrap(), [5; 1000]);
    // Nor does one that cannot be published.
    fs::create_dir(&fixture.settings.folder).unwrap();
    let mut stream = storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&[6; 1000]).unwrap();
    fs::remove_dir_all(&fixture.settings.folder).unwrap();
    let file = stream.finish().unwrap();
    assert_eq!(read_all(&storage, &file).unwrap(), [6; 1000]);
    // There is no path then, and the file is read as a stream.
    assert_eq!(storage.local_path(&file), None);
}

#[test]
fn least_recently_used_copies_go_when_the_bytes_do_not_fit() {
    let fixture = fixture(2500);
    let storage = fixture.open_with(both);
    let old = write(&storage, 1, Scope::Shared, &[&[1; 1000]]);
    age(&fixture.entries()[0], 20);
    let newer = write(&storage, 1, Scope::Shared, &[&[2; 1000]]);
    for path in fixture.entries() {
        if fs::read(&path).unwrap()[0] == 2 {
            age(&path, 10);
        }
    }
    // Used again, the older one is the newer one.
    read_all(&storage, &old).unwrap();
    write(&storage, 1, Scope::Shared, &[&[3; 1000]]);
    let left: HashSet<_> = fixture
        .entries()
        .iter()
        .map(|path| fs::read(path).unwrap()[0])
        .collect();
    assert_eq!(left, HashSet::from([1, 3]));
    assert_eq!(read_all(&storage, &newer).unwrap(), [2; 1000]);
}

#[test]
fn copies_in_use_are_not_evicted_and_backups_that_do_not_fit_beside_them_are_not_kept() {
    let fixture = fixture(2500);
    let storage = fixture.open_with(both);
    let files = [1, 2, 3].map(|byte| fixture.remote_file(byte, 1000));
    let paths = files.each_ref().map(|file| storage.local_path(file).unwrap());
    // Another process, or attempt, does not evict them either.
    let other = fixture.open_with(both);
    write(&other, 1, Scope::Shared, &[&[4; 1000]]);
    for path in &paths {
        assert!(path.exists());
    }
    assert_eq!(fixture.entries().len(), 3);
    drop(storage);
    assert_eq!(
        fixture.entries().len(),
        2,
        "the bound holds when the use has ended"
    );
}

#[test]
fn backup_larger_than_the_cache_is_given_up_while_it_is_written() {
    let fixture = fixture(1500);
    let storage = fixture.open_with(both);
    let mut stream = storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&[1; 1000]).unwrap();
    assert_eq!(fixture.entries().len(), 1);
    stream.write(&[1; 1000]).unwrap();
    assert_eq!(fixture.entries(), Vec::<PathBuf>::new());
    let file = stream.finish().unwrap();
    assert_eq!(read_all(&storage, &file).unwrap(), [1; 2000]);
}

#[test]
fn leftovers_of_a_crash_are_swept_at_the_next_start_and_whole_entries_stay() {
    let fixture = fixture(1 << 20);
    let file = write(&fixture.open_with(both), 1, Scope::Shared, &[&[1; 1000]]);
    // A process that is killed loses its locks and leaves its files.
    for name in [".0123456789abcdef0123456789abcdef.tmp", ".entry.lock"] {
        fs::write(fixture.settings.folder.join(name), [1; 500]).unwrap();
    }
    // One that lives keeps them.
    let alive = fixture.open_with(both);
    for name in [".0123456789abcdef0123456789abcdef.tmp", ".entry.lock"] {
        fs::write(fixture.settings.folder.join(name), [1; 500]).unwrap();
    }
    let mut stream = alive
        .open_stream(CheckpointId(1), Scope::Shared, &hint(None))
        .unwrap();
    stream.write(&[2; 1000]).unwrap();
    let storage = fixture.open_with(both);
    assert_eq!(fixture.entries().len(), 2, "{:?}", fixture.entries());
    assert_eq!(read_all(&storage, &file).unwrap(), [1; 1000]);
    let second = stream.finish().unwrap();
    assert_eq!(read_all(&storage, &second).unwrap(), [2; 1000]);
    assert_eq!(fixture.opened(), 0);
}

#[test]
fn copy_of_the_wrong_size_is_fetched_anew() {
    let fixture = fixture(1 << 20);
    let file = fixture.remote_file(7, 1000);
    fixture.open_with(both).local_path(&file).unwrap();
    for size in [0, 999, 1001] {
        fs::write(&fixture.entries()[0], vec![7; size]).unwrap();
        let storage = fixture.open_with(both);
        let path = storage.local_path(&file).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7; 1000]);
    }
    assert_eq!(fixture.opened(), 4);
}

#[test]
fn damaged_copy_is_not_read_as_a_stream() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open_with(both);
    let file = write(&storage, 1, Scope::Shared, &[&[7; 1000]]);
    fs::write(&fixture.entries()[0], [8; 1000]).unwrap();
    assert_eq!(read_all(&storage, &file).unwrap(), [7; 1000]);
    assert_eq!(fixture.opened(), 1);
    assert_eq!(fixture.entries(), Vec::<PathBuf>::new());
}

#[test]
fn damaged_copy_is_not_mapped_without_local_recovery() {
    let fixture = fixture(1 << 20);
    let backup = |settings: &mut CacheSettings| settings.backup = true;
    let storage = fixture.open_with(backup);
    let file = write(&storage, 1, Scope::Shared, &[&[7; 1000]]);
    fs::write(&fixture.entries()[0], [8; 1000]).unwrap();
    let path = storage.local_path(&file).unwrap();
    assert_eq!(fs::read(path).unwrap(), [7; 1000]);
    assert_eq!(fixture.opened(), 1);
}

#[test]
fn damaged_copy_that_local_recovery_maps_is_gone_when_the_checkpoint_has_been_verified() {
    let fixture = fixture(1 << 20);
    let (attempt, coordinator) = (fixture.open_with(both), fixture.open_with(both));
    let file = write(&attempt, 1, Scope::Shared, &[&[7; 1000]]);
    fs::write(&fixture.entries()[0], [8; 1000]).unwrap();
    let path = attempt.local_path(&file).unwrap();
    assert_eq!(fs::read(path).unwrap(), [8; 1000], "it was not read on the way");
    read_all(&coordinator, &file).unwrap();
    let path = attempt.local_path(&file).unwrap();
    assert_eq!(fs::read(path).unwrap(), [7; 1000]);
}

#[test]
fn dropped_copy_is_fetched_anew_although_it_is_in_use() {
    let fixture = fixture(1 << 20);
    let (storage, other) = (fixture.open_with(both), fixture.open_with(both));
    let file = fixture.remote_file(7, 1000);
    let path = storage.local_path(&file).unwrap();
    other.local_path(&file).unwrap();
    fs::write(&path, [8; 1000]).unwrap();
    storage.drop_local_copy(&file);
    assert!(!path.exists());
    assert_eq!(fs::read(storage.local_path(&file).unwrap()).unwrap(), [7; 1000]);
    assert_eq!(fs::read(other.local_path(&file).unwrap()).unwrap(), [7; 1000]);
    assert_eq!(fixture.opened(), 2);
}

#[test]
fn damaged_remote_file_gets_no_local_path_and_leaves_no_copy() {
    let fixture = fixture(1 << 20);
    let storage = fixture.open();
    let mut file = fixture.remote_file(7, 1000);
    file.crc32 ^= 1;
    assert_eq!(storage.local_path(&file), None);
    assert_eq!(fixture.entries(), Vec::<PathBuf>::new());
    let error = storage.open_input(&file).and_then(|_| read_all(&storage, &file));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn same_path_in_another_job_is_another_entry() {
    let (ours, theirs) = (fixture(1 << 20), fixture(1 << 20));
    let file = ours.remote_file(7, 1000);
    let key = |fixture: &Fixture| {
        let FileLocation::File(path) = &file.location else {
            panic!("{file:?}")
        };
        Key::new(&fixture.remote.address_of(path), file.size, file.crc32).file_name()
    };
    assert_ne!(key(&ours), key(&theirs));
}

#[test]
fn folder_that_cannot_be_used_is_a_wrong_setting() {
    let fixture = fixture(1 << 20);
    let in_the_way = fixture.dir.path().join("file");
    fs::write(&in_the_way, b"").unwrap();
    let error = LocalCache::open(&in_the_way.join("cache"), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for part in ["execution.checkpointing.local-backup.dirs", "/file/cache"] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}

#[test]
fn files_of_a_savepoint_on_this_machine_are_read_where_they_are() {
    let fixture = fixture(1 << 20);
    let path = fixture.dir.path().join("savepoint-file");
    fs::write(&path, [7; 1000]).unwrap();
    let inline = FileRef::inline(vec![7; 1000]);
    let file = FileRef {
        location: FileLocation::File(path.display().to_string()),
        ..inline
    };
    for storage in [fixture.open(), fixture.open_with(both)] {
        assert_eq!(storage.local_path(&file), Some(path.clone()));
        assert_eq!(read_all(&storage, &file).unwrap(), [7; 1000]);
        storage.drop_local_copy(&file);
    }
    assert!(path.exists());
    assert_eq!(fixture.opened(), 0);
    assert!(fixture.entries().is_empty());
}
