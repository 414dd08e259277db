//! Canonical savepoints of whole programs: from each backend to each, those of libraries among them.

use super::{ask, control_below};
use crate::harness::{
    FILES, HEAP, Program, REDB, ROCKSDB, Settings, assert_exactly, finished_lines, has_redb, has_rocksdb,
};
use crate::soak::{Job, events_in, undisturbed, wait_for_checkpoints};
use millpond_engine::checkpoint::{SavepointFormat, StopMode};
use millpond_engine::control::Request;
use std::fs;

/// The backends that there are here, with what they are called.
fn backends() -> Vec<(&'static str, Settings)> {
    let mut backends = vec![("heap", HEAP), ("filesystem", FILES)];
    if has_rocksdb() {
        backends.push(("rocksdb", ROCKSDB));
    }
    if has_redb() {
        backends.push(("redb", REDB));
    }
    backends
}

/// Stops a job with every kind of state and timers on one backend; then it goes on from the one savepoint on each.
fn goes_on_on_each(name: &'static str, settings: Settings) {
    let mut job = Job::new(name, settings);
    let mut running = job.program(2).start();
    wait_for_checkpoints(&mut running, 2);
    let log = job.stop(running, SavepointFormat::Canonical);
    job.look(&log);
    let (before, _) = job.results();
    for (backend, settings) in backends() {
        let output = job.path().join(format!("output-on-{backend}"));
        let told = job.path().join(format!("told-on-{backend}"));
        fs::create_dir(&told).unwrap();
        let mut running = Job::shape(&job.path().join("logs"), &output)
            .option("rate", Job::RATE)
            .option("told", told.display())
            .option("parallelism", 3)
            .option("from-savepoint", job.from.as_ref().unwrap().display())
            .set("execution.checkpointing.interval", "40 ms")
            .set(
                "execution.checkpointing.dir",
                job.path().join(format!("checkpoints-on-{backend}")).display(),
            )
            .set_all(settings)
            .start();
        // So many that keys come again that were there before.
        wait_for_checkpoints(&mut running, 3);
        fs::write(told.join("enough"), "").unwrap();
        let ended = running.wait().expect_code(0);
        let what = format!("from {name} to {backend}");
        assert!(!ended.log.contains("FAULT"), "{what}:\n{}", ended.log);
        let mut found = before.clone();
        found.extend(finished_lines(&output));
        found.sort_unstable();
        assert_exactly(&found, &undisturbed(events_in(&found)), &what);
    }
}

#[test]
fn a_savepoint_of_the_heap_goes_on_on_each_backend() {
    goes_on_on_each("heap", HEAP);
}

#[test]
fn a_savepoint_of_the_filesystem_backend_goes_on_on_each_backend() {
    goes_on_on_each("filesystem", FILES);
}

#[test]
fn a_savepoint_of_rocksdb_goes_on_on_each_backend() {
    if has_rocksdb() {
        goes_on_on_each("rocksdb", ROCKSDB);
    }
}

#[test]
fn a_savepoint_of_redb_goes_on_on_each_backend() {
    if has_redb() {
        goes_on_on_each("redb", REDB);
    }
}

#[test]
fn a_job_with_savepoints_only_makes_no_folder_of_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let (control, checkpoints) = (control_below(folder.path()), folder.path().join("checkpoints"));
    let mut running = Program::subject(&folder.path().join("logs"), "idle")
        .set("control.dir", control.display())
        .set("execution.checkpointing.dir", checkpoints.display())
        .start();
    running.wait_for("running 1");
    for stop in [None, Some(StopMode::Suspend)] {
        let request = Request {
            stop,
            ..Request::default()
        };
        ask(&control, &folder.path().join("savepoints"), request).unwrap();
    }
    running.wait().expect_code(0);
    let left = fs::read_dir(&checkpoints).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{left} folders in {}", checkpoints.display());
}
