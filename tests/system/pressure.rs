//! A job with too much to do, and one with nothing to do.

use crate::harness::{Program, Running};
use std::fs;
use std::time::Duration;

/// A field of `/proc/<pid>/status` in KiB.
fn memory_kib(running: &Running, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The processor time that a process has used, in ticks of 10 ms.
fn cpu_ticks(running: &Running) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
    // The second field is the name in brackets; user and system time are the 14th and 15th.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_idle_job_uses_no_processor_time_and_ends_when_its_source_does() {
    for parallelism in [1, 4] {
        let logs = tempfile::tempdir().unwrap();
        let mut running = Program::subject(logs.path(), "idle")
            .option("parallelism", parallelism)
            .set("execution.checkpointing.interval", "1 h")
            .set("control.dir", logs.path().join("control").display())
            .start();
        running.wait_for("running 1");
        // What the start leaves to do.
        assert!(!running.ends_within(Duration::from_millis(500)));
        let before = cpu_ticks(&running);
        assert!(!running.ends_within(Duration::from_secs(3)));
        let used = cpu_ticks(&running) - before;
        assert!(
            used <= 1,
            "{used} ticks of 10 ms in 3 s at parallelism {parallelism}"
        );
        running.close_input();
        running.wait().expect_code(0);
    }
}

#[test]
fn checkpoints_of_an_idle_job_are_completed() {
    let logs = tempfile::tempdir().unwrap();
    let mut running = Program::subject(logs.path(), "idle")
        .option("parallelism", 2)
        .set("execution.checkpointing.interval", "20 ms")
        .start();
    running.wait_for("running 1");
    assert!(!running.ends_within(Duration::from_secs(1)));
    running.close_input();
    let ended = running.wait().expect_code(0);
    let completed = crate::harness::checkpoints_completed(&ended.log);
    assert!(completed >= 20, "{completed} checkpoints:\n{}", ended.log);
}

#[test]
fn checkpoints_under_backpressure_end_in_time_and_memory_stays_flat() {
    let logs = tempfile::tempdir().unwrap();
    let mut running = Program::subject(logs.path(), "slow-sink")
        .option("records", 6000)
        .set("execution.checkpointing.interval", "100 ms")
        .set("execution.checkpointing.timeout", "1 s")
        .start();
    assert!(!running.ends_within(Duration::from_secs(1)), "{}", running.log());
    let early = memory_kib(&running, "VmRSS");
    assert!(!running.ends_within(Duration::from_secs(3)), "{}", running.log());
    let late = memory_kib(&running, "VmRSS");
    assert!(
        late < early + 16 * 1024,
        "{early} KiB after 1 s, {late} KiB after 4 s"
    );
    let ended = running.wait().expect_code(0);
    // The timeout is the second that each may take at most, and a checkpoint that ran into it would be missing.
    let completed = crate::harness::checkpoints_completed(&ended.log);
    assert!(completed >= 10, "{completed} checkpoints:\n{}", ended.log);
}
