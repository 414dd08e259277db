//! Folders of working files, which go when nobody uses them any more.

use crate::error::io_failed;
use millpond_backend_api::BackendResult;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is removed, with everything in it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder at `path`: nobody else uses the path, so what lies there was left by a process that is gone.
    ///
    /// # Errors
    /// When it cannot be emptied or made.
    pub(crate) fn make(path: PathBuf) -> BackendResult<Self> {
        let folder = Self::reserve(path)?;
        fs::create_dir(folder.path()).map_err(|error| io_failed(error, "make the folder", folder.path()))?;
        Ok(folder)
    }

    /// A folder at `path` that somebody else makes. There is nothing at the path, but the folders above are there.
    ///
    /// # Errors
    /// As for [`make`](Self::make).
    pub(crate) fn reserve(path: PathBuf) -> BackendResult<Self> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_failed(error, "remove what was left at", &path));
            }
            _ => {}
        }
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).map_err(|error| io_failed(error, "make the folder", above))?;
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is swept with the attempt's folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
