//! What every storage with files does alike, wherever they are.

use super::tests::{hint, write};
use super::*;
use crate::checkpoint::{FileLocation, JobId};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use std::fs;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// A storage with the means to look behind it. Paths are those below the job's folder.
struct Place {
    storage: Box<dyn CheckpointStorage>,
    files: Box<dyn Files>,
    /// Begins absolute paths of the job's files.
    job: String,
}

/// The files as they are where they are.
trait Files {
    /// All of them, sorted.
    fn list(&self) -> Vec<String>;
    fn read(&self, path: &str) -> Vec<u8>;
    fn put(&self, path: &str, bytes: Vec<u8>);
    fn delete(&self, path: &str);
}

/// Places with the same root, for one job after the other.
type Places = dyn Fn(FileStorageOptions) -> Place;

struct OnDisk {
    _dir: Arc<tempfile::TempDir>,
    job: PathBuf,
}

impl Files for OnDisk {
    fn list(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.job.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let path = path.strip_prefix(&self.job).unwrap();
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.job.join(path)).unwrap()
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        fs::write(self.job.join(path), bytes).unwrap();
    }

    fn delete(&self, path: &str) {
        fs::remove_file(self.job.join(path)).unwrap();
    }
}

fn on_disk() -> Box<Places> {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    Box::new(move |options| {
        let storage = FileStorage::new(dir.path(), &JobId::random(), options).unwrap();
        let job = storage.paths().job().to_owned();
        Place {
            job: job.to_str().unwrap().to_owned(),
            files: Box::new(OnDisk {
                _dir: Arc::clone(&dir),
                job,
            }),
            storage: Box::new(storage),
        }
    })
}

struct InStore {
    runtime: Arc<Runtime>,
    store: Arc<InMemory>,
    job: ObjectPath,
}

impl InStore {
    fn path(&self, path: &str) -> ObjectPath {
        ObjectPath::parse(format!("{}/{path}", self.job)).unwrap()
    }
}

impl Files for InStore {
    fn list(&self) -> Vec<String> {
        use futures_util::TryStreamExt;
        let objects = self.store.list(Some(&self.job)).try_collect::<Vec<_>>();
        let mut found: Vec<_> = self
            .runtime
            .block_on(objects)
            .unwrap()
            .into_iter()
            .map(|object| {
                let beginning = format!("{}/", self.job);
                object
                    .location
                    .as_ref()
                    .strip_prefix(&beginning)
                    .unwrap()
                    .to_owned()
            })
            .collect();
        found.sort();
        found
    }

    fn read(&self, path: &str) -> Vec<u8> {
        let path = self.path(path);
        self.runtime
            .block_on(async { self.store.get(&path).await.unwrap().bytes().await.unwrap() })
            .to_vec()
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        let put = self
            .runtime
            .block_on(self.store.put(&self.path(path), bytes.into()));
        put.unwrap();
    }

    fn delete(&self, path: &str) {
        self.runtime
            .block_on(self.store.delete(&self.path(path)))
            .unwrap();
    }
}

fn object_places(wrap: impl Fn(ObjectStorage, usize) -> Box<dyn CheckpointStorage> + 'static) -> Box<Places> {
    let runtime = Arc::new(Runtime::new().unwrap());
    let store = Arc::new(InMemory::new());
    let location = RemoteLocation::parse("test", "memory://conformance/c")
        .unwrap()
        .unwrap();
    Box::new(move |options| {
        let inline_threshold = options.inline_threshold;
        let storage = ObjectStorage::with_store(
            Arc::clone(&store) as Arc<dyn ObjectStore>,
            &location,
            &JobId::random(),
            options,
            runtime.handle().clone(),
        )
        .unwrap();
        let job = storage.paths().job().to_str().unwrap().to_owned();
        Place {
            files: Box::new(InStore {
                runtime: Arc::clone(&runtime),
                store: Arc::clone(&store),
                job: ObjectPath::parse(&job).unwrap(),
            }),
            job,
            storage: wrap(storage, inline_threshold),
        }
    })
}

fn in_a_store() -> Box<Places> {
    object_places(|storage, _| Box::new(storage))
}

fn in_a_store_with_a_cache() -> Box<Places> {
    let dir = tempfile::tempdir().unwrap();
    object_places(move |storage, inline_threshold| {
        let settings = CacheSettings {
            folder: dir.path().to_owned(),
            bytes_max: 1 << 30,
            backup: true,
            // What is damaged here is the remote file.
            from_local: false,
        };
        Box::new(CachedStorage::new(Arc::new(storage), &settings, inline_threshold).unwrap())
    })
}

fn options(inline_threshold: usize) -> FileStorageOptions {
    FileStorageOptions {
        inline_threshold,
        write_buffer: 64,
        ..FileStorageOptions::default()
    }
}

macro_rules! every_storage {
    ($($test:ident),+ $(,)?) => {
        mod file_storage {
            $(#[test] fn $test() { super::$test(super::on_disk().as_ref()); })+
        }
        mod object_storage {
            $(#[test] fn $test() { super::$test(super::in_a_store().as_ref()); })+
        }
        mod cached_storage {
            $(#[test] fn $test() { super::$test(super::in_a_store_with_a_cache().as_ref()); })+
        }
    };
}

every_storage!(
    bytes_in_are_bytes_out_around_the_threshold_and_the_buffer,
    large_stream_is_whole,
    threshold_zero_makes_a_file_for_a_single_byte_and_none_for_nothing,
    scope_decides_the_folder_and_whether_the_file_is_shared,
    dropped_stream_leaves_no_file,
    flipped_bit_is_reported_with_file_range_expected_and_found,
    cut_longer_and_missing_files_are_reported_with_both_sizes,
    metadata_is_published_whole_and_discarded_with_its_folder,
    files_are_discarded_one_by_one_and_twice,
    probe_leaves_nothing,
    files_of_another_job_are_read_by_their_absolute_path,
    what_a_crash_left_is_deleted_and_nothing_else,
    folder_that_may_be_shared_is_not_cleaned,
);

fn bytes_in_are_bytes_out_around_the_threshold_and_the_buffer(places: &Places) {
    let place = places(options(100));
    let storage = place.storage.as_ref();
    for size in [0usize, 1, 63, 64, 65, 99, 100, 101, 1000, 100_000] {
        let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for chunk in [1, 7, 64, 1 << 20] {
            let parts: Vec<_> = bytes.chunks(chunk).collect();
            let file = write(storage, 1, Scope::Exclusive, &parts);
            assert_eq!(file.size, size as u64);
            assert_eq!(file.crc32, crc32fast::hash(&bytes));
            assert_eq!(
                matches!(file.location, FileLocation::Inline(_)),
                size <= 100,
                "{size}"
            );
            assert_eq!(read_all(storage, &file).unwrap(), bytes);
        }
    }
}

fn large_stream_is_whole(places: &Places) {
    let place = places(options(0));
    let storage = place.storage.as_ref();
    let bytes: Vec<u8> = (0_u32..6 << 20).flat_map(u32::to_le_bytes).collect();
    let parts: Vec<_> = bytes.chunks((3 << 20) + 1).collect();
    let file = write(storage, 1, Scope::Shared, &parts);
    assert!(place.files.read(file.owned_path().unwrap()) == bytes);
    assert!(read_all(storage, &file).unwrap() == bytes);
}

fn threshold_zero_makes_a_file_for_a_single_byte_and_none_for_nothing(places: &Places) {
    let place = places(options(0));
    let one = write(place.storage.as_ref(), 1, Scope::Exclusive, &[b"x"]);
    assert!(one.owned_path().is_some());
    let nothing = write(place.storage.as_ref(), 1, Scope::Exclusive, &[]);
    assert_eq!(nothing.location, FileLocation::Inline(Vec::new()));
    assert_eq!(read_all(place.storage.as_ref(), &nothing).unwrap(), b"");
}

fn scope_decides_the_folder_and_whether_the_file_is_shared(places: &Places) {
    let place = places(options(0));
    let exclusive = write(place.storage.as_ref(), 7, Scope::Exclusive, &[b"x"]);
    let shared = write(place.storage.as_ref(), 7, Scope::Shared, &[b"x"]);
    assert!(exclusive.owned_path().unwrap().starts_with("chk-7/"));
    assert!(shared.owned_path().unwrap().starts_with("shared/"));
    assert_eq!((exclusive.shared, shared.shared), (false, true));
    assert_eq!(
        place.files.list(),
        [exclusive.owned_path().unwrap(), shared.owned_path().unwrap()]
    );
}

fn dropped_stream_leaves_no_file(places: &Places) {
    let place = places(options(0));
    let mut stream = place
        .storage
        .open_stream(CheckpointId(1), Scope::Exclusive, &hint(None))
        .unwrap();
    stream.write(&[0; 20 << 20]).unwrap();
    drop(stream);
    assert_eq!(place.files.list(), Vec::<String>::new());
}

fn flipped_bit_is_reported_with_file_range_expected_and_found(places: &Places) {
    let place = places(options(0));
    let file = write(place.storage.as_ref(), 1, Scope::Exclusive, &[&[5; 300]]);
    let path = file.owned_path().unwrap();
    let mut bytes = place.files.read(path);
    bytes[17] ^= 1;
    place.files.put(path, bytes.clone());
    let error = read_all(place.storage.as_ref(), &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let text = error.to_string();
    for part in [
        &format!("{}/{path}", place.job),
        "bytes 0..300",
        &format!("{:#010x}", crc32fast::hash(&bytes)),
        &format!("expected {:#010x}", file.crc32),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn cut_longer_and_missing_files_are_reported_with_both_sizes(places: &Places) {
    let place = places(options(0));
    let file = write(place.storage.as_ref(), 1, Scope::Exclusive, &[&[5; 300]]);
    let path = file.owned_path().unwrap();
    for size in [0usize, 299, 301] {
        place.files.put(path, vec![5; size]);
        let error = read_all(place.storage.as_ref(), &file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let both = format!("it has {size} bytes, expected 300");
        assert!(error.to_string().contains(&both), "{error}");
    }
    place.files.delete(path);
    let error = read_all(place.storage.as_ref(), &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains(path), "{error}");
}

fn metadata_is_published_whole_and_discarded_with_its_folder(places: &Places) {
    let place = places(options(0));
    let id = CheckpointId(4);
    let path = place.storage.publish_metadata(id, b"meta").unwrap().unwrap();
    assert!(path.ends_with("chk-4/_metadata"), "{}", path.display());
    assert_eq!(place.files.read("chk-4/_metadata"), b"meta");
    assert_eq!(place.files.list(), ["chk-4/_metadata"]);
    write(place.storage.as_ref(), 4, Scope::Exclusive, &[b"x"]);
    let other = write(place.storage.as_ref(), 40, Scope::Exclusive, &[b"x"]);
    place.storage.discard_checkpoint(id).unwrap();
    place.storage.discard_checkpoint(id).unwrap();
    assert_eq!(place.files.list(), [other.owned_path().unwrap()]);
    place.storage.discard_checkpoint(CheckpointId(40)).unwrap();
    place.storage.remove_empty_folders().unwrap();
    assert_eq!(place.files.list(), Vec::<String>::new());
}

fn files_are_discarded_one_by_one_and_twice(places: &Places) {
    let place = places(options(0));
    let shared = write(place.storage.as_ref(), 1, Scope::Shared, &[b"x"]);
    let path = shared.owned_path().unwrap();
    place.storage.discard_file(path).unwrap();
    place.storage.discard_file(path).unwrap();
    assert_eq!(place.files.list(), Vec::<String>::new());
}

fn probe_leaves_nothing(places: &Places) {
    let options = FileStorageOptions {
        create_subdir: false,
        ..options(0)
    };
    let place = places(options);
    place.storage.probe().unwrap();
    assert_eq!(place.files.list(), Vec::<String>::new());
}

fn files_of_another_job_are_read_by_their_absolute_path(places: &Places) {
    let (theirs, ours) = (places(options(0)), places(options(0)));
    let mut file = write(theirs.storage.as_ref(), 1, Scope::Exclusive, &[b"abc"]);
    let path = format!("{}/{}", theirs.job, file.owned_path().unwrap());
    file.location = FileLocation::File(path);
    assert_eq!(read_all(ours.storage.as_ref(), &file).unwrap(), b"abc");
}

fn what_a_crash_left_is_deleted_and_nothing_else(places: &Places) {
    let place = places(options(0));
    let storage = place.storage.as_ref();
    let exclusive = [1, 2, 9].map(|id| write(storage, id, Scope::Exclusive, &[b"x"]));
    let used = write(storage, 1, Scope::Shared, &[b"x"]);
    write(storage, 1, Scope::Shared, &[b"x"]);
    place.files.put("shared/.unfinished.tmp", b"x".to_vec());
    place.files.put("notes.txt", b"x".to_vec());
    let used = used.owned_path().unwrap().to_owned();
    let shared = HashSet::from([used.clone()]);
    let delete = |still_leads: &dyn Fn() -> Result<()>| {
        storage.delete_orphans(&[CheckpointId(2)], CheckpointId(9), &shared, still_leads)
    };
    let all = place.files.list();
    let fenced = delete(&|| Err(Error::new(ErrorKind::Fenced, "taken over"))).unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    assert_eq!(place.files.list(), all);
    // What is written after the question is somebody else's.
    let later = "shared/written-later";
    delete(&|| {
        place.files.put(later, b"x".to_vec());
        Ok(())
    })
    .unwrap();
    assert!(place.files.list().contains(&later.to_owned()));
    storage.discard_file(later).unwrap();
    let path = |index: usize| exclusive[index].owned_path().unwrap().to_owned();
    assert_eq!(place.files.list(), [path(1), path(2), "notes.txt".into(), used]);
}

fn folder_that_may_be_shared_is_not_cleaned(places: &Places) {
    let options = FileStorageOptions {
        create_subdir: false,
        ..options(0)
    };
    let place = places(options);
    write(place.storage.as_ref(), 1, Scope::Exclusive, &[b"x"]);
    place
        .storage
        .delete_orphans(&[], CheckpointId(9), &HashSet::new(), &|| Ok(()))
        .unwrap();
    assert_eq!(place.files.list().len(), 1);
}
