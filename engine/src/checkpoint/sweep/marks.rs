//! What metadata names.

use super::super::storage::CheckpointPaths;
use super::super::{CheckpointMetadata, FileLocation, metadata};
use super::{checkpoint_folders, entries};
use crate::Result;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// What the names of the copies begin with that high availability keeps of metadata.
const COPY_PREFIX: &str = "completedCheckpoint-";

/// The files that metadata names, and the metadata that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Marks {
    needed: HashSet<PathBuf>,
    /// By relative path: what a copy names whose job's folder is not known by a path, but by the job's id, which is the folder's name.
    needed_by_job: HashSet<(String, String)>,
    /// By job's folder.
    unreadable: BTreeMap<PathBuf, String>,
}

impl Marks {
    pub(super) fn is_needed(&self, path: &Path) -> bool {
        self.needed.contains(path) || self.is_named_by_a_copy(path)
    }

    /// Why nothing can be said about the files of a job, if so.
    pub(super) fn unreadable_in(&self, job: &Path) -> Option<&str> {
        self.unreadable.get(job).map(String::as_str)
    }

    /// Reads the metadata of all checkpoints in a job's folder; another folder has none.
    pub(super) fn add_job(&mut self, job: &Path) {
        for (_, folder) in checkpoint_folders(job).into_iter().flatten() {
            let file = folder.join(CheckpointPaths::METADATA);
            if !file.exists() {
                continue;
            }
            match metadata::read_file(&file) {
                Ok(metadata) => self.add(&metadata, job),
                Err(error) => {
                    self.unreadable.insert(job.to_owned(), error.to_string());
                }
            }
            self.needed.insert(file);
        }
    }

    /// Reads all metadata of checkpoints, and all copies of it, that are somewhere below a folder.
    ///
    /// # Errors
    /// When a folder or metadata cannot be read.
    pub(super) fn add_all_below(&mut self, folder: &Path) -> Result<()> {
        for entry in entries(folder)? {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                self.add_all_below(&path)?;
            } else if name == CheckpointPaths::METADATA {
                let metadata = metadata::read_file(&path)?;
                let job = path.parent().and_then(Path::parent).unwrap_or(folder);
                if !metadata.is_savepoint {
                    self.add(&metadata, job);
                }
            } else if name.to_str().is_some_and(|name| name.starts_with(COPY_PREFIX)) {
                let metadata = metadata::read_file(&path)?;
                let job = metadata.job_id.as_str();
                self.add(&metadata, Path::new("/"));
                let owned = metadata.subtasks().flat_map(|subtask| subtask.files());
                let owned = owned.filter_map(|file| file.owned_path());
                self.needed_by_job
                    .extend(owned.map(|path| (job.to_owned(), path.to_owned())));
                let own = format!(
                    "{}/{}",
                    CheckpointPaths::checkpoint_name(metadata.id),
                    CheckpointPaths::METADATA
                );
                self.needed_by_job.insert((job.to_owned(), own));
            }
        }
        Ok(())
    }

    fn add(&mut self, metadata: &CheckpointMetadata, job: &Path) {
        for file in metadata.subtasks().flat_map(|subtask| subtask.files()) {
            if let FileLocation::File(path) = &file.location {
                let path = job.join(path);
                // By the name that a listing gives, whatever links the path goes through.
                self.needed.insert(path.canonicalize().unwrap_or(path));
            }
        }
    }

    fn is_named_by_a_copy(&self, path: &Path) -> bool {
        if self.needed_by_job.is_empty() {
            return false;
        }
        let mut parts = path.iter().rev().filter_map(|part| part.to_str());
        let (Some(name), Some(folder), Some(job)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        self.needed_by_job
            .contains(&(job.to_owned(), format!("{folder}/{name}")))
    }
}
