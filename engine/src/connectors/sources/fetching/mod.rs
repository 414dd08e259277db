//! Reading ahead: the part of a source's work that waits or costs time is done on a thread of its own.
//!
//! A subtask is one thread, and what its source reads, cuts and checks is time that its records wait. A [`FetchingReader`] has a [`SplitFetcher`] do that on another
//! thread, a batch ahead of the subtask, and a [`SplitEmitter`] make records of the batches in the subtask. These are Flink's `SplitReader` and `RecordEmitter`.
//!
//! Checkpoints stay exact because positions are the emitter's: they follow what was emitted, and what was fetched beyond them is fetched again after a restore.

mod ahead;
#[cfg(test)]
mod tests;

use self::ahead::{Ahead, Next};
use crate::Result;
use crate::api::{Data, ReaderStatus, SourceOutput, SourceReader, SourceWaker};

/// Reads splits, on a thread of its own.
pub trait SplitFetcher: Send + 'static {
    /// What is handed over at once. Comes back when it was emitted, so that its memory is used again.
    type Fetched: Default + Send + 'static;

    /// Puts what comes next into `fetched`, which is as it was made or given back, and says whether more may follow. May block. About as much as a few milliseconds' worth
    /// of records is right: each batch costs a change of threads, and two of them wait at most.
    ///
    /// # Errors
    /// When the input cannot be read; what was handed over before is emitted first, then the attempt fails. What is in `fetched` is thrown away.
    fn fetch(&mut self, fetched: &mut Self::Fetched) -> Result<FetchStatus>;
}

/// How a fetcher goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStatus {
    /// There may be more.
    More,
    /// This was the last of it.
    Finished,
}

/// Makes records of what was fetched, in the subtask's thread, and keeps the positions.
pub trait SplitEmitter: 'static {
    /// What is emitted.
    type Record: Data;
    /// As in [`Source::Split`](crate::api::Source::Split).
    type Split;
    /// As in [`SplitFetcher::Fetched`].
    type Fetched;

    /// Emits at most `max_records` records (at least 1 is asked for) of those that `fetched` has left, and tells whether that was all of it. It is then given back to the fetcher.
    ///
    /// # Errors
    /// When no record can be made of it; the attempt fails.
    fn emit(
        &mut self,
        fetched: &mut Self::Fetched,
        max_records: usize,
        output: &mut SourceOutput<Self::Record>,
    ) -> Result<bool>;

    /// As [`SourceReader::snapshot`]: the splits that are not emitted to their end, with the position after the last record that was *emitted*.
    ///
    /// # Errors
    /// When the position cannot be told; the checkpoint is declined.
    fn snapshot(&mut self) -> Result<Vec<Self::Split>>;
}

/// A reader whose input is fetched on a thread of its own, ahead of what it emits.
///
/// The first batch is fetched in the subtask, so that an input of one batch needs no thread. The thread ends with the input, with an error of the fetcher, which the subtask
/// then fails with, and with the reader, which waits for it: at most as long as one call of the fetcher takes.
pub struct FetchingReader<F: SplitFetcher, E> {
    emitter: E,
    fetched: Option<F::Fetched>,
    input: Input<F>,
    waker: SourceWaker,
}

/// Where the next batch comes from.
enum Input<F: SplitFetcher> {
    /// From a fetcher that has not begun.
    Start(F),
    Thread(Ahead<F::Fetched>),
    Nowhere,
}

impl<F: SplitFetcher, E> std::fmt::Debug for FetchingReader<F, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchingReader").finish_non_exhaustive()
    }
}

impl<F: SplitFetcher, E: SplitEmitter<Fetched = F::Fetched>> FetchingReader<F, E> {
    /// A reader that emits by `emitter` what `fetcher` fetches, and that `waker` has polled when there is something after an idle moment.
    pub fn new(fetcher: F, emitter: E, waker: SourceWaker) -> Self {
        Self {
            emitter,
            fetched: None,
            input: Input::Start(fetcher),
            waker,
        }
    }

    /// The next batch, or how the reader goes on without one.
    fn next(&mut self) -> Result<Result<F::Fetched, ReaderStatus>> {
        match std::mem::replace(&mut self.input, Input::Nowhere) {
            Input::Start(mut fetcher) => {
                let mut fetched = F::Fetched::default();
                if fetcher.fetch(&mut fetched)? == FetchStatus::More {
                    self.input = Input::Thread(Ahead::start(fetcher, self.waker.clone())?);
                }
                Ok(Ok(fetched))
            }
            Input::Thread(mut ahead) => match ahead.next()? {
                Next::Fetched(fetched) => {
                    self.input = Input::Thread(ahead);
                    Ok(Ok(fetched))
                }
                Next::Nothing => {
                    self.input = Input::Thread(ahead);
                    Ok(Err(ReaderStatus::Idle))
                }
                Next::Finished => Ok(Err(ReaderStatus::Finished)),
            },
            Input::Nowhere => Ok(Err(ReaderStatus::Finished)),
        }
    }
}

impl<F: SplitFetcher, E: SplitEmitter<Fetched = F::Fetched>> SourceReader for FetchingReader<F, E> {
    type Record = E::Record;
    type Split = E::Split;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<E::Record>) -> Result<ReaderStatus> {
        let full = output.records.len() + max_records;
        loop {
            let fetched = match &mut self.fetched {
                Some(fetched) => fetched,
                None => match self.next()? {
                    Ok(fetched) => self.fetched.insert(fetched),
                    Err(status) => return Ok(status),
                },
            };
            let room = full.saturating_sub(output.records.len());
            if room == 0 || !self.emitter.emit(fetched, room, output)? {
                return Ok(ReaderStatus::More);
            }
            if let (Some(fetched), Input::Thread(ahead)) = (self.fetched.take(), &self.input) {
                ahead.give_back(fetched);
            }
        }
    }

    fn snapshot(&mut self) -> Result<Vec<E::Split>> {
        self.emitter.snapshot()
    }
}
