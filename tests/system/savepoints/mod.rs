//! Savepoints: taken of running jobs, by the program and from outside, and what is started from them.

mod changed;
mod cluster;
mod finished;
mod in_process;
mod matrix;
mod plans;
mod programs;
mod refusals;
mod targets;

use crate::harness::finished_lines;
use millpond_engine::checkpoint::storage::{CheckpointPaths, FileStorage, FileStorageOptions};
use millpond_engine::checkpoint::{CheckpointMetadata, restore};
use millpond_engine::control::{self, Request};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a job may take to notice a request: longer than any job here takes to start.
const PATIENCE: Duration = Duration::from_secs(100);

/// Asks the job that watches `control` for a savepoint in `target`.
pub(crate) fn ask(control: &Path, target: &Path, request: Request) -> millpond_engine::Result<PathBuf> {
    let target = Some(target.to_str().unwrap().to_owned());
    control::request(control, &Request { target, ..request }, PATIENCE)
}

/// The folder that a job below `folder` is to watch. It is there before the job is, so that the job can be asked at once.
pub(crate) fn control_below(folder: &Path) -> PathBuf {
    let control = folder.join("control");
    fs::create_dir_all(&control).unwrap();
    control
}

/// The complete savepoints below a folder, oldest first.
fn savepoints(target: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(target).into_iter().flatten().flatten();
    let mut complete: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join(CheckpointPaths::METADATA).is_file())
        .map(|path| (restore::load(&path).unwrap().metadata.timestamp_ms, path))
        .collect();
    complete.sort();
    complete.into_iter().map(|(_, path)| path).collect()
}

/// That a savepoint is whole, byte for byte, and has all its files in its own folder, and nothing else is there.
#[track_caller]
pub(crate) fn assert_self_contained(savepoint: &Path) -> CheckpointMetadata {
    let stored =
        millpond_engine::checkpoint::metadata::read_file(&savepoint.join(CheckpointPaths::METADATA)).unwrap();
    assert!(stored.is_savepoint);
    let files = stored.subtasks().flat_map(|subtask| subtask.files());
    let mut named: BTreeSet<PathBuf> = files
        .filter(|file| file.inline_bytes() == 0 && file.size > 0)
        .map(|file| savepoint.join(file.owned_path().expect("a path of its own")))
        .collect();
    named.insert(savepoint.join(CheckpointPaths::METADATA));
    let found: BTreeSet<PathBuf> = fs::read_dir(savepoint)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found, named);
    let loaded = restore::load(savepoint).unwrap();
    let options = FileStorageOptions::default();
    let storage = FileStorage::new(savepoint, &stored.job_id, options).unwrap();
    restore::verify_bytes(&storage, &loaded.metadata).unwrap();
    stored
}

/// Pairs of numbers in the finished files of the folder `output`.
fn results(folder: &Path) -> Vec<(u64, u64)> {
    let lines = finished_lines(&folder.join("output")).into_iter();
    lines
        .map(|line| {
            let line = String::from_utf8(line).unwrap();
            let (first, second) = line.split_once(' ').unwrap();
            (first.parse().unwrap(), second.parse().unwrap())
        })
        .collect()
}

/// Copies a savepoint to another place under another name; returns it.
fn copied(savepoint: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    let new = to.join(format!("copied-{}", fs::read_dir(to).unwrap().count()));
    fs::create_dir(&new).unwrap();
    for entry in fs::read_dir(savepoint).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), new.join(entry.file_name())).unwrap();
    }
    new
}

/// Gives a folder another name in another place; returns it.
pub(crate) fn moved(folder: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    let new = to.join(format!("moved-{}", fs::read_dir(to).unwrap().count()));
    fs::rename(folder, &new).unwrap();
    new
}
