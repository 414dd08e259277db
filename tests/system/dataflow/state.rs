//! Keyed state of every kind.

use super::failing_environment;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, ReducingState, StateRegistry, ValueState,
};
use millpond_engine::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
