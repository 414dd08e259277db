//! Finishes files.

use super::{failed, sync_folder};
use crate::api::Committer;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that is whole and synced, and waits for its final name. Names are within the sink's folder, so the folder may move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCommittable {
    /// Its name until it is committed.
    pub temporary_name: String,
    /// Its name from then on.
    pub final_name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// Renames the pending files of a [`FileSink`](super::FileSink).
#[derive(Debug)]
pub struct FileCommitter {
    folder: PathBuf,
}

impl FileCommitter {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Looks twice before it gives up: a thread of the attempt before may be committing the same file in this moment, and it can only be
    /// renamed once.
    fn commit_one(&self, file: &FileCommittable) -> Result<()> {
        let temporary = self.folder.join(&file.temporary_name);
        let finished = self.folder.join(&file.final_name);
        let mut lens = (None, None);
        for _ in 0..2 {
            lens = (len_of(&temporary)?, len_of(&finished)?);
            match lens {
                (None, Some(len)) if len == file.len => return Ok(()),
                (Some(len), None) if len == file.len => match fs::rename(&temporary, &finished) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => {
                        let what = format!("cannot rename to {}", file.final_name);
                        return result.map_err(|error| failed(&temporary, &what, error));
                    }
                },
                _ => {}
            }
        }
        Err(Error::new(
            ErrorKind::Storage,
            format!(
                "the checkpoint names an output file of {} bytes, either {} (not committed yet) or {} (committed): found {} and {}",
                file.len,
                temporary.display(),
                finished.display(),
                found(lens.0),
                found(lens.1)
            ),
        ))
    }
}

impl Committer for FileCommitter {
    type Committable = FileCommittable;

    fn commit(&mut self, committables: Vec<FileCommittable>) -> Result<()> {
        if committables.is_empty() {
            return Ok(());
        }
        committables.iter().try_for_each(|file| self.commit_one(file))?;
        // Also if all were renamed before: whoever did that may have crashed before this.
        sync_folder(&self.folder).map_err(|error| failed(&self.folder, "cannot sync", error))
    }
}

fn len_of(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "cannot look at", error)),
    }
}

fn found(len: Option<u64>) -> String {
    len.map_or_else(|| "nothing".to_owned(), |len| format!("{len} bytes"))
}
