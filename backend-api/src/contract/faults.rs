//! What can go wrong while a snapshot is written, and a record of what did.

use crate::error::{BackendError, BackendErrorKind, BackendResult};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long the suite waits for another thread before it gives up, far above what any of its steps takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The faults of one attempt to write a snapshot. Operations are the calls of `open`, `link`, `write` and `finish` of the attempt's streams, counted
/// together from 0.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The operation that fails with an I/O error.
    pub fail_at: Option<u64>,
    /// The operation at which the snapshot is cancelled; the operation itself goes well.
    pub cancel_at: Option<u64>,
    /// The operation at which the writer is held, and what holds it.
    pub hold_at: Option<(u64, Gate)>,
    /// The bytes that a file may have at most.
    pub file_bytes_max: Option<u64>,
    /// Whether the snapshot is cancelled before the writer starts.
    pub cancelled: bool,
}

/// Holds a thread at a point until another one lets it go on.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    inner: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Debug, Default)]
struct GateState {
    reached: bool,
    released: bool,
}

impl Gate {
    /// A gate that is closed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Called by the thread that is to be held. Whether it was released in the end.
    fn pass(&self) -> bool {
        let (state, changed) = &*self.inner;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reached = true;
        changed.notify_all();
        let (state, _) = changed
            .wait_timeout_while(state, PATIENCE, |state| !state.released)
            .unwrap_or_else(PoisonError::into_inner);
        state.released
    }

    /// Waits until a thread is held here.
    pub fn wait_until_reached(&self) {
        let (state, changed) = &*self.inner;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = changed
            .wait_timeout_while(state, PATIENCE, |state| !state.reached)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            state.reached,
            "the writer never came to the operation at which it was to be held"
        );
    }

    /// Lets the held thread go on, and whoever comes later.
    pub fn release(&self) {
        let (state, changed) = &*self.inner;
        state.lock().unwrap_or_else(PoisonError::into_inner).released = true;
        changed.notify_all();
    }
}

/// One attempt to write a snapshot: what is to go wrong, and what happened.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Tells the attempts of a storage apart: subtasks write snapshots for the same checkpoint.
    pub(super) number: u64,
    /// The checkpoint that the attempt is for.
    pub(super) checkpoint_id: u64,
    pub(super) faults: Faults,
    operations: AtomicU64,
    failed: AtomicBool,
    cancelled: AtomicBool,
    bytes_after_cancel: AtomicU64,
}

impl Attempt {
    pub(super) fn new(number: u64, checkpoint_id: u64, faults: Faults) -> Self {
        let cancelled = AtomicBool::new(faults.cancelled);
        Self {
            number,
            checkpoint_id,
            faults,
            operations: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            cancelled,
            bytes_after_cancel: AtomicU64::new(0),
        }
    }

    /// To be called at the start of every operation.
    pub(super) fn operation(&self, name: &str) -> BackendResult<()> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        if let Some((at, gate)) = &self.faults.hold_at
            && *at == number
            && !gate.pass()
        {
            // Not a panic: this runs behind the boundary, where one would end the process.
            return Err(BackendError::new(
                BackendErrorKind::Other,
                "the suite never released the writer that it holds",
            ));
        }
        if self.faults.cancel_at == Some(number) {
            self.cancelled.store(true, Ordering::SeqCst);
        }
        if self.faults.fail_at == Some(number) {
            self.failed.store(true, Ordering::SeqCst);
            return Err(BackendError::new(
                BackendErrorKind::Io,
                format!("the suite made operation {number} of the snapshot fail: {name}"),
            ));
        }
        Ok(())
    }

    pub(super) fn note_bytes(&self, bytes: u64) {
        if self.is_cancelled() {
            self.bytes_after_cancel.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Whether the operation that was to fail was reached.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// How many bytes were written after the snapshot had been cancelled.
    pub(super) fn bytes_after_cancel(&self) -> u64 {
        self.bytes_after_cancel.load(Ordering::SeqCst)
    }
}
