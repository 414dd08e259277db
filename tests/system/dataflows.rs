//! All ways for records, and all kinds of state, in a job that fails once in the middle.

use crate::harness::Interrupted;
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, OutputTag, ProcessContext};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, ReducingState, StateRegistry, ValueState,
};
use std::collections::BTreeMap;

const RECORDS: u64 = 4000;
const RATE: f64 = 5000.0;

#[test]
fn side_outputs_unions_and_new_partitions_lose_and_double_nothing() {
    let interrupted = Interrupted::at(RECORDS / 2);
    let (sums, copies) = (CollectSink::<(u64, u64)>::new(), CollectSink::<u64>::new());
    let (sums_found, copies_found) = (sums.results(), copies.results());
    let env = interrupted.environment(2);
    let odd = OutputTag::<String>::new("odd");
    let to_side = odd.clone();
    let even = env
        .from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(RATE)
        .process(move |number: u64, out| {
            if number.is_multiple_of(2) {
                out.collect(number);
            } else {
                out.side_output(&to_side, number.to_string());
            }
            Ok(())
        });
    let odd = even.side_output(&odd).rebalance().try_map(|text: String| {
        text.parse().map_err(|error| {
            millpond_engine::Error::new(millpond_engine::ErrorKind::UserCode, format!("{error}"))
        })
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
    interrupted.assert_restored(&env.execute("dataflows").unwrap(), RECORDS);

    // After each record of a key its sum so far; in what order the records came is not known, but the last sum is that of all.
    let sums = sums_found.take();
    assert_eq!(sums.len() as u64, RECORDS);
    for key in 0..7 {
        let expected = (0..RECORDS).filter(|number| number % 7 == key).sum::<u64>();
        let last = sums.iter().filter(|sum| sum.0 == key).map(|sum| sum.1).max();
        assert_eq!(last, Some(expected), "key {key}");
    }
    let mut copies = copies_found.take();
    copies.sort_unstable();
    let expected: Vec<_> = (0..RECORDS)
        .filter(|number| number % 10 == 3)
        .flat_map(|number| [number, number])
        .collect();
    assert_eq!(copies, expected);
}

/// The mean of what was added.
struct Mean;

impl AggregateFunction for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, value: u64, (sum, count): (u64, u64)) -> (u64, u64) {
        (sum + value, count + 1)
    }

    fn result(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count
    }
}

/// A multiple of the parallelism, so that the numbers of a key come in order.
const KEYS: u64 = 12;
/// After so many numbers of a key its list and its map are cleared.
const CLEAR_EVERY: u64 = 40;

/// All that is known of a key after one of its numbers.
type Known = (u64, u64, Vec<String>, Vec<(String, u64)>, u64, u64);

/// Keeps what it has seen of each key in a state of every kind.
#[derive(Clone)]
struct EveryKind {
    interrupted: Interrupted,
    states: Option<States>,
}

#[derive(Clone)]
struct States {
    seen: ValueState<u64>,
    list: ListState<String>,
    map: MapState<String, u64>,
    max: ReducingState<u64>,
    mean: AggregatingState<Mean>,
}

impl KeyedProcessFunction<u64, u64, Known> for EveryKind {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.states = Some(States {
            seen: states.value_state("seen")?,
            list: states.list_state("list")?,
            map: states.map_state("map")?,
            max: states.reducing_state("max", |a: u64, b| a.max(b))?,
            mean: states.aggregating_state("mean", Mean)?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Known>,
    ) -> Result<()> {
        self.interrupted.once_at(number);
        let states = self.states.as_ref().unwrap();
        let seen = states.seen.value(context)?.unwrap_or(0) + 1;
        states.seen.update(context, &seen)?;
        if seen % CLEAR_EVERY == 0 {
            states.list.clear(context)?;
            states.map.clear(context)?;
        }
        states.list.add(context, &number.to_string())?;
        let name = map_key(number);
        let count = states.map.get(context, &name)?.unwrap_or(0) + 1;
        states.map.put(context, &name, &count)?;
        states.max.add(context, weight(number))?;
        states.mean.add(context, weight(number))?;
        let mut map = states.map.entries(context)?;
        map.sort();
        out.collect((
            number,
            seen,
            states.list.get(context)?,
            map,
            states.max.get(context)?.unwrap(),
            states.mean.get(context)?.unwrap(),
        ));
        Ok(())
    }
}

fn map_key(number: u64) -> String {
    "x".repeat((number / KEYS % 5) as usize)
}

/// Goes up and down.
fn weight(number: u64) -> u64 {
    number * 7919 % 1000
}

/// What [`EveryKind`] has to say, by way of collections.
fn every_kind_by_hand() -> Vec<Known> {
    let mut all = Vec::new();
    for key in 0..KEYS {
        let (mut list, mut map) = (Vec::new(), BTreeMap::new());
        let (mut seen, mut max, mut sum) = (0, 0, 0);
        for number in (0..RECORDS).filter(|number| number % KEYS == key) {
            seen += 1;
            if seen % CLEAR_EVERY == 0 {
                list.clear();
                map.clear();
            }
            list.push(number.to_string());
            *map.entry(map_key(number)).or_insert(0) += 1;
            max = max.max(weight(number));
            sum += weight(number);
            all.push((
                number,
                seen,
                list.clone(),
                map.clone().into_iter().collect(),
                max,
                sum / seen,
            ));
        }
    }
    all.sort();
    all
}

#[test]
fn state_of_every_kind_survives_a_failure() {
    for backend in ["hashmap", "jobmanager"] {
        let interrupted = Interrupted::at(RECORDS / 2);
        let sink = CollectSink::<Known>::new();
        let results = sink.results();
        let env = interrupted.environment(2);
        env.set_state_backend(backend);
        env.from_source(SequenceSource::new(0..RECORDS), "numbers")
            .uid("numbers")
            .rate_limit(RATE)
            .key_by(|number: &u64| number % KEYS)
            .process(EveryKind {
                interrupted: interrupted.clone(),
                states: None,
            })
            .uid("every-kind")
            .sink_to_2pc(sink)
            .uid("sink");
        interrupted.assert_restored(&env.execute("every kind").unwrap(), RECORDS);
        let mut found = results.take();
        found.sort();
        let expected = every_kind_by_hand();
        let wrong = found
            .iter()
            .zip(&expected)
            .find(|(found, expected)| found != expected);
        assert_eq!(
            wrong,
            None,
            "{backend}: the first of {} records that is wrong",
            found.len()
        );
        assert_eq!(found.len(), expected.len(), "{backend}");
    }
}
