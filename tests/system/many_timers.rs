//! Very many timers in one job: a snapshot does not wait for them, and after a kill each fires exactly once.
//!
//! `MILLPOND_TIMERS` says how many; a million is the test in full.

use crate::harness::{
    FILES, HEAP, Program, REDB, ROCKSDB, Random, Running, Settings, checkpoints_below, finished_lines,
    has_redb, has_rocksdb, number,
};
use crate::soak::{PATIENCE, wait_for_checkpoints, wait_until};
use millpond_engine::checkpoint::metadata;
use std::fs;
use std::path::Path;
use std::time::Instant;

const TIMERS: u64 = 50_000;
const FEW: u64 = 1000;
const KEYS: u64 = 5000;
const PARALLELISM: u64 = 2;
/// How many checkpoints are looked at, of which the fastest counts: others may have been held up by the machine.
const LOOKED_AT: usize = 5;
/// A synchronous part below this is as good as none.
const SYNC_MS_MIN: f64 = 0.3;
/// How many times longer the synchronous part may take for many timers than for few. One that went through all timers, even as fast as a thousand in [`SYNC_MS_MIN`],
/// would take as many times longer as there are more timers.
fn allowed_ratio(timers: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    let more = (timers / FEW) as f64;
    more / 8.0
}

/// The shortest synchronous part of any of the next checkpoints, each as long as that of its slowest subtask, and the bytes of state of the last one.
fn synchronous_part(running: &mut Running, checkpoints: &Path) -> (f64, u64) {
    let (mut shortest, mut bytes, mut looked_at, mut last) = (f64::INFINITY, 0, 0, 0);
    while looked_at < LOOKED_AT {
        wait_for_checkpoints(running, 1);
        // One that is deleted just now is not the latest any more.
        let latest = checkpoints_below(checkpoints).pop();
        let latest = latest.and_then(|(_, folder)| metadata::read_file(&folder.join("_metadata")).ok());
        let Some(latest) = latest.filter(|latest| latest.id.0 > last) else {
            continue;
        };
        last = latest.id.0;
        looked_at += 1;
        let sync_ms = latest
            .subtasks()
            .map(|subtask| subtask.sync_ms)
            .fold(0.0, f64::max);
        shortest = shortest.min(sync_ms);
        bytes = latest.state_bytes();
    }
    (shortest, bytes)
}

fn each_fires_once(name: &str, settings: Settings) {
    let mut random = Random::of_test(name);
    let timers = number("MILLPOND_TIMERS", TIMERS);
    let folder = tempfile::tempdir().unwrap();
    let (told, output) = (folder.path().join("told"), folder.path().join("output"));
    fs::create_dir(&told).unwrap();
    let program = Program::subject(&folder.path().join("logs"), "many-timers")
        .option("output", output.display())
        .option("timers", timers)
        .option("few", FEW)
        .option("keys", KEYS)
        .option("told", told.display())
        .set_all(settings)
        .durable(folder.path(), 50);
    let checkpoints = folder.path().join("checkpoints");
    let begun = Instant::now();

    let at = |parallelism| program.clone().option("parallelism", parallelism);
    let mut running = at(PARALLELISM).start();
    let (few, _) = synchronous_part(&mut running, &checkpoints);
    fs::write(told.join("go"), "").unwrap();
    wait_until(&mut running, "all timers", |running| {
        running.log().contains("all numbers are emitted")
    });
    // The next one may have begun before; the one after it has all.
    wait_for_checkpoints(&mut running, 2);
    let (many, bytes) = synchronous_part(&mut running, &checkpoints);
    eprintln!(
        "{name}: {timers} timers, {bytes} bytes, at {:?}: {many:.3} ms of a snapshot are synchronous, {few:.3} ms with {FEW}",
        begun.elapsed()
    );
    let allowed = few.max(SYNC_MS_MIN) * allowed_ratio(timers);
    assert!(
        many <= allowed,
        "{name}: {many} ms, and {few} ms with {FEW} timers"
    );
    let mut log = running.kill().log;

    // Killed once more, with some timers fired or none.
    fs::write(told.join("enough"), "").unwrap();
    let mut running = at(PARALLELISM + 1).start();
    let ended = if running.ends_within(random.milliseconds(100..3000)) {
        running.wait().expect_code(0)
    } else {
        running.kill()
    };
    log.push_str(&ended.log);
    if ended.was_killed() {
        let mut running = at(PARALLELISM).start();
        running.ends_within(PATIENCE);
        log.push_str(&running.wait().expect_code(0).log);
    }
    assert!(!log.contains("FAULT"), "{name}:\n{log}");
    let mut fired: Vec<u64> = finished_lines(&output)
        .into_iter()
        .map(|line| String::from_utf8(line).unwrap().parse().unwrap())
        .collect();
    fired.sort_unstable();
    eprintln!("{name}: all have fired at {:?}", begun.elapsed());
    assert!(
        fired.iter().copied().eq(0..timers),
        "{} of {timers} fired",
        fired.len()
    );
}

#[test]
fn each_fires_once_after_a_kill_and_a_snapshot_does_not_wait_for_them_on_the_heap() {
    each_fires_once("many timers on the heap", HEAP);
}

#[test]
fn each_fires_once_after_a_kill_and_a_snapshot_does_not_wait_for_them_on_files() {
    each_fires_once("many timers on files", FILES);
}

#[test]
fn each_fires_once_after_a_kill_and_a_snapshot_does_not_wait_for_them_on_rocksdb() {
    if has_rocksdb() {
        each_fires_once("many timers on RocksDB", ROCKSDB);
    }
}

#[test]
fn each_fires_once_after_a_kill_and_a_snapshot_does_not_wait_for_them_on_redb() {
    if has_redb() {
        each_fires_once("many timers on redb", REDB);
    }
}
