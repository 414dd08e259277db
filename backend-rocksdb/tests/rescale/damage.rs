//! Damage in snapshots that are restored by another number of subtasks, and in those of merged databases: an error that names the file, or what was
//! written.

use super::{Job, databases, model, suite};
use millpond_backend_api::contract::{Model, Random, Shape, Storage, Suite};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, CheckpointEvent, FileRef, SnapshotHandle,
};

/// A snapshot and what it stands for.
struct Snapshot {
    suite: Suite,
    storage: Storage,
    handles: Vec<SnapshotHandle>,
    model: Model,
    random: Random,
}

impl Snapshot {
    /// That of a job that went through `steps`, numbers of subtasks, with `changes` in each.
    fn after(steps: &[u32], changes: usize) -> Self {
        let suite = suite();
        let storage = suite.storage_on_disk();
        let (mut random, mut model) = (suite.random(), model());
        let mut handles = Vec::new();
        for parallelism in steps {
            let mut job = Job::restored(&suite, &storage, *parallelism, &handles);
            job.wait_for_the_merge();
            for _ in 0..2 {
                job.change(&mut model, &mut random, changes / 2, changes);
                job.checkpoint(&storage);
            }
            handles = job.close();
        }
        Self {
            suite,
            storage,
            handles,
            model,
            random,
        }
    }

    fn files(&self) -> Vec<FileRef> {
        let files = self.handles.iter().flat_map(|handle| handle.files.iter());
        files.cloned().collect()
    }

    /// Restores the subtasks of `parallelism`, each by itself as processes do, and gives what they say.
    fn restore(&self, parallelism: u32) -> Vec<BackendResult<()>> {
        let restored = Shape::all(parallelism).map(|shape| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("db");
            let opened = self
                .suite
                .try_restored(self.storage.files(), shape, &self.handles, &path);
            let told = opened.map(|mut opened| {
                self.model.within(shape.range()).check_restored(&mut opened);
                opened.close();
            });
            assert!(told.is_ok() || !path.exists(), "something is left");
            told
        });
        restored.collect()
    }

    /// The number of subtasks of `parallelism` that have something of `file`.
    fn readers(&self, parallelism: u32, file: &FileRef) -> usize {
        let has = |handle: &&SnapshotHandle| handle.files.iter().any(|other| other.token == file.token);
        let groups = self.handles.iter().find(has).unwrap().key_groups;
        let subtasks = Shape::all(parallelism);
        subtasks
            .filter(|shape| shape.range().intersection(&groups).is_some())
            .count()
    }

    /// Flips and cuts each file in turn: every subtask that restores it says so by its name.
    fn every_damage_is_found_by(mut self, parallelism: u32) {
        let files = self.files();
        for file in &files {
            let readers = self.readers(parallelism, file);
            assert!(readers > 0, "{file:?}");
            let whole = self.storage.bytes(file);
            for _ in 0..8 {
                let mut damaged = whole.clone();
                let at = self.random.below(damaged.len());
                damaged[at] ^= 1 << self.random.below(8);
                self.storage.replace(file, damaged);
                self.is_told(parallelism, file, readers, BackendErrorKind::Corrupted);
                let len = self.random.below(whole.len());
                self.storage.replace(file, whole[..len].to_vec());
                self.is_told(parallelism, file, readers, BackendErrorKind::Corrupted);
            }
            self.storage.replace(file, whole);
        }
        assert!(self.restore(parallelism).iter().all(Result::is_ok));
    }

    fn a_missing_file_is_told(&self, number: usize, parallelism: u32) {
        let file = &self.files()[number];
        let readers = self.readers(parallelism, file);
        self.storage.remove(file);
        self.is_told(parallelism, file, readers, BackendErrorKind::Io);
    }

    fn is_told(&self, parallelism: u32, file: &FileRef, readers: usize, kind: BackendErrorKind) {
        let told = self.restore(parallelism);
        let errors: Vec<_> = told.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), readers, "{file:?}: {errors:?}");
        for error in errors {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(file.token.as_str()), "{error}");
        }
    }
}

#[test]
fn each_subtask_that_takes_a_part_of_a_damaged_database_names_the_file() {
    Snapshot::after(&[1], 200).every_damage_is_found_by(2);
}

#[test]
fn a_subtask_that_takes_over_several_databases_names_the_damaged_file_of_one() {
    Snapshot::after(&[2], 200).every_damage_is_found_by(1);
}

#[test]
fn a_missing_file_is_named_however_many_restore_it() {
    for (before, after) in [(&[1][..], 2), (&[2], 1), (&[2, 1], 1)] {
        let count = Snapshot::after(before, 200).files().len();
        assert!(count > 4, "{count} files");
        for number in 0..count {
            Snapshot::after(before, 200).a_missing_file_is_told(number, after);
        }
    }
}

#[test]
fn a_damaged_file_of_a_merged_database_is_named() {
    let snapshot = Snapshot::after(&[2, 1], 200);
    assert_eq!(snapshot.handles.len(), 1, "it was merged");
    snapshot.every_damage_is_found_by(1);
    Snapshot::after(&[2, 1], 200).every_damage_is_found_by(2);
}

/// A snapshot of two subtasks with a byte flipped in a file that is too large to be read at the restore.
fn with_a_damaged_large_file() -> (Snapshot, FileRef) {
    let snapshot = Snapshot::after(&[2], 400_000);
    let files = snapshot.files();
    let file = files.iter().find(|file| file.size > 1 << 20).unwrap().clone();
    let mut bytes = snapshot.storage.bytes(&file);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    snapshot.storage.replace(&file, bytes);
    (snapshot, file)
}

fn assert_is_about(error: &BackendError, file: &FileRef) {
    let text = error.to_string();
    assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{text}");
    assert!(text.contains(&format!("snapshot file {}", file.token)), "{text}");
}

#[test]
fn damage_that_comes_into_a_merged_database_is_told_by_the_name_that_the_file_had() {
    let (snapshot, file) = with_a_damaged_large_file();
    let mut job = Job::restored(&snapshot.suite, &snapshot.storage, 1, &snapshot.handles);
    assert!(job.wait_for_the_merge() > 1.5, "it has begun with two");
    let (shape, opened, ids) = &mut job.subtasks[0];
    assert!(databases(opened) < 1.5);
    let groups = shape.range();
    let mut errors = groups.iter().flat_map(|group| {
        let states = ids.iter();
        let told = states.filter_map(|id| opened.try_visit(*id, group).err());
        told.collect::<Vec<_>>()
    });
    let error = errors.next().expect("the block with the flipped byte is read");
    assert_is_about(&error, &file);
    drop(errors);
    job.close();
}

#[test]
fn damage_that_nobody_reads_is_told_although_the_databases_were_merged() {
    let (snapshot, file) = with_a_damaged_large_file();
    let mut job = Job::restored(&snapshot.suite, &snapshot.storage, 1, &snapshot.handles);
    job.wait_for_the_merge();
    // The sweep has ended before the merge begins.
    let opened = job.subtasks[0].1.object();
    let told = opened.notify(7, CheckpointEvent::Aborted).into_result();
    assert_is_about(&told.unwrap_err(), &file);
    job.close();
}
