//! Deleting a savepoint or retained checkpoint.

use super::locate::{checkpoints_in, locate, refuse_another_checkpoint};
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::storage::{CheckpointPaths, durable};
use crate::checkpoint::store::shared_files;
use crate::checkpoint::{CheckpointMetadata, FileLocation, metadata};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What [`dispose`] has deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disposed {
    /// The folder of the snapshot.
    pub folder: PathBuf,
    /// Files deleted, the metadata included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shared files of a checkpoint that were left, since another checkpoint beside it names them or cannot be read.
    pub shared_left: u64,
    /// Whether something is left in the folder that is not the snapshot's, or is another one's.
    pub folder_left: bool,
}

/// Deletes the savepoint or retained checkpoint at `path`, a folder or the `_metadata` in it. Only what its metadata names is deleted, the metadata first:
/// what is half deleted is no snapshot any more. Of a checkpoint's shared files, those go that no other checkpoint of the job names.
///
/// # Errors
/// [`ErrorKind::Restore`] when it is no snapshot or is damaged, and when it is in use: a running job keeps it, was started from it and has none of its own yet,
/// or has claimed it. [`ErrorKind::Storage`] when something cannot be deleted.
pub fn dispose(path: &Path) -> Result<Disposed> {
    let file = locate(path)?;
    let metadata = metadata::read_file(&file)?;
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    refuse_another_checkpoint(&file, &folder, &metadata)?;
    if file
        .file_name()
        .is_none_or(|name| name != CheckpointPaths::METADATA)
    {
        let what = format!(
            "'{}' is the metadata of a snapshot under another name than '{}', so what belongs to it is not known",
            file.display(),
            CheckpointPaths::METADATA
        );
        return Err(Error::new(ErrorKind::Restore, what));
    }
    let base = match metadata.is_savepoint {
        true => folder.clone(),
        false => folder.parent().unwrap_or(&folder).to_owned(),
    };
    let (files, shared_left) = files_of(&metadata, &base, &folder)?;
    // Until the end: nobody starts from what is being deleted.
    let _hold = SnapshotHold::exclusive(&file)?;
    let mut disposed = Disposed {
        folder,
        files: 0,
        bytes: 0,
        shared_left,
        folder_left: false,
    };
    for file in std::iter::once(file).chain(files) {
        let Ok(found) = fs::symlink_metadata(&file) else {
            continue;
        };
        durable::remove_file(&file)?;
        disposed.files += 1;
        disposed.bytes += found.len();
    }
    durable::remove_dir_if_empty(&disposed.folder)?;
    disposed.folder_left = disposed.folder.exists();
    if !metadata.is_savepoint {
        for name in [CheckpointPaths::SHARED, CheckpointPaths::TASK_OWNED] {
            durable::remove_dir_if_empty(&base.join(name))?;
        }
        if base
            .file_name()
            .is_some_and(|name| name == metadata.job_id.as_str())
        {
            durable::remove_dir_if_empty(&base)?;
        }
    }
    Ok(disposed)
}

/// The files that go with a snapshot, and how many shared ones stay.
fn files_of(metadata: &CheckpointMetadata, base: &Path, folder: &Path) -> Result<(BTreeSet<PathBuf>, u64)> {
    let shared_by_others = (!metadata.is_savepoint).then(|| shared_with_siblings(base, folder));
    let mut files = BTreeSet::new();
    let mut left = BTreeSet::new();
    for file in metadata.subtasks().flat_map(|subtask| subtask.files()) {
        // What is named by an absolute path is somebody else's.
        let (Some(name), FileLocation::File(_)) = (file.owned_path(), &file.location) else {
            continue;
        };
        let is_below = Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_below {
            return Err(Error::new(
                ErrorKind::Restore,
                format!(
                    "the snapshot in '{}' names a file outside of its folder: '{name}'",
                    folder.display()
                ),
            ));
        }
        let stays = file.shared
            && match &shared_by_others {
                Some(Some(others)) => others.contains(name),
                Some(None) => true,
                None => false,
            };
        if stays {
            left.insert(name);
        } else {
            files.insert(base.join(name));
        }
    }
    Ok((files, left.len() as u64))
}

/// The shared files that other checkpoints of the job name; none if one of them cannot be read, so that nobody knows.
fn shared_with_siblings(job: &Path, folder: &Path) -> Option<std::collections::HashSet<String>> {
    let mut others = Vec::new();
    for (_, path) in checkpoints_in(job) {
        if path != folder {
            others.push(metadata::read_file(&path.join(CheckpointPaths::METADATA)).ok()?);
        }
    }
    Some(shared_files(&others))
}
