//! A job with every kind of state and timers at one parallelism after the other, none of which divides the next: by checkpoints and by savepoints.

use crate::harness::{FILES, HEAP, REDB, ROCKSDB, Settings, assert_exactly, has_redb, has_rocksdb};
use crate::soak::{Job, undisturbed, wait_for_checkpoints};
use millpond_engine::checkpoint::SavepointFormat;

/// Runs at each of `parallelisms` for two checkpoints, then is killed and stopped with a savepoint by turns.
fn goes_through(name: &'static str, settings: Settings, parallelisms: &[u64]) {
    let mut job = Job::new(name, settings);
    let (last, others) = parallelisms.split_last().unwrap();
    for (index, parallelism) in others.iter().enumerate() {
        let mut running = job.program(*parallelism).start();
        wait_for_checkpoints(&mut running, 2);
        let log = match index % 2 {
            0 => running.kill().log,
            _ => job.stop(running, SavepointFormat::Canonical),
        };
        job.look(&log);
    }
    let (found, events) = job.end(*last);
    assert_exactly(&found, &undisturbed(events), name);
}

#[test]
fn state_and_timers_are_exact_over_one_three_seven_two() {
    goes_through("rescaling on the heap", HEAP, &[1, 3, 7, 2]);
}

#[test]
fn state_and_timers_are_exact_over_one_three_seven_two_on_files() {
    goes_through("rescaling on files", FILES, &[1, 3, 7, 2]);
}

#[test]
fn state_and_timers_are_exact_over_one_three_seven_two_on_rocksdb() {
    if has_rocksdb() {
        goes_through("rescaling on RocksDB", ROCKSDB, &[1, 3, 7, 2]);
    }
}

#[test]
fn state_and_timers_are_exact_over_one_three_seven_two_on_redb() {
    if has_redb() {
        goes_through("rescaling on redb", REDB, &[1, 3, 7, 2]);
    }
}

#[test]
fn state_and_timers_are_exact_where_each_subtask_has_one_key_group() {
    let groups = &[("pipeline.max-parallelism", "13")];
    goes_through("rescaling to the maximum", groups, &[5, 13, 3]);
}
