//! What a subtask makes of the databases of several others: one, beside the job, with everything that was in them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where it panics"
)]

mod damage;

use millpond_backend_api::contract::{Address, Model, Opened, Random, Shape, Storage, Suite};
use millpond_backend_api::{CheckpointEvent, SnapshotHandle, StateDescriptor, StateId, StateKind};
use std::collections::BTreeSet;

fn suite() -> Suite {
    Suite::new(millpond_backend_rocksdb::factory, &[])
}

fn model() -> Model {
    let states = [("values", StateKind::Value), ("maps", StateKind::Map)];
    Model::new(states.map(|(name, kind)| StateDescriptor::new(name, kind, 0)))
}

/// A job with so many subtasks, and what they should have together.
struct Job {
    subtasks: Vec<(Shape, Opened, Vec<StateId>)>,
    handles: Vec<SnapshotHandle>,
    checkpoint: u64,
}

impl Job {
    fn restored(suite: &Suite, storage: &Storage, parallelism: u32, handles: &[SnapshotHandle]) -> Self {
        let checkpoint = 1 + u64::from(!handles.is_empty()) * 100;
        let subtasks = Shape::all(parallelism).map(|shape| {
            let mut opened = suite
                .restored(storage, shape, handles)
                .counting_from(checkpoint * u64::from(parallelism));
            let ids = model().register(&mut opened);
            (shape, opened, ids)
        });
        Self {
            subtasks: subtasks.collect(),
            handles: Vec::new(),
            checkpoint: 0,
        }
    }

    /// Puts and deletes what `random` says, of `keys` keys in each state.
    fn change(&mut self, model: &mut Model, random: &mut Random, changes: usize, keys: usize) {
        for _ in 0..changes {
            let key = u32::try_from(random.below(keys)).unwrap();
            let state = random.below(2);
            let address = match model.states[state].descriptor.kind {
                StateKind::Map => Address::new((key / 8).to_le_bytes()).at(key.to_be_bytes()),
                _ => Address::new(key.to_le_bytes()),
            };
            let of_group = |(shape, ..): &&mut (Shape, _, _)| {
                let range = shape.range();
                range.first.0 <= address.group && address.group <= range.last.0
            };
            let (_, opened, ids) = self.subtasks.iter_mut().find(of_group).unwrap();
            let cells = &mut model.states[state].cells;
            if random.below(4) == 0 {
                opened.delete(ids[state], &address);
                cells.remove(&address);
            } else {
                let value = random.bytes(30);
                opened.put(ids[state], &address, &value);
                cells.insert(address, value);
            }
        }
    }

    /// A completed checkpoint of all subtasks; gives the bytes that were new.
    fn checkpoint(&mut self, storage: &Storage) -> u64 {
        self.handles.clear();
        for (_, opened, _) in &mut self.subtasks {
            let checkpoint = opened.next_checkpoint();
            self.handles.extend(opened.snapshot(storage));
            opened.notify(storage, checkpoint, CheckpointEvent::Completed);
        }
        self.checkpoint += 1;
        self.handles.iter().map(|handle| handle.new_bytes).sum()
    }

    fn check(&mut self, model: &Model) {
        for (shape, opened, ids) in &mut self.subtasks {
            model.within(shape.range()).check(opened, ids);
        }
    }

    /// Waits until each subtask has one database; how many the first had.
    fn wait_for_the_merge(&mut self) -> f64 {
        let before = databases(&mut self.subtasks[0].1);
        for (shape, opened, ids) in &mut self.subtasks {
            let address = Address::of_group(shape.range().first.0);
            while databases(opened) > 1.0 {
                assert!(figure(opened, "merges_failed") < 0.5, "the merge was given up");
                opened.get(ids[0], &address);
                std::thread::yield_now();
            }
        }
        before
    }

    fn close(self) -> Vec<SnapshotHandle> {
        for (_, opened, _) in self.subtasks {
            opened.close();
        }
        self.handles
    }
}

fn figure(opened: &mut Opened, name: &str) -> f64 {
    let figures = opened.object().metrics().into_result().unwrap();
    figures.iter().find(|figure| figure.0 == name).unwrap().1
}

fn databases(opened: &mut Opened) -> f64 {
    figure(opened, "databases")
}

/// Goes through `steps`, numbers of subtasks, with checkpoints that change and delete what is in the files of those before.
fn rescale(steps: &[u32], keys: usize) {
    let suite = suite();
    let storage = suite.storage_on_disk();
    let mut random = suite.random();
    let mut model = model();
    let mut handles = Vec::new();
    for (number, parallelism) in steps.iter().enumerate() {
        let mut job = Job::restored(&suite, &storage, *parallelism, &handles);
        job.check(&model);
        if number > 0 {
            // What is changed before the merge and beside it.
            job.change(&mut model, &mut random, keys / 4, keys);
            job.checkpoint(&storage);
            job.change(&mut model, &mut random, keys / 4, keys);
        }
        job.wait_for_the_merge();
        job.check(&model);
        for _ in 0..4 {
            job.change(&mut model, &mut random, keys / 2, keys);
            job.checkpoint(&storage);
        }
        assert_eq!(job.handles.len(), *parallelism as usize, "one database a subtask");
        job.check(&model);
        handles = job.close();
    }
    let mut job = Job::restored(&suite, &storage, 1, &handles);
    job.check(&model);
    job.close();
}

#[test]
fn two_become_one() {
    rescale(&[2, 1], 3000);
}

#[test]
fn what_was_cut_from_a_database_does_not_come_back_with_another() {
    rescale(&[1, 2, 1], 3000);
    rescale(&[1, 3, 2, 5, 2, 1], 1000);
}

#[test]
fn many_become_few() {
    rescale(&[7, 3, 1], 500);
    rescale(&[16, 1, 16, 1], 500);
}

/// The files of the checkpoint that was restored.
fn tokens(handles: &[SnapshotHandle]) -> BTreeSet<String> {
    let files = handles.iter().flat_map(|handle| handle.files.iter());
    let files = files.filter(|file| file.shared);
    files.map(|file| file.token.to_string()).collect()
}

#[test]
fn a_merged_database_goes_on_with_the_files_that_the_storage_has() {
    let suite = suite();
    let storage = suite.storage_on_disk();
    let mut random = suite.random();
    let mut model = model();
    let mut job = Job::restored(&suite, &storage, 2, &[]);
    job.change(&mut model, &mut random, 20_000, 20_000);
    let all = job.checkpoint(&storage);
    let handles = job.close();

    let mut job = Job::restored(&suite, &storage, 1, &handles);
    assert!(job.wait_for_the_merge() > 1.5, "it has begun with two");
    let new = job.checkpoint(&storage);
    assert!(new < all / 10, "{new} bytes of {all} were written again");
    assert_eq!(tokens(&job.handles), tokens(&handles));
    job.change(&mut model, &mut random, 100, 20_000);
    let new = job.checkpoint(&storage);
    assert!(new < all / 10, "{new} bytes of {all} were written again");
    assert!(tokens(&handles).is_subset(&tokens(&job.handles)));
    let handles = job.close();
    let mut job = Job::restored(&suite, &storage, 1, &handles);
    job.check(&model);
    job.close();
}

#[test]
fn a_snapshot_from_before_the_merge_that_is_written_behind_it_is_whole() {
    let suite = suite();
    let storage = suite.storage_on_disk();
    let mut random = suite.random();
    let mut model = model();
    let mut job = Job::restored(&suite, &storage, 2, &[]);
    job.change(&mut model, &mut random, 3000, 3000);
    job.checkpoint(&storage);
    let handles = job.close();

    let mut job = Job::restored(&suite, &storage, 1, &handles);
    job.change(&mut model, &mut random, 1000, 3000);
    let then = model.clone();
    let pending = job.subtasks[0].1.begin_snapshot();
    job.change(&mut model, &mut random, 1000, 3000);
    job.wait_for_the_merge();
    let written = pending.write(&storage);
    job.check(&model);
    job.checkpoint(&storage);
    let last = job.close();
    for (handles, model) in [(written, then), (last, model)] {
        let mut job = Job::restored(&suite, &storage, 1, &handles);
        job.check(&model);
        job.close();
    }
}

#[test]
fn much_that_was_changed_comes_in_files_that_a_cut_drops_as_a_whole() {
    let small_files = (
        "state.backend.rocksdb.compaction.level.target-file-size-base",
        "64 kb",
    );
    let suite = Suite::new(millpond_backend_rocksdb::factory, &[small_files]);
    let storage = suite.storage_on_disk();
    let mut random = suite.random();
    let mut model = model();
    let mut job = Job::restored(&suite, &storage, 1, &[]);
    job.change(&mut model, &mut random, 40_000, 40_000);
    let all = job.checkpoint(&storage);
    let files = tokens(&job.handles).len();
    assert!(files > 8, "{files} files of {all} bytes");
    let handles = job.close();

    let mut job = Job::restored(&suite, &storage, 2, &handles);
    job.checkpoint(&storage);
    let sizes = job.handles.iter().map(|handle| {
        let files = handle.files.iter().filter(|file| file.shared);
        files.map(|file| file.size).sum::<u64>()
    });
    for bytes in sizes.collect::<Vec<_>>() {
        assert!(bytes < all * 7 / 10, "{bytes} of {all} bytes are still there");
    }
    job.check(&model);
    job.close();
}
