//! Windows of the API within one process: failures, late records, records without event time.

use crate::harness::Interrupted;
use millpond_engine::ErrorKind;
use millpond_engine::api::{
    OutputTag, StreamExecutionEnvironment, TumblingEventTimeWindows, WATERMARK_MAX, WatermarkStrategy,
};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::{FromCollection, SequenceSource};
use std::collections::BTreeMap;
use std::time::Duration;

const RECORDS: u64 = 30_000;
/// A multiple of the parallelism, so that the records of a key come from one subtask.
const KEYS: u64 = 1000;
const WINDOW_MS: u64 = 3000;

fn windows() -> TumblingEventTimeWindows {
    TumblingEventTimeWindows::of(Duration::from_millis(WINDOW_MS))
}

#[test]
fn windows_hold_what_came_before_and_after_a_failure() {
    let interrupted = Interrupted::at(RECORDS / 2);
    let sink = CollectSink::<(u64, i64, u64)>::new();
    let results = sink.results();
    let env = interrupted.environment(2);
    let fails = interrupted.clone();
    env.from_source(SequenceSource::generate(0..RECORDS, |i| (i % KEYS, i)), "events")
        .uid("events")
        .rate_limit(30_000.0)
        .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), |event| event.1.cast_signed())
        .key_by(|event: &(u64, u64)| event.0)
        .window(windows())
        .reduce_with(
            move |left, right| {
                fails.once_at(right.1);
                (left.0, left.1 + right.1)
            },
            |key, window, (_, times), out| {
                assert_eq!(window.end - window.start, WINDOW_MS.cast_signed());
                out.collect((*key, window.start, times));
            },
        )
        .uid("windows")
        .sink_to_2pc(sink)
        .uid("sink");
    let result = env.execute("windows").unwrap();
    interrupted.assert_restored(&result, RECORDS);
    // The last checkpoint is behind the end of the input, when all windows have fired. A window's state is some 40 KB.
    let left = result.checkpoints.last_full_size_bytes;
    assert!(left < 100_000, "{left} bytes of state are left");
    let mut expected = BTreeMap::new();
    for i in 0..RECORDS {
        let start = (i - i % WINDOW_MS).cast_signed();
        *expected.entry((i % KEYS, start)).or_insert(0) += i;
    }
    let mut found = results.take();
    found.sort_unstable();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|((key, start), times)| (key, start, times))
        .collect();
    assert!(found == expected, "{} windows of {}", found.len(), expected.len());
}

/// Two batches: the first one takes the watermark to 2999, the last millisecond of the first window, which so has fired when the others come.
fn events(env: &StreamExecutionEnvironment) -> millpond_engine::api::DataStream<(u64, u64)> {
    let in_time = (0..=3000).step_by(1000).map(|time| (1, time));
    // More than a batch, so that what follows comes in another one.
    let filler = (0..5000).map(|_| (2, 3000));
    let late = [(1, 2999), (1, 3001), (3, 500), (1, 5999)];
    let events: Vec<(u64, u64)> = in_time.chain(filler).chain(late).collect();
    env.from_source(FromCollection::new(events), "events")
        .set_parallelism(1)
        .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), |event| event.1.cast_signed())
        .set_parallelism(1)
}

/// The number of records in each window, by key and start.
fn counts(found: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut found = found;
    found.sort_unstable();
    found
}

#[test]
fn late_records_are_dropped_and_counted_and_others_of_their_batch_are_not() {
    for with_side_output in [false, true] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(2);
        let (sink, late_sink) = (CollectSink::new(), CollectSink::new());
        let (results, late) = (sink.results(), late_sink.results());
        let tag = OutputTag::new("late");
        let mut windowed = events(&env)
            .key_by(|event: &(u64, u64)| event.0)
            .window(windows());
        if with_side_output {
            windowed = windowed.side_output_late_data(&tag);
        }
        let sums = windowed.reduce(|left, right| (left.0, left.1 + right.1));
        sums.side_output(&tag).sink_to_2pc(late_sink);
        sums.sink_to_2pc(sink);
        let result = env.execute("late").unwrap();
        assert_eq!(
            counts(results.take()),
            [(1, 3000), (1, 3000 + 3001 + 5999), (2, 5000 * 3000)],
            "{with_side_output}"
        );
        if with_side_output {
            assert_eq!(counts(late.take()), [(1, 2999), (3, 500)]);
            assert_eq!(result.late_records_dropped, 0);
        } else {
            assert_eq!(late.take(), []);
            assert_eq!(result.late_records_dropped, 2);
        }
    }
}

#[test]
fn what_a_window_emits_has_its_last_millisecond_as_event_time() {
    let env = StreamExecutionEnvironment::new();
    let sink = CollectSink::new();
    let results = sink.results();
    // Windows over windows: those of the first ones that end in the same two thirds of a minute.
    env.from_source(SequenceSource::generate(0..100, |i| (0_u64, i)), "events")
        .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), |event| event.1.cast_signed())
        .key_by(|event: &(u64, u64)| event.0)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
        .reduce_with(|left, _| left, |key, _, _, out| out.collect((*key, 1_u64)))
        .key_by(|event: &(u64, u64)| event.0)
        .window(TumblingEventTimeWindows::of(Duration::from_millis(40)))
        .reduce_with(
            |left, right| (left.0, left.1 + right.1),
            |_, window, (_, count), out| out.collect((window.start, count)),
        )
        .sink_to_2pc(sink);
    env.execute("windows over windows").unwrap();
    let mut found = results.take();
    found.sort_unstable();
    assert_eq!(found, [(0, 4), (40, 4), (80, 2)]);
}

#[test]
fn one_key_without_bytes_and_windows_at_the_end_of_time_work() {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(3);
    let sink = CollectSink::new();
    let results = sink.results();
    env.from_source(SequenceSource::new(0..5000), "numbers")
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(10)),
            |i| {
                if *i < 4000 {
                    i.cast_signed()
                } else {
                    WATERMARK_MAX - 5
                }
            },
        )
        .key_by(|_: &u64| ())
        .window(windows())
        .reduce(|left, right| left + right)
        .sink_to_2pc(sink);
    let result = env.execute("one key").unwrap();
    let mut found = results.take();
    found.sort_unstable();
    assert_eq!(result.late_records_dropped, 0);
    let sum = |range: std::ops::Range<u64>| range.sum::<u64>();
    assert_eq!(found, [sum(3000..4000), sum(0..3000), sum(4000..5000)]);
}

#[test]
fn records_without_event_time_and_windows_without_length_are_refused_with_what_to_do() {
    let run = |with_times: bool, size_ms: u64| {
        let env = StreamExecutionEnvironment::new();
        let mut numbers = env.from_source(SequenceSource::new(0..10), "numbers");
        if with_times {
            numbers = numbers
                .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), |i| i.cast_signed());
        }
        numbers
            .key_by(|i: &u64| *i)
            .window(TumblingEventTimeWindows::of(Duration::from_millis(size_ms)))
            .reduce(|left, _| left)
            .sink_to_2pc(CollectSink::new());
        env.execute("refused")
    };
    let error = run(false, 10).unwrap_err();
    assert!(
        error.to_string().contains("assign_timestamps_and_watermarks"),
        "{error}"
    );
    let error = run(true, 0).unwrap_err();
    assert!(error.to_string().contains("at least one millisecond"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(run(true, 1).is_ok());
}
