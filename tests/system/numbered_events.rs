//! Kills with the sharper oracle: each key's state must see exactly +1 each time, so a fault names the key, and the log the checkpoint.

use crate::harness::{
    Ended, FILES, FILES_AND_INLINE, HASTY_FILES, HEAP, Program, Random, Settings, WHOLE_FILES, number,
};
use std::path::Path;

const KEYS: u64 = 120;
const PER_KEY: u64 = 500;

/// Each life's log goes through here.
#[track_caller]
fn assert_no_fault(ended: &Ended) {
    assert!(!ended.log.contains("FAULT"), "{}", ended.log);
}

fn events(folder: &Path) -> Vec<(u64, u64)> {
    let mut events: Vec<_> = crate::harness::finished_lines(folder)
        .into_iter()
        .map(|line| {
            let line = String::from_utf8(line).unwrap();
            let (key, number) = line.split_once(' ').unwrap();
            (key.parse().unwrap(), number.parse().unwrap())
        })
        .collect();
    events.sort_unstable();
    events
}

/// The events that are written by a job that is killed `kills` times, unless `MILLPOND_KILLS` says otherwise.
fn kill_loop(
    name: &str,
    mode: &str,
    settings: Settings,
    kills: u64,
    change: impl Fn(Program) -> Program,
) -> Vec<(u64, u64)> {
    let kills = number("MILLPOND_KILLS", kills);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let program = change(
        Program::subject(&folder.path().join("logs"), "numbered-events")
            .option("output", folder.path().join("output").display())
            .option("keys", KEYS)
            .option("per-key", PER_KEY)
            .option("rate", KEYS * PER_KEY * 1000 / (kills * 250))
            .set("execution.checkpointing.mode", mode)
            .set_all(settings)
            .durable(folder.path(), 50),
    );
    let start = |parallelism: u64| program.clone().option("parallelism", parallelism).start();
    let mut finished = false;
    for _ in 0..kills {
        let mut running = start(1 + random.below(4));
        if running.ends_within(random.milliseconds(20..800)) {
            let ended = running.wait().expect_code(0);
            assert_no_fault(&ended);
            finished = true;
            break;
        }
        assert_no_fault(&running.kill());
    }
    if !finished {
        let ended = start(2).wait().expect_code(0);
        assert_no_fault(&ended);
    }
    events(&folder.path().join("output"))
}

fn all_events() -> Vec<(u64, u64)> {
    (0..KEYS)
        .flat_map(|key| (0..PER_KEY).map(move |number| (key, number)))
        .collect()
}

pub(crate) fn exactly_once(name: &str, settings: Settings, kills: u64) {
    let found = kill_loop(name, "EXACTLY_ONCE", settings, kills, |program| program);
    assert!(found == all_events(), "{} events", found.len());
}

fn at_least_once(name: &str, settings: Settings, kills: u64) {
    let mut found = kill_loop(name, "AT_LEAST_ONCE", settings, kills, |program| {
        program.arg("--repeats-allowed")
    });
    found.dedup();
    assert!(found == all_events(), "{} distinct events", found.len());
}

#[test]
fn every_event_is_seen_once_and_in_order_at_changing_parallelism() {
    exactly_once("numbered events", HEAP, 5);
}

#[test]
fn no_event_is_skipped_in_at_least_once_mode() {
    at_least_once("numbered events at least once", HEAP, 5);
}

#[test]
fn every_event_is_seen_once_and_in_order_on_mapped_files() {
    exactly_once("numbered events on files", FILES, 4);
}

#[test]
fn every_event_is_seen_once_and_in_order_when_increments_ride_in_the_metadata() {
    exactly_once("numbered events on files and metadata", FILES_AND_INLINE, 3);
}

#[test]
fn every_event_is_seen_once_and_in_order_when_each_checkpoint_is_whole() {
    exactly_once("numbered events on whole files", WHOLE_FILES, 2);
}

#[test]
fn every_event_is_seen_once_and_in_order_when_many_checkpoints_overlap_or_are_given_up() {
    exactly_once("numbered events on files in haste", HASTY_FILES, 3);
}

#[test]
fn no_event_is_skipped_on_mapped_files_in_at_least_once_mode() {
    at_least_once("numbered events on files at least once", FILES, 3);
}
