//! The word count over two processes: the same output, also when one of them is killed.

use crate::harness::{
    Program, Random, Running, assert_exactly, awk_lines, finished_lines, number, write_text,
};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

/// Addresses that nobody listens on in this moment.
fn addresses(count: usize) -> String {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().to_string())
        .collect();
    addresses.join(",")
}

/// The two programs of a word count of four subtasks.
fn programs(folder: &Path, rate: u64, random: &mut Random) -> [Program; 2] {
    let input = folder.join("input");
    write_text(&input, 3, 600_000, random);
    let addresses = addresses(2);
    [0, 1].map(|index| {
        Program::word_count(&folder.join(format!("logs-{index}")))
            .option("input", input.display())
            .option("output", folder.join("output").display())
            .option("parallelism", 4)
            .option("rate", rate)
            .durable(folder, 100)
            .set("cluster.addresses", &addresses)
            .set("cluster.process-index", index)
            .set("taskmanager.numberOfTaskSlots", 2)
            .set("restart-strategy.type", "fixed-delay")
            .set("restart-strategy.fixed-delay.attempts", 1000)
            .set("restart-strategy.fixed-delay.delay", "50 ms")
    })
}

fn assert_output(folder: &Path, what: &str) {
    let (found, expected) = (
        finished_lines(&folder.join("output")),
        awk_lines(&folder.join("input")),
    );
    assert_exactly(&found, &expected, what);
}

#[test]
fn two_processes_write_what_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let programs = programs(folder.path(), 1_000_000, &mut Random::of_test("two processes"));
    let running = programs.each_ref().map(Program::start);
    for running in running {
        running.wait().expect_code(0);
    }
    assert_output(folder.path(), "two processes");
}

#[test]
fn a_killed_process_is_waited_for_and_no_line_is_lost_or_doubled() {
    let mut random = Random::of_test("two processes, one of them killed");
    let kills = number("MILLPOND_KILLS", 5).div_ceil(2);
    let folder = tempfile::tempdir().unwrap();
    let programs = programs(folder.path(), 600_000 / 45 * 1000 / (kills * 700), &mut random);
    let mut running: [Option<Running>; 2] = programs.each_ref().map(|program| Some(program.start()));
    for _ in 0..kills {
        let victim = random.index(2);
        let mut killed = running[victim].take().unwrap();
        if killed.ends_within(random.milliseconds(300..1500)) {
            running[victim] = Some(killed);
            break;
        }
        killed.kill();
        // The other one notices and waits; how long it has to is random too.
        assert!(
            !running[1 - victim]
                .as_mut()
                .unwrap()
                .ends_within(random.milliseconds(1..500)),
            "the process that was left ended"
        );
        running[victim] = Some(programs[victim].start());
    }
    for running in running.into_iter().flatten() {
        running.wait().expect_code(0);
    }
    assert_output(folder.path(), "one of two processes killed");
}

#[test]
fn a_process_that_never_comes_is_named_and_the_job_ends() {
    let folder = tempfile::tempdir().unwrap();
    let [first, _] = programs(
        folder.path(),
        1_000_000,
        &mut Random::of_test("one of two processes"),
    );
    let mut running = first.set("cluster.rejoin-timeout", "1 s").start();
    assert!(running.ends_within(Duration::from_secs(20)), "{}", running.log());
    let ended = running.wait();
    assert!(!ended.status.success(), "{}", ended.log);
    ended.expect_output(&["127.0.0.1:"]);
}
