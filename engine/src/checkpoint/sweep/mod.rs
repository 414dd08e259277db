//! Finding what no checkpoint needs, and deleting it: mark and sweep.
//!
//! A job deletes what it does not need itself, also what a killed run of it has left, when it is started again. What stays is of jobs that nobody starts again, and of savepoints
//! that were being written when their job was killed. [`find_orphans`] reads all metadata there is, marks what it names, and tells the rest, which [`Orphans::delete`] deletes.
//!
//! | in a folder of checkpoints, or of one job | is an orphan |
//! |---|---|
//! | a file in a `chk-<n>` without `_metadata` | always: the checkpoint was never complete, or is half deleted |
//! | another file in a `chk-<n>` | if no metadata names it |
//! | a file in `shared/` | if no metadata names it |
//! | a file in `taskowned/` | if the job has no checkpoint at all: only operators know what they need |
//! | a folder `savepoint-..` without `_metadata` | always; what is in one that has it is the savepoint's |
//! | anything else | never |
//!
//! # What is never touched
//!
//! 1. What any metadata names that is found: of checkpoints, in whatever job's folder, and the copies that high availability keeps ([`SweepOptions::also_named_in`]).
//! 2. Anything in the folder of a job that runs: every process that writes checkpoints holds a shared lock on the job's folder, and a sweep holds it alone until it is done,
//!    so that a job that is started meanwhile waits with its first file. The same holds for the folder of a savepoint.
//! 3. Anything younger than [`SweepOptions::min_age`], for file systems whose locks do not reach other machines.
//! 4. Anything of a job one of whose metadata files cannot be read: nobody knows what it needs. It is named in [`Orphans::not_judged`].

mod marks;

use super::hold::SnapshotHold;
use super::storage::{CheckpointPaths, durable};
use super::{CheckpointId, JobId};
use crate::{Error, ErrorKind, Result};
use marks::Marks;
use std::fs::{self, DirEntry, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How to look for orphans.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// Younger files are left alone.
    pub min_age: Duration,
    /// Folders with metadata that may name files here: other folders of checkpoints, and `high-availability.storageDir`.
    pub also_named_in: Vec<PathBuf>,
}

impl Default for SweepOptions {
    /// An hour, longer than a checkpoint may take by far.
    fn default() -> Self {
        Self {
            min_age: Duration::from_secs(3600),
            also_named_in: Vec::new(),
        }
    }
}

/// A file that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
}

/// A folder of which nothing is said, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJudged {
    /// The folder of a job or savepoint.
    pub folder: PathBuf,
    /// Why.
    pub reason: String,
    /// A running job uses it, so that this is as it should be.
    pub is_in_use: bool,
}

/// What was found. Until this is dropped, the jobs whose folders were looked at write nothing.
#[derive(Debug, Default)]
pub struct Orphans {
    /// The files that nobody needs, sorted.
    pub files: Vec<Orphan>,
    /// What could not be judged.
    pub not_judged: Vec<NotJudged>,
    /// Folders that were looked at, the deeper ones first; they go if they are empty.
    folders: Vec<PathBuf>,
    holds: Vec<SnapshotHold>,
}

/// Finds what nobody needs below `dir`: a folder of checkpoints (`execution.checkpointing.dir`) or savepoints, or that of one job. Nothing is changed.
///
/// # Errors
/// [`ErrorKind::Restore`] when there is no such folder, or metadata in [`SweepOptions::also_named_in`] cannot be read; [`ErrorKind::Storage`] when a folder cannot be
/// listed.
pub fn find_orphans(dir: &Path, options: &SweepOptions) -> Result<Orphans> {
    let dir = fs::canonicalize(dir).map_err(|error| {
        Error::new(ErrorKind::Restore, format!("cannot open '{}'", dir.display())).with_source(error)
    })?;
    let oldest_kept = SystemTime::now().checked_sub(options.min_age);
    let mut sweep = Sweep {
        oldest_kept: oldest_kept.unwrap_or(SystemTime::UNIX_EPOCH),
        found: Orphans::default(),
    };
    let mut jobs = Vec::new();
    let mut savepoints = Vec::new();
    if is_job_folder(&dir) {
        jobs.push(dir.clone());
    } else {
        for entry in entries(&dir)? {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|_| entry.path().is_dir()) else {
                continue;
            };
            if JobId::parse(name).is_ok() {
                jobs.push(entry.path());
            } else if name.starts_with(CheckpointPaths::SAVEPOINT_PREFIX) {
                savepoints.push(entry.path());
            }
        }
    }
    // The locks come first: what is read afterwards does not change any more.
    jobs.retain(|job| sweep.takes_hold(job));
    savepoints.retain(|savepoint| sweep.takes_hold(savepoint));
    let mut marks = Marks::default();
    for elsewhere in &options.also_named_in {
        marks.add_all_below(elsewhere)?;
    }
    // Also those of running jobs, which may name files of others.
    for job in entries(&dir)?
        .into_iter()
        .map(|entry| entry.path())
        .chain([dir.clone()])
    {
        marks.add_job(&job);
    }
    for job in jobs {
        sweep.job(&job, &marks)?;
    }
    for savepoint in savepoints {
        sweep.savepoint(&savepoint)?;
    }
    sweep.found.files.sort_unstable();
    Ok(sweep.found)
}

impl Orphans {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Deletes the files, and the folders that are empty then.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] at the first that cannot be deleted; those before it are gone.
    pub fn delete(&self) -> Result<()> {
        for file in &self.files {
            durable::remove_file(&file.path)?;
        }
        for folder in &self.folders {
            durable::remove_dir_if_empty(folder)?;
        }
        Ok(())
    }
}

struct Sweep {
    /// Files changed later are too young.
    oldest_kept: SystemTime,
    found: Orphans,
}

impl Sweep {
    fn takes_hold(&mut self, folder: &Path) -> bool {
        match SnapshotHold::exclusive(folder) {
            Ok(hold) => self.found.holds.push(hold),
            Err(error) => {
                self.not_judged(folder, error.to_string(), true);
                return false;
            }
        }
        true
    }

    fn not_judged(&mut self, folder: &Path, reason: String, is_in_use: bool) {
        self.found.not_judged.push(NotJudged {
            folder: folder.to_owned(),
            reason,
            is_in_use,
        });
    }

    fn job(&mut self, job: &Path, marks: &Marks) -> Result<()> {
        if let Some(unreadable) = marks.unreadable_in(job) {
            self.not_judged(job, unreadable.to_owned(), false);
            return Ok(());
        }
        let mut has_checkpoints = false;
        for (_, folder) in checkpoint_folders(job)? {
            let is_complete = folder.join(CheckpointPaths::METADATA).exists();
            has_checkpoints |= is_complete;
            self.files(&folder, |path| !marks.is_needed(path))?;
        }
        self.files(&job.join(CheckpointPaths::SHARED), |path| !marks.is_needed(path))?;
        let task_owned = job.join(CheckpointPaths::TASK_OWNED);
        self.files(&task_owned, |path| !has_checkpoints && !marks.is_needed(path))?;
        self.folder(job);
        Ok(())
    }

    fn savepoint(&mut self, folder: &Path) -> Result<()> {
        if folder.join(CheckpointPaths::METADATA).exists() {
            return Ok(());
        }
        self.files(folder, |_| true)
    }

    /// Takes note of the files of a folder that `is_orphan` tells and that are old enough. A missing folder has none.
    fn files(&mut self, folder: &Path, is_orphan: impl Fn(&Path) -> bool) -> Result<()> {
        if !folder.is_dir() {
            return Ok(());
        }
        for entry in entries(folder)? {
            let path = entry.path();
            // One that is gone meanwhile is nobody's.
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            if metadata.is_file() && self.is_old(&metadata) && is_orphan(&path) {
                let bytes = metadata.len();
                self.found.files.push(Orphan { path, bytes });
            }
        }
        self.folder(folder);
        Ok(())
    }

    fn folder(&mut self, folder: &Path) {
        let metadata = fs::metadata(folder);
        if metadata.is_ok_and(|metadata| self.is_old(&metadata)) {
            self.found.folders.push(folder.to_owned());
        }
    }

    fn is_old(&self, metadata: &Metadata) -> bool {
        metadata
            .modified()
            .is_ok_and(|changed| changed <= self.oldest_kept)
    }
}

/// Whether a folder has what a job's has.
fn is_job_folder(folder: &Path) -> bool {
    let named = |name: &str| folder.join(name).is_dir();
    named(CheckpointPaths::SHARED)
        || named(CheckpointPaths::TASK_OWNED)
        || checkpoint_folders(folder).is_ok_and(|folders| !folders.is_empty())
}

/// The folders of checkpoints in a job's, complete or not.
fn checkpoint_folders(job: &Path) -> Result<Vec<(CheckpointId, PathBuf)>> {
    let folders = entries(job)?.into_iter().filter_map(|entry| {
        let id = CheckpointPaths::parse_checkpoint_name(entry.file_name().to_str()?)?;
        Some((id, entry.path()))
    });
    Ok(folders.filter(|(_, path)| path.is_dir()).collect())
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    listed.map_err(|error| durable::storage_error("list the folder", folder, error))
}

#[cfg(test)]
mod tests;
