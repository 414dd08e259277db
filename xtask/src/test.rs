//! `cargo xtask test`: every test there is, on any machine.

use crate::step::{self, Step};
use crate::{Failure, cargo, machine, plugins, say};

/// What is built every day: in dev, and without RocksDB, which is compiled once, in release.
const EVERYDAY: [&str; 3] = ["--workspace", "--exclude", "millpond-backend-rocksdb"];

/// Prepares the machine and runs the tests; with `quick` only the unit tests, and not those of the backends in `without`.
///
/// # Errors
/// When something is missing that cannot be installed, or a test fails.
pub(crate) fn run(quick: bool, without: &[String]) -> Result<(), Failure> {
    let mut steps = Vec::new();
    if quick {
        steps.push(step::run(
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
    steps.push(step::run(
        "all tests of the workspace, but for RocksDB",
        cargo().args(["test", "--no-fail-fast"]).args(EVERYDAY),
    )?);
    if choice.has_rocksdb() {
        steps.push(step::run(
            "tests of the RocksDB backend",
            cargo()
                .args(["test", "--release", "--no-fail-fast"])
                .args(["--package", "millpond-backend-rocksdb"]),
        )?);
        steps.push(step::run(
            "tests of the engine with the RocksDB backend linked",
            cargo()
                .args(["test", "--release", "--package", "millpond-engine"])
                .args(["--features", "rocksdb", "--lib", "rocksdb"]),
        )?);
    }
    for manifest in examples {
        steps.push(step::run(
            "tests of an example plugin",
            cargo()
                .args(["test", "--no-fail-fast", "--manifest-path"])
                .arg(manifest),
        )?);
    }
    summary(&steps, &left_out)
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
