//! What a plan tells of a snapshot that others have to do with: its exit code is that of the start.

use super::{ask, control_below, savepoints};
use crate::harness::{Ended, Program};
use millpond_engine::checkpoint::{StopMode, restore};
use millpond_engine::control::Request;
use std::fs;
use std::path::{Path, PathBuf};

const CLAIM: (&str, &str) = ("execution.state-recovery.claim-mode", "CLAIM");

/// A job of so many records in each of its subtasks, at 1000 a second.
fn program(folder: &Path, output: &str, per_key: u64) -> Program {
    Program::subject(&folder.join("logs"), "numbered-events")
        .option("output", folder.join(output).display())
        .option("keys", 10)
        .option("per-key", per_key)
        .option("rate", 1000)
        .set("control.dir", folder.join("control").display())
}

/// An endless one, as far as these tests are concerned.
fn endless(folder: &Path) -> Program {
    program(folder, "output", 1_000_000)
}

/// A savepoint that such a job was stopped with.
fn stopped(folder: &Path) -> PathBuf {
    let control = control_below(folder);
    let running = endless(folder).start();
    let request = Request {
        stop: Some(StopMode::Suspend),
        ..Request::default()
    };
    let savepoint = ask(&control, &folder.join("savepoints"), request).unwrap();
    running.wait().expect_code(0);
    savepoint
}

fn plan(program: &Program) -> Ended {
    program.clone().arg("--restore-plan").run()
}

#[test]
fn a_plan_sees_whether_a_snapshot_can_be_claimed_and_claims_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let savepoint = stopped(folder);
    let from = endless(folder).option("from-savepoint", savepoint.display());
    let claiming = from.clone().set_all(&[CLAIM]);
    plan(&claiming).expect_code(0).expect_output(&[
        "Note: the snapshot is claimed",
        "The job would start from it",
        "(uid 'check'): found, ",
    ]);
    // One that needs it, which others may, and then one that owns it.
    for (owner, others) in [(&from, 0), (&claiming, 1)] {
        let mut owner = owner.start();
        owner.wait_for("starts from checkpoint");
        plan(&claiming)
            .expect_code(1)
            .expect_output(&["The job would not start from it", "in use"]);
        plan(&from).expect_code(others);
        assert!(owner.kill().was_killed());
    }
    plan(&from).expect_code(0);
    assert_eq!(savepoints(&folder.join("savepoints")), [savepoint]);
}

#[test]
fn a_plan_with_high_availability_is_that_of_the_checkpoint_that_a_start_would_go_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let savepoint = stopped(folder);
    let job = program(folder, "output", 1000)
        .option("from-savepoint", savepoint.display())
        .durable(folder, 20);
    plan(&job)
        .expect_code(0)
        .expect_output(&["restore plan: savepoint "]);
    assert!(!folder.join("ha").exists(), "a plan makes nothing");

    let mut running = job.start();
    running.wait_for("checkpoint completed");
    plan(&job).expect_code(1).expect_output(&["is run by pid "]);
    running.wait_for("checkpoint completed");
    assert!(running.kill().was_killed());
    let own = |ended: Ended| {
        ended.expect_output(&["restore plan: checkpoint ", "Note: high availability has this"])
    };
    own(plan(&job)).expect_code(0);
    let too_few = job.clone().set("pipeline.max-parallelism", 16);
    own(plan(&too_few)).expect_code(1);
    too_few.run().expect_code(2);

    // What it was started from first is not needed any more.
    let away = folder.join("away");
    fs::rename(&savepoint, &away).unwrap();
    own(plan(&job)).expect_code(0);
    job.run().expect_code(0);
    fs::rename(&away, &savepoint).unwrap();
    plan(&job)
        .expect_code(1)
        .expect_output(&["The job would not start from it", "finished in an earlier run"]);
}

#[test]
fn a_checkpoint_that_another_job_would_resume_from_is_not_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    control_below(folder);
    let first = endless(folder).durable(folder, 20);
    let mut running = first.start();
    running.wait_for("checkpoint completed checkpoint=3 ");
    assert!(running.kill().was_killed());
    let latest = restore::locate(&folder.join("checkpoints/latest")).unwrap();
    let second = program(folder, "second", 1_000_000)
        .option("job-name", "second")
        .option("from-savepoint", latest.parent().unwrap().display())
        .durable(folder, 20);
    let claiming = second.clone().set_all(&[CLAIM]);
    let parts = ["is in use: the job resumes from it"];
    plan(&claiming).expect_code(1).expect_output(&parts);
    claiming.run().expect_code(2).expect_output(&parts);
    plan(&second).expect_code(0);
    let mut resumed = first.start();
    resumed.wait_for("starts from checkpoint");
    resumed.kill();
}
