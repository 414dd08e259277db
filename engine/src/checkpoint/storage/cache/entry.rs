//! The files of the cache's folder, and the locks that tell other threads and processes what is in use.
//!
//! All locks are those of open files (`flock`), which the system takes back when a process dies in whatever way. Whoever has got a lock looks whether the
//! file still has its name, since it may have been deleted or replaced while he waited.

use crate::checkpoint::storage::CheckpointPaths;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Whether `path` names the open file.
fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file that is locked until this is dropped.
///
/// It is unlocked, not only closed: a child that was just forked, and has not executed its program yet, has a copy of the handle, and the lock with it.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Deletes a file unless somebody has a lock on it; tells whether it is gone.
pub(super) fn remove_unless_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(false),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let file = Locked(file);
    if has_name(&file.0, path)? {
        fs::remove_file(path)?;
    }
    Ok(true)
}

/// An entry in use: it is not evicted while this lives, by this process or another.
#[derive(Debug)]
pub(super) struct Pin {
    file: Locked,
    path: PathBuf,
}

impl Pin {
    /// Takes hold of an entry and notes that it was used. None if there is no such entry; one of another size is deleted.
    pub(super) fn take(path: &Path, size: u64) -> io::Result<Option<Self>> {
        loop {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            // Whoever deletes it holds it for an instant only.
            file.lock_shared()?;
            let file = Locked(file);
            if !has_name(&file.0, path)? {
                continue;
            }
            let found = file.0.metadata()?.len();
            if found != size {
                tracing::warn!(entry = %path.display(), found, expected = size, "a local copy of a snapshot file has the wrong size and is fetched anew");
                fs::remove_file(path)?;
                return Ok(None);
            }
            // Only the order of eviction suffers if this fails.
            let _ = file.0.set_modified(SystemTime::now());
            let path = path.to_owned();
            return Ok(Some(Self { file, path }));
        }
    }

    /// Whether the entry is still there: somebody may have emptied the folder by hand.
    pub(super) fn is_valid(&self, size: u64) -> bool {
        let same_size = self.file().metadata().is_ok_and(|found| found.len() == size);
        same_size && has_name(self.file(), &self.path).unwrap_or(false)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file.0
    }
}

impl Read for Pin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.0.read(buffer)
    }
}

/// An entry that is being written, under a name of its own. Dropped, it is deleted; after a crash it has no lock, and is swept.
#[derive(Debug)]
pub(super) struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        loop {
            let path = CheckpointPaths::temporary(&folder.join(CheckpointPaths::unique_name()));
            let file = File::create_new(&path)?;
            file.lock()?;
            // A sweep may have come between the two.
            if has_name(&file, &path)? {
                return Ok(Self { file, path });
            }
        }
    }

    /// Makes the bytes durable and gives the entry its name: of the whole file or of none, also after a power cut.
    pub(super) fn publish(self, entry: &Path) -> io::Result<Option<Pin>> {
        self.file.sync_data()?;
        fs::rename(&self.path, entry)?;
        let file = self.file.try_clone()?;
        // Its own lock turns into that of a reader, for an instant without any.
        file.lock_shared()?;
        let file = Locked(file);
        let path = entry.to_owned();
        Ok(has_name(&file.0, entry)?.then_some(Pin { file, path }))
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed, it is gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Held by the one who fetches an entry; the others wait for it.
#[derive(Debug)]
pub(super) struct FetchLock {
    _file: Locked,
    path: PathBuf,
}

impl FetchLock {
    pub(super) fn wait(entry: &Path) -> io::Result<Self> {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let path = entry.with_file_name(format!(".{name}.lock"));
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            file.lock()?;
            let file = Locked(file);
            if has_name(&file.0, &path)? {
                return Ok(Self { _file: file, path });
            }
        }
    }
}

impl Drop for FetchLock {
    fn drop(&mut self) {
        // Left behind it would be swept.
        let _ = fs::remove_file(&self.path);
    }
}
