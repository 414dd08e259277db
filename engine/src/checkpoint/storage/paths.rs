//! All file names of a job's checkpoint folder.

use crate::checkpoint::id::random_hex;
use crate::checkpoint::{CheckpointId, JobId};
use std::path::{Path, PathBuf};

/// File names below the checkpoint folder of one job; nothing else in the engine puts such a name together.
///
/// ```text
/// <root>/<job id>/            the job's folder (or <root> itself)
///     chk-<n>/                everything that belongs to checkpoint n alone
///         _metadata           its metadata; the checkpoint exists from the moment this does
///         <32 hex digits>     a finished stream
///         .<name>.tmp         an unfinished file
///     shared/                 files that several checkpoints may name
///     taskowned/              files that operators look after themselves
/// ```
///
/// A savepoint is a folder of its own, wherever it was asked for, that has all its files and can be moved:
///
/// ```text
/// <target>/savepoint-<6 digits of the job id>-<12 random digits>/
///     _metadata               names the files by paths that start at this folder; the savepoint exists from the moment this does
///     <32 hex digits>         a finished stream
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPaths {
    job: PathBuf,
}

impl CheckpointPaths {
    /// Name of the metadata file in a checkpoint's folder.
    pub const METADATA: &'static str = "_metadata";
    /// Name of the folder for shared files.
    pub const SHARED: &'static str = "shared";
    /// Name of the folder for files that operators look after themselves.
    pub const TASK_OWNED: &'static str = "taskowned";
    /// What the name of a checkpoint's folder begins with.
    pub const CHECKPOINT_PREFIX: &'static str = "chk-";
    /// What the name of a savepoint's folder begins with.
    pub const SAVEPOINT_PREFIX: &'static str = "savepoint-";

    /// The paths of job `job` under `root`; with `subdir` in a folder of its own, else in `root` itself.
    #[must_use]
    pub fn new(root: &Path, job: &JobId, subdir: bool) -> Self {
        let job = if subdir {
            root.join(job.as_str())
        } else {
            root.to_owned()
        };
        Self { job }
    }

    /// The folder that relative paths start at.
    #[must_use]
    pub fn job(&self) -> &Path {
        &self.job
    }

    /// Name of a checkpoint's folder, relative to the job's.
    #[must_use]
    pub fn checkpoint_name(id: CheckpointId) -> String {
        format!("{}{id}", Self::CHECKPOINT_PREFIX)
    }

    /// A name for the folder of a savepoint of `job`, as in Flink: `savepoint-<6 digits of the job's id>-<12 random digits>`.
    #[must_use]
    pub fn savepoint_name(job: &JobId) -> String {
        let digits: String = random_hex().chars().take(12).collect();
        format!("{}{digits}", Self::savepoint_prefix(job))
    }

    /// What the names of the savepoints of `job` begin with, and hardly any other's.
    #[must_use]
    pub fn savepoint_prefix(job: &JobId) -> String {
        let digits: String = job.as_str().chars().take(6).collect();
        format!("{}{digits}-", Self::SAVEPOINT_PREFIX)
    }

    /// The checkpoint whose folder has this name, if it is one.
    #[must_use]
    pub fn parse_checkpoint_name(name: &str) -> Option<CheckpointId> {
        let digits = name.strip_prefix(Self::CHECKPOINT_PREFIX)?;
        let id = digits.parse().ok().map(CheckpointId)?;
        (Self::checkpoint_name(id) == name).then_some(id)
    }

    /// The folder of checkpoint `id`.
    #[must_use]
    pub fn checkpoint(&self, id: CheckpointId) -> PathBuf {
        self.job.join(Self::checkpoint_name(id))
    }

    /// The metadata file of checkpoint `id`.
    #[must_use]
    pub fn metadata(&self, id: CheckpointId) -> PathBuf {
        self.checkpoint(id).join(Self::METADATA)
    }

    /// The folder for shared files.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.job.join(Self::SHARED)
    }

    /// The folder for files that operators look after themselves.
    #[must_use]
    pub fn task_owned(&self) -> PathBuf {
        self.job.join(Self::TASK_OWNED)
    }

    /// The file of a relative path, or the absolute path itself.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.job.join(path)
    }

    /// A name that no other stream has.
    #[must_use]
    pub fn unique_name() -> String {
        random_hex()
    }

    /// The name that a file has until it is finished.
    #[must_use]
    pub fn temporary(path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.tmp"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_folder_names_are_read_back_strictly() {
        for (name, id) in [
            ("chk-1", Some(1)),
            ("chk-18446744073709551615", Some(u64::MAX)),
            ("chk-01", None),
            ("chk-+1", None),
            ("chk-", None),
            ("chk-18446744073709551616", None),
            ("shared", None),
        ] {
            assert_eq!(
                CheckpointPaths::parse_checkpoint_name(name),
                id.map(CheckpointId),
                "{name}"
            );
        }
    }

    #[test]
    fn job_without_subfolder_lives_in_the_root() {
        let job = JobId::random();
        let root = Path::new("/c");
        assert_eq!(CheckpointPaths::new(root, &job, false).job(), root);
        assert_eq!(
            CheckpointPaths::new(root, &job, true).metadata(CheckpointId(7)),
            root.join(job.as_str()).join("chk-7").join("_metadata")
        );
    }
}
