//! The workloads as programs on the engine.

use crate::ends::{TallySink, TimedSource};
use crate::generate::key_of;
use crate::probe::Probe;
use crate::report::round;
use crate::settings::RunSettings;
use crate::stamped::StampedSource;
use crate::words::each_word;
use crate::work::Work;
use compact_str::CompactString;
use millpond_engine::Result;
use millpond_engine::api::{JobClient, JobExecutionResult, JobProgress, TumblingEventTimeWindows};
use millpond_engine::checkpoint::{CheckpointId, metadata};
use millpond_engine::connectors::sources::{SequenceSource, TextFileSource};
use millpond_engine::state::AggregateFunction;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How checkpoints of a run went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoints {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    /// From trigger to completion, of each that was seen to complete.
    pub(crate) duration_ms: Vec<u64>,
    /// The whole state, of each that was seen to complete.
    pub(crate) state_bytes: Vec<u64>,
    /// What was written, of each that was seen to complete.
    pub(crate) new_bytes: Vec<u64>,
    /// The longest synchronous part of a subtask, of each that was seen to complete and whose metadata was still there.
    pub(crate) sync_ms: Vec<f64>,
}

/// Runs the workload on the engine, with a checksum of its outputs if `emit` says so.
///
/// # Errors
/// The engine's.
pub(crate) fn run(
    settings: &RunSettings,
    work: &Work,
    emit: bool,
    probe: &Arc<Probe>,
) -> Result<Checkpoints> {
    let env = settings.environment();
    let probe = || Arc::clone(probe);
    match *work {
        Work::KeyedCount { records, keys } => {
            let numbers = SequenceSource::generate(0..records, move |index| key_of(index, keys));
            env.from_source(TimedSource::new(numbers, probe()), "Source: Generator")
                .key_by(|key: &u64| *key)
                .count()
                .sink_to(TallySink::new(probe(), emit));
        }
        Work::Exchange { records, keys } => {
            let numbers = SequenceSource::generate(0..records, move |index| key_of(index, keys));
            env.from_source(TimedSource::new(numbers, probe()), "Source: Generator")
                .key_by(|key: &u64| *key)
                .as_stream()
                .sink_to(TallySink::new(probe(), emit));
        }
        Work::TumblingWindow(windows) => {
            let source = StampedSource {
                range: 0..windows.records,
                keys: windows.keys,
                ratio: windows.ratio,
            };
            let size = Duration::from_millis(windows.window_ms);
            env.from_source(TimedSource::new(source, probe()), "Source: Generator")
                .key_by(|record: &(u64, u64)| record.0)
                .window(TumblingEventTimeWindows::of(size))
                .aggregate_with(Sum, |key, window, sum, out| {
                    out.collect((*key, window.start, sum));
                })
                .sink_to(TallySink::new(probe(), emit));
        }
        Work::WordCount { ref text } => {
            let lines = TextFileSource::new(text);
            env.from_source(TimedSource::new(lines, probe()), "Source: Text")
                .flat_map(|line: String, out| {
                    // Compact strings have up to 24 bytes in place.
                    each_word(&line, |word| out.collect(CompactString::new(word)));
                })
                .key_by(CompactString::clone)
                .count()
                .sink_to(TallySink::new(probe(), emit));
        }
    }
    follow(env.execute_async("bench")?)
}

/// Waits for the end of a job and notes its checkpoints as they complete.
fn follow(job: JobClient) -> Result<Checkpoints> {
    /// Shorter than a checkpoint and the pause behind it, so that few are missed, and long enough to cost nothing.
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let mut watch = CheckpointWatch::default();
    let progress = job.progress();
    loop {
        let finished = job.is_finished();
        watch.look(&progress);
        if finished {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let result = job.wait()?;
    watch.end(&result);
    Ok(watch.seen)
}

/// Notes checkpoints as they complete.
#[derive(Debug, Default)]
pub(crate) struct CheckpointWatch {
    pub(crate) seen: Checkpoints,
    last: Option<CheckpointId>,
}

impl CheckpointWatch {
    /// Looks whether there is a new one.
    pub(crate) fn look(&mut self, progress: &JobProgress) {
        let stats = progress.checkpoints();
        if stats.last_completed_id == self.last {
            return;
        }
        self.last = stats.last_completed_id;
        self.seen.duration_ms.push(stats.last_duration_ms);
        self.seen.state_bytes.push(stats.last_full_size_bytes);
        self.seen.new_bytes.push(stats.last_size_bytes);
        let metadata = stats
            .last_path
            .and_then(|path| metadata::read_file(Path::new(&path)).ok());
        if let Some(metadata) = metadata {
            let subtasks = metadata.operators.iter().flat_map(|operator| &operator.subtasks);
            let longest = subtasks.map(|subtask| subtask.sync_ms).fold(0.0, f64::max);
            self.seen.sync_ms.push(round(longest, 1e3));
        }
    }

    /// Takes what the job says at its end.
    pub(crate) fn end(&mut self, result: &JobExecutionResult) {
        self.seen.completed = result.checkpoints.completed;
        self.seen.failed = result.checkpoints.failed;
    }
}

/// Sums values.
struct Sum;

impl AggregateFunction for Sum {
    type Input = (u64, u64);
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, (_, value): (u64, u64), sum: u64) -> u64 {
        sum + value
    }

    fn result(&self, sum: &u64) -> u64 {
        *sum
    }
}
