//! Folders for savepoints that have something in them already: it stays as it is, and where the savepoint would be deleted along with it, it is refused.

use super::{ask, assert_self_contained, control_below};
use crate::harness::{FILES, assert_exactly, latest_checkpoint};
use crate::soak::{Job, undisturbed, wait_for_checkpoints};
use millpond_engine::checkpoint::restore;
use millpond_engine::control::Request;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder, with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_savepoint_goes_beside_what_is_in_a_folder_and_touches_nothing() {
    let mut job = Job::new("a folder with other things", FILES);
    let control = control_below(job.path());
    let target = job.new_target();
    fs::create_dir_all(target.join("chk-7")).unwrap();
    fs::create_dir(target.join("shared")).unwrap();
    // As a savepoint of another job would be that is being written.
    fs::create_dir(target.join("savepoint-ffffff-0123456789ab")).unwrap();
    for name in [
        "notes",
        "chk-7/state",
        "shared/state",
        "savepoint-ffffff-0123456789ab/state",
    ] {
        fs::write(target.join(name), name).unwrap();
    }
    let mut running = job.program(2).start();
    wait_for_checkpoints(&mut running, 1);
    let mut before = contents(&target);
    for _ in 0..2 {
        let savepoint = ask(&control, &target, Request::default()).unwrap();
        assert_self_contained(&savepoint);
        let mut after = contents(&target);
        after.retain(|path, _| !path.starts_with(&savepoint));
        assert!(
            after == before,
            "{:?} is left of {:?}",
            after.keys(),
            before.keys()
        );
        // The second one touches the first as little as the rest.
        before = contents(&target);
    }
    let log = running.kill().log;
    assert!(!log.contains("FAULT"), "{log}");
}

#[test]
fn a_savepoint_does_not_go_into_a_checkpoint_or_savepoint_and_the_job_goes_on() {
    let mut job = Job::new("a savepoint in a savepoint", FILES);
    let control = control_below(job.path());
    let mut running = job.program(2).start();
    wait_for_checkpoints(&mut running, 1);
    let savepoint = ask(&control, &job.new_target(), Request::default()).unwrap();
    let checkpoint = latest_checkpoint(&job.checkpoints());
    for target in [
        savepoint.clone(),
        savepoint.join("deeper/still"),
        checkpoint.clone(),
        checkpoint.join("deeper"),
    ] {
        let error = ask(&control, &target, Request::default())
            .unwrap_err()
            .to_string();
        for part in [target.to_str().unwrap(), "would be deleted with it"] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert_self_contained(&savepoint);
    restore::dispose(&savepoint).unwrap();
    wait_for_checkpoints(&mut running, 1);
    let log = running.kill().log;
    job.look(&log);
    let (found, events) = job.end(3);
    assert_exactly(&found, &undisturbed(events), "a savepoint in a savepoint");
}

/// The job clears up its own folder of checkpoints, at each start and at its end, but not what is no checkpoint.
#[test]
fn a_savepoint_beside_the_checkpoints_of_its_job_outlives_them() {
    let job = Job::new("a savepoint beside checkpoints", FILES);
    let control = control_below(job.path());
    let mut running = job.program(2).start();
    wait_for_checkpoints(&mut running, 1);
    let folder = latest_checkpoint(&job.checkpoints());
    let folder = folder.parent().unwrap();
    let savepoints =
        [folder, &job.checkpoints()].map(|target| ask(&control, target, Request::default()).unwrap());
    running.kill();
    let mut running = job.program(3).start();
    wait_for_checkpoints(&mut running, 2);
    job.tell("enough");
    running.wait().expect_code(0);
    for savepoint in savepoints {
        assert_self_contained(&savepoint);
    }
    let (found, events) = job.results();
    assert_exactly(&found, &undisturbed(events), "a savepoint beside checkpoints");
}
