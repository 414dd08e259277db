//! The thread of a fetcher, and what lies between it and the subtask.

use super::{FetchStatus, SplitFetcher};
use crate::api::SourceWaker;
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How many batches may wait for the subtask: one that it takes next, and one that is there when it does.
const BATCHES_AHEAD: usize = 2;

/// A fetcher at work. Dropping it ends the thread, after the call that it is in.
pub(super) struct Ahead<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

/// What there is for the subtask.
pub(super) enum Next<T> {
    Fetched(T),
    /// Nothing yet; the waker is called when there is.
    Nothing,
    /// Nothing any more.
    Finished,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Notified when there is room for another batch, or nobody wants one.
    room: Condvar,
}

struct State<T> {
    fetched: VecDeque<T>,
    /// Batches that were emitted, for their memory.
    spare: Vec<T>,
    /// How the thread ended; behind what it has fetched.
    end: Option<End>,
    /// The subtask has found nothing and wants to be woken.
    is_awaited: bool,
    is_abandoned: bool,
}

enum End {
    Finished,
    Failed(Error),
    Panicked,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic under the lock leaves nothing half-done: each critical section is one operation on the queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a batch, when there is room for one; `None` when nobody wants any more.
    fn room(&self) -> Option<T>
    where
        T: Default,
    {
        let is_full = |state: &mut State<T>| state.fetched.len() >= BATCHES_AHEAD && !state.is_abandoned;
        let mut state = self
            .room
            .wait_while(self.lock(), is_full)
            .unwrap_or_else(PoisonError::into_inner);
        (!state.is_abandoned).then(|| state.spare.pop().unwrap_or_default())
    }

    /// Hands over a batch or the end or both, and wakes the subtask if it waits for that.
    fn hand_over(&self, fetched: Option<T>, end: Option<End>, waker: &SourceWaker) {
        let mut state = self.lock();
        state.fetched.extend(fetched);
        state.end = end;
        let is_awaited = std::mem::take(&mut state.is_awaited);
        drop(state);
        if is_awaited {
            waker.wake();
        }
    }
}

/// Tells the subtask when the thread panics.
struct Watch<'a, T> {
    shared: &'a Shared<T>,
    waker: &'a SourceWaker,
}

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.hand_over(None, Some(End::Panicked), self.waker);
        }
    }
}

impl<T: Default + Send + 'static> Ahead<T> {
    /// Has `fetcher` fetch on a thread of its own.
    pub(super) fn start<F: SplitFetcher<Fetched = T>>(fetcher: F, waker: SourceWaker) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                fetched: VecDeque::new(),
                spare: Vec::new(),
                end: None,
                is_awaited: false,
                is_abandoned: false,
            }),
            room: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("millpond-fetch".to_owned())
            .spawn(move || fetch_all(fetcher, &of_thread, &waker))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Configuration,
                    "the thread that reads the input ahead cannot be started",
                )
                .with_source(error)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

fn fetch_all<F: SplitFetcher>(mut fetcher: F, shared: &Shared<F::Fetched>, waker: &SourceWaker) {
    let _watch = Watch { shared, waker };
    while let Some(mut fetched) = shared.room() {
        let (fetched, end) = match fetcher.fetch(&mut fetched) {
            Ok(FetchStatus::More) => (Some(fetched), None),
            Ok(FetchStatus::Finished) => (Some(fetched), Some(End::Finished)),
            Err(error) => (None, Some(End::Failed(error))),
        };
        let is_end = end.is_some();
        shared.hand_over(fetched, end, waker);
        if is_end {
            break;
        }
    }
}

impl<T> Ahead<T> {
    /// What comes next. An error of the fetcher, and a panic too, are handed on once.
    pub(super) fn next(&mut self) -> Result<Next<T>> {
        let mut state = self.shared.lock();
        if let Some(fetched) = state.fetched.pop_front() {
            drop(state);
            self.shared.room.notify_one();
            return Ok(Next::Fetched(fetched));
        }
        match state.end.take() {
            None => {
                state.is_awaited = true;
                Ok(Next::Nothing)
            }
            Some(End::Finished) => Ok(Next::Finished),
            Some(End::Failed(error)) => Err(error),
            Some(End::Panicked) => {
                drop(state);
                // The subtask panics with the same words.
                match self.thread.take().map(JoinHandle::join) {
                    Some(Err(payload)) => std::panic::resume_unwind(payload),
                    _ => Ok(Next::Finished),
                }
            }
        }
    }

    /// Gives the memory of a batch back.
    pub(super) fn give_back(&self, fetched: T) {
        self.shared.lock().spare.push(fetched);
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.shared.lock().is_abandoned = true;
        self.shared.room.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic was handed on already, or nobody wants to know.
            let _ = thread.join();
        }
    }
}
