//! How batches come over from the fetcher's thread.

use super::*;
use crate::{Error, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Hands over what the test has given it: numbers, an error, or a panic.
struct Numbers {
    /// Ends with the last sender.
    script: Receiver<Step>,
    /// Told about each batch that the fetcher was called for: the number of records that it came with.
    called: Sender<usize>,
}

enum Step {
    Batch(Vec<u64>),
    Last(Vec<u64>),
    Fail,
    Panic,
}

impl SplitFetcher for Numbers {
    type Fetched = Vec<u64>;

    fn fetch(&mut self, fetched: &mut Vec<u64>) -> Result<FetchStatus> {
        let _ = self.called.send(fetched.capacity());
        match self.script.recv() {
            Ok(Step::Batch(numbers)) => {
                fetched.extend(numbers);
                Ok(FetchStatus::More)
            }
            Ok(Step::Last(numbers)) => {
                fetched.extend(numbers);
                Ok(FetchStatus::Finished)
            }
            Ok(Step::Fail) => Err(Error::new(ErrorKind::UserCode, "the disk is gone")),
            Ok(Step::Panic) => panic!("the fetcher's own words"),
            Err(_) => Ok(FetchStatus::Finished),
        }
    }
}

/// The position is the number of records that were emitted.
struct Emitter(u64);

impl SplitEmitter for Emitter {
    type Record = u64;
    type Split = u64;
    type Fetched = Vec<u64>;

    fn emit(
        &mut self,
        fetched: &mut Vec<u64>,
        max_records: usize,
        output: &mut SourceOutput<u64>,
    ) -> Result<bool> {
        let count = fetched.len().min(max_records);
        output.collect_all(fetched.drain(..count));
        self.0 += count as u64;
        Ok(fetched.is_empty())
    }

    fn snapshot(&mut self) -> Result<Vec<u64>> {
        Ok(vec![self.0])
    }
}

struct Fixture {
    /// Dropped first: a fetcher that waits for it ends then, and the reader waits for the fetcher.
    script: Sender<Step>,
    reader: FetchingReader<Numbers, Emitter>,
    called: Receiver<usize>,
    woken: Receiver<()>,
    output: SourceOutput<u64>,
}

fn fixture(steps: impl IntoIterator<Item = Step>) -> Fixture {
    let (script, steps_of_thread) = channel();
    let (called, calls) = channel();
    let (wake, woken) = channel();
    for step in steps {
        script.send(step).unwrap();
    }
    let fetcher = Numbers {
        script: steps_of_thread,
        called,
    };
    let waker = SourceWaker::new(move || {
        let _ = wake.send(());
    });
    Fixture {
        reader: FetchingReader::new(fetcher, Emitter(0), waker),
        script,
        called: calls,
        woken,
        output: SourceOutput::new(),
    }
}

impl Fixture {
    /// Polls, when idle after it was woken, until there is more than idleness.
    fn poll(&mut self, max_records: usize) -> Result<ReaderStatus> {
        let before = self.output.records().len();
        loop {
            let status = self.reader.poll(max_records, &mut self.output)?;
            assert!(self.output.records().len() - before <= max_records);
            if status != ReaderStatus::Idle || self.output.records().len() > before {
                return Ok(status);
            }
            self.woken.recv().unwrap();
        }
    }

    fn read_all(&mut self) -> Result<()> {
        while self.poll(2)? != ReaderStatus::Finished {}
        Ok(())
    }
}

#[test]
fn records_come_in_order_and_the_position_is_that_of_what_was_emitted() {
    let mut all = fixture((0..20).map(|n| Step::Batch(vec![3 * n, 3 * n + 1, 3 * n + 2])));
    drop(std::mem::replace(&mut all.script, channel().0));
    for count in 1..=60 {
        while all.output.records().len() < count {
            all.poll(1).unwrap();
        }
        // However far the fetcher is.
        assert_eq!(all.reader.snapshot().unwrap(), [count as u64]);
    }
    all.read_all().unwrap();
    assert_eq!(all.output.records(), (0..60).collect::<Vec<_>>());
}

#[test]
fn one_batch_is_fetched_without_a_thread() {
    let mut one = fixture([Step::Last(vec![7, 8])]);
    // No waiting: it is there at once.
    let status = one.reader.poll(1, &mut one.output).unwrap();
    assert_eq!((status, one.output.records()), (ReaderStatus::More, &[7][..]));
    assert!(matches!(one.reader.input, Input::Nowhere));
    one.read_all().unwrap();
    assert_eq!(one.output.records(), [7, 8]);
}

#[test]
fn a_reader_without_work_is_woken_by_the_next_batch() {
    let mut slow = fixture([Step::Batch(vec![1])]);
    assert_eq!(slow.reader.poll(5, &mut slow.output).unwrap(), ReaderStatus::Idle);
    assert_eq!(slow.output.records(), [1]);
    slow.script.send(Step::Batch(vec![2])).unwrap();
    slow.woken.recv().unwrap();
    assert_eq!(slow.reader.poll(5, &mut slow.output).unwrap(), ReaderStatus::Idle);
    assert_eq!(slow.output.records(), [1, 2]);
    slow.script.send(Step::Last(Vec::new())).unwrap();
    slow.read_all().unwrap();
    assert_eq!(slow.output.records(), [1, 2]);
}

#[test]
fn an_error_comes_behind_what_was_fetched_before_it() {
    let steps = [Step::Batch(vec![1]), Step::Batch(vec![2, 3]), Step::Fail];
    let mut failing = fixture(steps);
    let error = failing.read_all().unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::UserCode, "the disk is gone")
    );
    assert_eq!(failing.output.records(), [1, 2, 3]);
    // Also when it is the first thing that happens.
    let error = fixture([Step::Fail]).read_all().unwrap_err();
    assert_eq!(error.message(), "the disk is gone");
}

#[test]
fn a_panic_of_the_fetcher_is_one_of_the_subtask() {
    let mut panicking = fixture([Step::Batch(vec![1]), Step::Panic]);
    let payload = catch_unwind(AssertUnwindSafe(|| panicking.read_all())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"the fetcher's own words"));
    assert_eq!(panicking.output.records(), [1]);
}

#[test]
fn two_batches_are_fetched_ahead_and_no_more_and_memory_comes_back() {
    let mut ahead = fixture((0..20).map(|n| Step::Batch(vec![n; 100])));
    let calls = |ahead: &Fixture| ahead.called.try_iter().count();
    assert_eq!(ahead.poll(1).unwrap(), ReaderStatus::More);
    // The first one here, then two until there is no room. That no third follows shows in what memory it gets: the first batch's, once that is given back.
    let first: Vec<usize> = (0..3).map(|_| ahead.called.recv().unwrap()).collect();
    assert_eq!(first, [0, 0, 0]);
    assert_eq!(calls(&ahead), 0);
    assert_eq!(ahead.poll(100).unwrap(), ReaderStatus::More);
    let fourth = ahead.called.recv().unwrap();
    assert!(
        fourth >= 100,
        "its memory is that of the first batch, not {fourth}"
    );
}

#[test]
fn a_reader_that_is_dropped_ends_its_thread_wherever_that_is() {
    // It waits for room.
    let mut full = fixture((0..5).map(|n| Step::Batch(vec![n])));
    full.poll(1).unwrap();
    drop(full.reader);
    // The fetcher is gone with the thread, so nobody is left who calls.
    while full.called.recv().is_ok() {}

    // It is fetching, and looks up when that is over.
    let mut fetching = fixture([Step::Batch(vec![1])]);
    fetching.poll(1).unwrap();
    let Fixture {
        reader,
        script,
        called,
        ..
    } = fetching;
    let dropping = std::thread::spawn(move || drop(reader));
    script.send(Step::Batch(vec![2])).unwrap();
    // Should it be called once more.
    drop(script);
    dropping.join().unwrap();
    while called.recv().is_ok() {}
}
