//! Storage that fails, and crashes at single system calls of the publication of checkpoints and results.

use crate::harness::{
    Program, Random, Strace, assert_exactly, awk_lines, finished_lines, number, write_text,
};
use std::path::Path;
use std::process::Command;

const TEXT_BYTES: usize = 200_000;

/// A word count that takes about half a second and some checkpoints.
fn short_program(folder: &Path, random: &mut Random) -> Program {
    let input = folder.join("input");
    write_text(&input, 2, TEXT_BYTES, random);
    Program::word_count(&folder.join("logs"))
        .option("input", input.display())
        .option("output", folder.join("output").display())
        .option("parallelism", 2)
        .option("rate", 8000)
        .durable(folder, 50)
}

fn assert_output(folder: &Path, what: &str) {
    assert_exactly(
        &finished_lines(&folder.join("output")),
        &awk_lines(&folder.join("input")),
        what,
    );
}

/// Runs a job that is killed at the `k`-th of `calls`, for `k` = 1, 1 + `step`, ... until it is not reached any more; each time starts it again and
/// looks at the output.
fn crash_at_every(calls: &str, step: u64) {
    if !Strace::is_usable() {
        eprintln!("strace cannot be used here: not tested");
        return;
    }
    let mut random = Random::of_test(calls);
    let mut call = 1 + random.below(step);
    let most = number("MILLPOND_CRASHES", 12);
    for _ in 0..most {
        let folder = tempfile::tempdir().unwrap();
        let program = short_program(folder.path(), &mut random);
        let strace = Strace {
            calls,
            fault: "signal=SIGKILL",
            when: &call.to_string(),
        };
        let first = program.start_by(strace.command()).wait();
        if first.was_killed() {
            program.run().expect_code(0);
        } else {
            first.expect_code(0);
            call = 0;
        }
        assert_output(folder.path(), &format!("killed at call {call} of {calls}"));
        if call == 0 {
            return;
        }
        call += step;
    }
}

#[test]
fn a_crash_at_any_rename_loses_nothing() {
    crash_at_every("rename,renameat,renameat2", 3);
}

#[test]
fn a_crash_at_any_sync_loses_nothing() {
    crash_at_every("fsync,fdatasync", 7);
}

#[test]
fn a_crash_at_any_removal_loses_nothing() {
    crash_at_every("unlink,unlinkat,rmdir", 3);
}

#[test]
fn a_crash_at_any_new_file_or_folder_loses_nothing() {
    crash_at_every("openat,mkdir,mkdirat", 37);
}

#[test]
fn a_sync_that_fails_costs_a_checkpoint_or_an_attempt_and_loses_nothing() {
    if !Strace::is_usable() {
        eprintln!("strace cannot be used here: not tested");
        return;
    }
    let mut random = Random::of_test("failing fsync");
    // Counted by thread. The first ones belong to the start, which refuses a disk that fails.
    for when in ["6", "9", "15+40", "31"] {
        let folder = tempfile::tempdir().unwrap();
        let program = short_program(folder.path(), &mut random)
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
        if ended.status.code() == Some(2) {
            // Refused at the start: the disk is fine the next time.
            program.run().expect_code(0);
        } else {
            ended.expect_code(0);
        }
        assert_output(folder.path(), &format!("fsync fails at {when}"));
    }
}

/// A file system of its own that is soon full. Unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
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
    let program = short_program(folder.path(), &mut random)
        .set(
            "execution.checkpointing.dir",
            format!("file://{}", disk.0.path().display()),
        )
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        .set("execution.checkpointing.tolerable-failed-checkpoints", 1000);
    // Leaves room for a small checkpoint or two.
    std::fs::write(disk.0.path().join("ballast"), vec![1u8; 2000 * 1024]).unwrap();
    let running = program.start();
    let ended = {
        let mut running = running;
        running.wait_for("No space left on device");
        std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
        running.wait()
    };
    ended.expect_code(0);
    assert_output(folder.path(), "the disk was full");
}

#[test]
fn damage_in_the_latest_checkpoint_is_told_and_nothing_is_thrown_away() {
    let mut random = Random::of_test("damaged snapshot");
    let folder = tempfile::tempdir().unwrap();
    let program = short_program(folder.path(), &mut random)
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        .set("execution.checkpointing.num-retained", 2);
    let mut running = program.start();
    running.wait_for("checkpoint completed checkpoint=3");
    running.kill();
    let checkpoints = snapshot_files(&folder.path().join("checkpoints"));
    assert!(!checkpoints.is_empty());
    for file in &checkpoints {
        let mut bytes = std::fs::read(file).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    for _ in 0..2 {
        program.run().expect_code(2).expect_output(&["chk-"]);
    }
    assert_eq!(snapshot_files(&folder.path().join("checkpoints")), checkpoints);
    for file in &checkpoints {
        let mut bytes = std::fs::read(file).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    program.run().expect_code(0);
    assert_output(folder.path(), "repaired");
}

/// All files of checkpoints but their metadata.
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
