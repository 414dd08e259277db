//! Two streams of different types in one function.

use super::{environment, sorted};
use crate::harness::Interrupted;
use millpond_engine::Result;
use millpond_engine::api::{
    CoProcessFunction, Collector, FunctionContext, KeyedCoProcessFunction, ProcessContext, Timer,
    WatermarkStrategy,
};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{FunctionInitializationContext, ListStateDescriptor, OperatorListState};
use std::time::Duration;

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
