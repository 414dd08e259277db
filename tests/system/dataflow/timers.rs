//! Timers in event and processing time, and the end of a job that waits for them.

use super::{environment, failing_environment, sorted};
use millpond_engine::api::{
    Collector, KeyedProcessFunction, ProcessContext, Timer, TimestampMs, WatermarkStrategy,
};
use millpond_engine::connectors::sinks::{CollectSink, DiscardSink, ForEachSink};
use millpond_engine::connectors::sources::{ChannelSource, SequenceSource};
use millpond_engine::state::{MapState, StateRegistry, TimerDomain, ValueState};
use millpond_engine::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sums the numbers of a key in windows of 100 ms of event time, fails once.
#[derive(Clone)]
struct Windows {
    sums: Option<MapState<TimestampMs, u64>>,
    failed: Arc<AtomicBool>,
}

impl KeyedProcessFunction<u64, u64, (u64, TimestampMs, u64)> for Windows {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.sums = Some(states.map_state("sums")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, TimestampMs, u64)>,
    ) -> Result<()> {
        let Some(sums) = self.sums else { return Ok(()) };
        if number == 2500 && !self.failed.swap(true, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::UserCode, "once"));
        }
        let Some(timestamp) = context.timestamp() else {
            return Err(Error::new(ErrorKind::UserCode, "a record without event time"));
        };
        let end = timestamp / 100 * 100 + 99;
        let sum = sums.get(context, &end)?.unwrap_or(0) + number;
        sums.put(context, &end, &sum)?;
        context.register_event_time_timer(end)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, TimestampMs, u64)>,
    ) -> Result<()> {
        let Some(sums) = self.sums else { return Ok(()) };
        if timer.domain != TimerDomain::EventTime {
            return Err(Error::new(ErrorKind::UserCode, "not my timer"));
        }
        let sum = sums.get(context, &timer.timestamp)?.unwrap_or(0);
        sums.remove(context, &timer.timestamp)?;
        out.collect((context.current_key()?, timer.timestamp, sum));
        Ok(())
    }
}

#[test]
fn event_time_windows_fire_once_each_also_after_a_restart() {
    let env = failing_environment(3);
    let failed = Arc::new(AtomicBool::new(false));
    let sink = CollectSink::new();
    let results = sink.results();
    env.from_source(SequenceSource::new(0..5000), "numbers")
        .uid("numbers")
        .rate_limit(20_000.0)
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(63)),
            // A number is at most 63 below one that came before.
            |number| (*number ^ 0x28).try_into().unwrap_or(0),
        )
        .key_by(|number: &u64| number % 4)
        .process(Windows {
            sums: None,
            failed: Arc::clone(&failed),
        })
        .uid("windows")
        .sink_to_2pc(sink)
        .uid("results");
    env.execute("windows").unwrap();
    assert!(failed.load(Ordering::Relaxed));
    let mut expected: BTreeMap<(u64, TimestampMs), u64> = BTreeMap::new();
    for number in 0..5000u64 {
        let timestamp = TimestampMs::try_from(number ^ 0x28).unwrap();
        *expected
            .entry((number % 4, timestamp / 100 * 100 + 99))
            .or_default() += number;
    }
    let expected: Vec<_> = expected
        .into_iter()
        .map(|((key, end), sum)| (key, end, sum))
        .collect();
    assert_eq!(sorted(results.take()), expected);
}

/// Emits a key 20 ms of processing time after its last record.
#[derive(Clone, Copy)]
struct Timeout {
    due: Option<ValueState<TimestampMs>>,
}

impl KeyedProcessFunction<u64, u64, u64> for Timeout {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.due = Some(states.value_state("due")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        let Some(due) = self.due else { return Ok(()) };
        if let Some(before) = due.value(context)? {
            context.delete_processing_time_timer(before)?;
        }
        let time = context.current_processing_time() + 20;
        due.update(context, &time)?;
        context.register_processing_time_timer(time)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<u64>,
    ) -> Result<()> {
        let Some(due) = self.due else { return Ok(()) };
        if due.value(context)? == Some(timer.timestamp) {
            due.clear(context)?;
            out.collect(context.current_key()?);
        }
        Ok(())
    }
}

#[test]
fn processing_time_timers_fire_while_the_source_is_silent() {
    let env = environment(2);
    let (sender, source) = ChannelSource::unbounded();
    let (fired, keys) = std::sync::mpsc::channel();
    let fired = std::sync::Mutex::new(fired);
    env.from_source(source, "silent")
        .set_parallelism(1)
        .key_by(|number: &u64| *number)
        .process(Timeout { due: None })
        .sink_to(ForEachSink::new(move |key: u64| {
            let _ = fired.lock().unwrap().send(key);
            Ok(())
        }));
    let job = env.execute_async("timers").unwrap();
    for number in [1, 2, 3, 1, 2] {
        sender.send(number).unwrap();
    }
    let all: BTreeSet<u64> = (0..3)
        .map(|_| keys.recv_timeout(Duration::from_secs(20)).unwrap())
        .collect();
    assert_eq!(all, BTreeSet::from([1, 2, 3]));
    drop(sender);
    job.wait().unwrap();
    assert!(keys.try_recv().is_err(), "a timer fired twice");
}

#[test]
fn a_job_is_cancelled_at_once_though_its_source_has_no_end() {
    let env = environment(2);
    let (_sender, source) = ChannelSource::<u64>::unbounded();
    env.from_source(source, "endless").sink_to(DiscardSink::new());
    let job = env.execute_async("endless").unwrap();
    job.cancel();
    assert_eq!(job.wait().unwrap_err().kind(), ErrorKind::Cancelled);
}
