//! At most one program holds a job.

use crate::checkpoint::storage::durable::storage_error;
use crate::{Error, ErrorKind, Result};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// An exclusive lock on a file, released by the operating system when this is dropped or the process dies, however it dies.
///
/// The file says who holds it, for the message of whoever is refused; it is never deleted, since a lock on a deleted file excludes nobody.
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
    /// Takes the lock, at once or not at all.
    pub(super) fn take(path: &Path, job_name: &str) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| storage_error("open the lock", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file, path, job_name)),
            Err(TryLockError::Error(error)) => return Err(storage_error("lock", path, error)),
        }
        // For people only, so neither synced nor checked.
        let text = format!("pid {} on host {}\n", std::process::id(), host());
        let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        Ok(Self { file })
    }
}

fn held(file: &mut File, path: &Path, job_name: &str) -> Error {
    const TEXT_BYTES_MAX: u64 = 256;
    let mut holder = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(TEXT_BYTES_MAX).read_to_string(&mut holder));
    let holder = match read {
        Ok(_) if !holder.trim().is_empty() => holder.trim(),
        _ => "another program",
    };
    Error::new(
        ErrorKind::Configuration,
        format!(
            "job '{job_name}' is run by {holder} already, which holds '{}'; wait until it has ended, or choose another job name, \
             high-availability.cluster-id or high-availability.storageDir",
            path.display()
        ),
    )
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
