//! Savepoints of a job in several processes: asked for while all of them run, and while any of them is killed.

use super::{ask, assert_self_contained, control_below, copied, moved, savepoints};
use crate::harness::{
    FILES, HEAP, REDB, ROCKSDB, Random, Settings, assert_exactly, has_redb, has_rocksdb, number,
};
use crate::soak::{Job, PATIENCE, Processes, undisturbed};
use millpond_engine::checkpoint::{SavepointFormat, StopMode, restore};
use millpond_engine::control::Request;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Stopped again and again, each time by a savepoint of the other form, and gone on from it in another number of processes; drained at last.
fn goes_through_processes(name: &'static str, settings: Settings) {
    use SavepointFormat::{Canonical, Native};
    let mut job = Job::new(name, settings);
    for (processes, slots, format, stop) in [
        (2, 1, Canonical, StopMode::Suspend),
        (3, 1, Native, StopMode::Suspend),
        (1, 2, Canonical, StopMode::Suspend),
        (2, 2, Native, StopMode::Drain),
    ] {
        let mut cluster = Processes::start(&job, processes, slots);
        cluster.wait_for_checkpoints(1);
        let target = job.new_target();
        let request = Request {
            format,
            stop: Some(stop),
            ..Request::default()
        };
        let savepoint = ask(&control_below(job.path()), &target, request).unwrap();
        let stored = assert_self_contained(&savepoint);
        let subtasks = stored.operators.iter().map(|operator| operator.subtasks.len());
        assert_eq!(subtasks.max(), Some(processes * slots), "{name}");
        for ended in cluster.wait() {
            let ended = ended.expect_code(0);
            assert!(!ended.log.contains("FAULT"), "{name}:\n{}", ended.log);
        }
        let (found, events) = job.results();
        if stop == StopMode::Drain {
            assert_exactly(&found, &undisturbed(events), name);
        }
        job.from = Some(moved(&savepoint, &target.join("elsewhere")));
    }
}

#[test]
fn a_job_is_stopped_and_goes_on_in_another_number_of_processes() {
    goes_through_processes("savepoints of processes", HEAP);
}

#[test]
fn a_job_is_stopped_and_goes_on_in_another_number_of_processes_on_files() {
    goes_through_processes("savepoints of processes on files", FILES);
}

#[test]
fn a_job_is_stopped_and_goes_on_in_another_number_of_processes_on_rocksdb() {
    if has_rocksdb() {
        goes_through_processes("savepoints of processes on RocksDB", ROCKSDB);
    }
}

#[test]
fn a_job_is_stopped_and_goes_on_in_another_number_of_processes_on_redb() {
    if has_redb() {
        goes_through_processes("savepoints of processes on redb", REDB);
    }
}

/// Whether the job is at a request just now.
fn is_at_a_request(control: &Path) -> bool {
    let entries = fs::read_dir(control).unwrap().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| path.extension().is_some_and(|extension| extension == "taken"))
}

/// Asks for a savepoint again and again, and kills some of the processes while it is written, the one with the coordinator among them. What was answered for is whole,
/// what is not whole is not taken for a savepoint, and the job goes on: in the same cluster, or in another one from the savepoint that it was stopped with.
fn killed_meanwhile(name: &'static str, settings: Settings) {
    let mut random = Random::of_test(name);
    let mut job = Job::new(name, settings);
    let control = control_below(job.path());
    let (mut answered, mut complete) = (0, 0);
    for round in 0..number("MILLPOND_KILLS", 4) {
        let mut cluster = Processes::start(&job, 2 + random.index(2), 1 + random.index(2));
        cluster.wait_for_checkpoints(1);
        // So that there is time to kill anybody: barriers wait behind records.
        job.tell("slow");
        let target = job.new_target();
        let request = Request {
            format: random.pick(&[SavepointFormat::Canonical, SavepointFormat::Native]),
            stop: random.pick(&[None, Some(StopMode::Suspend)]),
            ..Request::default()
        };
        let stops = request.stop.is_some();
        // The first one, another one, or all.
        let killed: Vec<usize> = match (round + random.below(2)) % 3 {
            0 => vec![0],
            1 => vec![1 + random.index(cluster.count() - 1)],
            _ => (0..cluster.count()).collect(),
        };
        let pause = random.milliseconds(0..300);
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&control, &target, request));
            let deadline = Instant::now() + PATIENCE;
            while !is_at_a_request(&control) && !asked.is_finished() {
                assert!(Instant::now() < deadline, "{name}: nobody takes the request");
                cluster.first().ends_within(Duration::from_millis(2));
            }
            cluster.first().ends_within(pause);
            for index in &killed {
                cluster.kill(*index);
            }
            asked.join().unwrap()
        });
        fs::remove_file(job.told("slow")).unwrap();
        let savepoint = savepoints(&target).pop();
        let what = format!("{name}, round {round}, {killed:?} killed after {pause:?}: {answer:?}");
        eprintln!("{what}");
        if let Ok(path) = &answer {
            assert_eq!(Some(path), savepoint.as_ref(), "{what}");
            answered += 1;
        }
        if let Some(path) = &savepoint {
            assert_self_contained(path);
            complete += 1;
        }
        for entry in fs::read_dir(&target).into_iter().flatten().flatten() {
            if Some(entry.path()) != savepoint {
                restore::load(&entry.path()).unwrap_err();
            }
        }
        let has_stopped = stops && savepoint.is_some();
        if !has_stopped && killed.len() < cluster.count() {
            cluster.start_again(&killed);
            cluster.wait_for_checkpoints(1);
        }
        let logs = cluster.kill_all();
        for log in &logs {
            assert!(!log.contains("FAULT"), "{what}:\n{log}");
        }
        job.look(&logs[0]);
        if let Some(savepoint) = savepoint.filter(|_| stops) {
            job.from = Some(copied(&savepoint, &target.join("elsewhere")));
        }
    }
    eprintln!("{name}: {answered} savepoints answered for, {complete} complete");
    let (found, events) = job.end(3);
    assert_exactly(&found, &undisturbed(events), name);
}

#[test]
fn any_process_may_be_killed_while_a_savepoint_is_under_way() {
    killed_meanwhile("savepoints and kills of processes", HEAP);
}

#[test]
fn any_process_may_be_killed_while_a_savepoint_is_under_way_on_files() {
    killed_meanwhile("savepoints and kills of processes on files", FILES);
}

#[test]
fn any_process_may_be_killed_while_a_savepoint_is_under_way_on_rocksdb() {
    if has_rocksdb() {
        killed_meanwhile("savepoints and kills of processes on RocksDB", ROCKSDB);
    }
}
