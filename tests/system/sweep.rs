//! What nobody needs in folders of checkpoints: found beside a job that runs, and after it was killed.

use crate::harness::{FILES, JobFolder, Program, Random, job_folders, lines_of, write_text};
use crate::retained::finished_lines_only;
use millpond_engine::checkpoint::sweep::{SweepOptions, find_orphans};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All files are old enough, so that only the locks protect a job that runs.
fn at_once() -> SweepOptions {
    SweepOptions {
        min_age: Duration::ZERO,
        ..SweepOptions::default()
    }
}

fn program(folder: &Path) -> Program {
    let input = folder.join("input");
    write_text(&input, 3, 150_000, &mut Random::of_test("sweep"));
    Program::word_count(&folder.join("logs"))
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .option("rate", lines_of(&input) * 1000 / 4000)
        .option("parallelism", 2)
        .set_all(FILES)
        .durable(folder, 50)
}

/// Swept again and again while it takes checkpoints, a job loses nothing and ends well.
#[test]
fn a_sweep_beside_a_job_that_runs_deletes_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = program(folder.path()).start();
    let checkpoints = folder.path().join("checkpoints");
    running.wait_for("checkpoint completed");
    let mut seen_in_use = 0;
    while !running.ends_within(Duration::from_millis(20)) {
        let found = find_orphans(&checkpoints, &at_once()).unwrap();
        assert!(found.files.is_empty(), "{found:?}");
        seen_in_use += found.not_judged.iter().filter(|left| left.is_in_use).count();
        found.delete().unwrap();
    }
    let ended = running.wait().expect_code(0);
    assert!(!ended.log.contains("failed"), "{}", ended.log);
    assert!(seen_in_use > 0);
}

#[test]
fn a_sweep_after_a_kill_deletes_exactly_what_no_checkpoint_names_and_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path());
    let checkpoints = folder.path().join("checkpoints");
    let mut random = Random::of_test("sweep after a kill");
    let mut swept = 0;
    for id in [3, 6, 9] {
        let mut running = program.start();
        running.wait_for("checkpoint completed");
        running.ends_within(random.milliseconds(0..200));
        assert!(running.kill().was_killed());
        let [job] = job_folders(&checkpoints).try_into().unwrap();
        // As a kill in the middle of a checkpoint leaves it, should it not have been.
        let begun = job.join(format!("chk-10{id}/begun"));
        std::fs::create_dir_all(begun.parent().unwrap()).unwrap();
        std::fs::write(&begun, "half").unwrap();
        let before = JobFolder::read(&job);
        before.assert_whole("after the kill");
        let found = find_orphans(&checkpoints, &at_once()).unwrap();
        let files: BTreeSet<PathBuf> = found.files.iter().map(|file| file.path.clone()).collect();
        let expected: BTreeSet<_> = before
            .orphans
            .iter()
            .map(|file| file.canonicalize().unwrap())
            .collect();
        assert_eq!(files, expected);
        swept += files.len();
        found.delete().unwrap();
        drop(found);
        JobFolder::read(&job).assert_exact("after the sweep");
    }
    assert!(swept >= 3);
    program.run().expect_code(0);
    assert!(!finished_lines_only(&folder.path().join("output")).is_empty());
}
