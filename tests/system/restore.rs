//! Starting again: from a retained checkpoint, beside a program that runs, and after the end.

use crate::harness::{
    Program, Random, assert_exactly, awk_lines, finished_lines, latest_checkpoint, write_text,
};
use std::fs;
use std::path::Path;

/// A word count of about two seconds with checkpoints that nobody but a person finds again.
fn program(folder: &Path, random: &mut Random) -> Program {
    let input = folder.join("input");
    write_text(&input, 3, 400_000, random);
    Program::word_count(&folder.join("logs"))
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .option("rate", 5000)
        .set("execution.checkpointing.interval", "50 ms")
        .set(
            "execution.checkpointing.dir",
            format!("file://{}", folder.join("checkpoints").display()),
        )
}

fn assert_output(folder: &Path, what: &str) {
    let found = finished_lines(&folder.join("output"));
    assert_exactly(&found, &awk_lines(&folder.join("input")), what);
}

#[test]
fn a_killed_job_goes_on_from_its_retained_checkpoint_at_any_parallelism() {
    let mut random = Random::of_test("from a retained checkpoint");
    for (before, after) in [(2, 2), (1, 3), (4, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), &mut random);
        let mut running = program.clone().option("parallelism", before).start();
        running.wait_for("checkpoint completed checkpoint=5");
        running.kill();
        program
            .option("parallelism", after)
            .option(
                "from-savepoint",
                latest_checkpoint(&folder.path().join("checkpoints")).display(),
            )
            .run()
            .expect_code(0);
        assert_output(folder.path(), &format!("parallelism {before}, then {after}"));
    }
}

#[test]
fn a_second_program_of_the_same_job_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), &mut Random::of_test("two programs")).durable(folder.path(), 50);
    let mut running = program.start();
    running.wait_for("checkpoint completed checkpoint=1");
    let ha = folder.path().join("ha");
    program
        .run()
        .expect_code(2)
        .expect_output(&[ha.to_str().unwrap()]);
    running.wait().expect_code(0);
    assert_output(folder.path(), "the first of two programs");
}

#[test]
fn a_finished_job_that_is_started_again_leaves_its_results_alone() {
    let folder = tempfile::tempdir().unwrap();
    let program =
        program(folder.path(), &mut Random::of_test("started after the end")).durable(folder.path(), 50);
    program.run().expect_code(0);
    let again = program.run();
    assert_ne!(again.status.code(), Some(1), "{}", again.log);
    assert_output(folder.path(), "after the end");
}

/// As if the run had been killed while it deleted its checkpoints.
#[test]
fn a_finished_job_that_is_started_again_deletes_what_is_left_of_its_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), &mut Random::of_test("left at the end")).durable(folder.path(), 50);
    let ended = program.run().expect_code(0);
    let (job, _) = ended.log.split_once("/chk-").unwrap();
    let job = Path::new(job.rsplit_once('"').unwrap().1);
    assert!(
        job.starts_with(folder.path()) && !job.exists(),
        "{}",
        job.display()
    );
    for left in ["chk-3/state", "shared/file"] {
        let left = job.join(left);
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(left, "left").unwrap();
    }
    program
        .run()
        .expect_code(0)
        .expect_output(&["finished in an earlier run"]);
    assert!(!job.exists(), "{}", job.display());
    assert_output(folder.path(), "after the end");
}

#[test]
fn a_state_that_is_too_large_for_the_coordinators_memory_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let words: String = (0..300_000)
        .map(|i| format!("a-rather-long-word-{i}\n"))
        .collect();
    fs::write(folder.path().join("text"), words).unwrap();
    Program::word_count(&folder.path().join("logs"))
        .option("input", folder.path().join("text").display())
        .option("output", folder.path().join("output").display())
        .set("execution.checkpointing.interval", "100 ms")
        .run()
        .expect_code(1)
        .expect_output(&["seen", "5242880", "execution.checkpointing.dir"]);
}
