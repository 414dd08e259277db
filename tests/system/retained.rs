//! A program that is started from the checkpoint that another one has left.

use crate::harness::{
    COMPRESSED, Ended, FILES, FILES_AND_INLINE, JobFolder, Program, Random, WHOLE_FILES, assert_exactly,
    awk_lines, job_folders, latest_checkpoint, lines_of, write_text,
};
use crate::soak::wait_for_checkpoints;
use millpond_engine::checkpoint::restore;
use millpond_engine::checkpoint::storage::{FileStorage, FileStorageOptions};
use millpond_engine::checkpoint::sweep::{SweepOptions, find_orphans};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TEXT_BYTES: usize = 150_000;
/// How long the run that is killed would take.
const RUN_MS: u64 = 4000;
const PARALLELISM: u64 = 2;

/// A word count that was killed, and the checkpoint that it has left.
struct Left {
    folder: tempfile::TempDir,
    checkpoint: PathBuf,
}

impl Left {
    /// `change` is what is special about the first run.
    fn by(name: &str, change: impl FnOnce(Program) -> Program) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random::of_test(name);
        let input = folder.path().join("input");
        write_text(&input, 3, TEXT_BYTES, &mut random);
        let first = Self::word_count(folder.path(), "first")
            .option("rate", lines_of(&input) * 1000 / RUN_MS)
            .option("parallelism", PARALLELISM)
            .set("execution.checkpointing.interval", "50 ms");
        let mut running = change(first).start();
        running.wait_for("checkpoint completed checkpoint=4 ");
        assert!(
            !running.ends_within(random.milliseconds(0..200)),
            "{}",
            running.log()
        );
        assert!(running.kill().was_killed());
        let checkpoint = latest_checkpoint(&folder.path().join("checkpoints"));
        Self { folder, checkpoint }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn word_count(folder: &Path, output: &str) -> Program {
        Program::word_count(&folder.join("logs"))
            .option("input", folder.join("input").display())
            .option("output", folder.join(output).display())
            .set(
                "execution.checkpointing.dir",
                format!("file://{}", folder.join("checkpoints").display()),
            )
            .set(
                "execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION",
            )
    }

    /// A word count with another output folder that starts from the checkpoint.
    fn second(&self) -> Program {
        Self::word_count(self.path(), "second").option("from-savepoint", self.checkpoint.display())
    }

    /// That the results of both runs together are those of one.
    #[track_caller]
    fn assert_nothing_lost_or_doubled(&self, what: &str) {
        let mut found = finished_lines_only(&self.path().join("first"));
        assert!(!found.is_empty(), "{what}: the first run has no results");
        let second = finished_lines_only(&self.path().join("second"));
        assert!(!second.is_empty(), "{what}: the second run has no results");
        found.extend(second);
        found.sort_unstable();
        assert_exactly(&found, &awk_lines(&self.path().join("input")), what);
    }

    /// Runs `program`, which must be refused and leave no results.
    #[track_caller]
    fn refused(&self, program: &Program, parts: &[&str]) -> Ended {
        let ended = program.run().expect_code(2).expect_output(parts);
        let results = fs::read_dir(self.path().join("second")).map_or(0, Iterator::count);
        assert_eq!(results, 0, "{}", ended.log);
        ended
    }
}

/// The lines of the finished files of a folder that may have unfinished ones, which a killed program leaves.
pub(crate) fn finished_lines_only(folder: &Path) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("part-") {
            let text = fs::read(path).unwrap();
            let text = text.strip_suffix(b"\n").unwrap();
            lines.extend(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
    }
    lines
}

#[test]
fn what_was_counted_before_the_checkpoint_goes_on_in_another_output_folder() {
    let left = Left::by("restore", |program| program);
    left.second()
        .option("parallelism", PARALLELISM)
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint", left.checkpoint.to_str().unwrap()]);
    left.assert_nothing_lost_or_doubled("the same parallelism");
    assert!(
        left.checkpoint.join("_metadata").is_file(),
        "the checkpoint is not the second program's"
    );
}

#[test]
fn the_parallelism_may_change() {
    for parallelism in [1, 3] {
        let left = Left::by("restore at another parallelism", |program| program);
        left.second()
            .option("parallelism", parallelism)
            .run()
            .expect_code(0);
        left.assert_nothing_lost_or_doubled(&format!("parallelism {parallelism}"));
    }
}

#[test]
fn the_second_program_takes_checkpoints_of_its_own_and_survives_a_kill() {
    let left = Left::by("restore and kill", |program| program);
    let second = left
        .second()
        .option("parallelism", PARALLELISM)
        .option("rate", lines_of(&left.path().join("input")) * 1000 / RUN_MS)
        .durable(left.path(), 50);
    let mut running = second.start();
    running.wait_for("checkpoint completed");
    running.wait_for("checkpoint completed");
    assert!(running.kill().was_killed());
    // High availability knows a later one than the argument, which is for the first start.
    let ended = second
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint"]);
    let from_the_argument = format!("({}", left.checkpoint.display());
    assert!(!ended.log.contains(&from_the_argument), "{}", ended.log);
    left.assert_nothing_lost_or_doubled("after a kill");
}

/// Its checkpoints name files of the first program's until there is a new base. Those stay, and its own go with it.
#[test]
fn a_second_program_on_mapped_files_goes_on_with_the_first_ones_files_and_leaves_them_there() {
    for settings in [FILES, FILES_AND_INLINE, COMPRESSED] {
        let name = "restore on files";
        let left = Left::by(name, |program| program.set_all(settings));
        let job = left.checkpoint.parent().unwrap();
        let second = left
            .second()
            .set_all(settings)
            .option("rate", lines_of(&left.path().join("input")) * 1000 / RUN_MS)
            .durable(left.path(), 50);
        let mut running = second.clone().option("parallelism", 3).start();
        running.wait_for("checkpoint completed");
        running.wait_for("checkpoint completed checkpoint=12 ");
        assert!(running.kill().was_killed());
        let folders = job_folders(&left.path().join("checkpoints"));
        assert_eq!(folders.len(), 2, "{folders:?}");
        for folder in &folders {
            JobFolder::read(folder).assert_whole(name);
        }
        second
            .option("parallelism", PARALLELISM)
            .run()
            .expect_code(0)
            .expect_output(&["starts from checkpoint"]);
        left.assert_nothing_lost_or_doubled(name);
        assert_eq!(job_folders(&left.path().join("checkpoints")), [job]);
        JobFolder::read(job).assert_whole(name);
    }
}

#[test]
fn the_key_groups_of_the_checkpoint_bound_the_parallelism() {
    let left = Left::by("restore, too many subtasks", |program| {
        program.set("pipeline.max-parallelism", 4)
    });
    left.refused(
        &left.second().option("parallelism", 5),
        &["'text'", "4 key groups", "too few for a parallelism of 5"],
    );
    left.refused(
        &left.second().set("pipeline.max-parallelism", 8),
        &["'text'", "4 key groups", "set to 8", "set it to 4"],
    );
    left.second().option("parallelism", 4).run().expect_code(0);
    left.assert_nothing_lost_or_doubled("all key groups in subtasks of their own");
}

#[test]
fn a_checkpoint_of_another_job_is_refused_by_the_names_of_its_operators() {
    let left = Left::by("restore into another job", |program| program);
    let other = Program::subject(&left.path().join("logs"), "numbered-events")
        .option("output", left.path().join("second").display())
        .option("keys", 12)
        .option("per-key", 10)
        .option("from-savepoint", left.checkpoint.display());
    left.refused(
        &other,
        &[
            "job 'word_count'",
            "'count'",
            "'text'",
            "'files'",
            "'event-files'",
            "execution.state-recovery.ignore-unclaimed-state",
        ],
    );
    other
        .set("execution.state-recovery.ignore-unclaimed-state", true)
        .run()
        .expect_code(0);
    let lines = finished_lines_only(&left.path().join("second"));
    assert_eq!(lines.len(), 120);
}

#[test]
fn damaged_metadata_is_refused_with_file_and_offset() {
    let left = Left::by("restore of damaged metadata", |program| program);
    let file = left.checkpoint.join("_metadata");
    let whole = fs::read(&file).unwrap();
    let mut random = Random::of_test("restore, places of the damage");
    for damage in 0..10 {
        let at = random.index(whole.len());
        let mut bytes = whole.clone();
        if damage % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << random.below(8);
        }
        fs::write(&file, bytes).unwrap();
        left.refused(&left.second(), &[file.to_str().unwrap(), "offset"]);
    }
    fs::write(&file, whole).unwrap();
    left.second().run().expect_code(0);
}

#[test]
fn a_folder_without_metadata_is_refused_with_the_checkpoints_below_it() {
    let left = Left::by("restore from a folder above", |program| program);
    let job = left.checkpoint.parent().unwrap();
    let program = Left::word_count(left.path(), "second").option("from-savepoint", job.display());
    left.refused(
        &program,
        &["no file '_metadata'", left.checkpoint.to_str().unwrap()],
    );
    fs::remove_file(left.checkpoint.join("_metadata")).unwrap();
    left.refused(
        &left.second(),
        &["no file '_metadata'", left.checkpoint.to_str().unwrap()],
    );
}

#[test]
fn a_file_of_the_state_that_is_missing_or_damaged_is_named() {
    let left = Left::by("restore without a state file", |program| {
        program.set("execution.checkpointing.data-inline-threshold", "0 b")
    });
    let file = files_of(&left.checkpoint).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    for damage in ["cut", "flipped", "missing"] {
        match damage {
            "cut" => fs::write(&file, &whole[..whole.len() - 1]).unwrap(),
            "flipped" => {
                let mut bytes = whole.clone();
                bytes[whole.len() / 2] ^= 4;
                fs::write(&file, bytes).unwrap();
            }
            _ => fs::remove_file(&file).unwrap(),
        }
        let ended = left
            .second()
            .set("execution.checkpointing.interval", "50 ms")
            .run();
        assert!(ended.log.contains(name), "{damage}:\n{}", ended.log);
        assert_eq!(ended.status.code(), Some(2), "{damage}:\n{}", ended.log);
    }
}

/// The state files of a checkpoint: all but its metadata.
fn files_of(checkpoint: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(checkpoint)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| !path.ends_with("_metadata")).collect();
    assert!(!files.is_empty(), "no state files in {}", checkpoint.display());
    files
}

#[test]
fn increments_may_be_switched_off_and_on_again() {
    for (before, after) in [(FILES, WHOLE_FILES), (WHOLE_FILES, FILES), (COMPRESSED, FILES)] {
        let left = Left::by("increments switched", |program| program.set_all(before));
        let second = |settings, parallelism| {
            left.second()
                .set_all(settings)
                .option("parallelism", parallelism)
                .durable(left.path(), 50)
        };
        // So slow that it does not come to its end before it is killed, however slow the disk is.
        let rate = (lines_of(&left.path().join("input")) * 100 / RUN_MS).max(1);
        let mut running = second(after, 3).option("rate", rate).start();
        wait_for_checkpoints(&mut running, 3);
        assert!(running.kill().was_killed());
        // Once more as it was at first, from what the other kind has written.
        second(before, PARALLELISM)
            .run()
            .expect_code(0)
            .expect_output(&["starts from checkpoint"]);
        left.assert_nothing_lost_or_doubled("increments switched");
    }
}

/// The first program would delete the checkpoint long before the second one has one of its own; and a sweep, which takes all files for old, comes between.
#[test]
fn a_checkpoint_that_another_program_was_started_from_outlives_the_cleanup_of_both_and_a_sweep() {
    let left = Left::by("started from", |program| program.set_all(FILES));
    let checkpoints = left.path().join("checkpoints");
    let first = Left::word_count(left.path(), "third")
        .option("from-savepoint", left.checkpoint.display())
        .option(
            "rate",
            (lines_of(&left.path().join("input")) * 20 / RUN_MS).max(1),
        )
        .option("parallelism", PARALLELISM)
        .set_all(FILES)
        .durable(left.path(), 50);
    let mut first = first.start();
    first.wait_for("checkpoint completed");
    wait_for_checkpoints(&mut first, 4);
    first.signal("STOP");
    let [own] = job_folders(&checkpoints)
        .into_iter()
        .filter(|job| Some(job.as_path()) != left.checkpoint.parent())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    // Completed, not what it was about to write.
    let needed = restore::locate(&own.join("latest")).unwrap();
    let needed = needed.parent().unwrap().to_owned();
    let before = JobFolder::read(&own);
    before.assert_whole("stopped");
    let second = Left::word_count(left.path(), "second")
        .option("from-savepoint", needed.display())
        .option("rate", 1)
        .set_all(FILES)
        .set("execution.checkpointing.interval", "1 h");
    let mut second = second.start();
    second.wait_for("starts from checkpoint");
    first.signal("CONT");
    first.wait_for("another program was started from the checkpoint");
    wait_for_checkpoints(&mut first, 3);
    let whole = || {
        let loaded = restore::load(&needed).unwrap();
        let storage = FileStorage::new(&own, &loaded.metadata.job_id, FileStorageOptions::default()).unwrap();
        restore::verify_bytes(&storage, &loaded.metadata).unwrap();
    };
    whole();
    let sweep = || {
        let options = SweepOptions {
            min_age: Duration::ZERO,
            ..SweepOptions::default()
        };
        find_orphans(&checkpoints, &options).unwrap().delete().unwrap();
    };
    sweep();
    whole();
    // The first is gone, so nobody remembers that it has held the files back but the lock of the second.
    assert!(first.kill().was_killed());
    sweep();
    whole();
    assert!(second.kill().was_killed());
    // It is what it was started from.
    Left::word_count(left.path(), "second")
        .option("from-savepoint", needed.display())
        .set_all(FILES)
        .run()
        .expect_code(0);
    whole();
}

#[test]
fn another_input_than_that_of_the_checkpoint_is_refused_with_both() {
    let left = Left::by("another input", |program| program);
    let other = left.path().join("other");
    fs::write(&other, "other words\n").unwrap();
    let second = |input: &Path| {
        Program::word_count(&left.path().join("logs"))
            .option("input", input.display())
            .option("output", left.path().join("second").display())
            .option("from-savepoint", left.checkpoint.display())
            .durable(left.path(), 50)
    };
    let input = left.path().join("input");
    let ended = second(&other).run().expect_code(2);
    ended.expect_output(&[
        "source 'text' cannot go on",
        input.to_str().unwrap(),
        other.to_str().unwrap(),
        "another uid",
    ]);
    second(&input).run().expect_code(0);
    left.assert_nothing_lost_or_doubled("with its own input again");
}
