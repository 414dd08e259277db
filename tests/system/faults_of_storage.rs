//! Storage that fails, and crashes at single system calls of the publication of checkpoints and results.

use crate::harness::{
    FILES, HEAP, JobFolder, Program, Random, Settings, SmallDisk, Strace, assert_exactly, awk_lines,
    checkpoints_below, finished_lines, job_folders, number, write_text,
};
use std::path::Path;

const TEXT_BYTES: usize = 200_000;

/// A word count that takes about half a second and some checkpoints.
fn short_program(folder: &Path, settings: Settings, random: &mut Random) -> Program {
    paced_program(folder, settings, random, 8000)
}

/// A word count of about 4500 lines, so many a second in each subtask.
pub(crate) fn paced_program(folder: &Path, settings: Settings, random: &mut Random, rate: u64) -> Program {
    let input = folder.join("input");
    write_text(&input, 2, TEXT_BYTES, random);
    Program::word_count(&folder.join("logs"))
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .option("parallelism", 2)
        .option("rate", rate)
        .set_all(settings)
        .durable(folder, 50)
}

/// That such a program has counted every word once.
pub(crate) fn assert_output(folder: &Path, what: &str) {
    assert_exactly(
        &finished_lines(&folder.join("output")),
        &awk_lines(&folder.join("input")),
        what,
    );
}

/// That what a job left that was killed can be restored.
fn assert_checkpoints_are_whole(folder: &Path, what: &str) {
    for job in job_folders(&folder.join("checkpoints")) {
        JobFolder::read(&job).assert_whole(what);
    }
}

/// That nothing is left of the checkpoints of a job that has ended.
fn assert_nothing_is_left(checkpoints: &Path, what: &str) {
    let left = job_folders(checkpoints);
    assert!(left.is_empty(), "{what}: {left:?}");
}

/// Runs a job that is killed at the `k`-th of `calls` in one of its threads, for `k` = 1, 2, ... until no thread comes so far; each time looks at what is
/// left, starts it again and looks at the output. Where that would be more than `crashes_max` (or `MILLPOND_CRASHES`), some of them are left out at random.
fn crash_at_every(calls: &str, settings: Settings, calls_about: u64, crashes_max: u64) {
    if !Strace::is_usable() {
        eprintln!("strace cannot be used here: not tested");
        return;
    }
    let mut random = Random::of_test(calls);
    let step = calls_about.div_ceil(number("MILLPOND_CRASHES", crashes_max));
    let mut call = 1 + random.below(step);
    let mut crashes = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let program = short_program(folder, settings, &mut random);
        let strace = Strace {
            calls,
            fault: "signal=SIGKILL",
            when: &call.to_string(),
        };
        let first = program.start_by(strace.command()).wait();
        if !first.was_killed() {
            first.expect_code(0);
            break;
        }
        crashes += 1;
        let what = format!("killed at call {call} of {calls}");
        assert_checkpoints_are_whole(folder, &what);
        program.run().expect_code(0);
        assert_output(folder, &what);
        assert_nothing_is_left(&folder.join("checkpoints"), &what);
        call += 1 + random.below(2 * step - 1);
    }
    eprintln!("{calls}: {crashes} crashes, up to call {call}");
    assert!(crashes > 1, "no crash was tried");
}

const RENAMES: &str = "rename,renameat,renameat2";
const SYNCS: &str = "fsync,fdatasync";
const REMOVALS: &str = "unlink,unlinkat,rmdir";
const NEW_FILES: &str = "openat,mkdir,mkdirat";
const WRITES: &str = "write,pwrite64";

#[test]
fn a_crash_at_any_rename_loses_nothing() {
    crash_at_every(RENAMES, HEAP, 12, 10);
}

#[test]
fn a_crash_at_any_sync_loses_nothing() {
    crash_at_every(SYNCS, HEAP, 36, 10);
}

#[test]
fn a_crash_at_any_removal_loses_nothing() {
    crash_at_every(REMOVALS, HEAP, 6, 10);
}

#[test]
fn a_crash_at_any_new_file_or_folder_loses_nothing() {
    crash_at_every(NEW_FILES, HEAP, 90, 10);
}

#[test]
fn a_crash_at_any_write_loses_nothing() {
    crash_at_every(WRITES, HEAP, 40, 10);
}

#[test]
fn a_crash_at_any_rename_of_an_incremental_checkpoint_loses_nothing() {
    crash_at_every(RENAMES, FILES, 20, 6);
}

#[test]
fn a_crash_at_any_sync_of_an_incremental_checkpoint_loses_nothing() {
    crash_at_every(SYNCS, FILES, 60, 6);
}

#[test]
fn a_crash_at_any_removal_of_an_incremental_checkpoint_loses_nothing() {
    crash_at_every(REMOVALS, FILES, 16, 6);
}

#[test]
fn a_crash_at_any_new_file_of_an_incremental_checkpoint_loses_nothing() {
    crash_at_every(NEW_FILES, FILES, 90, 6);
}

#[test]
fn a_crash_at_any_write_of_an_incremental_checkpoint_loses_nothing() {
    crash_at_every(WRITES, FILES, 40, 6);
}

#[test]
fn a_sync_that_fails_costs_a_checkpoint_or_an_attempt_and_loses_nothing() {
    a_sync_fails("failing fsync", HEAP);
}

#[test]
fn a_sync_that_fails_costs_an_incremental_checkpoint_or_an_attempt_and_loses_nothing() {
    a_sync_fails("failing fsync on files", FILES);
}

fn a_sync_fails(name: &str, settings: Settings) {
    if !Strace::is_usable() {
        eprintln!("strace cannot be used here: not tested");
        return;
    }
    let mut random = Random::of_test(name);
    // Counted by thread. The first ones belong to the start, which refuses a disk that fails.
    for when in ["6", "9", "15+40", "31"] {
        let folder = tempfile::tempdir().unwrap();
        let program = short_program(folder.path(), settings, &mut random)
            .set("execution.checkpointing.tolerable-failed-checkpoints", 100)
            .set("restart-strategy.type", "fixed-delay")
            .set("restart-strategy.fixed-delay.attempts", 1000)
            .set("restart-strategy.fixed-delay.delay", "10 ms");
        let strace = Strace {
            calls: "fsync,fdatasync",
            fault: "error=EIO",
            when,
        };
        let ended = program.start_by(strace.command()).wait();
        if matches!(ended.status.code(), Some(1 | 2)) {
            // Refused at the start, or it could not be noted down that the job has finished: the disk is fine the next time.
            let ended = ended.expect_output(&["Input/output error"]);
            eprintln!("{name} at {when}: exit code {:?}", ended.status.code());
            program.run().expect_code(0);
        } else {
            let ended = ended.expect_code(0);
            let failed = ended.log.matches("checkpoint failed").count();
            eprintln!("{name} at {when}: {failed} checkpoints failed");
        }
        assert_output(folder.path(), &format!("fsync fails at {when}"));
        assert_nothing_is_left(&folder.path().join("checkpoints"), when);
    }
}

#[test]
fn a_full_disk_fails_checkpoints_and_not_the_job() {
    let Some(disk) = SmallDisk::mount("2m") else {
        eprintln!("nothing can be mounted here: not tested");
        return;
    };
    let mut random = Random::of_test("full disk");
    let folder = tempfile::tempdir().unwrap();
    let program = short_program(folder.path(), HEAP, &mut random)
        .set(
            "execution.checkpointing.dir",
            format!("file://{}", disk.path().display()),
        )
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        .set("execution.checkpointing.tolerable-failed-checkpoints", 1000);
    // Leaves room for a small checkpoint or two.
    std::fs::write(disk.path().join("ballast"), vec![1u8; 2000 * 1024]).unwrap();
    let running = program.start();
    let ended = {
        let mut running = running;
        running.wait_for("No space left on device");
        std::fs::remove_file(disk.path().join("ballast")).unwrap();
        running.wait()
    };
    ended.expect_code(0);
    assert_output(folder.path(), "the disk was full");
}

/// The disk is full in the asynchronous part of checkpoints, once until the program is killed and once until there is space again. There is no input or output in the
/// synchronous part of this backend, so a disk that is full has no say in it.
#[test]
fn a_full_disk_fails_incremental_checkpoints_until_there_is_space_again() {
    let Some(disk) = SmallDisk::mount("2m") else {
        eprintln!("nothing can be mounted here: not tested");
        return;
    };
    let disk = disk.path();
    let mut random = Random::of_test("full disk, increments");
    let folder = tempfile::tempdir().unwrap();
    let program = short_program(folder.path(), FILES, &mut random)
        .set(
            "execution.checkpointing.dir",
            format!("file://{}", disk.display()),
        )
        .set("execution.checkpointing.tolerable-failed-checkpoints", 1000)
        .set("restart-strategy.type", "none");
    let ballast = disk.join("ballast");
    let look = |what: &str| {
        for job in job_folders(disk) {
            JobFolder::read(&job).assert_whole(what);
        }
    };

    // Takes what there is, however little.
    let fill = || drop(std::fs::write(&ballast, vec![1u8; 2 << 20]));

    let mut running = program.start();
    running.wait_for("checkpoint completed");
    fill();
    running.wait_for("No space left on device");
    running.kill();
    look("killed on a full disk");
    program
        .run()
        .expect_code(2)
        .expect_output(&["No space left on device"]);
    look("refused on a full disk");
    std::fs::remove_file(&ballast).unwrap();

    let mut running = program.start();
    running.wait_for("checkpoint completed");
    fill();
    running.wait_for("No space left on device");
    std::fs::remove_file(&ballast).unwrap();
    let failed = running.log().len();
    while !running.log()[failed..].contains("checkpoint completed") {
        assert!(
            !running.ends_within(std::time::Duration::from_millis(5)),
            "{}",
            running.log()
        );
    }
    running.kill();
    // What could not be written then is in a later increment.
    look("there was space again");
    program
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint"]);
    assert_output(folder.path(), "the disk was full");
    assert_nothing_is_left(disk, "the disk was full");
}

#[test]
fn damage_in_the_latest_checkpoint_is_told_and_nothing_is_thrown_away() {
    let mut random = Random::of_test("damaged snapshot");
    let folder = tempfile::tempdir().unwrap();
    let program = short_program(folder.path(), HEAP, &mut random)
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        .set("execution.checkpointing.num-retained", 2);
    let mut running = program.start();
    running.wait_for("checkpoint completed checkpoint=3");
    running.kill();
    // Not what the killed job had begun to write, or was about to delete: that is swept.
    let retained = checkpoints_below(&folder.path().join("checkpoints"));
    let files: Vec<_> = retained
        .iter()
        .rev()
        .take(2)
        .flat_map(|(_, checkpoint)| snapshot_files(checkpoint))
        .collect();
    assert!(!files.is_empty());
    let flip = || {
        for file in &files {
            let mut bytes = std::fs::read(file).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }
    };
    flip();
    for _ in 0..2 {
        program.run().expect_code(2).expect_output(&["chk-"]);
    }
    // All are still there.
    flip();
    program.run().expect_code(0);
    assert_output(folder.path(), "repaired");
}

/// All files of a checkpoint but its metadata.
fn snapshot_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot_files(&path));
        } else if path.file_name().is_some_and(|name| name != "_metadata") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A job that fails for good is killed at each of `calls` around its end, started again, and fails again: what is to be kept is whole, and nothing else is left.
fn crash_around_a_failed_end(calls: &str, retention: &str, crashes_max: u64) {
    if !Strace::is_usable() {
        eprintln!("strace cannot be used here: not tested");
        return;
    }
    let name = format!("{calls} at the end, {retention}");
    let mut random = Random::of_test(&name);
    let step = 24_u64.div_ceil(number("MILLPOND_CRASHES", crashes_max));
    let mut call = 1 + random.below(step);
    let mut crashes = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let program = Program::subject(&folder.join("logs"), "failing")
            .option("records", 4000)
            .option("at", 3000)
            .option("times", 100)
            .arg("--error")
            .option("rate", 8000)
            .set("restart-strategy.type", "none")
            .set("execution.checkpointing.num-retained", 2)
            .set(
                "execution.checkpointing.externalized-checkpoint-retention",
                retention,
            )
            .durable(folder, 40);
        let strace = Strace {
            calls,
            fault: "signal=SIGKILL",
            when: &call.to_string(),
        };
        let was_killed = program.start_by(strace.command()).wait().was_killed();
        crashes += u64::from(was_killed);
        let what = format!("{name}: killed at call {call}");
        if was_killed {
            assert_checkpoints_are_whole(folder, &what);
            let again = program.run().expect_output(&["record 3000 is refused"]);
            assert!(!again.was_killed());
        }
        let left = job_folders(&folder.join("checkpoints"));
        if retention == "NO_EXTERNALIZED_CHECKPOINTS" {
            assert!(left.is_empty(), "{what}: {left:?}");
        } else {
            assert!(!left.is_empty(), "{what}");
            for job in left {
                JobFolder::read(&job).assert_exact(&what);
                assert!(checkpoints_below(job.parent().unwrap()).len() <= 4, "{what}");
            }
        }
        if !was_killed {
            break;
        }
        call += 1 + random.below(2 * step - 1);
    }
    eprintln!("{name}: {crashes} crashes, up to call {call}");
    assert!(crashes > 1, "no crash was tried");
}

#[test]
fn a_crash_between_the_end_of_a_failed_job_and_the_deletion_of_its_checkpoints_leaves_none_for_ever() {
    for calls in [RENAMES, REMOVALS] {
        crash_around_a_failed_end(calls, "NO_EXTERNALIZED_CHECKPOINTS", 8);
    }
}

#[test]
fn a_crash_around_the_end_of_a_failed_job_keeps_the_checkpoints_that_are_to_be_kept() {
    for calls in [RENAMES, REMOVALS] {
        crash_around_a_failed_end(calls, "RETAIN_ON_CANCELLATION", 6);
    }
}
