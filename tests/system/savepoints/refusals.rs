//! What must not be done with savepoints, and how it is refused.

use super::{ask, savepoints};
use crate::harness::{FILES, HEAP, Program};
use millpond_engine::ErrorKind;
use millpond_engine::checkpoint::{SavepointFormat, StopMode, restore};
use millpond_engine::control::Request;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An endless job, as far as these tests are concerned.
fn program(folder: &Path, name: &str) -> Program {
    Program::subject(&folder.join("logs"), "numbered-events")
        .option("output", folder.join(name).display())
        .option("keys", 10)
        .option("per-key", 1_000_000)
        .option("rate", 1000)
        .set("control.dir", folder.join(format!("control-{name}")).display())
}

fn control(folder: &Path, name: &str) -> PathBuf {
    let control = folder.join(format!("control-{name}"));
    fs::create_dir_all(&control).unwrap();
    control
}

/// A job of two subtasks that was stopped with a savepoint.
fn stopped(folder: &Path) -> PathBuf {
    let running = program(folder, "first").option("parallelism", 2).start();
    let request = Request {
        stop: Some(StopMode::Suspend),
        ..Request::default()
    };
    let savepoint = ask(&control(folder, "first"), &folder.join("savepoints"), request).unwrap();
    running.wait().expect_code(0);
    savepoint
}

#[test]
fn a_claimed_savepoint_is_for_one_job_which_deletes_it_when_it_has_a_checkpoint_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let savepoint = stopped(folder.path());
    // The first has no checkpoint, so it needs the savepoint as long as it runs.
    let mut owner = program(folder.path(), "first")
        .option("from-savepoint", savepoint.display())
        .set("execution.state-recovery.claim-mode", "CLAIM")
        .start();
    owner.wait_for("starts from checkpoint");
    for mode in ["CLAIM", "NO_CLAIM"] {
        program(folder.path(), "second")
            .option("from-savepoint", savepoint.display())
            .set("execution.state-recovery.claim-mode", mode)
            .run()
            .expect_code(2)
            .expect_output(&[savepoint.to_str().unwrap(), "in use"]);
    }
    let error = restore::dispose(&savepoint).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Restore);
    assert!(error.to_string().contains("in use"), "{error}");
    owner.kill();
    let left = savepoints(&folder.path().join("savepoints"));
    assert_eq!(left, std::slice::from_ref(&savepoint));
    // What nobody has claimed stays, and one that a job has claimed goes.
    for (mode, stays) in [("NO_CLAIM", true), ("CLAIM", false)] {
        let mut running = program(folder.path(), "first")
            .option("from-savepoint", savepoint.display())
            .set("execution.state-recovery.claim-mode", mode)
            .set("execution.checkpointing.interval", "20 ms")
            .set("execution.checkpointing.dir", folder.path().join(mode).display())
            .start();
        running.wait_for("checkpoint completed");
        if stays {
            running.wait_for("checkpoint=8 ");
        } else {
            running.wait_for("the claimed snapshot is not needed any more");
        }
        running.kill();
        assert_eq!(savepoint.exists(), stays, "{mode}");
    }
}

#[test]
fn a_savepoint_that_a_job_was_started_from_is_not_disposed_of_while_the_job_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let savepoint = stopped(folder.path());
    let mut running = program(folder.path(), "first")
        .option("from-savepoint", savepoint.display())
        .start();
    running.wait_for("starts from checkpoint");
    let error = restore::dispose(&savepoint).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    running.kill();
    restore::dispose(&savepoint).unwrap();
    assert!(!savepoint.exists());
}

#[test]
fn a_checkpoint_of_a_running_job_is_not_disposed_of() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let mut running = program(folder.path(), "first")
        .set("execution.checkpointing.interval", "1 h")
        .set("execution.checkpointing.dir", checkpoints.display())
        .set(
            "execution.checkpointing.savepoint-dir",
            folder.path().join("s").display(),
        )
        .start();
    // No periodic checkpoint comes in time, so one by the end of an attempt would not do: savepoints are no checkpoints.
    ask(
        &control(folder.path(), "first"),
        &folder.path().join("s"),
        Request::default(),
    )
    .unwrap();
    assert!(restore::locate(&checkpoints.join("latest")).is_err());
    assert!(!running.ends_within(Duration::ZERO));
    running.kill();
    let mut running = program(folder.path(), "second")
        .set("execution.checkpointing.interval", "200 ms")
        .set("execution.checkpointing.num-retained", "1000")
        .set("execution.checkpointing.dir", checkpoints.display())
        .start();
    running.wait_for("checkpoint completed checkpoint=2 ");
    let latest = restore::locate(&checkpoints.join("latest")).unwrap();
    let error = restore::dispose(&latest).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    running.kill();
    restore::dispose(&latest).unwrap();
}

#[test]
fn a_half_savepoint_a_lower_maximal_parallelism_and_a_mode_of_old_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let savepoint = stopped(folder.path());
    let again = || program(folder.path(), "first").option("from-savepoint", savepoint.display());
    again()
        .set("pipeline.max-parallelism", "64")
        .run()
        .expect_code(2)
        .expect_output(&["128", "64"]);
    again()
        .set("execution.state-recovery.claim-mode", "LEGACY")
        .run()
        .expect_code(2)
        .expect_output(&["LEGACY", "NO_CLAIM"]);
    let latest = folder.path().join("savepoints/latest");
    fs::rename(savepoint.join("_metadata"), savepoint.join("kept")).unwrap();
    for path in [&savepoint, &latest] {
        program(folder.path(), "first")
            .option("from-savepoint", path.display())
            .run()
            .expect_code(2)
            .expect_output(&["is no checkpoint or savepoint"]);
    }
    fs::rename(savepoint.join("kept"), savepoint.join("_metadata")).unwrap();
    let mut running = program(folder.path(), "first")
        .option("from-savepoint", latest.display())
        .start();
    running.wait_for("starts from checkpoint");
    running.kill();
}

#[test]
fn two_jobs_do_not_watch_one_folder_and_a_failed_request_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let running = program(folder.path(), "first").start();
    let control = control(folder.path(), "first");
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = ask(&control, &file, Request::default()).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    program(folder.path(), "second")
        .set("control.dir", control.display())
        .run()
        .expect_code(2)
        .expect_output(&["control.dir", control.to_str().unwrap()]);
    ask(&control, &folder.path().join("savepoints"), Request::default()).unwrap();
    running.kill();
}

#[test]
fn a_native_savepoint_is_for_its_own_backend_and_another_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let program = |settings| {
        program(folder.path(), "first")
            .set(
                "execution.checkpointing.dir",
                folder.path().join("checkpoints").display(),
            )
            .set_all(settings)
    };
    let running = program(FILES).start();
    let request = Request {
        stop: Some(StopMode::Suspend),
        format: SavepointFormat::Native,
        ..Request::default()
    };
    let target = folder.path().join("savepoints");
    let savepoint = ask(&control(folder.path(), "first"), &target, request).unwrap();
    running.wait().expect_code(0);
    program(HEAP)
        .option("from-savepoint", savepoint.display())
        .run()
        .expect_code(2)
        .expect_output(&["millpond-mapped/1"]);
    let mut running = program(FILES)
        .option("from-savepoint", savepoint.display())
        .start();
    running.wait_for("starts from checkpoint");
    running.kill();
}
