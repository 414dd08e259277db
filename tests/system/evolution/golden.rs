//! Savepoints of this release, committed in `tests/golden`, which every later one restores: of the first release of the job, so that it both goes on as it is, and migrates.
//!
//! They are written anew by `cargo test -p millpond-tests --test system golden -- --ignored`, and only when a change of a format is meant: what this replaces are the savepoints that
//! users have.

use super::{Backend, backends, evolving, lines_of_records, lines_of_timers, sorted};
use crate::harness::{Program, finished_lines};
use crate::savepoints::{ask, control_below};
use millpond_engine::checkpoint::{SavepointFormat, StopMode};
use millpond_engine::control::Request;
use std::fs;
use std::path::{Path, PathBuf};

const KEYS: u64 = 7;
/// How many records the job has altogether; in the savepoint are fewer.
const RECORDS: u64 = 2000;

fn folder_of(backend: &Backend, format: SavepointFormat) -> PathBuf {
    let format = match format {
        SavepointFormat::Native => "native",
        _ => "canonical",
    };
    golden(&format!("{}-{format}", backend.name))
}

/// The golden savepoint of this name.
pub(super) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

const FORMATS: [SavepointFormat; 2] = [SavepointFormat::Canonical, SavepointFormat::Native];

#[test]
#[ignore = "writes the savepoints that the test beside it restores"]
fn write_golden_savepoints() {
    for backend in backends() {
        for format in FORMATS {
            let folder = tempfile::tempdir().unwrap();
            let control = control_below(folder.path());
            let program = evolving(folder.path(), 1, RECORDS, KEYS)
                .option("rate", 100)
                // The options of each of its databases take more room than all state here.
                .option("parallelism", if backend.name == "rocksdb" { 1 } else { 2 })
                .set("pipeline.max-parallelism", 8)
                // Few, so that there are few files.
                .set("execution.checkpointing.interval", "700 ms");
            let mut running = backend.of(program).start();
            running.wait_for("checkpoint completed");
            let request = Request {
                stop: Some(StopMode::Suspend),
                format,
                ..Request::default()
            };
            let savepoint = ask(&control, &folder.path().join("savepoints"), request).unwrap();
            running.wait().expect_code(0);
            let golden = folder_of(&backend, format);
            let _ = fs::remove_dir_all(&golden);
            fs::create_dir_all(&golden).unwrap();
            for file in fs::read_dir(&savepoint).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), golden.join(file.file_name())).unwrap();
            }
        }
    }
}

fn from_golden(folder: &Path, schema: u8, golden: &Path) -> Program {
    from_stored(folder, schema, golden, RECORDS, KEYS)
}

/// The job from a snapshot, with a sink that does not look for the files that it has to commit.
pub(super) fn from_stored(folder: &Path, schema: u8, stored: &Path, records: u64, keys: u64) -> Program {
    evolving(folder, schema, records, keys)
        .option("rate", 1_000_000)
        .option("sink-uid", "other-files")
        .option("from-savepoint", stored.display())
        .arg("--allow-non-restored-state")
}

#[track_caller]
fn begins_with(lines: &[Vec<u8>], what: &str) -> u64 {
    let begin = rest_of(lines, RECORDS, KEYS, what);
    assert!(begin > 2 * KEYS, "{what}: the savepoint is of record {begin}");
    begin
}

/// The record that a snapshot begins with, as the lines after it tell: all of them are there, of that record and of those behind it, and each is what it would have been.
#[track_caller]
pub(super) fn rest_of(lines: &[Vec<u8>], records: u64, keys: u64, what: &str) -> u64 {
    let timers = lines.iter().filter(|line| line.starts_with(b"timer ")).count() as u64;
    let begin = records - (lines.len() as u64 - timers);
    assert!(begin < records, "{what}: nothing was left to do");
    let mut expected = lines_of_timers(records, keys);
    let fired = expected.len() as u64 - timers;
    // The last one that had fired before was of a time that had come.
    assert!(
        fired == 0 || fired + 2 * keys <= begin,
        "{what}: {fired} timers are gone at record {begin}"
    );
    expected.drain(..usize::try_from(fired).unwrap());
    expected.extend(lines_of_records(begin, records, keys));
    crate::harness::assert_exactly(lines, &sorted(expected), what);
    begin
}

#[test]
fn golden_savepoints_of_every_backend_go_on_as_they_are_and_migrate() {
    for backend in backends() {
        for format in FORMATS {
            let golden = folder_of(&backend, format);
            let name = golden.file_name().unwrap().to_str().unwrap().to_owned();
            let begin = [1, 2].map(|schema| {
                let folder = tempfile::tempdir().unwrap();
                let program = from_golden(folder.path(), schema, &golden).option("parallelism", 3);
                let ended = backend.of(program).run().expect_code(0);
                assert!(!ended.log.contains("FAULT"), "{name}: {}", ended.log);
                let lines = finished_lines(&folder.path().join("output"));
                begins_with(&lines, &format!("{name} by release {schema}"))
            });
            assert_eq!(begin[0], begin[1], "{name}");
        }
    }
}

#[test]
fn golden_canonical_savepoints_go_on_on_every_other_backend() {
    let backends = backends();
    for from in &backends {
        let golden = folder_of(from, SavepointFormat::Canonical);
        for to in backends.iter().filter(|to| to.name != from.name) {
            let what = format!("{} restored by {}", from.name, to.name);
            let folder = tempfile::tempdir().unwrap();
            let program = from_golden(folder.path(), 2, &golden);
            to.of(program).run().expect_code(0);
            begins_with(&finished_lines(&folder.path().join("output")), &what);
        }
    }
}
