//! Two processes as one cluster: the output is that of one, also when processes are killed, fail, or do not belong there.

use crate::harness::{
    Ended, FILES, HEAP, Program, Random, Running, Settings, assert_exactly, awk_lines, finished_lines,
    job_folders, lines_of, number, write_text,
};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than the others need to notice a loss, and shorter than a heartbeat's timeout.
const SECONDS: Duration = Duration::from_secs(5);
const TEXT_BYTES: usize = 400_000;

/// The command lines of the processes of a cluster, by index.
struct Cluster([Program; 2]);

/// What every process of a cluster is told about it.
fn join(program: Program, addresses: &str, index: usize) -> Program {
    program
        .option("parallelism", 2)
        .set("cluster.addresses", addresses)
        .set("cluster.process-index", index)
        .set("taskmanager.numberOfTaskSlots", 1)
        .set("restart-strategy.exponential-delay.initial-backoff", "100 ms")
        .set("restart-strategy.exponential-delay.max-backoff", "200 ms")
}

/// Addresses on this machine, as the configuration has them.
pub(crate) fn addresses(processes: usize) -> String {
    // All doors are open at once, so that they differ.
    let doors: Vec<_> = (0..processes)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<_> = doors
        .iter()
        .map(|door| door.local_addr().unwrap().to_string())
        .collect();
    addresses.join(",")
}

impl Cluster {
    /// `program` in two processes with a slot each. Process `i` logs into `folder/process-i`.
    fn of(program: impl Fn(&Path) -> Program, folder: &Path, addresses: &str) -> Self {
        Self([0, 1].map(|index| {
            let program = program(&folder.join(format!("process-{index}")));
            join(program, addresses, index)
        }))
    }

    /// A word count over `folder/input` that takes `run_ms` if nothing happens.
    fn word_count(folder: &Path, run_ms: u64, random: &mut Random) -> Self {
        Self::word_count_at(&addresses(2), folder, run_ms, random)
    }

    fn word_count_at(addresses: &str, folder: &Path, run_ms: u64, random: &mut Random) -> Self {
        let input = folder.join("input");
        write_text(&input, 3, TEXT_BYTES, random);
        let lines = lines_of(&input);
        let program = |logs: &Path| {
            Program::word_count(logs)
                .option("input", input.display())
                .option("output", folder.join("output").display())
                .option("rate", lines * 1000 / run_ms)
                .durable(folder, 50)
        };
        Self::of(program, folder, addresses)
    }

    fn set(self, key: &str, value: &str) -> Self {
        Self(self.0.map(|program| program.set(key, value)))
    }

    fn set_all(self, settings: Settings) -> Self {
        settings
            .iter()
            .fold(self, |cluster, (key, value)| cluster.set(key, value))
    }

    fn start(&self) -> [Running; 2] {
        [0, 1].map(|index| self.0[index].start())
    }

    /// Starts both and waits for a few checkpoints.
    fn start_and_run(&self) -> [Running; 2] {
        let mut running = self.start();
        running[0].wait_for("checkpoint completed checkpoint=3 ");
        running
    }
}

fn assert_output(folder: &Path, what: &str) {
    assert_exactly(
        &finished_lines(&folder.join("output")),
        &awk_lines(&folder.join("input")),
        what,
    );
}

fn finish(running: [Running; 2]) -> [Ended; 2] {
    running.map(|running| running.wait().expect_code(0))
}

/// Waits until `running` says `text`, which must not take long.
fn says_soon(running: &mut Running, text: &str) {
    let began = Instant::now();
    running.wait_for(text);
    let took = began.elapsed();
    assert!(took < SECONDS, "'{text}' took {took:?}:\n{}", running.log());
}

/// That the run of a log went on where another one had been: it starts from a checkpoint.
fn assert_resumed(ended: &Ended) {
    assert!(ended.log.contains("starts from checkpoint"), "{}", ended.log);
}

#[test]
fn two_processes_write_what_one_would() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("cluster");
    let cluster = Cluster::word_count(folder.path(), 500, &mut random);
    let ended = finish(cluster.start());
    for log in ended.map(|ended| ended.log) {
        assert!(log.contains("records/s"), "{log}");
    }
    assert_output(folder.path(), "two processes");
}

#[test]
fn when_another_process_is_killed_the_first_one_waits_and_they_go_on_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("cluster, process 1 is killed");
    let cluster = Cluster::word_count(folder.path(), 2500, &mut random);
    let [mut first, second] = cluster.start_and_run();
    assert!(second.kill().was_killed());
    says_soon(&mut first, "the attempt failed");
    says_soon(&mut first, "waiting for process 1");
    assert!(!first.ends_within(random.milliseconds(0..300)), "{}", first.log());
    let [first, _] = finish([first, cluster.0[1].start()]);
    assert_resumed(&first);
    assert_output(folder.path(), "process 1 killed");
}

#[test]
fn when_the_first_process_is_killed_the_other_one_waits_and_they_go_on_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("cluster, process 0 is killed");
    let cluster = Cluster::word_count(folder.path(), 2500, &mut random);
    let [first, mut second] = cluster.start_and_run();
    assert!(first.kill().was_killed());
    says_soon(&mut second, "process 0 at 127.0.0.1");
    says_soon(&mut second, "the attempt ended");
    assert!(
        !second.ends_within(random.milliseconds(0..300)),
        "{}",
        second.log()
    );
    let [first, _] = finish([cluster.0[0].start(), second]);
    assert_resumed(&first);
    assert_output(folder.path(), "process 0 killed");
}

#[test]
fn when_both_are_killed_they_go_on_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("cluster, both are killed");
    let cluster = Cluster::word_count(folder.path(), 2500, &mut random);
    let killed = cluster.start_and_run().map(Running::kill);
    assert!(killed.iter().all(Ended::was_killed));
    let [first, _] = finish(cluster.start());
    assert_resumed(&first);
    assert_output(folder.path(), "both killed");
}

#[test]
fn any_process_may_be_killed_again_and_again() {
    kill_loop("cluster, kill loop", HEAP, 5);
}

#[test]
fn any_process_may_be_killed_again_and_again_on_mapped_files() {
    kill_loop("cluster, kill loop on files", FILES, 3);
}

fn kill_loop(name: &str, settings: Settings, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let kills = number("MILLPOND_KILLS", kills);
    // Far more than the kills leave time for.
    let cluster = Cluster::word_count(folder.path(), kills * 900, &mut random).set_all(settings);
    let mut running = cluster.start().map(Some);
    for kill in 0..kills {
        let victims = random.pick(&[[true, false], [false, true], [true, true]]);
        std::thread::sleep(random.milliseconds(100..800));
        // First all kills, so that the lock of process 0 is free.
        for index in [0, 1].into_iter().filter(|index| victims[*index]) {
            let ended = running[index].take().unwrap().kill();
            assert!(
                ended.was_killed(),
                "kill {kill} of process {index}:\n{}",
                ended.log
            );
        }
        for index in [0, 1] {
            running[index].get_or_insert_with(|| cluster.0[index].start());
        }
    }
    finish(running.map(Option::unwrap));
    assert_output(folder.path(), name);
    let left = job_folders(&folder.path().join("checkpoints"));
    assert!(left.is_empty(), "{name}: {left:?}");
}

#[test]
fn a_kill_near_the_end_of_the_job_is_one_like_any_other() {
    let mut random = Random::of_test("cluster, kills near the end");
    for _ in 0..number("MILLPOND_KILLS", 5) {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::word_count(folder.path(), 300, &mut random);
        let mut running = cluster.start();
        running[0].wait_for("attempt 1 starts");
        std::thread::sleep(random.milliseconds(200..1200));
        let victim = random.index(2);
        running[victim].kill_now();
        running[victim] = cluster.0[victim].start();
        // Whoever has done its part may have ended by now, and is needed again if the other one has not. A process 1 that comes when all
        // is over waits for nobody.
        let began = Instant::now();
        while !running[0].ends_within(Duration::from_millis(20)) {
            assert!(began.elapsed() < 10 * SECONDS, "{}", running[0].log());
            if running[1].ends_within(Duration::ZERO) {
                running[1] = cluster.0[1].start();
            }
        }
        let [first, _] = running;
        first.wait().expect_code(0);
        assert_output(folder.path(), "killed near the end");
    }
}

/// Numbers into files, with a process 1 whose function panics `times` times at half of them.
fn with_panics(folder: &Path, times: u64) -> Cluster {
    let program = |logs: &Path| {
        let times = if logs.ends_with("process-1") { times } else { 0 };
        Program::subject(logs, "picky-files")
            .option("output", folder.join("output").display())
            .option("records", PANIC_RECORDS)
            .option("at", PANIC_RECORDS / 2)
            .option("times", times)
            .option("rate", PANIC_RECORDS)
            .durable(folder, 50)
    };
    Cluster::of(program, folder, &addresses(2))
}

/// A second of them.
const PANIC_RECORDS: u64 = 3000;

#[test]
fn a_panic_in_one_process_restarts_both() {
    let folder = tempfile::tempdir().unwrap();
    for ended in finish(with_panics(folder.path(), 2).start()) {
        ended.expect_output(&["3 attempts", "operator 'picky'", "is not liked"]);
    }
    let mut expected: Vec<_> = (0..PANIC_RECORDS).map(|i| i.to_string().into_bytes()).collect();
    expected.sort_unstable();
    assert_exactly(
        &finished_lines(&folder.path().join("output")),
        &expected,
        "after a panic",
    );
}

#[test]
fn when_the_job_is_given_up_all_processes_end_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = with_panics(folder.path(), 1000)
        .set("restart-strategy.type", "fixed-delay")
        .set("restart-strategy.fixed-delay.attempts", "2")
        .set("restart-strategy.fixed-delay.delay", "50 ms");
    for running in cluster.start() {
        running.wait().expect_code(1).expect_output(&[
            "subject: the job failed: process 1: operator 'picky'",
            "is not liked",
        ]);
    }
}

#[test]
fn a_process_that_does_not_come_back_ends_the_job() {
    let mut random = Random::of_test("cluster, rejoin timeout");
    let mut start = |folder: &Path| {
        Cluster::word_count(folder, 60_000, &mut random)
            .set("cluster.rejoin-timeout", "1 s")
            .start_and_run()
    };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = start(folders[0].path());
    second.kill();
    first
        .wait()
        .expect_code(1)
        .expect_output(&["process 1 at 127.0.0.1", "did not join within 1s"]);
    let [first, second] = start(folders[1].path());
    first.kill();
    second
        .wait()
        .expect_code(1)
        .expect_output(&["process 0 at 127.0.0.1", "did not come back within 1s"]);
}

#[test]
fn a_program_with_another_job_is_refused_and_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test("cluster, a stranger");
    let addresses = addresses(2);
    let cluster = Cluster::word_count_at(&addresses, folder.path(), 500, &mut random);
    let mut first = cluster.0[0].start();
    first.wait_for("waiting for process 1");
    let stranger = Program::subject(&folder.path().join("stranger"), "picky-files")
        .option("output", folder.path().join("stranger-output").display())
        .option("records", 10)
        .option("at", 0)
        .option("times", 0)
        .option("rate", 10);
    join(stranger, &addresses, 1)
        .run()
        .expect_code(2)
        .expect_output(&["refused this process", "'word_count'", "'picky_files'"]);
    assert!(!folder.path().join("stranger-output").exists());
    finish([first, cluster.0[1].start()]);
    assert_output(folder.path(), "after a stranger");
}
