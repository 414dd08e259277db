//! Files that survive a power cut: every step that must be synced is, in the order that matters.
//!
//! A file counts as published when it has its final name *and* the folder that holds the name is synced. A crash before the rename leaves a
//! temporary file that nobody reads; a crash after it leaves the old or the new file, whole, because the bytes were synced first.

use super::CheckpointPaths;
use crate::{Error, ErrorKind};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// An error of `kind` storage that says what could not be done to which path.
pub(crate) fn storage_error(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("cannot {what} '{}'", path.display())).with_source(error)
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| storage_error("sync the folder", path, error))
}

/// Creates a folder with its parents, each durable in the one above it.
pub(crate) fn create_dirs(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if parent != path {
        create_dirs(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(storage_error("create the folder", path, error)),
    }
    sync_dir(parent)
}

/// Why a file was not published.
#[derive(Debug)]
pub(crate) struct PublishFailed {
    /// What happened.
    pub(crate) error: Error,
    /// The file has its name, but nobody knows whether a power cut would take it away again.
    pub(crate) maybe_visible: bool,
}

/// Replaces or creates a file in one step: temporary file, fsync, rename, fsync of the folder.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> Result<(), PublishFailed> {
    let invisible = |error| PublishFailed {
        error,
        maybe_visible: false,
    };
    let temporary = CheckpointPaths::temporary(path);
    let written = File::create(&temporary)
        .map_err(|error| storage_error("create", &temporary, error))
        .and_then(|mut file| {
            file.write_all(bytes)
                .map_err(|error| storage_error("write", &temporary, error))?;
            file.sync_all()
                .map_err(|error| storage_error("sync", &temporary, error))
        });
    if let Err(error) = written {
        // Whether the removal works does not matter, since nobody reads temporary names.
        let _ = fs::remove_file(&temporary);
        return Err(invisible(error));
    }
    if let Err(error) = fs::rename(&temporary, path) {
        let _ = fs::remove_file(&temporary);
        return Err(invisible(storage_error("publish", path, error)));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    sync_dir(folder).map_err(|error| PublishFailed {
        error,
        maybe_visible: true,
    })
}

/// Deletes a file; a missing one is fine.
pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(storage_error("delete", path, error)),
    }
}

/// Deletes a folder with all that is in it; a missing one is fine.
pub(crate) fn remove_dir_all(path: &Path) -> Result<(), Error> {
    // A stream that is being given up may still create a file while the folder is emptied; then the folder is not empty at the end.
    const TRIES: u32 = 3;
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            Err(error)
                if tries < TRIES
                    && matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                    ) => {}
            Err(error) => return Err(storage_error("delete the folder", path, error)),
        }
    }
}

/// Deletes a folder if it is empty; a missing or used one is fine.
pub(crate) fn remove_dir_if_empty(path: &Path) -> Result<(), Error> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(storage_error("delete the folder", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_replaces_the_file_and_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pointer");
        publish(&path, b"one").unwrap();
        publish(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn publish_into_a_missing_folder_leaves_nothing_visible() {
        let dir = tempfile::tempdir().unwrap();
        let failed = publish(&dir.path().join("gone/pointer"), b"one").unwrap_err();
        assert!(!failed.maybe_visible);
        assert!(
            failed.error.to_string().contains("gone/.pointer.tmp"),
            "{}",
            failed.error
        );
    }

    #[test]
    fn failed_rename_removes_the_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), b"").unwrap();
        assert!(!publish(&path, b"one").unwrap_err().maybe_visible);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_parents_are_created_and_a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        create_dirs(&dir.path().join("a/b/c")).unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        fs::write(dir.path().join("f"), b"").unwrap();
        let error = create_dirs(&dir.path().join("f/g")).unwrap_err();
        assert!(error.to_string().contains("/f'"), "{error}");
    }
}
