//! What connected and broadcast streams and operator state do, in this process.

use crate::harness::Interrupted;
use millpond_engine::api::{
    BroadcastProcessFunction, CoProcessFunction, Collector, FunctionContext, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedProcessFunction, KeyedReadOnlyContext,
    ProcessContext, ProcessFunction, ReadOnlyContext, Sink, SinkContext, SinkWriter,
    StreamExecutionEnvironment, Timer, WatermarkStrategy,
};
use millpond_engine::connectors::sinks::{CollectSink, DiscardSink};
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    BroadcastState, FunctionInitializationContext, FunctionSnapshotContext, ListState, ListStateDescriptor,
    MapState, MapStateDescriptor, OperatorListState, StateRegistry, ValueState,
};
use millpond_engine::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn environment(parallelism: usize) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort();
    records
}

#[test]
fn connected_streams_see_every_record_of_both() {
    for parallelism in [1, 3] {
        let env = environment(parallelism);
        let (mapped, flat) = (CollectSink::new(), CollectSink::new());
        let (mapped_results, flat_results) = (mapped.results(), flat.results());
        let numbers = env.from_sequence(0, 500);
        let words = env.from_sequence(0, 300).map(|n| format!("{n}")).rebalance();
        let connected = numbers.connect(&words);
        connected
            .map(|n| (n, false), |word| (word.parse().unwrap(), true))
            .sink_to_2pc(mapped)
            .uid("mapped");
        connected
            .flat_map(
                |n, out| {
                    if n % 2 == 0 {
                        out.collect(n);
                    }
                },
                |word, out| {
                    out.collect(word.len() as u64 + 1000);
                    out.collect(2000);
                },
            )
            .sink_to_2pc(flat)
            .uid("flat");
        env.execute("connected").unwrap();
        let mut expected: Vec<(u64, bool)> = (0..500).map(|n| (n, false)).collect();
        expected.extend((0..300).map(|n| (n, true)));
        assert_eq!(sorted(mapped_results.take()), sorted(expected));
        let mut expected: Vec<u64> = (0..500).step_by(2).collect();
        expected.extend((0..300).map(|n: u64| n.to_string().len() as u64 + 1000));
        expected.extend([2000; 300]);
        assert_eq!(sorted(flat_results.take()), sorted(expected));
    }
}

/// Emits `(key, time)` of both inputs when the watermark has passed, with the watermark.
#[derive(Clone)]
struct AtTheirTimes;

impl KeyedCoProcessFunction<u64, (u64, i64), (u64, i64), (u64, i64, i64)> for AtTheirTimes {
    fn process_element1(
        &mut self,
        (_, time): (u64, i64),
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, i64, i64)>,
    ) -> Result<()> {
        assert!(time > context.current_watermark());
        context.register_event_time_timer(time)
    }

    fn process_element2(
        &mut self,
        record: (u64, i64),
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, i64, i64)>,
    ) -> Result<()> {
        self.process_element1(record, context, out)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, i64, i64)>,
    ) -> Result<()> {
        out.collect((
            context.current_key()?,
            timer.timestamp,
            context.current_watermark(),
        ));
        Ok(())
    }
}

#[test]
fn no_record_is_late_beside_a_slower_input_and_an_empty_one_holds_nobody_back() {
    // The second input is behind in event time all along, or has nothing at all.
    for second in [2000_u64, 0] {
        let env = environment(2);
        let sink = CollectSink::new();
        let results = sink.results();
        let timed = |name: &str, records: u64, rate: f64, step: i64| {
            let record = move |i: u64| (i % 7, i.cast_signed() * step);
            env.from_source(SequenceSource::generate(0..records, record), name)
                .uid(name)
                .set_parallelism(1)
                .rate_limit(rate)
                .assign_timestamps_and_watermarks(
                    WatermarkStrategy::bounded_out_of_orderness(Duration::ZERO),
                    |record| record.1,
                )
                .set_parallelism(1)
                .key_by(|record: &(u64, i64)| record.0)
        };
        let fast = timed("fast", 2000, 1e6, 2);
        let slow = timed("slow", second, 10_000.0, 3);
        fast.connect(&slow)
            .process(AtTheirTimes)
            .uid("joined")
            .sink_to_2pc(sink);
        env.execute("watermarks").unwrap();
        let found = results.take();
        assert!(found.iter().all(|(_, time, watermark)| watermark >= time));
        let mut expected: Vec<(u64, i64)> = (0..2000_u64).map(|i| (i % 7, i.cast_signed() * 2)).collect();
        expected.extend((0..second).map(|i| (i % 7, i.cast_signed() * 3)));
        let mut expected = sorted(expected);
        // One timer for each key and time, whichever input it is from.
        expected.dedup();
        let found = sorted(found.into_iter().map(|(key, time, _)| (key, time)).collect());
        assert_eq!(found, expected, "{second} records in the second input");
    }
}

/// Counts each input in a list of the subtask, and emits the counts at the end.
#[derive(Clone)]
struct CountBoth {
    counts: Option<OperatorListState<(u64, u64)>>,
    interrupted: Interrupted,
}

impl CountBoth {
    fn add(&self, context: &mut FunctionContext<'_>, first: u64, second: u64) -> Result<()> {
        let counts = self.counts.unwrap();
        let sum = counts
            .get(context.list_states())?
            .iter()
            .fold((first, second), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        counts.update(context.list_states(), vec![sum])
    }
}

impl CoProcessFunction<u64, String, (u64, u64)> for CountBoth {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.counts = Some(context.get_list_state(&ListStateDescriptor::new("counts"))?);
        Ok(())
    }

    fn process_element1(
        &mut self,
        number: u64,
        context: &mut FunctionContext<'_>,
        _: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        self.interrupted.once_at(number);
        self.add(context, 1, 0)
    }

    fn process_element2(
        &mut self,
        _: String,
        context: &mut FunctionContext<'_>,
        _: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        self.add(context, 0, 1)
    }

    fn end_input(
        &mut self,
        context: &mut FunctionContext<'_>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        for count in self.counts.unwrap().get(context.list_states())? {
            out.collect(*count);
        }
        Ok(())
    }
}

#[test]
fn what_two_inputs_leave_in_operator_state_is_exact_across_a_failure() {
    const RECORDS: u64 = 3000;
    let interrupted = Interrupted::at(RECORDS / 2);
    let env = interrupted.environment(2);
    let sink = CollectSink::<(u64, u64)>::new();
    let results = sink.results();
    let source = |name: &str| {
        env.from_source(SequenceSource::new(0..RECORDS), name)
            .uid(name)
            .rate_limit(3000.0)
    };
    source("numbers")
        .connect(&source("words").map(|n| n.to_string()).broadcast())
        .process(CountBoth {
            counts: None,
            interrupted: interrupted.clone(),
        })
        .uid("counts")
        .sink_to_2pc(sink)
        .uid("sink");
    interrupted.assert_restored(&env.execute("two inputs").unwrap(), 2 * RECORDS);
    let found = results.take();
    let (first, second) = found
        .iter()
        .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    // A stream that is broadcast is seen by both subtasks.
    assert_eq!((found.len(), first, second), (2, RECORDS, 2 * RECORDS));
}

fn limits() -> MapStateDescriptor<String, u64> {
    MapStateDescriptor::new("limits")
}

/// Keeps limits, and emits all of them at the end.
#[derive(Clone, Default)]
struct Limits {
    limits: Option<BroadcastState<String, u64>>,
    seen: Option<OperatorListState<u64>>,
}

impl BroadcastProcessFunction<u64, u64, (String, u64)> for Limits {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        assert!(!context.is_restored());
        self.limits = Some(context.get_broadcast_state(&limits())?);
        self.seen = Some(context.get_list_state(&ListStateDescriptor::new("seen"))?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ReadOnlyContext<'_>,
        _: &mut Collector<(String, u64)>,
    ) -> Result<()> {
        self.limits.unwrap().entries(context.broadcast_states())?;
        self.seen.unwrap().add(context.list_states(), number)
    }

    fn process_broadcast_element(
        &mut self,
        number: u64,
        context: &mut FunctionContext<'_>,
        _: &mut Collector<(String, u64)>,
    ) -> Result<()> {
        let name = format!("limit {}", number % 10);
        let before = self.limits.unwrap().get(context.broadcast_states(), &name)?;
        let greatest = number.max(before.copied().unwrap_or(0));
        self.limits
            .unwrap()
            .put(context.broadcast_states(), name, greatest)?;
        Ok(())
    }

    fn end_input(
        &mut self,
        context: &mut ReadOnlyContext<'_>,
        out: &mut Collector<(String, u64)>,
    ) -> Result<()> {
        let seen = self.seen.unwrap().get(context.list_states())?.len();
        out.collect(("seen".into(), seen as u64));
        for (name, limit) in self.limits.unwrap().entries(context.broadcast_states())? {
            out.collect((name.clone(), *limit));
        }
        Ok(())
    }
}

#[test]
fn every_subtask_has_all_of_a_broadcast_state() {
    const SUBTASKS: usize = 3;
    let env = environment(SUBTASKS);
    let sink = CollectSink::new();
    let results = sink.results();
    let broadcast = env.from_sequence(0, 100).broadcast_with(&[&limits()]);
    env.from_sequence(0, 5000)
        .connect(&broadcast)
        .process(Limits::default())
        .uid("limits")
        .sink_to_2pc(sink);
    env.execute("limits").unwrap();
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (name, limit) in results.take() {
        found.entry(name).or_default().push(limit);
    }
    assert_eq!(found.remove("seen").unwrap().iter().sum::<u64>(), 5000);
    let expected: BTreeMap<_, _> = (0..10)
        .map(|digit| (format!("limit {digit}"), vec![90 + digit; SUBTASKS]))
        .collect();
    assert_eq!(found, expected);
}

/// A value, a list and a map for each key; each broadcast number has them all emitted and changed.
#[derive(Clone, Default)]
struct AtAllKeys {
    value: Option<ValueState<u64>>,
    list: Option<ListState<u64>>,
    map: Option<MapState<u64, u64>>,
}

type AtKey = (&'static str, String, u64);

impl KeyedBroadcastProcessFunction<String, (String, u64), u64, (String, String, u64)> for AtAllKeys {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.value = Some(states.value_state("value")?);
        self.list = Some(states.list_state("list")?);
        self.map = Some(states.map_state("map")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, number): (String, u64),
        context: &mut KeyedReadOnlyContext<'_, String>,
        _: &mut Collector<(String, String, u64)>,
    ) -> Result<()> {
        self.value.unwrap().update(context, &number)?;
        self.list.unwrap().add(context, &number)?;
        self.map.unwrap().put(context, &number, &number)?;
        // Far away, and at the end of the input.
        context.register_event_time_timer(i64::MAX - 1)
    }

    fn process_broadcast_element(
        &mut self,
        _: u64,
        context: &mut KeyedBroadcastContext<'_, String>,
        _: &mut Collector<(String, String, u64)>,
    ) -> Result<()> {
        context.apply_to_keyed_state(&self.value.unwrap(), |_| Ok(()))
    }

    /// All records have come, but the broadcast side cannot know: so the last word is a timer's, once for each key.
    fn on_timer(
        &mut self,
        _: Timer,
        context: &mut KeyedReadOnlyContext<'_, String>,
        out: &mut Collector<(String, String, u64)>,
    ) -> Result<()> {
        let key = context.current_key()?;
        let value = self.value.unwrap().value(context)?.unwrap();
        out.collect(("value".into(), key.clone(), value));
        let list = self.list.unwrap().get(context)?.len() as u64;
        out.collect(("list".into(), key.clone(), list));
        let map = self.map.unwrap().entries(context)?.len() as u64;
        out.collect(("map".into(), key, map));
        Ok(())
    }
}

#[test]
fn looking_at_all_keys_changes_nothing_that_is_not_changed() {
    let env = environment(2);
    let sink = CollectSink::new();
    let results = sink.results();
    let broadcast = env.from_sequence(0, 50).broadcast_with(&[]);
    env.from_sequence(0, 3000)
        .map(|n| (format!("key {}", n % 20), n / 20))
        .rebalance()
        .key_by(|(key, _)| key.clone())
        .connect(&broadcast)
        .process(AtAllKeys::default())
        .uid("all keys")
        .sink_to_2pc(sink);
    env.execute("all keys").unwrap();
    let found = sorted(results.take());
    let counted: Vec<AtKey> = (0..20)
        .flat_map(|key| ["list", "map"].map(|state| (state, format!("key {key}"), 150)))
        .collect();
    let found: Vec<_> = found
        .iter()
        .filter(|(state, ..)| state != "value")
        .cloned()
        .collect();
    let expected = counted
        .into_iter()
        .map(|(state, key, n)| (state.to_owned(), key, n))
        .collect();
    assert_eq!(found, sorted(expected));
}

/// Adds numbers up by key; each broadcast number empties all sums that are there, and emits them.
#[derive(Clone, Default)]
struct EmptySums {
    sums: Option<ValueState<u64>>,
    parts: Option<ListState<u64>>,
    by_number: Option<MapState<u64, u64>>,
}

impl KeyedBroadcastProcessFunction<u64, u64, u64, (u64, u64, u64, u64)> for EmptySums {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.sums = Some(states.value_state("sums")?);
        self.parts = Some(states.list_state("parts")?);
        self.by_number = Some(states.map_state("by number")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        _: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        self.sums
            .unwrap()
            .modify(context, |sum| sum.unwrap_or(0) + number)?;
        self.parts.unwrap().add(context, &number)?;
        self.by_number.unwrap().put(context, &number, &number)?;
        context.register_event_time_timer(i64::MAX - 1)
    }

    fn process_broadcast_element(
        &mut self,
        kind: u64,
        context: &mut KeyedBroadcastContext<'_, u64>,
        out: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        let (sums, parts, by_number) = (self.sums.unwrap(), self.parts.unwrap(), self.by_number.unwrap());
        let mut last = None;
        let mut empty = |context: &mut ProcessContext<'_, u64>| {
            let key = context.current_key()?;
            assert_ne!(last.replace(key), Some(key), "a key comes once");
            self.empty(context, out)
        };
        // Each kind of handle finds the same keys.
        match kind % 3 {
            0 => context.apply_to_keyed_state(&sums, &mut empty),
            1 => context.apply_to_keyed_state(&parts, &mut empty),
            _ => context.apply_to_keyed_state(&by_number, &mut empty),
        }
    }

    /// What has come behind the last broadcast record.
    fn on_timer(
        &mut self,
        _: Timer,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        out: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        self.empty(context, out)
    }
}

impl EmptySums {
    fn empty(
        &self,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        let (sums, parts, by_number) = (self.sums.unwrap(), self.parts.unwrap(), self.by_number.unwrap());
        let sum = sums.value(context)?.unwrap_or(0);
        let of_parts = parts.get(context)?.iter().sum();
        let of_map = by_number.entries(context)?.iter().map(|(_, number)| number).sum();
        out.collect((context.current_key()?, sum, of_parts, of_map));
        sums.clear(context)?;
        parts.clear(context)?;
        by_number.clear(context).map(drop)
    }
}

#[test]
fn a_broadcast_record_changes_the_state_of_all_keys() {
    for backend in ["hashmap", "filesystem"] {
        let mut config = millpond_engine::config::Configuration::new();
        config.set_string("state.backend", backend);
        let folder = tempfile::tempdir().unwrap();
        if backend == "filesystem" {
            config.set_string(
                "execution.checkpointing.dir",
                format!("file://{}", folder.path().display()),
            );
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_parallelism(2);
        let sink = CollectSink::<(u64, u64, u64, u64)>::new();
        let results = sink.results();
        let broadcast = env
            .from_source(SequenceSource::new(0..60), "broadcast")
            .uid("broadcast")
            .set_parallelism(1)
            .rate_limit(100.0)
            .broadcast_with(&[]);
        env.from_source(SequenceSource::new(0..1000), "numbers")
            .uid("numbers")
            .rate_limit(10_000.0)
            .key_by(|n| n % 13)
            .connect(&broadcast)
            .process(EmptySums::default())
            .uid("sums")
            .sink_to_2pc(sink);
        env.execute("sums").unwrap();
        let found = results.take();
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, sum, of_parts, of_map) in found {
            assert_eq!((sum, sum), (of_parts, of_map), "key {key}");
            *sums.entry(key).or_default() += sum;
        }
        assert_eq!(sums.len(), 13);
        for (key, sum) in sums {
            let all: u64 = (0..1000).filter(|n| n % 13 == key).sum();
            assert_eq!(sum, all, "key {key}");
        }
    }
}

/// Counts what it is given, in a field that goes through a list of the subtask, and tells the count when it is dropped.
struct CountingSink {
    counts: Arc<Mutex<BTreeMap<u32, u64>>>,
    interrupted: Interrupted,
}

struct CountingWriter {
    subtask: u32,
    count: u64,
    stored: Option<OperatorListState<u64>>,
    counts: Arc<Mutex<BTreeMap<u32, u64>>>,
    interrupted: Interrupted,
}

impl Sink for CountingSink {
    type Input = u64;
    type Writer = CountingWriter;

    fn writer(&self, context: &SinkContext) -> Result<CountingWriter> {
        Ok(CountingWriter {
            subtask: context.subtask,
            count: 0,
            stored: None,
            counts: Arc::clone(&self.counts),
            interrupted: self.interrupted.clone(),
        })
    }
}

impl SinkWriter for CountingWriter {
    type Input = u64;

    fn write(&mut self, records: &mut Vec<u64>) -> Result<()> {
        for number in records.drain(..) {
            self.interrupted.once_at(number);
            self.count += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.counts.lock().unwrap().insert(self.subtask, self.count);
        Ok(())
    }

    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let stored = context.get_list_state(&ListStateDescriptor::<u64>::new("count"))?;
        self.count = stored.get(context.list_states())?.iter().sum();
        self.stored = Some(stored);
        Ok(())
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let count = self.count;
        self.stored.unwrap().update(context.list_states(), vec![count])
    }
}

#[test]
fn a_sink_keeps_operator_state_across_a_failure() {
    const RECORDS: u64 = 3000;
    let interrupted = Interrupted::at(RECORDS / 2);
    let env = interrupted.environment(2);
    let counts = Arc::<Mutex<BTreeMap<u32, u64>>>::default();
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(3000.0)
        .rebalance()
        .sink_to(CountingSink {
            counts: Arc::clone(&counts),
            interrupted: interrupted.clone(),
        })
        .uid("counting");
    interrupted.assert_restored(&env.execute("sink").unwrap(), RECORDS);
    let counts = counts.lock().unwrap();
    assert_eq!((counts.len(), counts.values().sum::<u64>()), (2, RECORDS));
}

/// A keyed function with a union list and a broadcast state beside its keyed state.
#[derive(Clone)]
struct KeyedWithLists {
    count: Option<ValueState<u64>>,
    all: Option<OperatorListState<u64>>,
    own: u64,
    interrupted: Interrupted,
}

impl KeyedProcessFunction<u64, u64, u64> for KeyedWithLists {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let all = context.get_union_list_state(&ListStateDescriptor::<u64>::new("all"))?;
        if context.is_restored() {
            // Each subtask is told what all had; the first one goes on with it.
            let counts = all.take(context.list_states())?;
            assert_eq!(counts.len(), 2);
            if context.subtask() == 0 {
                self.own = counts.into_iter().sum();
            }
        }
        self.all = Some(all);
        Ok(())
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        self.all.unwrap().update(context.list_states(), vec![self.own])
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.count = Some(states.value_state("count")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        self.interrupted.once_at(number);
        self.own += 1;
        self.count
            .unwrap()
            .modify(context, |count| count.unwrap_or(0) + 1)?;
        context.register_event_time_timer(i64::MAX - 1)
    }

    fn on_timer(
        &mut self,
        _: Timer,
        _: &mut ProcessContext<'_, u64>,
        out: &mut Collector<u64>,
    ) -> Result<()> {
        out.collect(std::mem::take(&mut self.own));
        Ok(())
    }
}

#[test]
fn a_keyed_function_has_operator_state_beside_its_keyed_state() {
    const RECORDS: u64 = 3000;
    let interrupted = Interrupted::at(RECORDS / 2);
    let env = interrupted.environment(2);
    let sink = CollectSink::<u64>::new();
    let results = sink.results();
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(3000.0)
        .key_by(|n| n % 50)
        .process(KeyedWithLists {
            count: None,
            all: None,
            own: 0,
            interrupted: interrupted.clone(),
        })
        .uid("keyed")
        .sink_to_2pc(sink)
        .uid("sink");
    interrupted.assert_restored(&env.execute("keyed").unwrap(), RECORDS);
    assert_eq!(results.take().iter().sum::<u64>(), RECORDS);
}

/// Asks for one name twice.
#[derive(Clone)]
struct OneNameTwice;

impl ProcessFunction<u64, u64> for OneNameTwice {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        context.get_list_state(&ListStateDescriptor::<u64>::new("numbers"))?;
        context.get_union_list_state(&ListStateDescriptor::<u64>::new("numbers"))?;
        Ok(())
    }

    fn process_element(&mut self, _: u64, _: &mut FunctionContext<'_>, _: &mut Collector<u64>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_name_that_is_used_in_two_modes_ends_the_job_with_a_word_on_it() {
    let env = environment(1);
    env.from_sequence(0, 10)
        .process(OneNameTwice)
        .name("twice")
        .uid("twice")
        .sink_to(DiscardSink::new());
    let error = env.execute("one name").unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Bug);
    for part in ["'numbers'", "as list and as union list", "twice"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}
