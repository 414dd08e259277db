//! The handle of a running attempt: its end is declared and seen here.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread::Thread;

use super::shared::Shared;
use super::{AttemptEnd, AttemptNumber, FailureCause};

/// Watches over one attempt in this process: whether it has ended and why, and the way to end it. Cheap to clone, for any thread.
///
/// A worker thread calls [`register_worker`](Self::register_worker) once, and looks at [`is_ended`](Self::is_ended) before every
/// step that may park. When the attempt ends, registered threads are unparked *after* the flag was set, so none can miss it.
#[derive(Clone)]
pub struct AttemptControl {
    core: Arc<AttemptCore>,
    /// None in a job of one process.
    cluster: Option<Weak<Shared>>,
}

impl AttemptControl {
    pub(super) fn new(core: Arc<AttemptCore>, cluster: Option<&Arc<Shared>>) -> Self {
        Self {
            core,
            cluster: cluster.map(Arc::downgrade),
        }
    }

    pub(super) fn core(&self) -> &Arc<AttemptCore> {
        &self.core
    }

    /// The attempt's number.
    #[must_use]
    pub fn attempt(&self) -> AttemptNumber {
        self.core.attempt
    }

    /// Whether workers must stop: one atomic load.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.core.is_ended()
    }

    /// Why the attempt ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<AttemptEnd> {
        self.core.end.get().cloned()
    }

    /// Has the calling thread unparked when the attempt ends. Before parking, the thread must look at
    /// [`is_ended`](Self::is_ended).
    pub fn register_worker(&self) {
        self.core.register(std::thread::current());
    }

    /// Ends the attempt here and in all other processes. Returns whether this was the first reason; if not, an earlier one is kept
    /// and `cause` goes nowhere. Never blocks.
    ///
    /// Must be called before the worker that failed returns: timely's threads wait for the other processes until the attempt ends.
    pub fn fail(&self, cause: FailureCause) -> bool {
        match self.cluster.as_ref().and_then(Weak::upgrade) {
            Some(shared) => shared.fail(&self.core, cause),
            None => self.core.finish_with(AttemptEnd::Failed(cause)),
        }
    }
}

impl fmt::Debug for AttemptControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptControl")
            .field("attempt", &self.core.attempt)
            .field("end", &self.core.end.get())
            .finish_non_exhaustive()
    }
}

/// What the threads of one attempt share.
pub(super) struct AttemptCore {
    pub(super) attempt: AttemptNumber,
    ended: AtomicBool,
    end: OnceLock<AttemptEnd>,
    workers: Mutex<Vec<Thread>>,
    sockets: Mutex<Vec<Arc<TcpStream>>>,
    /// Whether all workers of this process are gone, so that nobody reads what timely's threads still hand over.
    released: Mutex<bool>,
    release: Condvar,
}

impl AttemptCore {
    pub(super) fn new(attempt: AttemptNumber) -> Arc<Self> {
        Arc::new(Self {
            attempt,
            ended: AtomicBool::new(false),
            end: OnceLock::new(),
            workers: Mutex::new(Vec::new()),
            sockets: Mutex::new(Vec::new()),
            released: Mutex::new(false),
            release: Condvar::new(),
        })
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self) -> Option<&AttemptEnd> {
        self.end.get()
    }

    /// Ends the attempt in this process, unless it has ended: sockets are shut down, so that timely's threads run out, and
    /// registered workers are woken.
    pub(super) fn finish_with(&self, end: AttemptEnd) -> bool {
        if self.end.set(end).is_err() {
            return false;
        }
        self.ended.store(true, Ordering::SeqCst);
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // An error says that the connection is gone, which is what is wanted.
            let _ = socket.shutdown(Shutdown::Both);
        }
        for worker in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            worker.unpark();
        }
        true
    }

    fn register(&self, worker: Thread) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(worker);
    }

    /// Has `socket` shut down when the attempt ends, at once if it has ended.
    pub(super) fn adopt(&self, socket: &Arc<TcpStream>) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push(Arc::clone(socket));
        if self.is_ended() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Says that all workers of this process are gone.
    pub(super) fn release(&self) {
        *self.released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.release.notify_all();
    }

    /// Whether [`release`](Self::release) was called.
    pub(super) fn is_released(&self) -> bool {
        *self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until [`release`](Self::release).
    pub(super) fn await_release(&self) {
        let released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.release.wait_while(released, |released| !*released);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets go of sockets and threads, which the handles that outlive the attempt would otherwise keep.
    pub(super) fn clear(&self) {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn cause(message: &str) -> FailureCause {
        FailureCause {
            kind: ErrorKind::UserCode,
            message: message.to_owned(),
            operator: None,
            subtask: None,
        }
    }

    #[test]
    fn the_first_reason_is_kept_and_parked_workers_wake() {
        let control = AttemptControl::new(AttemptCore::new(AttemptNumber(1)), None);
        let (registered, is_registered) = std::sync::mpsc::channel();
        let worker = std::thread::spawn({
            let control = control.clone();
            move || {
                control.register_worker();
                registered.send(()).unwrap();
                while !control.is_ended() {
                    std::thread::park();
                }
            }
        });
        is_registered.recv().unwrap();
        assert!(control.fail(cause("first")));
        assert!(!control.fail(cause("second")));
        worker.join().unwrap();
        assert_eq!(control.end(), Some(AttemptEnd::Failed(cause("first"))));
    }
}
