//! Whoever asks.

use super::files::{Paths, Request, appear, is_abandoned, parse_answer};
use crate::checkpoint::storage::CheckpointPaths;
use crate::checkpoint::storage::durable::{remove_file, storage_error};
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Asks the job that watches `folder` (its `control.dir`) for a savepoint, and waits for the answer however long that takes; returns the savepoint's folder.
/// `patience` is how long the job may take to notice the request; it looks twice a second while it runs, and not while it restarts after a failure.
///
/// # Errors
/// [`ErrorKind::Configuration`] when there is no such folder, or no running job has noticed the request in time: it is withdrawn then. [`ErrorKind::Storage`] with the job's words when it
/// did not take the savepoint, or died meanwhile.
pub fn request(folder: &Path, request: &Request, patience: Duration) -> Result<PathBuf> {
    if !folder.is_dir() {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "'{}' is no folder: name the one that the job has as control.dir",
                folder.display()
            ),
        ));
    }
    let paths = Paths::new(folder, &CheckpointPaths::unique_name());
    // Locked for as long as somebody waits: a job does nothing for those who have gone.
    let _waiting = appear(&paths.request, &request.to_text()?)?;
    let asked = Instant::now();
    loop {
        // In this order: one of them is there at any time, and the answer before the job lets go of what it has taken.
        let is_gone = !paths.request.exists() && !paths.taken.exists();
        let is_abandoned = is_abandoned(&paths.taken);
        match fs::read_to_string(&paths.answer) {
            Ok(text) => {
                remove_file(&paths.answer)?;
                return parse_answer(&text, &paths.answer);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(storage_error("read", &paths.answer, error)),
        }
        if is_gone {
            return Err(Error::new(
                ErrorKind::Storage,
                "the job could not write its answer; see its log",
            ));
        }
        if is_abandoned {
            remove_file(&paths.taken)?;
            return Err(Error::new(
                ErrorKind::Storage,
                "the job died before it had answered; a savepoint is complete only if it has its '_metadata'",
            ));
        }
        if asked.elapsed() >= patience && fs::remove_file(&paths.request).is_ok() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "no running job has looked into '{}' for {patience:?}: is the job running, and is this its control.dir?",
                    folder.display()
                ),
            ));
        }
        std::thread::sleep(LOOK);
    }
}
