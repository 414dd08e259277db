//! Where the databases lie: what a killed process leaves there, and a disk that is full.

use crate::faults_of_storage::{assert_output, paced_program};
use crate::harness::{
    JobFolder, ROCKSDB, ROCKSDB_NO_MEMORY, Random, Running, Settings, SmallDisk, has_rocksdb, job_folders,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOCAL_DIR: &str = "state.backend.rocksdb.localdir";

/// The folders of attempts below those for databases.
fn attempts_in(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let entries = dirs
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten());
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_databases_of_a_killed_process_are_swept_at_the_next_start() {
    if !has_rocksdb() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| folder.path().join(name));
    let [a, b] = &dirs;
    let mut random = Random::of_test("folders of databases");
    let program = paced_program(folder.path(), ROCKSDB, &mut random, 1500)
        .set(LOCAL_DIR, format!("{}:file://{}", a.display(), b.display()));
    let mut running = program.start();
    running.wait_for("checkpoint completed");
    let killed = running.id();
    assert!(running.kill().was_killed());
    let left = attempts_in(&dirs);
    // One in each, since the subtasks take them in turn.
    assert_eq!(left.len(), 2, "{left:?}");
    for attempt in &left {
        assert!(
            attempt.to_str().unwrap().ends_with(&format!("-{killed}")),
            "{left:?}"
        );
    }
    // Somebody else's.
    fs::write(a.join("notes"), "stays").unwrap();

    let mut running = program.start();
    running.wait_for("checkpoint completed");
    for attempt in &left {
        assert!(!attempt.exists(), "{} is still there", attempt.display());
    }
    let ended = running.wait().expect_code(0);
    ended.expect_output(&["starts from checkpoint"]);
    assert_output(folder.path(), "after a kill");
    assert_eq!(attempts_in(&dirs), [a.join("notes")]);
}

/// Waits until `text` is in the part of the log behind `from`.
fn wait_for_again(running: &mut Running, from: usize, text: &str) {
    while !running.log()[from..].contains(text) {
        assert!(
            !running.ends_within(Duration::from_millis(5)),
            "{}",
            running.log()
        );
    }
}

/// Takes what there is, however little.
fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    let _ = fs::write(&ballast, vec![1u8; 64 << 20]);
    ballast
}

#[test]
fn a_full_disk_of_databases_is_refused_at_the_start_and_outlived_later() {
    outlives_a_full_disk("full disk of databases", ROCKSDB);
}

/// Here what does not fit into memory cannot be written out: the attempt fails, and another one goes on from the latest checkpoint.
#[test]
fn a_full_disk_is_outlived_when_memory_runs_out_too() {
    outlives_a_full_disk("full disk of databases, no memory", ROCKSDB_NO_MEMORY);
}

fn outlives_a_full_disk(name: &str, settings: Settings) {
    if !has_rocksdb() {
        return;
    }
    let Some(disk) = SmallDisk::mount("24m") else {
        println!("skipped: nothing can be mounted here");
        return;
    };
    let disk = disk.path();
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let program = paced_program(folder.path(), settings, &mut random, 1500)
        .set(LOCAL_DIR, disk.display())
        .set("execution.checkpointing.tolerable-failed-checkpoints", 1000)
        .set("restart-strategy.type", "fixed-delay")
        .set("restart-strategy.fixed-delay.attempts", 1000)
        .set("restart-strategy.fixed-delay.delay", "10 ms");
    let ballast = fill(disk);
    program.run().expect_code(2).expect_output(&[
        LOCAL_DIR,
        disk.to_str().unwrap(),
        "No space left on device",
    ]);
    fs::remove_file(&ballast).unwrap();

    let mut running = program.start();
    running.wait_for("checkpoint completed");
    let ballast = fill(disk);
    running.wait_for("No space left on device");
    fs::remove_file(&ballast).unwrap();
    let freed = running.log().len();
    wait_for_again(&mut running, freed, "checkpoint completed");
    running.kill();
    for job in job_folders(&folder.path().join("checkpoints")) {
        JobFolder::read(&job).assert_whole(name);
    }
    program
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint"]);
    assert_output(folder.path(), name);
}
