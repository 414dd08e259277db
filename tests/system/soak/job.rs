//! The job with every kind of state, as a program that is started again and again.

use crate::harness::{JobFolder, Program, Running, Settings, SmallDisk, finished_lines, job_folders};
use crate::savepoints::{ask, assert_self_contained, control_below, moved};
use millpond_engine::checkpoint::{SavepointFormat, StopMode};
use millpond_engine::control::Request;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const KEYS: u64 = 120;
const WINDOW_MS: u64 = 250;
/// Longer than anything here takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// The job and what is left of its lives.
pub(crate) struct Job {
    name: &'static str,
    folder: tempfile::TempDir,
    /// For checkpoints, where one can be mounted.
    pub(crate) disk: Option<SmallDisk>,
    settings: Settings,
    /// The savepoint that the next start begins from, if it does not resume by itself.
    pub(crate) from: Option<PathBuf>,
    savepoints: u32,
    /// Files that nobody named after the last kill.
    orphans: BTreeSet<PathBuf>,
    /// Whether a start may pass over damaged checkpoints.
    goes_back: bool,
}

impl Job {
    /// Events a second.
    pub(crate) const RATE: u64 = 3000;

    pub(crate) fn new(name: &'static str, settings: Settings) -> Self {
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
            goes_back: false,
        }
    }

    /// From now on starts pass over damaged checkpoints.
    pub(crate) fn may_go_back(&mut self) {
        self.goes_back = true;
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        let disk = self.disk.as_ref().map(SmallDisk::path);
        disk.unwrap_or_else(|| self.path()).join("checkpoints")
    }

    /// A file by which the job is told something.
    pub(crate) fn told(&self, name: &str) -> PathBuf {
        self.path().join("told").join(name)
    }

    pub(crate) fn tell(&self, name: &str) {
        fs::write(self.told(name), "").unwrap();
    }

    /// A folder for one more savepoint.
    pub(crate) fn new_target(&mut self) -> PathBuf {
        self.savepoints += 1;
        self.path().join(format!("savepoints-{}", self.savepoints))
    }

    /// The program as such, which ends when it is told to.
    pub(crate) fn shape(logs: &Path, output: &Path) -> Program {
        Program::subject(logs, "soak")
            .option("output", output.display())
            .option("keys", KEYS)
            .option("window-ms", WINDOW_MS)
    }

    /// What high availability has of the checkpoints.
    pub(crate) fn remembered(&self) -> Vec<PathBuf> {
        let folder = self.path().join("ha/default/soak/checkpoints");
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    pub(crate) fn program(&self, parallelism: u64) -> Program {
        let program = Self::shape(&self.path().join("logs"), &self.path().join("output"))
            .option("rate", Self::RATE)
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
        let program = match self.goes_back {
            true => program.set("execution.state-recovery.on-damage", "previous"),
            false => program,
        };
        match &self.from {
            Some(from) => program.option("from-savepoint", from.display()),
            None => program,
        }
    }

    /// What must be so when a program that said `log` runs no more: what the checkpoints name is there, and what nobody named when the last program died is not there any more.
    pub(crate) fn look(&mut self, log: &str) {
        assert!(!log.contains("FAULT"), "{}:\n{log}", self.name);
        let mut orphans = BTreeSet::new();
        for job in job_folders(&self.checkpoints()) {
            let left = JobFolder::read(&job);
            left.assert_whole(self.name);
            orphans.extend(left.orphans);
        }
        if completed(log) > 0 {
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

    /// Has it stopped with a savepoint, which the next start goes on from in another place; returns what it said.
    pub(crate) fn stop(&mut self, running: Running, format: SavepointFormat) -> String {
        let request = Request {
            format,
            stop: Some(StopMode::Suspend),
            ..Request::default()
        };
        let target = self.new_target();
        let savepoint = ask(&control_below(self.path()), &target, request).unwrap();
        let ended = running.wait().expect_code(0);
        assert_self_contained(&savepoint);
        let moved = moved(&savepoint, &target.join("elsewhere"));
        if let Some(before) = self.from.replace(moved) {
            fs::remove_dir_all(before).unwrap();
        }
        ended.log
    }

    /// All lines that are there while no program runs, and how many events there were.
    pub(crate) fn results(&self) -> (Vec<Vec<u8>>, usize) {
        let lines = finished_lines(&self.path().join("output"));
        let events = events_in(&lines);
        (lines, events)
    }

    /// Lets it come to its end; returns all lines and how many events there were.
    pub(crate) fn end(&self, parallelism: u64) -> (Vec<Vec<u8>>, usize) {
        self.tell("enough");
        let ended = self.program(parallelism).run().expect_code(0);
        assert!(!ended.log.contains("FAULT"), "{}:\n{}", self.name, ended.log);
        let left = job_folders(&self.checkpoints());
        assert!(left.is_empty(), "{}: {left:?} is left of ended jobs", self.name);
        self.results()
    }
}

/// How many events there are in the results.
pub(crate) fn events_in(lines: &[Vec<u8>]) -> usize {
    lines.iter().filter(|line| line.starts_with(b"e ")).count()
}

/// The lines of a run that is left alone, with so many events.
pub(crate) fn undisturbed(events: usize) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    Job::shape(&folder.path().join("logs"), &output)
        .option("records", events)
        .run()
        .expect_code(0);
    finished_lines(&output)
}

/// How many checkpoints a start has completed.
pub(crate) fn completed(log: &str) -> usize {
    log.matches("checkpoint completed checkpoint=").count()
}

/// Waits until a running program has come so far.
pub(crate) fn wait_until(running: &mut Running, what: &str, mut is_so: impl FnMut(&Running) -> bool) {
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
pub(crate) fn wait_for_checkpoints(running: &mut Running, more: usize) {
    let wanted = completed(&running.log()) + more;
    wait_until(running, "a checkpoint", |running| {
        completed(&running.log()) >= wanted
    });
}
