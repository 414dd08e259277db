//! A folder for one run, removed with all that is in it when the run is over.

use millpond_engine::{Error, ErrorKind, Result};
use std::path::Path;

/// A new folder below `dir`, or below the system's folder for temporary files.
///
/// # Errors
/// [`ErrorKind::Configuration`] when there is no such folder and it cannot be made.
pub(crate) fn new_folder(dir: Option<&Path>) -> Result<tempfile::TempDir> {
    let made = match dir {
        Some(dir) => std::fs::create_dir_all(dir)
            .and_then(|()| std::path::absolute(dir))
            .and_then(|dir| tempfile::Builder::new().prefix("millpond-bench-").tempdir_in(dir)),
        None => tempfile::Builder::new().prefix("millpond-bench-").tempdir(),
    };
    made.map_err(|error| {
        let place = dir.map_or_else(|| "temporary files".to_owned(), |dir| dir.display().to_string());
        Error::new(
            ErrorKind::Configuration,
            format!("no folder for checkpoints can be made in {place}; --dir gives another"),
        )
        .with_source(error)
    })
}
