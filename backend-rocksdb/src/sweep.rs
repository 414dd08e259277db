//! Verification of linked files: each against the checksum in its handle, by a thread beside the job.
//!
//! RocksDB verifies each block that it reads, so no wrong value is ever used; the sweep finds damage in what is not read, while an older
//! checkpoint is still retained.

use crate::error::io_failed;
use crate::upload::read_all;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, FileRef};
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The part of its time that the sweep works: it rests `REST` times as long as a step took, so it takes a quarter of a core and of the disk's time at most.
const REST: u32 = 3;

/// A file of a snapshot that lies on this machine.
#[derive(Clone, Debug)]
pub(crate) struct LocalFile {
    file: FileRef,
    path: PathBuf,
}

impl LocalFile {
    pub(crate) fn new(file: FileRef, path: PathBuf) -> Self {
        Self { file, path }
    }

    /// An error unless the file has the length that it should have.
    pub(crate) fn check_size(&self) -> BackendResult<()> {
        let metadata = fs::metadata(&self.path).map_err(|error| io_failed(error, "read", &self.path))?;
        if metadata.len() == self.file.size {
            return Ok(());
        }
        Err(self.damaged(
            &format!("{} bytes", self.file.size),
            &format!("{} bytes", metadata.len()),
        ))
    }

    /// An error unless the file has length and checksum that it should have.
    pub(crate) fn verify(&self) -> BackendResult<()> {
        self.verify_while(&mut |_| true)
    }

    /// As [`verify`](Self::verify), as long as `go_on`, which is told how long each step took, says so.
    fn verify_while(&self, go_on: &mut dyn FnMut(Duration) -> bool) -> BackendResult<()> {
        let (mut size, mut crc32) = (0, crc32fast::Hasher::new());
        let mut wanted = true;
        let mut started = Instant::now();
        read_all(&self.path, |bytes| {
            if wanted {
                size += bytes.len() as u64;
                crc32.update(bytes);
                wanted = go_on(started.elapsed());
                started = Instant::now();
            }
            Ok(())
        })?;
        if wanted {
            self.compare(size, crc32.finalize())
        } else {
            Ok(())
        }
    }

    /// An error unless length and checksum are those that they should be.
    pub(crate) fn compare(&self, size: u64, crc32: u32) -> BackendResult<()> {
        if (size, crc32) == (self.file.size, self.file.crc32) {
            return Ok(());
        }
        Err(self.damaged(
            &format!("{} bytes with CRC32 {:08x}", self.file.size, self.file.crc32),
            &format!("{size} bytes with {crc32:08x}"),
        ))
    }

    #[cold]
    fn damaged(&self, expected: &str, found: &str) -> BackendError {
        BackendError::new(
            BackendErrorKind::Corrupted,
            format!(
                "snapshot file {} ({}): expected {expected}, found {found}",
                self.file.token,
                self.path.file_name().unwrap_or_default().display()
            ),
        )
    }
}

/// A sweep that runs beside the job. Ends when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    damage: Arc<OnceLock<BackendError>>,
    thread: Option<JoinHandle<()>>,
    /// Dropped to end the sweep.
    _stop: Option<Sender<()>>,
}

impl Sweep {
    /// Begins to verify `files`, one after the other.
    pub(crate) fn start(files: Vec<LocalFile>) -> Self {
        if files.is_empty() {
            return Self::default();
        }
        let (stop, stopped) = channel();
        let damage = Arc::<OnceLock<BackendError>>::default();
        let found = Arc::clone(&damage);
        let thread = thread::Builder::new().name("millpond-sweep".to_owned());
        // Without a thread, blocks are still verified when they are read.
        let thread = thread.spawn(move || {
            if let Err(error) = sweep(&files, &stopped) {
                let _ = found.set(error);
            }
        });
        Self {
            damage,
            thread: thread.ok(),
            _stop: Some(stop),
        }
    }

    /// Whether it has verified all files, or found damage.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The damage that was found, as an error.
    ///
    /// # Errors
    /// [`BackendErrorKind::Corrupted`], or [`BackendErrorKind::Io`] where a file could not be read.
    pub(crate) fn check(&self) -> BackendResult<()> {
        match self.damage.get() {
            Some(damage) => Err(damage.clone()),
            None => Ok(()),
        }
    }
}

fn sweep(files: &[LocalFile], stopped: &Receiver<()>) -> BackendResult<()> {
    let mut ended = false;
    for file in files {
        let verified = file.verify_while(&mut |took| {
            ended = stopped.recv_timeout(took * REST) == Err(RecvTimeoutError::Disconnected);
            !ended
        });
        if ended {
            return Ok(());
        }
        // What RocksDB has compacted away since is not there any more.
        if file.path.exists() {
            verified?;
        }
    }
    Ok(())
}
