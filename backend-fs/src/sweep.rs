//! The background sweep: verifies every block of the restored files, so that damage is found while an older checkpoint is still retained, and
//! not when a key is touched for the first time in weeks.

use crate::file::SnapshotFile;
use millpond_backend_api::{BackendError, BackendResult};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// What is verified at once.
const STEP_BYTES: u64 = 1 << 20;
/// The part of its time that the sweep works: it rests `REST` times as long as a step took, so it takes a quarter of a core and of the disk's time at most.
const REST: u32 = 3;

/// A sweep that runs beside the job, over some files. Ends when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    damage: Arc<OnceLock<BackendError>>,
    /// Dropped to end the sweep.
    _stop: Option<Sender<()>>,
}

impl Sweep {
    /// Begins to verify `files`, one after the other.
    pub(crate) fn start(files: &[Arc<SnapshotFile>]) -> Self {
        if files.is_empty() {
            return Self::default();
        }
        let (stop, stopped) = channel();
        let damage = Arc::<OnceLock<BackendError>>::default();
        let (files, found) = (files.to_vec(), Arc::clone(&damage));
        let thread = thread::Builder::new().name("millpond-sweep".to_owned());
        // Without a thread, blocks are still verified when they are touched.
        let _ = thread.spawn(move || {
            if let Err(error) = sweep(&files, &stopped) {
                let _ = found.set(error);
            }
        });
        Self {
            damage,
            _stop: Some(stop),
        }
    }

    /// The damage that was found, as an error.
    ///
    /// # Errors
    /// [`Corrupted`](millpond_backend_api::BackendErrorKind::Corrupted), or [`Io`](millpond_backend_api::BackendErrorKind::Io) where a file could not be read.
    pub(crate) fn check(&self) -> BackendResult<()> {
        match self.damage.get() {
            Some(damage) => Err(damage.clone()),
            None => Ok(()),
        }
    }
}

fn sweep(files: &[Arc<SnapshotFile>], stopped: &Receiver<()>) -> BackendResult<()> {
    for file in files {
        let mut cursor = 0;
        loop {
            let started = Instant::now();
            let done = file.verify_some(&mut cursor, STEP_BYTES)?;
            let rest = if done {
                Duration::ZERO
            } else {
                started.elapsed() * REST
            };
            if stopped.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
                return Ok(());
            }
            if done {
                break;
            }
        }
    }
    Ok(())
}
