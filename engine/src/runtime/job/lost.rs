//! Notifications that are lost between coordinator and tasks, and failures right after: what a later one covers is done then, nothing twice.

use crate::api::{
    Boundedness, Collector, JobClient, KeyedProcessFunction, ProcessContext, ReaderContext, ReaderStatus,
    Source, SourceOutput, SourceReader, StreamExecutionEnvironment,
};
use crate::checkpoint::{Command, SavepointFormat};
use crate::config::Configuration;
use crate::connectors::sinks::CollectSink;
use crate::state::{StateRegistry, ValueState};
use crate::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many notifications of a job are lost.
const LOST: u64 = 6;
/// After so many of them the function fails, once each.
const FAILS_AFTER: [u64; 2] = [1, 4];

/// What is lost of a job, by its name.
struct Losses {
    is_lost: fn(&Command) -> bool,
    lost: Arc<AtomicU64>,
}

static LOSSES: Mutex<Option<HashMap<String, Losses>>> = Mutex::new(None);

/// Whether the command does not reach the tasks of the job.
pub(super) fn loses(job_name: &str, command: &Command) -> bool {
    let losses = LOSSES.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(losses) = losses.as_ref().and_then(|losses| losses.get(job_name)) else {
        return false;
    };
    (losses.is_lost)(command)
        && losses
            .lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |lost| {
                (lost < LOST).then_some(lost + 1)
            })
            .is_ok()
}

/// What source, function and test share.
#[derive(Clone, Default)]
struct Shared {
    lost: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
    /// Where the numbers end; 0 as long as notifications are being lost.
    end: Arc<AtomicU64>,
}

/// Numbers from 0 on, until all is lost that is to be lost, and some more: so it ends on every machine behind the last loss.
struct Numbers(Shared);

impl Source for Numbers {
    type Record = u64;
    type Split = u64;
    type Reader = NumbersReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, _: u32) -> Result<Vec<u64>> {
        Ok(vec![0])
    }

    fn reader(&self, _: ReaderContext, splits: Vec<u64>) -> Result<NumbersReader> {
        Ok(NumbersReader {
            shared: self.0.clone(),
            next: splits.first().copied(),
        })
    }
}

struct NumbersReader {
    shared: Shared,
    next: Option<u64>,
}

impl SourceReader for NumbersReader {
    type Record = u64;
    type Split = u64;

    fn poll(&mut self, _: usize, output: &mut SourceOutput<u64>) -> Result<ReaderStatus> {
        let Some(next) = self.next else {
            return Ok(ReaderStatus::Finished);
        };
        let all_failed = self.shared.failures.load(Ordering::SeqCst) == FAILS_AFTER.len() as u64;
        let all_lost = self.shared.lost.load(Ordering::SeqCst) == LOST;
        if all_failed && all_lost {
            let end = &self.shared.end;
            let _ = end.compare_exchange(0, next + 100, Ordering::SeqCst, Ordering::SeqCst);
        }
        let end = self.shared.end.load(Ordering::SeqCst);
        if end > 0 && next >= end {
            self.next = None;
            return Ok(ReaderStatus::Finished);
        }
        output.collect(next);
        self.next = Some(next + 1);
        Ok(ReaderStatus::IdleFor(Duration::from_millis(1)))
    }

    fn snapshot(&mut self) -> Result<Vec<u64>> {
        Ok(self.next.into_iter().collect())
    }
}

/// Counts the numbers of a key, and fails soon after some losses.
#[derive(Clone)]
struct Count {
    shared: Shared,
    count: Option<ValueState<u64>>,
}

impl KeyedProcessFunction<u64, u64, (u64, u64)> for Count {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.count = Some(states.value_state("count")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        let failures = self.shared.failures.load(Ordering::SeqCst);
        let fails_after = FAILS_AFTER.get(usize::try_from(failures).unwrap_or(usize::MAX));
        if fails_after.is_some_and(|after| self.shared.lost.load(Ordering::SeqCst) >= *after) {
            self.shared.failures.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::UserCode, "fails after a loss"));
        }
        let count = self.count.unwrap();
        let now = count.modify(context, |count| count.unwrap_or(0) + 1)?;
        out.collect((number, now));
        Ok(())
    }
}

/// Runs a job that loses what `is_lost` says; `meanwhile` is called until it has lost enough.
fn loses_and_is_exact(
    name: &str,
    backend: &str,
    is_lost: fn(&Command) -> bool,
    meanwhile: impl Fn(&JobClient, &Path),
) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let shared = Shared::default();
    let losses = Losses {
        is_lost,
        lost: Arc::clone(&shared.lost),
    };
    let mut all = LOSSES.lock().unwrap();
    all.get_or_insert_default().insert(name.to_owned(), losses);
    drop(all);
    let mut config = Configuration::new();
    for (key, value) in [
        ("state.backend.type", backend),
        ("execution.checkpointing.incremental", "true"),
        ("execution.checkpointing.data-inline-threshold", "0 b"),
        ("execution.checkpointing.interval", "10 ms"),
        ("execution.checkpointing.dir", checkpoints.to_str().unwrap()),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "2"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ] {
        config.set_string(key, value);
    }
    let env = StreamExecutionEnvironment::with_configuration(config);
    env.set_parallelism(2);
    let sink = CollectSink::new();
    let results = sink.results();
    env.from_source(Numbers(shared.clone()), "numbers")
        .uid("numbers")
        .set_parallelism(1)
        .key_by(|number| number % 5)
        .process(Count {
            shared: shared.clone(),
            count: None,
        })
        .uid("count")
        .sink_to_2pc(sink)
        .uid("results");
    let job = env.execute_async(name).unwrap();
    while shared.lost.load(Ordering::SeqCst) < LOST {
        assert!(!job.is_finished(), "{name}: {:?}", job.wait());
        meanwhile(&job, folder.path());
    }
    let result = job.wait().unwrap();
    assert_eq!(result.attempts, 3, "{name}");
    let mut found = results.take();
    found.sort_unstable();
    let end = shared.end.load(Ordering::SeqCst);
    let expected: Vec<_> = (0..end).map(|number| (number, number / 5 + 1)).collect();
    assert_eq!(found, expected, "{name}");
    let left: Vec<_> = std::fs::read_dir(&checkpoints).unwrap().flatten().collect();
    assert!(left.is_empty(), "{name}: {left:?}");
}

fn wait(_: &JobClient, _: &Path) {
    std::thread::sleep(Duration::from_millis(2));
}

#[test]
fn completions_that_are_lost_are_made_up_for_by_the_next_one() {
    let is_complete = |command: &Command| matches!(command, Command::Complete { .. });
    for backend in ["hashmap", "filesystem"] {
        loses_and_is_exact(
            &format!("loses completions, {backend}"),
            backend,
            is_complete,
            wait,
        );
    }
}

/// An abort is sent for each savepoint that the job goes on after.
#[test]
fn aborts_that_are_lost_do_no_harm() {
    let is_abort = |command: &Command| matches!(command, Command::Abort { .. });
    for backend in ["hashmap", "filesystem"] {
        loses_and_is_exact(
            &format!("loses aborts, {backend}"),
            backend,
            is_abort,
            |job, folder| {
                // It fails if the job does, or does not run yet.
                let _ = job.trigger_savepoint(Some(folder.to_str().unwrap()), SavepointFormat::Native);
                std::thread::sleep(Duration::from_millis(2));
            },
        );
    }
}
