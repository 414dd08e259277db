//! Terms: which of several programs that believe they lead a job does.
//!
//! A lock keeps a second program away, but not always: somebody takes a job over from a program that hangs, or a file system gives a lock of a machine that it does not
//! hear of to another one. Then the former leader may wake up in the middle of anything. So every leader has a number, its *term*, claimed in the job's folder before
//! anything is read, and writes a pointer that has the number in its name. The pointer with the highest number holds.
//!
//! Whoever writes a pointer then looks whether a higher term was claimed meanwhile. Either it was not: then the claim comes later, and whoever makes it reads what was
//! written. Or it was: then nobody may rely on what was written, and the former leader says so. There is no moment in between.

use super::pointer::Pointer;
use crate::checkpoint::storage::durable::{self, PublishFailed, storage_error, sync_dir};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const CLAIM: &str = "term-";
const POINTER: &str = "pointer-";

/// A number under which one program writes to a job's folder.
#[derive(Debug)]
pub(super) struct Term {
    folder: PathBuf,
    number: u64,
}

impl Term {
    /// Claims a number above all that were claimed.
    pub(super) fn claim(folder: &Path) -> Result<Self> {
        loop {
            let number = highest(folder)?.saturating_add(1);
            let path = folder.join(name(CLAIM, number));
            match File::create_new(&path) {
                Ok(_) => {}
                // Somebody claimed it in this moment; whoever claims the next one leads.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(storage_error("create", &path, error)),
            }
            sync_dir(folder)?;
            return Ok(Self {
                folder: folder.to_owned(),
                number,
            });
        }
    }

    /// Makes `pointer` what holds.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when a higher term was claimed: then what was written may be read by that program, or not.
    pub(super) fn publish(&self, pointer: &Pointer) -> Result<(), PublishFailed> {
        let refused = |error| PublishFailed {
            error,
            maybe_visible: false,
        };
        let bytes = pointer.encode().map_err(refused)?;
        if let Err(failed) = durable::publish(&self.folder.join(name(POINTER, self.number)), &bytes) {
            // That the folder is gone says more than that a file cannot be created in it.
            return Err(match self.check() {
                Err(error) if error.kind() == ErrorKind::Fenced => PublishFailed { error, ..failed },
                _ => failed,
            });
        }
        self.check().map_err(|error| PublishFailed {
            error,
            maybe_visible: true,
        })?;
        self.forget_older();
        Ok(())
    }

    /// That nobody has claimed a higher term, and that the claim of this one is still there.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when somebody has, or it is not, [`ErrorKind::Storage`] when the folder cannot be read.
    pub(super) fn check(&self) -> Result<()> {
        let numbered = numbered(&self.folder)?;
        let numbers = numbered.iter().map(|(_, number, _)| *number);
        let highest = numbers.max().unwrap_or(0);
        let has_claim = numbered
            .iter()
            .any(|(prefix, number, _)| *prefix == CLAIM && *number == self.number);
        if highest <= self.number && has_claim {
            return Ok(());
        }
        if highest <= self.number {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "what high availability keeps of the job in '{}' was deleted while the job runs: '{}' is not there any more. Nothing keeps another program from running the job \
                     now, and none would find its checkpoints, so this one ends. Start it again with `--from-savepoint PATH` of its latest checkpoint, which is not deleted",
                    self.folder.display(),
                    name(CLAIM, self.number)
                ),
            ));
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "another program has taken the job over: '{}' has its term {highest}, this program had {}. What this one has not committed, that one does; this \
                 one ends",
                self.folder.display(),
                self.number
            ),
        ))
    }

    /// Deletes what leaders before have left. Best effort: the highest number holds, whatever else is there.
    fn forget_older(&self) {
        for (prefix, number, path) in numbered(&self.folder).into_iter().flatten() {
            let is_older = number < self.number;
            if is_older && let Err(error) = durable::remove_file(&path) {
                tracing::warn!(%error, "a {prefix} of a former leader is left");
            }
        }
    }
}

/// The pointer that holds; none if there is none.
pub(super) fn newest_pointer(folder: &Path) -> Result<Option<PathBuf>> {
    let pointers = numbered(folder)?
        .into_iter()
        .filter(|(prefix, ..)| *prefix == POINTER);
    let newest = pointers.max_by_key(|(_, number, _)| *number);
    Ok(newest.map(|(.., path)| path))
}

fn highest(folder: &Path) -> Result<u64> {
    let numbers = numbered(folder)?.into_iter().map(|(_, number, _)| number);
    Ok(numbers.max().unwrap_or(0))
}

/// As the names of checkpoints: 19 digits, so that they sort like numbers.
fn name(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:019}")
}

/// The claims and pointers in a folder, which may be missing.
fn numbered(folder: &Path) -> Result<Vec<(&'static str, u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(storage_error("list the folder", folder, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| storage_error("list the folder", folder, error))?;
        let file_name = entry.file_name();
        for prefix in [CLAIM, POINTER] {
            let digits = file_name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(number) = digits.and_then(|digits| digits.parse().ok())
                && file_name.to_str() == Some(name(prefix, number).as_str())
            {
                found.push((prefix, number, entry.path()));
            }
        }
    }
    Ok(found)
}
