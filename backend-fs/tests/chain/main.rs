//! Chains of snapshots over many checkpoints: what they restore, how long and how large they get.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where it panics"
)]

mod folder;
mod walk;

use millpond_backend_api::{CheckpointEvent, KeyedState, SnapshotHandle};
use walk::{Random, Walk};

fn seed() -> u64 {
    std::env::var("MILLPOND_SEED").map_or(7, |seed| seed.parse().unwrap())
}

fn metric(walk: &Walk, name: &str) -> f64 {
    let metrics = walk.keyed.metrics();
    metrics.iter().find(|(found, _)| found == name).unwrap().1
}

fn new_bytes(handles: &[SnapshotHandle]) -> u64 {
    handles.iter().map(|handle| handle.new_bytes).sum()
}

#[test]
fn every_snapshot_of_a_long_walk_restores_what_was_there_with_the_files_of_the_latest_only() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 3000);
    for id in 1..=200 {
        walk.change(&mut random, 15);
        let write = walk.begin(id, true);
        let model = walk.model.clone();
        // What is changed meanwhile belongs to the next snapshot.
        walk.change(&mut random, 5);
        let handles = write();
        if random.below(4) == 0 {
            walk.notify(id, CheckpointEvent::Aborted);
            continue;
        }
        walk.folder.keep_only(&handles);
        walk.check_restored(&handles, &model);
        walk.notify(id, CheckpointEvent::Completed);
        if random.below(12) == 0 {
            walk.restore(&[], &handles, &model);
            walk.check();
        }
    }
    walk.check();
    assert!(metric(&walk, "chain_files") < 12.0);
}

#[test]
fn increments_are_small_and_folded_and_deletions_do_not_come_back() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 6000);
    let mut full = 0;
    let mut alone = 0;
    for id in 1..=60 {
        let handles = walk.begin(id, true)();
        let bytes = new_bytes(&handles);
        if id == 1 {
            full = bytes;
        }
        alone += u64::from(bytes * 20 < full);
        walk.folder.keep_only(&handles);
        walk.check_restored(&handles, &walk.model);
        walk.notify(id, CheckpointEvent::Completed);
        walk.change(&mut random, 12);
    }
    assert!(
        alone > 40,
        "{alone} of 60 increments wrote less than a twentieth of the whole"
    );
    assert!(metric(&walk, "increments_folded") > 10.0);
    assert!(metric(&walk, "bases_begun") < 20.0);
}

#[test]
fn increments_stay_small_although_canonical_snapshots_complete_in_between() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 6000);
    let full = new_bytes(&walk.begin(1, true)());
    walk.notify(1, CheckpointEvent::Completed);
    let mut alone = 0;
    for round in 1..=30 {
        walk.change(&mut random, 12);
        let (id, of_savepoint) = (2 * round, 2 * round + 1);
        let native = walk.begin(id, true);
        let model = walk.model.clone();
        walk.change(&mut random, 5);
        let savepoint = walk.begin_canonical(of_savepoint)();
        // A savepoint that is faster than the checkpoint before it does not make that one's files useless.
        walk.notify(of_savepoint, CheckpointEvent::Completed);
        let handles = native();
        walk.notify(id, CheckpointEvent::Completed);
        alone += u64::from(new_bytes(&handles) * 20 < full);
        if round % 10 == 0 {
            walk.check_restored(&savepoint, &walk.model);
        }
        walk.folder.keep_only(&handles);
        walk.check_restored(&handles, &model);
    }
    assert!(alone > 20, "{alone} of 30 increments were small");
}

#[test]
fn after_a_canonical_restore_there_is_one_base_and_then_increments() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 6000);
    let savepoint = walk.begin_canonical(1)();
    let model = walk.model.clone();
    walk.restore(&[], &savepoint, &model);
    walk.check();
    let mut bytes = Vec::new();
    for id in 2..6 {
        let handles = walk.begin(id, true)();
        walk.notify(id, CheckpointEvent::Completed);
        walk.folder.keep_only(&handles);
        walk.check_restored(&handles, &walk.model);
        bytes.push(new_bytes(&handles));
        walk.change(&mut random, 12);
    }
    assert!(bytes[0] > savepoint[0].state_bytes / 2, "{bytes:?}");
    assert!(
        bytes[1..].iter().all(|increment| increment * 20 < bytes[0]),
        "{bytes:?}"
    );
}

#[test]
fn the_changes_of_an_aborted_checkpoint_go_into_the_next() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 3000);
    let first = walk.begin(1, true)();
    walk.notify(1, CheckpointEvent::Completed);
    walk.change(&mut random, 30);
    let aborted = walk.begin(2, true);
    // One is given up before it is written, one after.
    drop(aborted);
    walk.notify(2, CheckpointEvent::Aborted);
    walk.change(&mut random, 30);
    walk.begin(3, true)();
    walk.notify(3, CheckpointEvent::Aborted);
    let last = walk.begin(4, true)();
    walk.folder.keep_only(first.iter().chain(&last));
    walk.check_restored(&last, &walk.model);
    assert!(new_bytes(&last) * 4 < new_bytes(&first));
}

#[test]
fn a_snapshot_without_changes_writes_nothing() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 300);
    walk.begin(1, true)();
    walk.notify(1, CheckpointEvent::Completed);
    let handles = walk.begin(2, true)();
    assert_eq!(new_bytes(&handles), 0);
    walk.check_restored(&handles, &walk.model);
}

#[test]
fn without_increments_every_snapshot_stands_alone() {
    let config = [("execution.checkpointing.incremental", "false")];
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&config);
    walk.change(&mut random, 1000);
    for id in 1..=6 {
        walk.change(&mut random, 20);
        let handles = walk.begin(id, true)();
        walk.notify(id, CheckpointEvent::Completed);
        walk.folder.keep_only(&handles);
        assert!(
            handles
                .iter()
                .all(|handle| handle.files.len() == 1 && !handle.files[0].shared)
        );
        let model = walk.model.clone();
        walk.restore(&config, &handles, &model);
        walk.check();
    }
}

#[test]
fn after_a_new_base_restored_files_are_not_needed_any_more() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.change(&mut random, 3000);
    let handles = walk.begin(1, true)();
    let model = walk.model.clone();
    walk.restore(&[], &handles, &model);
    let mut id = 1;
    let handles = loop {
        id += 1;
        walk.change(&mut random, 200);
        let handles = walk.begin(id, true)();
        walk.notify(id, CheckpointEvent::Completed);
        walk.folder.keep_only(&handles);
        if handles[0].files.len() == 1 {
            break handles;
        }
    };
    walk.change(&mut random, 100);
    walk.check();
    let next = walk.begin(id + 1, true)();
    walk.folder.keep_only(handles.iter().chain(&next));
    walk.check_restored(&next, &walk.model);
}

#[test]
fn what_is_forgotten_of_many_deletions_is_what_no_file_has() {
    let mut random = Random::new(seed());
    let mut walk = Walk::new(&[]);
    walk.keys = 4000;
    walk.change(&mut random, 16_000);
    let mut bases = 0;
    for id in 1..=24 {
        walk.change(&mut random, 2500);
        let handles = walk.begin(id, true)();
        walk.notify(id, CheckpointEvent::Completed);
        walk.folder.keep_only(&handles);
        if id % 3 == 0 {
            walk.check_restored(&handles, &walk.model);
        }
        bases += u32::from(handles[0].files.len() == 1);
        if id == 12 {
            let model = walk.model.clone();
            walk.restore(&[], &handles, &model);
        }
    }
    assert!(bases >= 4, "{bases} bases");
    walk.check();
}

#[test]
fn compressed_chains_restore_and_leave_nothing_in_the_local_folder() {
    let config = [("execution.checkpointing.snapshot-compression", "true")];
    let mut random = Random::new(seed());
    let (mut plain, mut walk) = (Walk::new(&[]), Walk::new(&config));
    plain.change(&mut random.clone(), 4000);
    walk.change(&mut random, 4000);
    assert!(new_bytes(&walk.begin(1, true)()) < new_bytes(&plain.begin(1, true)()));
    for id in 2..=12 {
        walk.change(&mut random, 30);
        let handles = walk.begin(id, true)();
        walk.notify(id, CheckpointEvent::Completed);
        walk.folder.keep_only(&handles);
        // Also without the option: the files say how they are written.
        walk.check_restored(&handles, &walk.model);
        if id % 5 == 0 {
            let model = walk.model.clone();
            walk.restore(&config, &handles, &model);
            walk.check();
        }
    }
    assert!(!walk.folder.path("local").exists());
}
