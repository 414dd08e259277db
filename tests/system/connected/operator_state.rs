//! Operator state of functions and sinks that have one input.

use super::environment;
use crate::harness::Interrupted;
use millpond_engine::api::{
    Collector, FunctionContext, KeyedProcessFunction, ProcessContext, ProcessFunction, Sink, SinkContext,
    SinkWriter, Timer,
};
use millpond_engine::connectors::sinks::{CollectSink, DiscardSink};
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    FunctionInitializationContext, FunctionSnapshotContext, ListStateDescriptor, OperatorListState,
    StateRegistry, ValueState,
};
use millpond_engine::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

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
