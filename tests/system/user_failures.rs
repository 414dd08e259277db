//! Functions that panic or fail: the restart strategy is obeyed, the cause is named, nothing is left behind.

use crate::harness::Program;
use std::path::Path;

const RECORDS: u64 = 2000;

/// A job over `RECORDS` numbers that fails at number 1000, `times` times.
fn failing(logs: &Path, times: u64) -> Program {
    Program::subject(logs, "failing")
        .option("records", RECORDS)
        .option("at", 1000)
        .option("times", times)
        .option("rate", 4000)
        .option("parallelism", 2)
        .set("execution.checkpointing.interval", "20 ms")
        .set("restart-strategy.fixed-delay.delay", "10 ms")
        .set("restart-strategy.fixed-delay.attempts", 3)
        .set("restart-strategy.type", "fixed-delay")
}

fn complete() -> String {
    format!(
        "collected {RECORDS} records, {RECORDS} distinct, sum {}",
        RECORDS * (RECORDS - 1) / 2
    )
}

#[test]
fn a_panic_that_happens_once_or_thrice_is_survived_exactly_once() {
    for times in [1, 3] {
        let logs = tempfile::tempdir().unwrap();
        failing(logs.path(), times).run().expect_code(0).expect_output(&[
            &complete(),
            &format!("after {times} failures"),
            "threads left: 0",
        ]);
    }
}

#[test]
fn a_panic_for_ever_fails_the_job_with_its_cause() {
    let logs = tempfile::tempdir().unwrap();
    failing(logs.path(), 1000).run().expect_code(1).expect_output(&[
        "after 4 failures",
        "record 1000 is not liked",
        "picky",
        "threads left: 0",
    ]);
}

#[test]
fn an_error_of_a_function_is_treated_as_a_panic_is() {
    let logs = tempfile::tempdir().unwrap();
    failing(logs.path(), 1)
        .arg("--error")
        .run()
        .expect_code(0)
        .expect_output(&[&complete()]);
    failing(logs.path(), 1000)
        .arg("--error")
        .run()
        .expect_code(1)
        .expect_output(&["after 4 failures", "record 1000 is refused", "picky"]);
}

#[test]
fn without_checkpoints_and_a_strategy_the_first_failure_ends_the_job() {
    let logs = tempfile::tempdir().unwrap();
    Program::subject(logs.path(), "failing")
        .option("records", RECORDS)
        .option("at", 1000)
        .option("times", 1)
        .run()
        .expect_code(1)
        .expect_output(&[
            "after 1 failures",
            "record 1000 is not liked",
            "collected 0 records",
        ]);
}

#[test]
fn a_job_without_checkpoints_that_may_restart_begins_again() {
    let logs = tempfile::tempdir().unwrap();
    Program::subject(logs.path(), "failing")
        .option("records", RECORDS)
        .option("at", 1000)
        .option("times", 1)
        .set("restart-strategy.type", "fixed-delay")
        .set("restart-strategy.fixed-delay.attempts", 1)
        .set("restart-strategy.fixed-delay.delay", "10 ms")
        .run()
        .expect_code(0)
        .expect_output(&[&complete(), "after 1 failures"]);
}

#[test]
fn every_restart_strategy_gives_up_when_it_should() {
    let strategies: [(&str, &[(&str, &str)], u64); 4] = [
        ("none", &[], 1),
        ("fixed-delay", &[("attempts", "2"), ("delay", "1 ms")], 3),
        (
            "failure-rate",
            &[
                ("max-failures-per-interval", "2"),
                ("failure-rate-interval", "1 min"),
                ("delay", "1 ms"),
            ],
            3,
        ),
        (
            "exponential-delay",
            &[
                ("initial-backoff", "1 ms"),
                ("max-backoff", "10 ms"),
                ("attempts-before-reset-backoff", "4"),
            ],
            5,
        ),
    ];
    for (strategy, options, failures) in strategies {
        let logs = tempfile::tempdir().unwrap();
        let mut program = Program::subject(logs.path(), "failing")
            .option("records", 10)
            .option("at", 5)
            .option("times", 1000)
            .set("restart-strategy.type", strategy);
        for (option, value) in options {
            program = program.set(&format!("restart-strategy.{strategy}.{option}"), value);
        }
        program
            .run()
            .expect_code(1)
            .expect_output(&[&format!("after {failures} failures"), "threads left: 0"]);
    }
}
