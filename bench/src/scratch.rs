//! A folder for one run, removed with all that is in it when the run is over or interrupted.

use millpond_engine::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

/// The folders that were made. Those that are gone have names that do not come again.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

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
    let folder = made.map_err(|error| {
        let place = dir.map_or_else(|| "temporary files".to_owned(), |dir| dir.display().to_string());
        Error::new(
            ErrorKind::Configuration,
            format!("no folder for the run can be made in {place}; --dir gives another"),
        )
        .with_source(error)
    })?;
    remove_when_interrupted(folder.path());
    Ok(folder)
}

/// Large state may lie in such a folder, so an interrupt, a hangup or a request to end does not leave it.
fn remove_when_interrupted(folder: &Path) {
    /// As a shell has it for a program that was ended by an interrupt.
    const INTERRUPTED: i32 = 130;
    static HANDLER: Once = Once::new();
    FOLDERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(folder.to_owned());
    HANDLER.call_once(|| {
        // Without it folders stay behind, as after a kill.
        let _ = ctrlc::set_handler(|| {
            remove_all();
            std::process::exit(INTERRUPTED);
        });
    });
}

fn remove_all() {
    /// Somebody may still write to a folder while it is removed.
    const TRIES: u32 = 100;
    for folder in FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        for _ in 0..TRIES {
            if !folder.exists() {
                break;
            }
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
