//! One release after the other in one folder.

use super::{
    Backend, KEYS, backends, backends_and_little_memory, evolving, lines_of_records, lines_of_timers, sorted,
};
use crate::harness::{Random, assert_exactly, finished_lines, number};
use crate::savepoints::{ask, control_below};
use millpond_engine::checkpoint::{SavepointFormat, StopMode};
use millpond_engine::control::Request;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const RECORDS: u64 = 6000;

/// Every file of a folder, by name.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Runs the first release for a while, and stops it with a savepoint.
fn first_release(backend: &Backend, folder: &Path, format: SavepointFormat) -> PathBuf {
    let control = control_below(folder);
    let program = evolving(folder, 1, RECORDS, KEYS)
        .option("rate", 3000)
        .option("parallelism", 2)
        .durable(&folder.join("first"), 50);
    let mut running = backend.of(program).start();
    running.wait_for("checkpoint completed");
    let request = Request {
        stop: Some(StopMode::Suspend),
        format,
        ..Request::default()
    };
    let savepoint = ask(&control, &folder.join("savepoints"), request).unwrap();
    running.wait().expect_code(0);
    savepoint
}

fn a_release_with_other_types_is_exact(backend: &Backend, format: SavepointFormat) {
    let kills = number("MILLPOND_KILLS", 2);
    let name = format!("{}, {format:?}", backend.name);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(&name);
    let savepoint = first_release(backend, folder.path(), format);
    let before = bytes_of(&savepoint);
    let second = evolving(folder.path(), 2, RECORDS, KEYS)
        .option("from-savepoint", savepoint.display())
        .durable(&folder.path().join("second"), 50);
    let second = backend.of(second);

    // Half-way through the migration, twice.
    for parallelism in [1, 3] {
        let mut running = second
            .clone()
            .option("rate", 3000)
            .option("parallelism", parallelism)
            .option("stop-after-migrating", 1 + random.below(KEYS))
            .start();
        running.wait_for("waits within the migration");
        assert!(running.kill().was_killed());
        assert!(
            bytes_of(&savepoint) == before,
            "{name}: the savepoint was changed"
        );
    }
    // After it, before and after its first checkpoints.
    let mut has_ended = false;
    for kill in 0..kills {
        let mut running = second
            .clone()
            .option("rate", 1500)
            .option("parallelism", 1 + random.below(3))
            .start();
        if kill == 0 {
            running.wait_for("was brought over");
        } else {
            running.wait_for("checkpoint completed");
        }
        if running.ends_within(random.milliseconds(0..400)) {
            has_ended = true;
            break;
        }
        assert!(running.kill().was_killed());
    }
    if !has_ended {
        let ended = second.option("rate", 1_000_000).option("parallelism", 2).run();
        let ended = ended.expect_code(0);
        assert!(!ended.log.contains("FAULT"), "{name}: {}", ended.log);
        // By then it goes on from its own checkpoint, which has the new types.
        if kills > 1 {
            assert!(!ended.log.contains("was brought over"), "{name}: {}", ended.log);
        }
    }
    let expected = [lines_of_records(0, RECORDS, KEYS), lines_of_timers(RECORDS, KEYS)].concat();
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &sorted(expected), &name);
    assert!(
        bytes_of(&savepoint) == before,
        "{name}: the savepoint was changed"
    );
}

#[test]
fn a_release_with_other_types_goes_on_exactly_whatever_is_killed() {
    for backend in backends_and_little_memory() {
        a_release_with_other_types_is_exact(&backend, SavepointFormat::Native);
    }
}

#[test]
fn a_canonical_savepoint_migrates_on_every_backend() {
    for backend in backends() {
        a_release_with_other_types_is_exact(&backend, SavepointFormat::Canonical);
    }
}

/// The function of the program is put right, and the job goes on from the same savepoint.
#[test]
fn a_migration_that_panics_is_refused_with_state_operator_and_both_types_and_changes_nothing() {
    let backend = &backends()[1];
    let folder = tempfile::tempdir().unwrap();
    let savepoint = first_release(backend, folder.path(), SavepointFormat::Native);
    let before = bytes_of(&savepoint);
    let second = evolving(folder.path(), 2, RECORDS, KEYS)
        .option("from-savepoint", savepoint.display())
        .option("rate", 1_000_000)
        .durable(&folder.path().join("second"), 50);
    let second = backend.of(second);
    let panics = second
        .clone()
        .option("stop-after-migrating", 3)
        .arg("--panics-then");
    panics.run().expect_code(2).expect_output(&[
        "operator 'Evolving' (uid 'evolving', subtask 0): state 'visits' cannot be migrated",
        "a value of key group",
        "the migration from struct FirstVisits{count:u32,last:u64} to struct SecondVisits{",
        "panicked: the migration was told to panic",
    ]);
    assert!(bytes_of(&savepoint) == before, "the savepoint was changed");
    second.run().expect_code(0);
    let expected = [lines_of_records(0, RECORDS, KEYS), lines_of_timers(RECORDS, KEYS)].concat();
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &sorted(expected), "put right");
}

#[test]
fn a_release_with_a_type_that_nothing_leads_to_is_refused_in_full_and_the_savepoint_goes_on() {
    let backend = &backends()[0];
    let folder = tempfile::tempdir().unwrap();
    let savepoint = first_release(backend, folder.path(), SavepointFormat::Canonical);
    let third = evolving(folder.path(), 3, RECORDS, KEYS)
        .option("from-savepoint", savepoint.display())
        .option("rate", 1_000_000);
    backend.of(third).run().expect_code(2).expect_output(&[
        "operator 'Evolving' (uid 'evolving', subtask 0)",
        "value state 'visits'",
        "stored as millpond version 1, `struct FirstVisits{count:u32,last:u64}`",
        "registered as millpond version 1, `string`",
        "with_migration",
    ]);
    let first = evolving(folder.path(), 1, RECORDS, KEYS)
        .option("from-savepoint", savepoint.display())
        .option("rate", 1_000_000);
    backend.of(first).run().expect_code(0);
    let expected = [lines_of_records(0, RECORDS, KEYS), lines_of_timers(RECORDS, KEYS)].concat();
    let found = finished_lines(&folder.path().join("output"));
    assert_exactly(&found, &sorted(expected), "refused and gone on");
}
