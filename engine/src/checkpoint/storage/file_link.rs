//! A file that is on this machine already becomes one of a snapshot by a second name.

use super::CheckpointPaths;
use super::durable::{storage_error, sync_dir};
use crate::Result;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What has come into the folder.
#[derive(Debug)]
pub(super) struct Linked {
    /// Its name there.
    pub(super) name: String,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// A name that is removed on drop, unless it is `kept`.
struct NewName {
    path: PathBuf,
    kept: bool,
}

impl Drop for NewName {
    fn drop(&mut self) {
        if !self.kept {
            // If it cannot be deleted, it goes with its folder, or with the shared files that nobody names.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives the file at `path` a name of its own in `folder`, durable with its bytes. None if the file system cannot, or the file has no more than `small` bytes.
///
/// There is no temporary name: a link has all bytes from its first moment, and until the name is returned nobody reads it. What a crash leaves is swept as any
/// file that no checkpoint names.
pub(super) fn link(path: &Path, folder: &Path, small: usize) -> Result<Option<Linked>> {
    let failed = |error| storage_error("link into the checkpoint storage", path, error);
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        )));
    }
    if found.len() <= small as u64 {
        return Ok(None);
    }
    let name = CheckpointPaths::unique_name();
    let mut new = NewName {
        path: folder.join(&name),
        kept: false,
    };
    if let Err(error) = fs::hard_link(path, &new.path) {
        return if is_impossible(&error) {
            Ok(None)
        } else {
            Err(failed(error))
        };
    }
    // Size and fsync are those of what now has the name, whatever happens to the other one.
    let size = File::open(&new.path)
        .and_then(|file| file.sync_all().and_then(|()| file.metadata()))
        .map_err(|error| storage_error("sync", &new.path, error))?
        .len();
    sync_dir(folder)?;
    new.kept = true;
    Ok(Some(Linked { name, size }))
}

/// Whether it is the place that cannot have the link: a copy may go well.
fn is_impossible(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::Unsupported
            // File systems without links say so with EPERM, and so do kernels that protect the files of other users.
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TooManyLinks
    )
}
