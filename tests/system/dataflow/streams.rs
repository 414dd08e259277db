//! Where records go.

use super::{environment, sorted};
use crate::harness::Interrupted;
use millpond_engine::api::{Collector, OutputTag};
use millpond_engine::connectors::sinks::{CollectSink, ForEachSink};
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
