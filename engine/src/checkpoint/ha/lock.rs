//! At most one program holds a job.

use crate::checkpoint::hold::is_at;
use crate::checkpoint::storage::CheckpointPaths;
use crate::checkpoint::storage::durable::storage_error;
use crate::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// An exclusive lock on a file, released by the operating system when this is dropped or the process dies, however it dies.
///
/// The file says who holds it, for the message of whoever is refused. It is never deleted, since a lock on a deleted file excludes nobody; who takes the job over from a program
/// that has the lock puts another file in its place, locked already.
#[derive(Debug)]
pub(super) struct JobLock {
    file: File,
}

impl Drop for JobLock {
    fn drop(&mut self) {
        // Closing would do, but not while a child that was just forked, and has not executed its program yet, has a copy of the handle.
        let _ = self.file.unlock();
    }
}

impl JobLock {
    /// Takes the lock, at once or not at all; with `take_over` in any case.
    pub(super) fn take(path: &Path, job_name: &str, take_over: bool) -> Result<Self> {
        loop {
            let mut file = open(path)?;
            match file.try_lock() {
                // Another file may have come in its place since it was opened.
                Ok(()) if is_at(&file, path) => return Ok(Self::held_by_us(file)),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if take_over => return Self::replace(path, &mut file),
                Err(TryLockError::WouldBlock) => return Err(held(&mut file, path, job_name)),
                Err(TryLockError::Error(error)) => return Err(storage_error("lock", path, error)),
            }
        }
    }

    /// Puts a lock of one's own in the place of somebody else's.
    fn replace(path: &Path, theirs: &mut File) -> Result<Self> {
        tracing::warn!(
            "the job is taken over from {}, which cannot go on with it",
            holder(theirs)
        );
        let temporary = path.with_file_name(format!(".lock-{}.tmp", CheckpointPaths::unique_name()));
        let file = open(&temporary)?;
        file.try_lock()
            .map_err(|error| storage_error("lock", &temporary, error.into()))?;
        let lock = Self::held_by_us(file);
        fs::rename(&temporary, path).map_err(|error| storage_error("replace", path, error))?;
        Ok(lock)
    }

    fn held_by_us(mut file: File) -> Self {
        // For people only, so neither synced nor checked.
        let text = format!("pid {} on host {}\n", std::process::id(), host());
        let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        Self { file }
    }
}

/// Whether the lock can be had, without taking it.
///
/// # Errors
/// [`ErrorKind::Configuration`] when another program has it.
pub(super) fn refuse_if_held(path: &Path, job_name: &str) -> Result<()> {
    let Ok(mut file) = File::open(path) else {
        return Ok(());
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(held(&mut file, path, job_name)),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| storage_error("open the lock", path, error))
}

/// Who holds the lock, as the file says.
fn holder(file: &mut File) -> String {
    const TEXT_BYTES_MAX: u64 = 256;
    let mut holder = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(TEXT_BYTES_MAX).read_to_string(&mut holder));
    match read {
        Ok(_) if !holder.trim().is_empty() => holder.trim().to_owned(),
        _ => "another program".to_owned(),
    }
}

fn held(file: &mut File, path: &Path, job_name: &str) -> Error {
    let holder = holder(file);
    Error::new(
        ErrorKind::Configuration,
        format!(
            "job '{job_name}' is run by {holder} already, which holds '{}'; wait until it has ended, or choose another job name, \
             high-availability.cluster-id or high-availability.storageDir. If it hangs, or its machine is gone, \
             `-D high-availability.filesystem.take-over=true` takes the job over from it",
            path.display()
        ),
    )
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
