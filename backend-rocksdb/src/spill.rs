//! Brings changes into the databases between checkpoints, on a thread beside the worker, when memory runs out.

use crate::error::io_failed;
use crate::store::{Frozen, Store};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The thread that brings changes in, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    thread: Option<JoinHandle<BackendResult<()>>>,
    count: u64,
}

impl Spill {
    /// Whether a thread is at work.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// How many were started.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Begins to bring `frozen` in.
    ///
    /// # Errors
    /// Those of the one before, and when there can be no thread.
    pub(crate) fn start(&mut self, store: Arc<Store>, frozen: Arc<Frozen>) -> BackendResult<()> {
        self.wait()?;
        let thread = thread::Builder::new().name("millpond-spill".to_owned());
        let thread = thread
            .spawn(move || store.bring_in(&frozen, &|| Ok(())).map(drop))
            .map_err(|error| {
                io_failed(
                    error,
                    "start a thread for",
                    Path::new("state that outgrew its memory"),
                )
            })?;
        self.thread = Some(thread);
        self.count += 1;
        Ok(())
    }

    /// Waits until what was begun is done.
    ///
    /// # Errors
    /// Those of bringing it in.
    pub(crate) fn wait(&mut self) -> BackendResult<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let ended = thread.join().unwrap_or_else(|_| {
            Err(BackendError::new(
                BackendErrorKind::Panicked,
                "the thread that brings state into RocksDB panicked",
            ))
        });
        ended.map_err(|error| error.context("state that outgrew its memory cannot be brought into RocksDB"))
    }
}
