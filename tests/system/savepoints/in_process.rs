//! Savepoints of jobs within the test.

use super::{assert_self_contained, moved, savepoints};
use crate::harness::{FILES, HEAP, ROCKSDB, Settings, finished_lines, has_rocksdb};
use millpond_engine::api::{
    Collector, JobClient, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment, Timer,
    WatermarkStrategy,
};
use millpond_engine::checkpoint::SavepointFormat;
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{StateRegistry, ValueState};
use millpond_engine::{ErrorKind, Result};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const KEYS: u64 = 50;

/// Says which events of a key it has seen before, and may be held up at one of them.
#[derive(Clone)]
struct Number {
    seen: Option<ValueState<u64>>,
    gate: Gate,
}

impl KeyedProcessFunction<u64, u64, (u64, u64)> for Number {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.seen = Some(states.value_state("seen")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        self.gate.pass(number);
        let Some(seen) = self.seen else { return Ok(()) };
        let count = seen.value(context)?.unwrap_or(0);
        seen.update(context, &(count + 1))?;
        out.collect((number % KEYS, count));
        Ok(())
    }
}

/// Holds up whoever comes with a certain number, until it is opened.
#[derive(Clone, Debug)]
struct Gate {
    at: u64,
    state: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Debug, Default)]
struct GateState {
    reached: bool,
    open: bool,
}

impl Gate {
    fn at(at: u64) -> Self {
        let state = Arc::default();
        Self { at, state }
    }

    fn none() -> Self {
        Self::at(u64::MAX)
    }

    fn pass(&self, number: u64) {
        if number == self.at {
            let (state, changed) = &*self.state;
            let mut state = state.lock().unwrap();
            state.reached = true;
            changed.notify_all();
            drop(changed.wait_while(state, |state| !state.open).unwrap());
        }
    }

    fn wait_until_reached(&self) {
        let (state, changed) = &*self.state;
        drop(
            changed
                .wait_while(state.lock().unwrap(), |state| !state.reached)
                .unwrap(),
        );
    }

    fn open(&self) {
        let (state, changed) = &*self.state;
        state.lock().unwrap().open = true;
        changed.notify_all();
    }
}

/// A job over `records` numbers that writes each with how many of its key came before.
struct Job<'a> {
    folder: &'a Path,
    records: u64,
    rate: f64,
    parallelism: usize,
    settings: Settings,
    from: Option<&'a Path>,
    gate: Gate,
}

impl Job<'_> {
    fn start(&self, more: &[(&str, &str)]) -> JobClient {
        let mut config = Configuration::new();
        for (key, value) in self.settings.iter().chain(more) {
            config.set_string(*key, *value);
        }
        if let Some(from) = self.from {
            config.set_string("execution.state-recovery.path", from.to_str().unwrap());
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_parallelism(self.parallelism);
        env.from_source(SequenceSource::generate(0..self.records, |n| n), "numbers")
            .uid("numbers")
            .rate_limit(self.rate)
            .key_by(|number: &u64| number % KEYS)
            .process(Number {
                seen: None,
                gate: self.gate.clone(),
            })
            .uid("number")
            .sink_to_2pc(FileSink::new(
                self.folder.join("output"),
                |(key, count): &(u64, u64), row| {
                    let _ = writeln!(row, "{key} {count}"); // a `Vec` takes everything
                },
            ))
            .uid("files");
        env.execute_async("numbers").unwrap()
    }
}

#[track_caller]
fn assert_exact(folder: &Path, records: u64) {
    let found: Vec<String> = finished_lines(&folder.join("output"))
        .into_iter()
        .map(|line| String::from_utf8(line).unwrap())
        .collect();
    let mut expected: Vec<String> = (0..records)
        .map(|number| format!("{} {}", number % KEYS, number / KEYS))
        .collect();
    expected.sort();
    assert!(found == expected, "{} lines of {records}", found.len());
}

fn wait_for_records(job: &JobClient, records: u64) {
    let progress = job.progress();
    let deadline = Instant::now() + Duration::from_secs(100);
    while progress.sink_records() < records {
        assert!(!job.is_finished() && Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// No checkpoint is configured, nor anything that outlives the job but the savepoint.
#[test]
fn a_job_is_stopped_and_another_one_goes_on_from_the_moved_savepoint_at_another_parallelism() {
    for (settings, format, after) in [
        (HEAP, SavepointFormat::Canonical, FILES),
        (HEAP, SavepointFormat::Native, HEAP),
        (FILES, SavepointFormat::Canonical, HEAP),
        (FILES, SavepointFormat::Native, FILES),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("savepoints");
        let mut job = Job {
            folder: folder.path(),
            records: 20_000,
            rate: 500.0,
            parallelism: 2,
            settings,
            from: None,
            gate: Gate::none(),
        };
        let checkpoints = folder.path().join("checkpoints");
        let more = [("execution.checkpointing.dir", checkpoints.to_str().unwrap())];
        let running = job.start(&more);
        wait_for_records(&running, 100);
        let savepoint = running
            .stop_with_savepoint(Some(target.to_str().unwrap()), false, format)
            .unwrap();
        let result = running.wait().unwrap();
        assert_eq!(result.savepoint.as_deref(), Some(&*savepoint));
        let before = result.source_records;
        assert!(before < 20_000, "it was stopped");
        let metadata = assert_self_contained(&savepoint);
        assert!(metadata.state_bytes() > 0);
        let jobs = std::fs::read_dir(&checkpoints).unwrap();
        assert_eq!(jobs.count(), 0, "a savepoint makes no folder for checkpoints");
        let savepoint = moved(&savepoint, &folder.path().join("elsewhere"));
        job.from = Some(&savepoint);
        job.settings = after;
        job.parallelism = 3;
        job.rate = 1e9;
        let result = job.start(&more).wait().unwrap();
        assert_eq!(result.savepoint, None);
        // Sinks without transactions would see the same.
        assert_eq!(
            before + result.source_records,
            20_000,
            "nothing was read after the savepoint"
        );
        assert_exact(folder.path(), 20_000);
        assert_self_contained(&savepoint);
    }
}

/// Each job is stopped with a savepoint in the canonical form, and the next one goes on from it on another backend.
#[test]
fn a_canonical_savepoint_takes_a_job_from_any_backend_to_any_other() {
    // Slow enough that a job is stopped long before its end, on any machine.
    const RECORDS: u64 = 40_000;
    let mut backends = vec![HEAP, FILES, HEAP];
    if has_rocksdb() {
        backends.extend([ROCKSDB, FILES, ROCKSDB, HEAP]);
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("savepoints");
    let mut from = None;
    let mut records = 0;
    let jobs = backends.len();
    for (number, settings) in backends.into_iter().enumerate() {
        let is_last = number + 1 == jobs;
        let job = Job {
            folder: folder.path(),
            records: RECORDS,
            rate: if is_last { 1e9 } else { 400.0 },
            parallelism: 1 + number % 3,
            settings,
            from: from.as_deref(),
            gate: Gate::none(),
        };
        // Checkpoints in the backend's own form go on around it.
        let checkpoints = folder.path().join(format!("checkpoints-{number}"));
        let running = job.start(&[
            ("execution.checkpointing.dir", checkpoints.to_str().unwrap()),
            ("execution.checkpointing.interval", "20 ms"),
        ]);
        let savepoint = (!is_last).then(|| {
            wait_for_records(&running, 100);
            running
                .stop_with_savepoint(Some(target.to_str().unwrap()), false, SavepointFormat::Canonical)
                .unwrap()
        });
        records += running.wait().unwrap().source_records;
        from = savepoint;
    }
    assert_eq!(records, RECORDS, "each record was read once");
    assert_exact(folder.path(), RECORDS);
}

#[test]
fn a_plain_savepoint_is_no_checkpoint_and_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let target = format!("file://{}", folder.path().join("savepoints").display());
    let mut job = Job {
        folder: folder.path(),
        records: 20_000,
        rate: 500.0,
        parallelism: 2,
        settings: FILES,
        from: None,
        gate: Gate::none(),
    };
    let checkpoints = folder.path().join("checkpoints");
    let more = [
        ("execution.checkpointing.dir", checkpoints.to_str().unwrap()),
        ("execution.checkpointing.interval", "20 ms"),
        ("execution.checkpointing.savepoint-dir", &target),
    ];
    let running = job.start(&more);
    wait_for_records(&running, 50);
    let first = running
        .trigger_savepoint(None, SavepointFormat::Canonical)
        .unwrap();
    let second = running
        .trigger_savepoint(Some(&target), SavepointFormat::Native)
        .unwrap();
    let progress = running.progress();
    wait_for_records(&running, progress.sink_records() + 50);
    let last = running
        .stop_with_savepoint(None, false, SavepointFormat::Canonical)
        .unwrap();
    let result = running.wait().unwrap();
    assert_eq!(
        (result.checkpoints.savepoints, result.savepoint.as_ref()),
        (3, Some(&last))
    );
    assert_eq!(
        result.checkpoints.failed, 0,
        "{:?}",
        result.checkpoints.last_failure
    );
    // The job has deleted its checkpoints, and these are not among them.
    assert_eq!(
        savepoints(&folder.path().join("savepoints")),
        [first.clone(), second.clone(), last.clone()]
    );
    let [first, second] = [&first, &second].map(|savepoint| assert_self_contained(savepoint));
    assert!(first.id < second.id && first.job_id == second.job_id);
    job.from = Some(&last);
    job.rate = 1e9;
    job.start(&more).wait().unwrap();
    assert_exact(folder.path(), 20_000);
}

/// The barrier cannot come through, so the savepoint times out.
#[test]
fn a_job_that_could_not_be_stopped_goes_on() {
    for drain in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("savepoints");
        let job = Job {
            folder: folder.path(),
            records: 5_000,
            rate: 1e9,
            parallelism: 2,
            settings: HEAP,
            from: None,
            gate: Gate::at(1_000),
        };
        let running = job.start(&[
            ("execution.checkpointing.timeout", "100 ms"),
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "1"),
            ("restart-strategy.fixed-delay.delay", "1 ms"),
        ]);
        job.gate.wait_until_reached();
        let error = running
            .stop_with_savepoint(Some(target.to_str().unwrap()), drain, SavepointFormat::Native)
            .unwrap_err();
        assert!(error.to_string().contains("100ms"), "{error}");
        assert_eq!(
            std::fs::read_dir(&target).unwrap().count(),
            0,
            "no folder is left"
        );
        job.gate.open();
        let result = running.wait().unwrap();
        assert_eq!(result.savepoint, None);
        // The end of event time cannot be taken back, so that one begins anew.
        assert_eq!(result.attempts, if drain { 2 } else { 1 });
        assert_exact(folder.path(), 5_000);
    }
}

/// Emits the sum of all numbers of a key when event time has come to its end.
#[derive(Clone)]
struct SumAtTheEnd {
    sum: Option<ValueState<u64>>,
}

impl KeyedProcessFunction<u64, u64, (u64, u64)> for SumAtTheEnd {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.sum = Some(states.value_state("sum")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        let Some(sum) = self.sum else { return Ok(()) };
        let before = sum.value(context)?.unwrap_or(0);
        sum.update(context, &(before + 1))?;
        context.register_event_time_timer(i64::MAX - 1)
    }

    fn on_timer(
        &mut self,
        _: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        let Some(sum) = self.sum else { return Ok(()) };
        out.collect((context.current_key()?, sum.value(context)?.unwrap_or(0)));
        Ok(())
    }
}

#[test]
fn timers_of_event_time_fire_before_the_end_of_a_drained_job_and_only_there() {
    for drain in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("savepoints");
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(2);
        env.from_source(SequenceSource::generate(0..1_000_000, |n| n), "numbers")
            .uid("numbers")
            .rate_limit(5_000.0)
            .assign_timestamps_and_watermarks(
                WatermarkStrategy::bounded_out_of_orderness(Duration::ZERO),
                |number: &u64| number.cast_signed(),
            )
            .key_by(|number: &u64| number % KEYS)
            .process(SumAtTheEnd { sum: None })
            .uid("sum")
            .sink_to_2pc(FileSink::new(
                folder.path().join("output"),
                |(key, sum): &(u64, u64), row| {
                    let _ = writeln!(row, "{key} {sum}"); // a `Vec` takes everything
                },
            ))
            .uid("files");
        let running = env.execute_async("sums").unwrap();
        let progress = running.progress();
        while progress.source_records() < 1000 {
            assert!(!running.is_finished());
            std::thread::sleep(Duration::from_millis(1));
        }
        running
            .stop_with_savepoint(Some(target.to_str().unwrap()), drain, SavepointFormat::Canonical)
            .unwrap();
        let result = running.wait().unwrap();
        let lines = match std::fs::exists(folder.path().join("output")).unwrap() {
            true => finished_lines(&folder.path().join("output")),
            false => Vec::new(),
        };
        let sums: Vec<u64> = lines
            .iter()
            .map(|line| {
                let line = std::str::from_utf8(line).unwrap();
                line.split_once(' ').unwrap().1.parse().unwrap()
            })
            .collect();
        if drain {
            assert_eq!(sums.len() as u64, KEYS);
            assert_eq!(sums.iter().sum::<u64>(), result.source_records);
        } else {
            assert_eq!(sums, [0_u64; 0]);
        }
    }
}

#[test]
fn a_savepoint_without_a_place_or_of_a_job_that_has_ended_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job {
        folder: folder.path(),
        records: 1_000_000,
        rate: 10_000.0,
        parallelism: 1,
        settings: HEAP,
        from: None,
        gate: Gate::none(),
    };
    let running = job.start(&[]);
    wait_for_records(&running, 10);
    let take = |target: Option<&str>| {
        let error = running
            .trigger_savepoint(target, SavepointFormat::Canonical)
            .unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = take(None);
    assert_eq!(kind, ErrorKind::Configuration);
    assert!(text.contains("execution.checkpointing.savepoint-dir"), "{text}");
    let (kind, text) = take(Some("s3://bucket/savepoints"));
    assert_eq!(kind, ErrorKind::Configuration);
    assert!(text.contains("'s3://bucket/savepoints'"), "{text}");
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let (kind, text) = take(file.to_str());
    assert_eq!(kind, ErrorKind::Storage);
    assert!(text.contains(file.to_str().unwrap()), "{text}");
    // What is in the target stays.
    let target = folder.path().join("target");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("notes"), "of somebody else").unwrap();
    let savepoint = running
        .trigger_savepoint(target.to_str(), SavepointFormat::Canonical)
        .unwrap();
    assert_eq!(savepoint.parent(), Some(&*target));
    assert_eq!(std::fs::read(target.join("notes")).unwrap(), b"of somebody else");
    running.cancel();
    while !running.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(take(target.to_str()).0, ErrorKind::Cancelled);
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 2);
}
