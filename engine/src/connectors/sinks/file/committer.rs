//! Finishes files.

use super::names::Names;
use super::{failed, sync_folder};
use crate::api::Committer;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that is whole and synced, and waits for its final name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCommittable {
    /// The folder that it was written to, absolute, if that is text. A sink that was given another one since then finishes the file here; if
    /// it is not here any more, the folder was moved, and it is in the sink's.
    pub folder: Option<String>,
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
    may_be_gone: bool,
}

impl FileCommitter {
    pub(super) fn new(folder: PathBuf, may_be_gone: bool) -> Self {
        Self { folder, may_be_gone }
    }

    /// The folder that has the file: the one that it was written to or, if that has no trace of it, the sink's.
    fn folder_of<'a>(&'a self, file: &'a FileCommittable) -> Result<&'a Path> {
        if let Some(folder) = file.folder.as_deref().map(Path::new) {
            for name in [
                &file.temporary_name,
                &file.final_name,
                &Names::left(&file.final_name),
            ] {
                if len_of(&folder.join(name))? == Some(file.len) {
                    return Ok(folder);
                }
            }
        }
        Ok(&self.folder)
    }

    /// Looks twice before it gives up: a thread of the attempt before may be committing the same file in this moment, and it can only be
    /// renamed once. A file that was finished and hidden, since the job had gone back to before it, is shown again.
    fn commit_one(&self, folder: &Path, file: &FileCommittable) -> Result<()> {
        let temporary = folder.join(&file.temporary_name);
        let finished = folder.join(&file.final_name);
        let left = folder.join(Names::left(&file.final_name));
        let mut lens = (None, None);
        for _ in 0..2 {
            lens = (len_of(&temporary)?, len_of(&finished)?);
            let from = match (lens, len_of(&left)?) {
                ((None, Some(len)), None) if len == file.len => return Ok(()),
                ((Some(len), None), None) if len == file.len => &temporary,
                ((None, None), Some(len)) if len == file.len => &left,
                _ => continue,
            };
            match fs::rename(from, &finished) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    let what = format!("cannot rename to {}", file.final_name);
                    return result.map_err(|error| failed(from, &what, error));
                }
            }
        }
        let mut text = format!(
            "the checkpoint names an output file of {} bytes, either {} (not committed yet) or {} (committed): found {} and {}",
            file.len,
            temporary.display(),
            finished.display(),
            found(lens.0),
            found(lens.1)
        );
        if lens != (None, None) {
            return Err(Error::new(ErrorKind::Storage, text));
        }
        if self.may_be_gone {
            tracing::warn!("{text}; taken for one that was finished and has been moved away since");
            return Ok(());
        }
        if let Some(written_to) = file
            .folder
            .as_deref()
            .filter(|written_to| Path::new(written_to) != folder)
        {
            text.push_str(&format!(", and nothing in {written_to}, where it was written"));
        }
        text.push_str(
            ". Put it back if it was moved or deleted. If finished files are taken away on purpose, FileSink::allow_moved(true) lets the job go on without them; or start from \
             another snapshot",
        );
        // Trying again does not bring it back.
        Err(Error::new(ErrorKind::Configuration, text))
    }
}

impl Committer for FileCommitter {
    type Committable = FileCommittable;

    fn commit(&mut self, committables: Vec<FileCommittable>) -> Result<()> {
        let mut folders = BTreeSet::new();
        for file in &committables {
            let folder = self.folder_of(file)?;
            self.commit_one(folder, file)?;
            folders.insert(folder);
        }
        // Also if all were renamed before: whoever did that may have crashed before this.
        folders
            .into_iter()
            .try_for_each(|folder| sync_folder(folder).map_err(|error| failed(folder, "cannot sync", error)))
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
