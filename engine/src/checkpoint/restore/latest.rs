//! `latest`: the newest of several snapshots, by the name that a person gives.

use super::locate::{checkpoints_in, folders_in};
use crate::checkpoint::storage::CheckpointPaths;
use crate::checkpoint::{CheckpointId, metadata};
use crate::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The last part of a path that stands for the newest snapshot in the folder before it.
const LATEST: &str = "latest";

/// The folder of the newest snapshot below `folder`, if `path` is `<folder>/latest` and nothing has that name.
///
/// In the folder of one job that is the checkpoint with the highest number. Among savepoints, and in a folder of several jobs, the one that was triggered last, so there
/// the metadata of each is read. Snapshots that are not complete do not count.
///
/// # Errors
/// [`ErrorKind::Restore`] when there is none, and where metadata has to be read and cannot be: it might be the newest.
pub(super) fn latest(path: &Path) -> Result<Option<PathBuf>> {
    if path.file_name().is_none_or(|name| name != LATEST) || path.symlink_metadata().is_ok() {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let own = checkpoints_in(folder);
    if let Some((_, newest)) = own.into_iter().max() {
        return Ok(Some(newest));
    }
    let mut candidates = savepoints_in(folder);
    for below in folders_in(folder) {
        candidates.extend(checkpoints_in(&below).into_iter().max().map(|(_, path)| path));
    }
    let mut newest: Option<((u64, CheckpointId), PathBuf)> = None;
    for candidate in candidates {
        let metadata = metadata::read_file(&candidate.join(CheckpointPaths::METADATA)).map_err(|error| {
            error.context(format!(
                "'{}' may be the latest snapshot in '{}', and cannot be read",
                candidate.display(),
                folder.display()
            ))
        })?;
        let age = (metadata.timestamp_ms, metadata.id);
        if newest.as_ref().is_none_or(|(newest, _)| *newest < age) {
            newest = Some((age, candidate));
        }
    }
    match newest {
        Some((_, path)) => Ok(Some(path)),
        None => Err(Error::new(
            ErrorKind::Restore,
            format!(
                "'{}' is no checkpoint or savepoint: there is no complete one in '{}'",
                path.display(),
                folder.display()
            ),
        )),
    }
}

fn savepoints_in(folder: &Path) -> Vec<PathBuf> {
    let mut folders = folders_in(folder);
    folders.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(CheckpointPaths::SAVEPOINT_PREFIX))
            && path.join(CheckpointPaths::METADATA).is_file()
    });
    folders
}
