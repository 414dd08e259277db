//! Which files there are to read.

use crate::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InputFile {
    /// Absolute, since the job may be started again in another folder.
    pub(super) path: PathBuf,
    pub(super) len: u64,
}

/// All files at `paths`, in the order of the paths and of the names in folders.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<InputFile>> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        let absolute = std::path::absolute(path).map_err(|error| refused(path, error))?;
        let kind = fs::metadata(&absolute).map_err(|error| refused(path, error))?;
        if kind.is_dir() {
            list_folder(&absolute, &mut files)?;
            if files.len() == before {
                tracing::warn!("input folder {} has no files to read", path.display());
            }
        } else if kind.is_file() {
            files.push(open(absolute)?);
        } else {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("input {} is neither a file nor a folder", path.display()),
            ));
        }
    }
    Ok(files)
}

/// Links to files are followed, links to folders are not: they could lead back up.
fn list_folder(folder: &Path, files: &mut Vec<InputFile>) -> Result<()> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| refused(folder, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().map_err(|error| refused(&path, error))?.is_dir() {
            list_folder(&path, files)?;
        } else if fs::metadata(&path)
            .map_err(|error| refused(&path, error))?
            .is_file()
        {
            files.push(open(path)?);
        }
    }
    Ok(())
}

/// Opens the file once, so that one that cannot be read is refused before the job runs.
fn open(path: PathBuf) -> Result<InputFile> {
    match File::open(&path).and_then(|file| file.metadata()) {
        Ok(metadata) => Ok(InputFile {
            len: metadata.len(),
            path,
        }),
        Err(error) => Err(refused(&path, error)),
    }
}

fn refused(path: &Path, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("input {} does not exist", path.display()),
        _ => format!("input {} cannot be read", path.display()),
    };
    Error::new(ErrorKind::Configuration, message).with_source(error)
}
