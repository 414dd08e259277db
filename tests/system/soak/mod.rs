//! A job with every kind of state, timers and a two-phase commit, to which one thing after the other is done: its output is that of a run that was left alone.
//!
//! A *life* is one start of the program and what is done to it: killed at any moment, made to panic, stopped with a savepoint in either format, asked for a savepoint,
//! its checkpoints made to expire, its disk filled, its checkpoints damaged after its death. Each life has another parallelism than the one before. Every kind of
//! life comes once, in random order, then they come at random until the time is up: `MILLPOND_SOAK_SECONDS`, 20 unless it is set; 300 is a soak in full. The
//! sequence follows from the seed alone, which is printed and can be given by `MILLPOND_SEED`.
//!
//! How far a life goes is counted in checkpoints, not in time; only kills come at random moments.

mod faults;
mod process;

use crate::harness::{
    FILES, HEAP, JobFolder, Program, REDB, ROCKSDB, Random, Running, Settings, SmallDisk, assert_exactly,
    finished_lines, has_redb, has_rocksdb, job_folders, number,
};
use crate::savepoints::control_below;
use faults::Fault;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KEYS: u64 = 120;
const WINDOW_MS: u64 = 250;
const RATE: u64 = 3000;
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// What is done to the program in one life, and how it is started.
#[derive(Clone, Copy, Debug)]
struct Life {
    fault: Fault,
    parallelism: u64,
    /// Of what is random within the life.
    seed: u64,
}

/// The lives, one after the other, without end: every kind once, then any.
fn lives(mut random: Random) -> impl Iterator<Item = Life> {
    let mut first: Vec<_> = Fault::ALL.to_vec();
    let mut parallelism = 0;
    std::iter::from_fn(move || {
        let fault = if first.is_empty() {
            random.pick(&Fault::ALL)
        } else {
            first.swap_remove(random.index(first.len()))
        };
        // Another one each time, of 1 to 4.
        parallelism = 1 + (parallelism + random.below(3)) % 4;
        Some(Life {
            fault,
            parallelism,
            seed: random.next(),
        })
    })
}

/// The job and what is left of its lives.
struct Soak {
    name: &'static str,
    folder: tempfile::TempDir,
    /// For checkpoints, where one can be mounted.
    disk: Option<SmallDisk>,
    settings: Settings,
    /// The savepoint that the next start begins from, if it does not resume by itself.
    from: Option<PathBuf>,
    savepoints: u32,
    /// Files that nobody named after the last kill.
    orphans: BTreeSet<PathBuf>,
}

impl Soak {
    fn new(name: &'static str, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("told")).unwrap();
        control_below(folder.path());
        let disk = SmallDisk::mount("64m");
        if disk.is_none() {
            eprintln!("{name}: nothing can be mounted here: no disk will be full");
        }
        Self {
            name,
            folder,
            disk,
            settings,
            from: None,
            savepoints: 0,
            orphans: BTreeSet::new(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn checkpoints(&self) -> PathBuf {
        let disk = self.disk.as_ref().map(SmallDisk::path);
        disk.unwrap_or_else(|| self.path()).join("checkpoints")
    }

    /// A file by which the job is told something.
    fn told(&self, name: &str) -> PathBuf {
        self.path().join("told").join(name)
    }

    fn tell(&self, name: &str) {
        fs::write(self.told(name), "").unwrap();
    }

    /// A folder for one more savepoint.
    fn new_target(&mut self) -> PathBuf {
        self.savepoints += 1;
        self.path().join(format!("savepoints-{}", self.savepoints))
    }

    fn program(&self, parallelism: u64) -> Program {
        let program = Program::subject(&self.path().join("logs"), "soak")
            .option("output", self.path().join("output").display())
            .option("keys", KEYS)
            .option("window-ms", WINDOW_MS)
            .option("rate", RATE)
            .option("told", self.path().join("told").display())
            .option("parallelism", parallelism)
            .durable(self.path(), 40)
            .set(
                "execution.checkpointing.dir",
                format!("file://{}", self.checkpoints().display()),
            )
            .set("control.dir", self.path().join("control").display())
            .set("execution.checkpointing.tolerable-failed-checkpoints", 1_000_000)
            .set("restart-strategy.type", "fixed-delay")
            .set("restart-strategy.fixed-delay.attempts", 1_000_000)
            .set("restart-strategy.fixed-delay.delay", "10 ms")
            .set_all(self.settings);
        match &self.from {
            Some(from) => program.option("from-savepoint", from.display()),
            None => program,
        }
    }

    /// What must be so when no program runs: what the checkpoints name is there, and what nobody named when the last program died is not there any more.
    fn look(&mut self, completed: usize) {
        let mut orphans = BTreeSet::new();
        for job in job_folders(&self.checkpoints()) {
            let left = JobFolder::read(&job);
            left.assert_whole(self.name);
            orphans.extend(left.orphans);
        }
        if completed > 0 {
            let survivors: Vec<_> = self.orphans.intersection(&orphans).collect();
            assert!(
                survivors.is_empty(),
                "{}: nobody names {survivors:#?}, and a start has left them",
                self.name
            );
        } else {
            // It may have died before it had begun to sweep.
            orphans.retain(|path| self.orphans.contains(path));
        }
        self.orphans = orphans;
    }

    fn live(&mut self, life: Life) {
        let log = life.fault.happens_to(self, life);
        assert!(!log.contains("FAULT"), "{}: {life:?}:\n{log}", self.name);
        self.look(completed(&log));
    }

    /// Lets it come to its end; returns all lines and how many events there were.
    fn end(&self, parallelism: u64) -> (Vec<Vec<u8>>, usize) {
        self.tell("enough");
        let ended = self.program(parallelism).run().expect_code(0);
        assert!(!ended.log.contains("FAULT"), "{}:\n{}", self.name, ended.log);
        let left = job_folders(&self.checkpoints());
        assert!(left.is_empty(), "{}: {left:?} is left of ended jobs", self.name);
        let lines = finished_lines(&self.path().join("output"));
        let events = lines.iter().filter(|line| line.starts_with(b"e ")).count();
        (lines, events)
    }
}

/// The lines of a run that is left alone.
fn undisturbed(events: usize) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    Program::subject(&folder.path().join("logs"), "soak")
        .option("output", output.display())
        .option("keys", KEYS)
        .option("window-ms", WINDOW_MS)
        .option("records", events)
        .run()
        .expect_code(0);
    finished_lines(&output)
}

/// How many checkpoints a start has completed.
fn completed(log: &str) -> usize {
    log.matches("checkpoint completed checkpoint=").count()
}

/// Waits until a running program has come so far.
fn wait_until(running: &mut Running, what: &str, mut is_so: impl FnMut(&Running) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(running) {
        assert!(
            !running.ends_within(LOOK) && Instant::now() < deadline,
            "waited for {what}:\n{}",
            running.log()
        );
    }
}

/// Waits until so many more checkpoints are complete.
fn wait_for_checkpoints(running: &mut Running, more: usize) {
    let wanted = completed(&running.log()) + more;
    wait_until(running, "a checkpoint", |running| {
        completed(&running.log()) >= wanted
    });
}

fn soak(name: &'static str, settings: Settings) {
    let begun = Instant::now();
    let time = Duration::from_secs(number("MILLPOND_SOAK_SECONDS", 20));
    let mut soak = Soak::new(name, settings);
    let mut lived = 0;
    let mut last = 1;
    for life in lives(Random::of_test(name)) {
        if lived >= Fault::ALL.len() && begun.elapsed() >= time {
            last = life.parallelism;
            break;
        }
        lived += 1;
        eprintln!("{name}: life {lived} at {:?}: {life:?}", begun.elapsed());
        soak.live(life);
    }
    let (found, events) = soak.end(last);
    eprintln!("{name}: {lived} lives, {events} events");
    assert_exactly(&found, &undisturbed(events), name);
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_the_heap() {
    soak("soak on the heap", HEAP);
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_files() {
    soak("soak on files", FILES);
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_rocksdb() {
    if has_rocksdb() {
        soak("soak on RocksDB", ROCKSDB);
    }
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_redb() {
    if has_redb() {
        soak("soak on redb", REDB);
    }
}

#[test]
fn the_same_seed_gives_the_same_lives_with_every_fault_among_the_first() {
    let some = |seed| -> Vec<_> { lives(Random::new(seed)).take(40).collect() };
    for seed in 0..20 {
        let lives = some(seed);
        assert_eq!(format!("{lives:?}"), format!("{:?}", some(seed)));
        for fault in Fault::ALL {
            assert!(lives[..Fault::ALL.len()].iter().any(|life| life.fault == fault));
        }
        for pair in lives.windows(2) {
            assert_ne!(pair[0].parallelism, pair[1].parallelism);
        }
    }
}
