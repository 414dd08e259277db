//! What may happen to the program in a life.

use super::Life;
use super::job::{Job, completed, wait_for_checkpoints, wait_until};
use super::process::Held;
use crate::harness::{Ended, Random, Running, job_folders};
use crate::savepoints::{ask, assert_self_contained, control_below};
use millpond_engine::checkpoint::storage::CheckpointPaths;
use millpond_engine::checkpoint::{FileLocation, SavepointFormat, metadata};
use millpond_engine::control::Request;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How often functions panic in one life. More than [`SLACK`], so that what each attempt leaks shows.
const PANICS: usize = 6;
/// How many threads and files more than after the second attempt a process may have for the moment.
const SLACK: usize = 4;

/// What happens in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9` at any moment.
    Kill,
    /// Panics of a user's function, one after the other in one process.
    Panics,
    /// Stopped with a canonical savepoint, from which the next life begins, in another place.
    StopCanonical,
    /// The same with one in the backend's own format.
    StopNative,
    /// A savepoint that nobody uses, then `kill -9`.
    Savepoint,
    /// Checkpoints that are given up because they take too long, then `kill -9`.
    Abort,
    /// A disk that is full, and has space again, then `kill -9`.
    FullDisk,
    /// `kill -9`, and the checkpoints are damaged: no start goes over that. Then they are as they were.
    Damage,
}

impl Fault {
    pub(super) const ALL: [Self; 8] = [
        Self::Kill,
        Self::Panics,
        Self::StopCanonical,
        Self::StopNative,
        Self::Savepoint,
        Self::Abort,
        Self::FullDisk,
        Self::Damage,
    ];

    /// Starts the program and has it happen; returns what the program said when it is gone.
    pub(super) fn happens_to(self, job: &mut Job, life: Life) -> String {
        let mut random = Random::new(life.seed);
        let mut running = match self {
            Self::Abort => {
                job.tell("slow");
                job.program(life.parallelism)
                    .set("execution.checkpointing.interval", "10 ms")
                    .set("execution.checkpointing.timeout", "10 ms")
                    .start()
            }
            _ => job.program(life.parallelism).start(),
        };
        match self {
            Self::Kill => {
                let ended = running.ends_within(random.milliseconds(0..1500));
                assert!(!ended, "{}", running.log());
                killed(running)
            }
            Self::Panics => {
                panics(job, &mut running);
                killed(running)
            }
            Self::StopCanonical => job.stop(running, SavepointFormat::Canonical),
            Self::StopNative => job.stop(running, SavepointFormat::Native),
            Self::Savepoint => {
                let target = job.new_target();
                let savepoint = ask(&control_below(job.path()), &target, Request::default()).unwrap();
                assert_self_contained(&savepoint);
                let log = killed(running);
                fs::remove_dir_all(target).unwrap();
                log
            }
            Self::Abort => {
                wait_until(&mut running, "checkpoints that expire", |running| {
                    running.log().matches("checkpoint failed").count() >= 3
                });
                fs::remove_file(job.told("slow")).unwrap();
                killed(running)
            }
            Self::FullDisk => {
                wait_for_checkpoints(&mut running, 1);
                if let Some(disk) = &job.disk {
                    fill(&mut running, &disk.path().join("ballast"));
                }
                wait_for_checkpoints(&mut running, 1);
                killed(running)
            }
            Self::Damage => {
                wait_for_checkpoints(&mut running, 2);
                let log = killed(running);
                damage(job, life, &mut random);
                log
            }
        }
    }
}

fn killed(running: Running) -> String {
    let ended = running.kill();
    assert!(ended.was_killed(), "{}", ended.log);
    ended.log
}

fn panics(job: &Job, running: &mut Running) {
    let mut first = None;
    for panic in 1..=PANICS {
        wait_for_checkpoints(running, 1);
        job.tell("panic");
        wait_until(running, "a panic", |running| {
            running.log().matches("the attempt failed").count() >= panic
        });
        wait_for_checkpoints(running, 1);
        let now = Held::by(running.id());
        let first = *first.get_or_insert(now);
        wait_until(running, "as few threads and files as before", |running| {
            let now = Held::by(running.id());
            now.is_within(first, SLACK)
        });
    }
}

/// Fills the disk until the program says so, and makes space again.
fn fill(running: &mut Running, ballast: &Path) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(ballast)
        .unwrap();
    wait_until(running, "a full disk", |running| {
        // What checkpoints that are deleted leave is filled too.
        for bytes in [1 << 20, 1 << 12] {
            while file.write_all(&vec![1; bytes]).is_ok() {}
        }
        running.log().contains("No space left on device")
    });
    drop(file);
    fs::remove_file(ballast).unwrap();
}

/// Cuts a file of each checkpoint, or what high availability has of it: the start is refused, and throws nothing away.
fn damage(job: &Job, life: Life, random: &mut Random) {
    let mut paths = files_of_checkpoints(&job.checkpoints(), random);
    if paths.is_empty() || random.below(3) == 0 {
        paths = job.remembered();
    }
    assert!(!paths.is_empty(), "there are checkpoints");
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes)
    };
    let originals: BTreeMap<_, _> = paths.into_iter().map(read).collect();
    for (path, bytes) in &originals {
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let refused: Ended = job.program(life.parallelism).run().expect_code(2);
    assert_eq!(completed(&refused.log), 0, "{}", refused.log);
    for (path, bytes) in originals {
        // One that the last kill had kept from being deleted may be deleted now; that any other is there the next start shows.
        if path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
}

/// One of the files of each checkpoint that has any.
fn files_of_checkpoints(checkpoints: &Path, random: &mut Random) -> Vec<PathBuf> {
    let mut chosen = Vec::new();
    for job in job_folders(checkpoints) {
        let mut folders: Vec<_> = fs::read_dir(&job)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        folders.sort();
        for folder in folders {
            let metadata = folder.join(CheckpointPaths::METADATA);
            if !metadata.is_file() {
                continue;
            }
            let stored = metadata::read_file(&metadata).unwrap();
            let files = stored.subtasks().flat_map(|subtask| subtask.files());
            let mut paths: Vec<_> = files
                .filter(|file| file.size > 0)
                .filter_map(|file| match &file.location {
                    FileLocation::File(path) => Some(job.join(path)),
                    _ => None,
                })
                .collect();
            if !paths.is_empty() {
                chosen.push(paths.swap_remove(random.index(paths.len())));
            }
        }
    }
    chosen
}
