//! Whole programs with connected streams, broadcast rules and operator state: killed, and rescaled over savepoints.

use crate::harness::{
    FILES, HEAP, Program, ROCKSDB, Random, Settings, checkpoints_below, finished_lines, has_rocksdb, number,
};
use crate::soak::wait_until;
use millpond_engine::checkpoint::{SavepointFormat, StopMode, restore};
use millpond_engine::control::{self, Request};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEYS: u64 = 30;
const RECORDS: u64 = 6000;

fn program(folder: &Path, settings: Settings) -> Program {
    Program::subject(&folder.join("logs"), "rules")
        .option("output", folder.join("output").display())
        .option("keys", KEYS)
        .option("records", RECORDS)
        .set_all(settings)
}

/// Key, time, marks, rule.
type Row = (u64, u64, u64, u64);

/// What comes out of a run that nobody disturbs, worked out by other means: see `subject/rules.rs`.
fn expected() -> Vec<Row> {
    let mut rows: Vec<Row> = (0..RECORDS)
        .map(|time| {
            let key = time % KEYS;
            let marks = (0..=time / 3).filter(|mark| mark % KEYS == key).count() as u64;
            let rule = (0..=time / 20).rev().find(|rule| rule % 4 == key % 4);
            (key, time, marks, rule.map_or(0, |rule| rule * 7 + 1))
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[track_caller]
fn assert_output(folder: &Path, what: &str) {
    let mut found: Vec<Row> = finished_lines(&folder.join("output"))
        .into_iter()
        .map(|line| {
            let line = String::from_utf8(line).unwrap();
            let mut numbers = line.split(' ').map(|number| number.parse::<u64>().unwrap());
            let mut next = || numbers.next().unwrap();
            (next(), next(), next(), next())
        })
        .collect();
    found.sort_unstable();
    let expected = expected();
    let missing: Vec<_> = expected
        .iter()
        .filter(|row| found.binary_search(row).is_err())
        .collect();
    let wrong: Vec<_> = found
        .iter()
        .filter(|row| expected.binary_search(row).is_err())
        .collect();
    assert!(
        found == expected,
        "{what}: {} rows of {}, missing {:?}.., wrong {:?}..",
        found.len(),
        expected.len(),
        missing.iter().take(5).collect::<Vec<_>>(),
        wrong.iter().take(5).collect::<Vec<_>>(),
    );
}

/// Killed at any moment, and started again with another parallelism.
fn kill_loop(name: &str, settings: Settings, kills: u64) {
    let kills = number("MILLPOND_KILLS", kills);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut random = Random::of_test(name);
    let program = program(folder, settings)
        .option("rate", RECORDS * 1000 / (kills * 1000))
        .durable(folder, 50);
    let start = |parallelism: u64| program.clone().option("parallelism", parallelism).start();
    let mut finished = false;
    for _ in 0..kills {
        let mut running = start(1 + random.below(4));
        if running.ends_within(random.milliseconds(100..1900)) {
            running.wait().expect_code(0);
            finished = true;
            break;
        }
        running.kill();
    }
    if !finished {
        start(2).wait().expect_code(0);
    }
    assert_output(folder, name);
}

#[test]
fn rules_are_exactly_once_through_kills_at_changing_parallelism() {
    kill_loop("rules", HEAP, 4);
}

#[test]
fn rules_are_exactly_once_through_kills_on_files() {
    kill_loop("rules on files", FILES, 3);
}

#[test]
fn rules_are_exactly_once_through_kills_on_rocksdb() {
    if has_rocksdb() {
        kill_loop("rules on rocksdb", ROCKSDB, 3);
    }
}

/// Whether the latest checkpoint has elements of each operator state of the job: else a restore would not show how they are dealt out.
fn has_all_operator_state(checkpoints: &Path) -> bool {
    let Some((_, latest)) = checkpoints_below(checkpoints).pop() else {
        return false;
    };
    // It may have been replaced by the next one meanwhile.
    let Ok(loaded) = restore::load(&latest) else {
        return false;
    };
    let subtasks = loaded.metadata.subtasks();
    let states = subtasks.flat_map(|subtask| &subtask.operator_state);
    let kinds: BTreeSet<_> = states
        .filter(|state| ["rules", "rows"].contains(&state.name.as_str()) && state.offsets.len() > 0)
        .map(|state| state.redistribution.to_string())
        .collect();
    kinds.len() == 3
}

/// Stopped with a savepoint twice, and each time gone on from it at another parallelism: 2, 3, 1.
fn rescaled(name: &str, settings: Settings, format: SavepointFormat) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let control = folder.join("control");
    let program = program(folder, settings)
        .set("execution.checkpointing.interval", "50 ms")
        .set(
            "execution.checkpointing.dir",
            format!("file://{}", folder.join("checkpoints").display()),
        )
        .set("control.dir", control.display());
    std::fs::create_dir_all(&control).unwrap();
    let mut from: Option<PathBuf> = None;
    for parallelism in [2, 3] {
        // So slow that it cannot come to its end.
        let mut program = program
            .clone()
            .option("parallelism", parallelism)
            .option("rate", 400);
        if let Some(from) = &from {
            program = program.option("from-savepoint", from.display());
        }
        let mut running = program.start();
        wait_until(&mut running, "rows in every operator state", |_| {
            has_all_operator_state(&folder.join("checkpoints"))
        });
        let request = Request {
            target: Some(folder.join("savepoints").display().to_string()),
            format,
            stop: Some(StopMode::Suspend),
        };
        let patience = Duration::from_secs(100);
        from = Some(control::request(&control, &request, patience).unwrap());
        running.wait();
    }
    program
        .option("parallelism", 1)
        .option("rate", RECORDS)
        .option("from-savepoint", from.unwrap().display())
        .run()
        .expect_code(0);
    assert_output(folder, name);
}

#[test]
fn a_savepoint_takes_rules_and_operator_state_to_another_parallelism() {
    rescaled("native", HEAP, SavepointFormat::Native);
    rescaled("canonical", HEAP, SavepointFormat::Canonical);
}

#[test]
fn a_savepoint_takes_rules_and_operator_state_to_another_parallelism_on_files() {
    rescaled("native on files", FILES, SavepointFormat::Native);
    rescaled("canonical on files", FILES, SavepointFormat::Canonical);
}

#[test]
fn a_savepoint_takes_rules_and_operator_state_to_another_parallelism_on_rocksdb() {
    if has_rocksdb() {
        rescaled("native on rocksdb", ROCKSDB, SavepointFormat::Native);
        rescaled("canonical on rocksdb", ROCKSDB, SavepointFormat::Canonical);
    }
}
