//! A source of what other threads of the program send.

use crate::Result;
use crate::api::{
    Boundedness, Data, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SourceWaker,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Emits what is sent through its [`ChannelSender`]s, in the order in which it was sent, until all of them are dropped.
///
/// For embedding a job in a program and for tests. **A channel cannot be read again**: what was taken out of it since the last completed
/// checkpoint is lost when the job restarts (at most once), and what was not yet taken out when the process ends. Records that must
/// not be lost come from a source that can go back, such as a file or a log.
///
/// One subtask reads, the others of a parallel source end at once; follow it by a rebalance to spread heavy work.
///
/// ```
/// use millpond_engine::connectors::sources::ChannelSource;
///
/// let (sender, source) = ChannelSource::unbounded();
/// std::thread::spawn(move || {
///     for number in 0..10u64 {
///         let _ = sender.send(number);
///     }
/// });
/// # drop(source);
/// ```
pub struct ChannelSource<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Notified when there is room again, or nobody will ever make room.
    room: Condvar,
    capacity: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Wakes the reader of the current attempt.
    waker: Option<SourceWaker>,
    senders: usize,
    source_gone: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic under the lock leaves nothing half-done: each critical section is one operation on the queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Data> ChannelSource<T> {
    /// A channel in which any number of records may wait.
    #[must_use]
    pub fn unbounded() -> (ChannelSender<T>, Self) {
        Self::with_capacity(usize::MAX)
    }

    /// A channel in which at most `capacity` (at least 1) records wait; senders block when it is full.
    #[must_use]
    pub fn bounded(capacity: usize) -> (ChannelSender<T>, Self) {
        Self::with_capacity(capacity.max(1))
    }

    fn with_capacity(capacity: usize) -> (ChannelSender<T>, Self) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                waker: None,
                senders: 1,
                source_gone: false,
            }),
            room: Condvar::new(),
            capacity,
        });
        let sender = ChannelSender {
            shared: Arc::clone(&shared),
        };
        (sender, Self { shared })
    }
}

impl<T> Drop for ChannelSource<T> {
    fn drop(&mut self) {
        self.shared.lock().source_gone = true;
        self.shared.room.notify_all();
    }
}

impl<T> std::fmt::Debug for ChannelSource<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelSource").finish_non_exhaustive()
    }
}

/// Puts records into a [`ChannelSource`], from any thread. Clones send into the same source; it ends when all are dropped.
pub struct ChannelSender<T> {
    shared: Arc<Shared<T>>,
}

/// The record that could not be sent, since the job and its source are gone.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job that reads this channel has ended")]
pub struct SendError<T>(pub T);

impl<T> std::fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> ChannelSender<T> {
    /// Sends a record; blocks while a bounded channel is full.
    ///
    /// # Errors
    /// When the source is gone, with the record.
    pub fn send(&self, record: T) -> Result<(), SendError<T>> {
        let mut state = self.shared.lock();
        while state.queue.len() >= self.shared.capacity && !state.source_gone {
            state = self
                .shared
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.source_gone {
            return Err(SendError(record));
        }
        state.queue.push_back(record);
        // The reader went idle only on an empty queue, so only the first record has to wake it.
        let waker = (state.queue.len() == 1).then(|| state.waker.clone()).flatten();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for ChannelSender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for ChannelSender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let waker = if state.senders == 0 {
            state.waker.clone()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> std::fmt::Debug for ChannelSender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelSender").finish_non_exhaustive()
    }
}

/// The one split of a [`ChannelSource`]; it has no position, since a channel cannot be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSplit;

impl<T: Data> Source for ChannelSource<T> {
    type Record = T;
    type Split = ChannelSplit;
    type Reader = ChannelReader<T>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn splits(&self, _: u32) -> Result<Vec<ChannelSplit>> {
        Ok(vec![ChannelSplit])
    }

    fn reader(&self, context: ReaderContext, splits: Vec<ChannelSplit>) -> Result<ChannelReader<T>> {
        let reads = !splits.is_empty();
        if reads {
            self.shared.lock().waker = Some(context.waker);
        }
        Ok(ChannelReader {
            shared: reads.then(|| Arc::clone(&self.shared)),
        })
    }
}

/// Takes records out of the channel of a [`ChannelSource`].
pub struct ChannelReader<T> {
    /// The channel, until it has ended; nothing in the subtasks that do not read.
    shared: Option<Arc<Shared<T>>>,
}

impl<T> std::fmt::Debug for ChannelReader<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelReader").finish_non_exhaustive()
    }
}

impl<T: Data> SourceReader for ChannelReader<T> {
    type Record = T;
    type Split = ChannelSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<T>) -> Result<ReaderStatus> {
        let Some(shared) = &self.shared else {
            return Ok(ReaderStatus::Finished);
        };
        let mut state = shared.lock();
        let count = state.queue.len().min(max_records);
        output.collect_all(state.queue.drain(..count));
        let status = match (state.queue.is_empty(), state.senders) {
            (false, _) => ReaderStatus::More,
            (true, 0) => ReaderStatus::Finished,
            (true, _) => ReaderStatus::Idle,
        };
        drop(state);
        if count > 0 {
            shared.room.notify_all();
        }
        if status == ReaderStatus::Finished {
            self.shared = None;
        }
        Ok(status)
    }

    fn snapshot(&mut self) -> Result<Vec<ChannelSplit>> {
        Ok(self.shared.iter().map(|_| ChannelSplit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::sources::testing::{context, read_all};
    use std::sync::mpsc;

    #[test]
    fn a_sent_record_wakes_the_idle_reader_and_dropping_the_senders_ends_it() {
        let (sender, source) = ChannelSource::unbounded();
        let (woken, wakes) = mpsc::channel();
        let context = ReaderContext {
            waker: SourceWaker::new(move || woken.send(()).unwrap()),
            ..context(0)
        };
        let mut reader = source.reader(context, source.splits(3).unwrap()).unwrap();
        let mut output = SourceOutput::new();
        assert_eq!(reader.poll(10, &mut output).unwrap(), ReaderStatus::Idle);

        let thread = std::thread::spawn(move || {
            sender.send(0).unwrap();
            sender
        });
        wakes.recv().unwrap();
        let sender = thread.join().unwrap();
        assert_eq!(reader.poll(10, &mut output).unwrap(), ReaderStatus::Idle);
        assert_eq!(output.records(), [0]);
        assert_eq!(reader.snapshot().unwrap(), [ChannelSplit]);

        drop(sender.clone());
        (1..5).for_each(|i| sender.send(i).unwrap());
        assert_eq!(reader.poll(2, &mut output).unwrap(), ReaderStatus::More);
        assert_eq!(reader.poll(2, &mut output).unwrap(), ReaderStatus::Idle);
        while wakes.try_recv().is_ok() {}
        drop(sender);
        wakes.recv().unwrap();
        assert_eq!(reader.poll(2, &mut output).unwrap(), ReaderStatus::Finished);
        assert_eq!(output.records(), [0, 1, 2, 3, 4]);
        assert!(reader.snapshot().unwrap().is_empty());
    }

    #[test]
    fn a_full_channel_blocks_its_senders_and_loses_nothing() {
        let (sender, source) = ChannelSource::bounded(2);
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..100).for_each(|i| sender.send(thread * 100 + i).unwrap()))
            })
            .collect();
        drop(sender);
        let mut all = read_all(source.reader(context(0), vec![ChannelSplit]).unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn subtasks_without_the_split_end_at_once() {
        let (_sender, source) = ChannelSource::<u64>::unbounded();
        assert!(read_all(source.reader(context(1), Vec::new()).unwrap()).is_empty());
    }

    #[test]
    fn senders_get_the_record_back_when_the_job_is_gone() {
        let (sender, source) = ChannelSource::bounded(1);
        sender.send(1).unwrap();
        let blocked = std::thread::spawn(move || sender.send(2));
        drop(source);
        assert!(blocked.join().unwrap().is_err_and(|error| error.0 == 2));
    }
}
