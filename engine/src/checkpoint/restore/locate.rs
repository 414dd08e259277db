//! From the path that a person gave to a checkpoint.

use super::latest::latest;
use crate::checkpoint::storage::{CheckpointPaths, CheckpointStorage};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{CheckpointId, CheckpointMetadata, FileLocation, metadata};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The metadata file that `path` means: a folder means its `_metadata`, a file itself. `<folder>/latest`, where nothing has that name, means the newest snapshot in
/// the folder: of a job, of savepoints, or of several jobs' checkpoints.
///
/// # Errors
/// [`ErrorKind::Restore`] when there is nothing, or a folder without `_metadata`; then the checkpoints below it are listed.
pub fn locate(path: &Path) -> Result<PathBuf> {
    if let Some(latest) = latest(path)? {
        return Ok(latest.join(CheckpointPaths::METADATA));
    }
    let found = fs::metadata(path).map_err(|error| {
        Error::new(
            ErrorKind::Restore,
            format!("'{}' cannot be read as a checkpoint or savepoint", path.display()),
        )
        .with_source(error)
    })?;
    if !found.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(CheckpointPaths::METADATA);
    if file.is_file() {
        return Ok(file);
    }
    let mut text = format!(
        "'{}' is no checkpoint or savepoint: the folder has no file '{}'",
        path.display(),
        CheckpointPaths::METADATA
    );
    let below = checkpoints_below(path);
    if !below.is_empty() {
        let list: Vec<_> = below.iter().map(|path| format!("'{}'", path.display())).collect();
        text.push_str(&format!(
            "; these checkpoints are below it, newest first: {}",
            list.join(", ")
        ));
    }
    Err(Error::new(ErrorKind::Restore, text))
}

/// Folders of checkpoints in a job's folder, or in the folders of all jobs in a checkpoint root; newest first, a few.
fn checkpoints_below(folder: &Path) -> Vec<PathBuf> {
    const LISTED_MAX: usize = 10;
    let mut found = checkpoints_in(folder);
    if found.is_empty() {
        found = folders_in(folder)
            .iter()
            .flat_map(|job| checkpoints_in(job))
            .collect();
    }
    found.sort_unstable_by(|(a, a_path), (b, b_path)| b.cmp(a).then_with(|| a_path.cmp(b_path)));
    found.truncate(LISTED_MAX);
    found.into_iter().map(|(_, path)| path).collect()
}

/// The checkpoints that lie beside the one at `path`, a checkpoint's folder or the metadata in it, and are older; newest first. Nothing beside a savepoint.
#[must_use]
pub fn older_than(path: &Path) -> Vec<PathBuf> {
    let id_of = |path: &Path| CheckpointPaths::parse_checkpoint_name(path.file_name()?.to_str()?);
    let folder = match id_of(path) {
        Some(_) => Some(path),
        None => path.parent(),
    };
    let Some((id, parent)) = folder.and_then(|folder| Some((id_of(folder)?, folder.parent()?))) else {
        return Vec::new();
    };
    let mut older = checkpoints_in(parent);
    older.retain(|(other, _)| *other < id);
    older.sort_unstable_by_key(|(other, _)| std::cmp::Reverse(*other));
    older.into_iter().map(|(_, path)| path).collect()
}

pub(super) fn checkpoints_in(folder: &Path) -> Vec<(CheckpointId, PathBuf)> {
    folders_in(folder)
        .into_iter()
        .filter(|path| path.join(CheckpointPaths::METADATA).is_file())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            Some((CheckpointPaths::parse_checkpoint_name(name)?, path))
        })
        .collect()
}

pub(super) fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Reads the snapshot that `path` means, as a snapshot of somebody else: its files are named by absolute paths, so this job never deletes them.
///
/// # Errors
/// [`ErrorKind::Restore`], as [`locate`] and [`metadata::read_file`], and when the folder is that of another checkpoint than the metadata.
pub fn load(path: &Path) -> Result<CompletedCheckpoint> {
    let file = std::path::absolute(locate(path)?).map_err(|error| {
        Error::new(
            ErrorKind::Restore,
            format!("'{}' cannot be read as a checkpoint or savepoint", path.display()),
        )
        .with_source(error)
    })?;
    let metadata = metadata::read_file(&file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    refuse_another_checkpoint(&file, folder, &metadata)?;
    let base = if metadata.is_savepoint {
        folder
    } else {
        folder.parent().unwrap_or(folder)
    };
    Ok(CompletedCheckpoint {
        metadata: Arc::new(with_absolute_paths(&metadata, base)),
        path: Some(file.display().to_string()),
    })
}

/// Whole metadata of an older checkpoint in a newer one's folder would be the older state under the newer name. A folder that was given a name of
/// its own says nothing.
pub(super) fn refuse_another_checkpoint(
    file: &Path,
    folder: &Path,
    metadata: &CheckpointMetadata,
) -> Result<()> {
    let name = folder.file_name().and_then(|name| name.to_str());
    match name.and_then(CheckpointPaths::parse_checkpoint_name) {
        Some(expected) if expected != metadata.id && !metadata.is_savepoint => Err(Error::new(
            ErrorKind::Restore,
            format!(
                "checkpoint metadata '{}' is of another checkpoint: expected that of {expected}, found that of {}",
                file.display(),
                metadata.id
            ),
        )),
        _ => Ok(()),
    }
}

/// The same metadata as that of somebody else, whose files are below `base`.
pub(crate) fn with_absolute_paths(metadata: &CheckpointMetadata, base: &Path) -> CheckpointMetadata {
    let mut metadata = metadata.clone();
    let subtasks = metadata
        .operators
        .iter_mut()
        .flat_map(|operator| &mut operator.subtasks);
    for file in subtasks.flat_map(|subtask| subtask.files_mut()) {
        if let FileLocation::File(path) = &mut file.location {
            *path = base.join(&*path).display().to_string();
        }
    }
    metadata
}

/// Checks that every file that the checkpoint names is there and as long as it should be; the bytes are verified when they are read.
///
/// # Errors
/// As [`CheckpointStorage::open_input`], naming the first file that is not.
pub fn verify_files(storage: &dyn CheckpointStorage, metadata: &CheckpointMetadata) -> Result<()> {
    let files = metadata.subtasks().flat_map(|subtask| subtask.files());
    for file in files.filter(|file| matches!(file.location, FileLocation::File(_))) {
        storage
            .open_input(file)
            .map_err(|error| error.context(format!("checkpoint {}", metadata.id)))?;
    }
    Ok(())
}

/// Reads every file that the checkpoint names, once, and checks its length and checksum.
///
/// # Errors
/// [`ErrorKind::Damaged`], naming the first file that is missing or has other bytes than were written; others when a file cannot be read now.
pub fn verify_bytes(storage: &dyn CheckpointStorage, metadata: &CheckpointMetadata) -> Result<()> {
    const CHUNK_BYTES: usize = 256 * 1024;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut seen = HashSet::new();
    for file in metadata.subtasks().flat_map(|subtask| subtask.files()) {
        let FileLocation::File(path) = &file.location else {
            // The metadata's own checksums are over these bytes.
            continue;
        };
        if !seen.insert(path) {
            continue;
        }
        let mut input = storage.open_input(file)?;
        while input.read(&mut chunk)? > 0 {}
    }
    Ok(())
}
