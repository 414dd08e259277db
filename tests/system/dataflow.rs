//! What streams, functions, state and timers do, in this process, with a failure in the middle.

use crate::harness::Interrupted;
use millpond_engine::api::{
    Collector, KeyedProcessFunction, OutputTag, ProcessContext, StreamExecutionEnvironment, Timer,
    TimestampMs, WatermarkStrategy,
};
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::{CollectSink, DiscardSink, ForEachSink};
use millpond_engine::connectors::sources::{ChannelSource, SequenceSource};
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, ReducingState, StateRegistry, TimerDomain,
    ValueState,
};
use millpond_engine::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn environment(parallelism: usize) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env
}

/// With checkpoints every 10 ms and a restart after a failure.
fn failing_environment(parallelism: usize) -> StreamExecutionEnvironment {
    let mut config = Configuration::new();
    for (key, value) in [
        ("execution.checkpointing.interval", "10 ms"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "1"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ] {
        config.set_string(key, value);
    }
    let env = StreamExecutionEnvironment::with_configuration(config);
    env.set_parallelism(parallelism);
    env
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort();
    records
}

#[test]
fn maps_filters_and_unions_see_every_record_once() {
    for parallelism in [1, 3] {
        let env = environment(parallelism);
        let sink = CollectSink::new();
        let results = sink.results();
        let even = env.from_sequence(0, 100).filter(|n| n % 2 == 0);
        let odd = env.from_sequence(0, 100).filter(|n| n % 2 == 1).map(|n| n);
        let twice = even.flat_map(|n, out| {
            out.collect(n);
            out.collect(n + 1000);
        });
        twice.union(&odd).map(|n| n + 1).sink_to_2pc(sink);
        env.execute("union").unwrap();
        let mut expected: Vec<u64> = (1..=100).collect();
        expected.extend((0..100).step_by(2).map(|n| n + 1001));
        assert_eq!(sorted(results.take()), expected);
    }
}

#[test]
fn one_stream_has_several_readers() {
    let env = environment(2);
    let numbers = env.from_sequence(0, 50);
    let all: Vec<_> = (0..3)
        .map(|factor| {
            let sink = CollectSink::new();
            let results = sink.results();
            numbers
                .map(move |n| n * factor)
                .rebalance()
                .map(|n| n)
                .sink_to_2pc(sink);
            (factor, results)
        })
        .collect();
    env.execute("readers").unwrap();
    for (factor, results) in all {
        assert_eq!(
            sorted(results.take()),
            sorted((0..50).map(|n| n * factor).collect())
        );
    }
}

#[test]
fn side_outputs_carry_what_was_put_into_them() {
    let env = environment(2);
    let tag = OutputTag::<String>::new("odd");
    let (main, side) = (CollectSink::new(), CollectSink::new());
    let (main_results, side_results) = (main.results(), side.results());
    let inner = tag.clone();
    let stream = env
        .from_sequence(0, 10)
        .try_flat_map(move |n, out: &mut Collector<u64>| {
            if n % 2 == 1 {
                out.side_output(&inner, format!("odd {n}"));
            } else {
                out.collect(n);
            }
            Ok(())
        });
    stream.side_output(&tag).sink_to_2pc(side).uid("side");
    stream.sink_to_2pc(main).uid("main");
    env.execute("side outputs").unwrap();
    assert_eq!(sorted(main_results.take()), [0, 2, 4, 6, 8]);
    assert_eq!(
        sorted(side_results.take()),
        ["odd 1", "odd 3", "odd 5", "odd 7", "odd 9"]
    );
}

#[test]
fn a_broadcast_reaches_every_subtask_and_a_rebalance_spreads_evenly() {
    let env = environment(1);
    let (everywhere, spread) = (CollectSink::new(), CollectSink::new());
    let (everywhere_results, spread_results) = (everywhere.results(), spread.results());
    let thread = |n: u64| (format!("{:?}", std::thread::current().id()), n);
    let numbers = env.from_sequence(0, 200_000);
    numbers
        .broadcast()
        .map(thread)
        .set_parallelism(3)
        .sink_to_2pc(everywhere);
    numbers
        .rebalance()
        .map(thread)
        .set_parallelism(4)
        .sink_to_2pc(spread);
    env.execute("broadcast").unwrap();
    let by_thread = |records: Vec<(String, u64)>| {
        let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (thread, number) in records {
            all.entry(thread).or_default().push(number);
        }
        all
    };
    let everywhere = by_thread(everywhere_results.take());
    assert_eq!(everywhere.len(), 3);
    for numbers in everywhere.into_values() {
        assert_eq!(sorted(numbers), (0..200_000).collect::<Vec<_>>());
    }
    let spread = by_thread(spread_results.take());
    assert_eq!(spread.len(), 4);
    for numbers in spread.values() {
        assert!(numbers.len() > 30_000, "{}", numbers.len());
    }
    assert_eq!(
        sorted(spread.into_values().flatten().collect()),
        (0..200_000).collect::<Vec<_>>()
    );
}

#[test]
fn sources_of_different_parallelism_that_wait_for_a_slow_sink_end() {
    let env = environment(1);
    let few = env.from_sequence(0, 500);
    let many = env.from_sequence(500, 2000).set_parallelism(3);
    let seen = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&seen);
    few.union(&many)
        .rebalance()
        .map(|number| number)
        .set_parallelism(4)
        .sink_to(ForEachSink::new(move |_: u64| {
            std::thread::sleep(Duration::from_micros(500));
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
    env.execute("sources in step").unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 2000);
}

#[test]
fn side_outputs_unions_and_new_partitions_lose_and_double_nothing_in_a_failure() {
    const NUMBERS: u64 = 4000;
    let interrupted = Interrupted::at(NUMBERS / 2);
    let (sums, copies) = (CollectSink::<(u64, u64)>::new(), CollectSink::<u64>::new());
    let (sums_found, copies_found) = (sums.results(), copies.results());
    let env = interrupted.environment(2);
    let odd = OutputTag::<String>::new("odd");
    let to_side = odd.clone();
    let even = env
        .from_source(SequenceSource::new(0..NUMBERS), "numbers")
        .uid("numbers")
        .rate_limit(5000.0)
        .try_flat_map(move |number: u64, out| {
            if number.is_multiple_of(2) {
                out.collect(number);
            } else {
                out.side_output(&to_side, number.to_string());
            }
            Ok(())
        });
    let odd = even.side_output(&odd).rebalance().try_map(|text: String| {
        text.parse()
            .map_err(|error| Error::new(ErrorKind::UserCode, format!("{error}")))
    });
    let all = even.union(&odd);
    let once = interrupted.clone();
    all.rebalance()
        .map(move |number: u64| {
            once.once_at(number);
            (number % 7, number)
        })
        .key_by(|pair| pair.0)
        .reduce(|sum, next| (sum.0, sum.1 + next.1))
        .uid("sums")
        .sink_to_2pc(sums)
        .uid("sums-sink");
    all.filter(|number| number % 10 == 3)
        .broadcast()
        .map(|number| number)
        .set_parallelism(2)
        .sink_to_2pc(copies)
        .uid("copies-sink");
    interrupted.assert_restored(&env.execute("dataflows").unwrap(), NUMBERS);

    // After each record of a key its sum so far; in what order the records came is not known, but the last sum is that of all.
    let sums = sums_found.take();
    assert_eq!(sums.len() as u64, NUMBERS);
    for key in 0..7 {
        let expected = (0..NUMBERS).filter(|number| number % 7 == key).sum::<u64>();
        let last = sums.iter().filter(|sum| sum.0 == key).map(|sum| sum.1).max();
        assert_eq!(last, Some(expected), "key {key}");
    }
    let mut copies = copies_found.take();
    copies.sort_unstable();
    let expected: Vec<_> = (0..NUMBERS)
        .filter(|number| number % 10 == 3)
        .flat_map(|number| [number, number])
        .collect();
    assert_eq!(copies, expected);
}

#[test]
fn a_reduce_emits_a_running_result_for_each_record_of_a_key_in_order() {
    let env = environment(3);
    let sink = CollectSink::new();
    let results = sink.results();
    env.from_source(SequenceSource::new(0..300), "numbers")
        .set_parallelism(1)
        .map(|n| (n % 10, n))
        .set_parallelism(1)
        .key_by(|pair: &(u64, u64)| pair.0)
        .reduce(|a, b| (a.0, a.1 + b.1))
        .sink_to_2pc(sink);
    env.execute("reduce").unwrap();
    let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (key, sum) in results.take() {
        by_key.entry(key).or_default().push(sum);
    }
    assert_eq!(by_key.len(), 10);
    for (key, sums) in by_key {
        let expected: Vec<u64> = (0..30)
            .scan(0, |sum, i| {
                *sum += key + 10 * i;
                Some(*sum)
            })
            .collect();
        assert_eq!(sums, expected);
    }
}

/// The sum and number of what was added.
#[derive(Clone, Copy, Debug)]
struct Mean;

impl AggregateFunction for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, value: u64, accumulator: (u64, u64)) -> (u64, u64) {
        (accumulator.0 + value, accumulator.1 + 1)
    }

    fn result(&self, accumulator: &(u64, u64)) -> u64 {
        accumulator.0 / accumulator.1.max(1)
    }
}

#[derive(Clone)]
struct States {
    value: ValueState<String>,
    list: ListState<u64>,
    map: MapState<u64, String>,
    sum: ReducingState<u64>,
    mean: AggregatingState<Mean>,
}

/// Uses every kind of state, and fails once after some checkpoints.
#[derive(Clone)]
struct AllKinds {
    states: Option<States>,
    failed: Arc<AtomicBool>,
}

/// Everything that the states of a key hold after a record.
type Seen = (
    u64,
    Option<String>,
    Vec<u64>,
    Vec<(u64, String)>,
    Option<u64>,
    Option<u64>,
);

impl KeyedProcessFunction<u64, u64, Seen> for AllKinds {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.states = Some(States {
            value: states.value_state("value")?,
            list: states.list_state("list")?,
            map: states.map_state("map")?,
            sum: states.reducing_state("sum", |a: u64, b: u64| a + b)?,
            mean: states.aggregating_state("mean", Mean)?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Seen>,
    ) -> Result<()> {
        let Some(states) = self.states.clone() else {
            return Ok(());
        };
        if number == 700 && !self.failed.swap(true, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::UserCode, "once"));
        }
        states.value.update(context, &format!("last {number}"))?;
        states.list.add(context, &number)?;
        states.map.put(context, &(number % 30), &format!("at {number}"))?;
        states.map.remove(context, &((number + 10) % 30))?;
        states.sum.add(context, number)?;
        states.mean.add(context, number)?;
        let mut entries = states.map.entries(context)?;
        entries.sort();
        let seen = (
            number,
            states.value.value(context)?,
            states.list.get(context)?,
            entries,
            states.sum.get(context)?,
            states.mean.get(context)?,
        );
        if states.list.get(context)?.len() == 5 {
            states.list.clear(context)?;
        }
        out.collect(seen);
        Ok(())
    }
}

#[test]
fn every_kind_of_state_is_as_it_was_after_a_restart() {
    let env = failing_environment(2);
    let failed = Arc::new(AtomicBool::new(false));
    let function = AllKinds {
        states: None,
        failed: Arc::clone(&failed),
    };
    let sink = CollectSink::new();
    let results = sink.results();
    // One subtask of ten keys in rising order, slowly enough for some checkpoints before number 700.
    env.from_source(SequenceSource::new(0..1000), "numbers")
        .uid("numbers")
        .set_parallelism(1)
        .rate_limit(5000.0)
        .key_by(|number: &u64| number % 10)
        .process(function)
        .uid("states")
        .sink_to_2pc(sink)
        .uid("results");
    let result = env.execute("all kinds of state").unwrap();
    assert!(failed.load(Ordering::Relaxed));
    assert_eq!(result.attempts, 2);
    let mut seen = results.take();
    seen.sort();
    assert_eq!(seen.len(), 1000);
    for (index, (number, value, list, map, sum, mean)) in seen.into_iter().enumerate() {
        assert_eq!(number, index as u64);
        assert_eq!(value, Some(format!("last {number}")));
        let key = number % 10;
        let before: Vec<u64> = (0..=number / 10).map(|i| key + 10 * i).collect();
        // Cleared after every fifth record.
        let from = (before.len() - 1) / 5 * 5;
        assert_eq!(list, before[from..]);
        let last_two: Vec<_> = before.iter().rev().take(2).copied().collect();
        let expected: BTreeSet<_> = last_two.iter().map(|n| (n % 30, format!("at {n}"))).collect();
        assert_eq!(map, expected.into_iter().collect::<Vec<_>>(), "at {number}");
        let total: u64 = before.iter().sum();
        assert_eq!(sum, Some(total));
        assert_eq!(mean, Some(total / before.len() as u64));
    }
}

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
