//! Snapshot files of remote storage on this machine: fetched to be mapped, or written beside the remote ones to be restored from.
//!
//! [`CachedStorage`] puts the cache before a remote storage; backends know nothing of it. A folder of files, nothing else:
//!
//! ```text
//! <folder>/<hash of the folder>-<hash of the address>-<size>-<crc>    an entry
//!          .<32 hex digits>.tmp                                      an entry that is being written
//!          .<entry>.lock                                             held by who fetches an entry
//! ```
//!
//! # The key
//! An entry is named by the file's content as far as it is known before the file is read: the size and the CRC-32 that the checkpoint's metadata has of it, and a 128-bit hash of its
//! full address (store, job, checkpoint, random name). The path of a [`FileRef`](crate::checkpoint::FileRef) alone would not do: it begins at the job's folder, so every job
//! has the same. Size and CRC alone would not do either: among ten thousand files of one size, two have the same CRC with a chance of one in a hundred. Together they name one content,
//! since a storage gives every file a name of 128 random bits, writes it once, and never changes it; should somebody break that, size and CRC notice it.
//! Jobs, attempts and processes may therefore share the folder.
//!
//! # Guarantees
//! 1. An entry is whole: size and checksum are verified while it is fetched, it is synced, and then renamed. A crash leaves temporary files, which have no lock any more and are swept when
//!    the cache is next opened, and whole entries, which are as good as before.
//! 2. What several subtasks or processes ask for at the same time is fetched once.
//! 3. The least recently used entries are deleted until the folder has no more than its bytes. One that is in use, by this process or
//!    another, is left, so what running jobs have mapped can make the folder larger. (A mapped file would outlive its deletion, on Linux at least; but its path is needed until it is mapped.)
//! 4. An entry of another size than it should have is fetched anew. One that was damaged later is noticed by who reads it, and [dropped](crate::checkpoint::storage::CheckpointStorage::drop_local_copy).

mod entry;
mod key;
mod storage;

pub use storage::CachedStorage;

use self::entry::{FetchLock, Pin, Temporary, remove_unless_locked};
use self::key::Key;
use super::durable::storage_error;
use crate::{Error, ErrorKind, Result};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How the cache is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder of `execution.checkpointing.local-backup.dirs`.
    pub folder: PathBuf,
    /// `execution.checkpointing.local-backup.size-max`, in bytes.
    pub bytes_max: u64,
    /// `execution.checkpointing.local-backup.enabled`: snapshots are also written here.
    pub backup: bool,
    /// `execution.state-recovery.from-local`: what is here is not read from the remote storage.
    pub from_local: bool,
}

/// A folder with copies of remote files. All methods block.
#[derive(Debug)]
pub struct LocalCache {
    folder: PathBuf,
    bytes_max: u64,
}

impl LocalCache {
    /// Opens the cache in `folder`, which is made if it is missing (for this user alone), and sweeps what a crash has left. `bytes_max` is what all entries
    /// together may have.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the folder cannot be used, or its file system has no locks.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self> {
        let cache = Self {
            folder: folder.to_owned(),
            bytes_max,
        };
        let try_it = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // Proves that files can be written and locked.
            drop(Temporary::create(folder)?);
            for file in cache.files()?.iter().filter(|file| file.is_working_file()) {
                remove_unless_locked(&file.path)?;
            }
            Ok(())
        };
        try_it().map_err(|error: io::Error| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "execution.checkpointing.local-backup.dirs: copies of snapshots cannot be kept in '{}'",
                    folder.display()
                ),
            )
            .with_source(error)
        })?;
        cache.trim(0);
        Ok(cache)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.file_name())
    }

    /// The entry, if there is one.
    fn get(&self, key: &Key) -> Result<Option<Pin>> {
        let path = self.path(key);
        Pin::take(&path, key.size).map_err(|error| storage_error("use", &path, error))
    }

    /// The entry, which `fill` writes if there is none. Others who ask for the same wait meanwhile.
    fn fetch(&self, key: &Key, fill: impl Fn(&mut Temporary) -> Result<()>) -> Result<Pin> {
        // More than once only if the entry is evicted in the instant in which nobody has it.
        const TRIES: u32 = 3;
        let path = self.path(key);
        for _ in 0..TRIES {
            if let Some(pin) = self.get(key)? {
                return Ok(pin);
            }
            let _lock = FetchLock::wait(&path).map_err(|error| storage_error("lock", &path, error))?;
            if let Some(pin) = self.get(key)? {
                return Ok(pin);
            }
            self.trim(key.size);
            let mut temporary = self.temporary()?;
            fill(&mut temporary)?;
            let published = temporary
                .publish(&path)
                .map_err(|error| storage_error("publish", &path, error))?;
            if let Some(pin) = published {
                return Ok(pin);
            }
        }
        Err(Error::new(
            ErrorKind::Storage,
            format!("'{}' was deleted as soon as it was fetched", path.display()),
        ))
    }

    /// A file to write a new entry to.
    fn temporary(&self) -> Result<Temporary> {
        Temporary::create(&self.folder)
            .map_err(|error| storage_error("create a file in", &self.folder, error))
    }

    /// Makes what was written an entry, unless it does not fit beside what is in use.
    fn insert(&self, key: &Key, temporary: Temporary) -> Result<()> {
        if !self.trim(0) {
            return Ok(());
        }
        let path = self.path(key);
        temporary
            .publish(&path)
            .map(drop)
            .map_err(|error| storage_error("publish", &path, error))
    }

    /// Deletes an entry, whoever uses it.
    fn remove(&self, key: &Key) {
        // Missing is fine; and one that cannot be deleted will be tried again.
        let _ = fs::remove_file(self.path(key));
    }

    /// Deletes an entry unless somebody uses it.
    fn remove_unused(&self, path: &Path) {
        if let Err(error) = remove_unless_locked(path) {
            tracing::debug!(entry = %path.display(), %error, "a local copy could not be deleted");
        }
    }

    /// Deletes the entries whose names begin so, except those in use.
    fn remove_beginning(&self, beginning: &str) {
        for file in self.files().unwrap_or_default() {
            if file.name().is_some_and(|name| name.starts_with(beginning)) {
                self.remove_unused(&file.path);
            }
        }
    }

    /// Deletes the least recently used entries until `room` more bytes fit; tells whether they do.
    fn trim(&self, room: u64) -> bool {
        let mut files = match self.files() {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "the local copies of snapshots cannot be listed");
                return false;
            }
        };
        let mut total: u64 = files.iter().map(|file| file.size).sum();
        files.retain(|file| !file.is_working_file());
        files.sort_unstable_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        for file in files {
            if total.saturating_add(room) <= self.bytes_max {
                break;
            }
            match remove_unless_locked(&file.path) {
                Ok(true) => total -= file.size,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(entry = %file.path.display(), %error, "a local copy could not be deleted");
                }
            }
        }
        total.saturating_add(room) <= self.bytes_max
    }

    fn files(&self) -> io::Result<Vec<CacheFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Others delete, too.
            let Ok(found) = entry.metadata() else { continue };
            if found.is_file() {
                files.push(CacheFile {
                    path: entry.path(),
                    size: found.len(),
                    used: found.modified()?,
                });
            }
        }
        Ok(files)
    }
}

/// A file in the cache's folder.
#[derive(Debug)]
struct CacheFile {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

impl CacheFile {
    fn name(&self) -> Option<&str> {
        self.path.file_name()?.to_str()
    }

    /// Whether it is not an entry: a temporary file or a lock.
    fn is_working_file(&self) -> bool {
        self.name().is_none_or(|name| name.starts_with('.'))
    }
}

#[cfg(test)]
mod tests;
