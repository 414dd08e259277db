//! `cargo xtask test`: every test there is, on any machine.

use crate::step::{self, Step};
use crate::{Failure, cargo, machine, plugins, say};
use std::path::Path;
use std::process::Command;

/// What is built every day: in dev, and without RocksDB, which is compiled once, in release.
const EVERYDAY: [&str; 3] = ["--workspace", "--exclude", "millpond-backend-rocksdb"];

/// The file system of Linux whose files are in memory.
const IN_MEMORY: &str = "/dev/shm";
/// What these tests need at the most at once, and half as much again.
const IN_MEMORY_BYTES_MIN: u64 = 1 << 30;

/// Prepares the machine and runs the tests; with `quick` only the unit tests, and not those of the backends in `without`. With `second_try` a test that failed
/// is run once more.
///
/// # Errors
/// When something is missing that cannot be installed, or a test fails.
pub(crate) fn run(quick: bool, second_try: bool, without: &[String]) -> Result<(), Failure> {
    let run = if second_try {
        step::run_with_second_try
    } else {
        step::run
    };
    let mut steps = Vec::new();
    if quick {
        steps.push(run(
            "unit tests",
            cargo()
                .args(["test", "--lib", "--bins", "--no-fail-fast"])
                .args(EVERYDAY),
        )?);
        return summary(&steps, &[]);
    }
    let mut left_out = machine::prepare()?;
    let mut choice = plugins::Choice::new(&[], without)?;
    if choice.has_rocksdb() {
        let missing = machine::prepare_for_rocksdb();
        if !missing.is_empty() {
            choice.leave_out_rocksdb();
            left_out.extend(missing);
        }
    }
    let examples = plugins::run(&choice)?;
    let mut everything = cargo();
    everything.args(["test", "--no-fail-fast"]).args(EVERYDAY);
    if choice.has_rocksdb() {
        // Whole programs on its library: it was just built, so none of these tests may be left out.
        everything.env("MILLPOND_ROCKSDB_LIBRARY", "needed");
    }
    if choice.has_example("redb") {
        everything.env("MILLPOND_REDB_LIBRARY", "needed");
    }
    steps.push(run(
        "all tests of the workspace, but for RocksDB",
        &mut everything,
    )?);
    if choice.has_rocksdb() {
        steps.push(run(
            "tests of the RocksDB backend",
            cargo_in_memory()
                .args(["test", "--release", "--no-fail-fast"])
                .args(["--package", "millpond-backend-rocksdb"]),
        )?);
        steps.push(run(
            "tests of the engine with the RocksDB backend linked",
            cargo()
                .args(["test", "--release", "--package", "millpond-engine"])
                // The engine itself is compiled for this alone, and soon: what counts is what it finds.
                .args(["--config", "profile.release.package.millpond-engine.opt-level=0"])
                .args(["--features", "rocksdb", "--lib", "rocksdb"]),
        )?);
        steps.push(run(
            "tests of whole programs with the RocksDB backend linked",
            cargo_in_memory()
                .args(["test", "--release", "--no-fail-fast"])
                .args(["--package", "millpond-tests", "--features", "rocksdb"])
                .args(["--test", "system", "rocksdb_static"]),
        )?);
    }
    for manifest in examples {
        steps.push(run(
            "tests of an example plugin",
            cargo()
                .args(["test", "--no-fail-fast", "--manifest-path"])
                .arg(manifest),
        )?);
    }
    summary(&steps, &left_out)
}

/// Cargo for tests of databases, with their files in memory where there is room: such tests wait for the disk most of the time, and what it does in
/// the end is tested elsewhere.
fn cargo_in_memory() -> Command {
    let mut cargo = cargo();
    let memory = Path::new(IN_MEMORY);
    let has_room = machine::free_bytes(memory).is_some_and(|bytes| bytes >= IN_MEMORY_BYTES_MIN);
    if has_room && std::env::var_os("TMPDIR").is_none() {
        cargo.env("TMPDIR", memory);
    }
    cargo
}

/// Says what was run and what came out.
fn summary(steps: &[Step], left_out: &[String]) -> Result<(), Failure> {
    say("\n=== summary");
    for step in steps {
        say(format_args!(
            "{}  {}: {} passed, {} failed, {} ignored, {:.0} s",
            if step.succeeded { "ok    " } else { "FAILED" },
            step.title,
            step.tests.passed,
            step.tests.failed.len(),
            step.tests.ignored,
            step.duration.as_secs_f64()
        ));
        for name in &step.tests.failed {
            say(format_args!("        {name}"));
        }
        for name in &step.unstable {
            say(format_args!(
                "        UNSTABLE, passed when it was run again: {name}"
            ));
        }
    }
    for text in left_out {
        say(format_args!("some tests were left out: {text}"));
    }
    let failed = steps.iter().filter(|step| !step.succeeded).count();
    if failed > 0 {
        return Err(Failure::Failed(format!(
            "{failed} of {} test runs failed",
            steps.len()
        )));
    }
    say("all tests passed");
    Ok(())
}
