//! Timers and event time in a job that fails once in the middle: as if nothing had happened.

use crate::harness::Interrupted;
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, KeyedProcessFunction, ProcessContext, Timer, WATERMARK_MAX, WatermarkStrategy,
};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::{ChannelSource, SequenceSource};
use millpond_engine::state::{MapState, StateRegistry, TimerDomain, ValueState};
use std::time::{Duration, Instant};

/// A multiple of the parallelism, so that the records of a key come from one subtask.
const KEYS: u64 = 20;
const RECORDS: u64 = 6000;
const WINDOW_MS: i64 = 100;

/// Key and event time. One record a millisecond.
type Event = (u64, i64);

/// Key, time of the timer, records in the window that it closes, and the timer before it of the same key.
type Closed = (u64, i64, u64, Option<i64>);

/// Counts the records of each key in windows of event time, closed by timers.
#[derive(Clone)]
struct Windows {
    interrupted: Interrupted,
    counts: Option<MapState<i64, u64>>,
    last_fired: Option<ValueState<i64>>,
}

impl KeyedProcessFunction<u64, Event, Closed> for Windows {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.counts = Some(states.map_state("counts")?);
        self.last_fired = Some(states.value_state("last-fired")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, time): Event,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<Closed>,
    ) -> Result<()> {
        self.interrupted.once_at(time.unsigned_abs());
        assert_eq!(context.timestamp(), Some(time));
        assert_eq!(context.current_key()?, key);
        assert!(
            time > context.current_watermark(),
            "event {time} of key {key} is late"
        );
        let counts = self.counts.unwrap();
        let window = time - time % WINDOW_MS;
        let count = counts.get(context, &window)?.unwrap_or(0) + 1;
        counts.put(context, &window, &count)?;
        // Again and again for the same time, which counts once; and one that is taken back.
        context.register_event_time_timer(window + WINDOW_MS - 1)?;
        context.register_event_time_timer(window + WINDOW_MS + 7)?;
        context.delete_event_time_timer(window + WINDOW_MS + 7)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Closed>,
    ) -> Result<()> {
        assert_eq!(timer.domain, TimerDomain::EventTime);
        assert!(timer.timestamp <= context.current_watermark());
        let (counts, last_fired) = (self.counts.unwrap(), self.last_fired.unwrap());
        let window = timer.timestamp + 1 - WINDOW_MS;
        let count = counts.get(context, &window)?.unwrap_or(0);
        counts.remove(context, &window)?;
        out.collect((
            context.current_key()?,
            timer.timestamp,
            count,
            last_fired.value(context)?,
        ));
        last_fired.update(context, &timer.timestamp)
    }
}

#[test]
fn timers_of_event_time_fire_once_and_in_order_across_a_failure() {
    for out_of_order_ms in [0, 30] {
        let interrupted = Interrupted::at(RECORDS / 2);
        let sink = CollectSink::<Closed>::new();
        let results = sink.results();
        let env = interrupted.environment(2);
        // Within each hundred backwards, if at all.
        let event = move |i: u64| {
            let i = i.cast_signed();
            let time = if out_of_order_ms == 0 {
                i
            } else {
                i - i % 20 + (19 - i % 20)
            };
            (time.unsigned_abs() % KEYS, time)
        };
        env.from_source(SequenceSource::generate(0..RECORDS, event), "events")
            .uid("events")
            .rate_limit(6000.0)
            .assign_timestamps_and_watermarks(
                WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(out_of_order_ms)),
                |event| event.1,
            )
            .key_by(|event: &Event| event.0)
            .process(Windows {
                interrupted: interrupted.clone(),
                counts: None,
                last_fired: None,
            })
            .uid("windows")
            .sink_to_2pc(sink)
            .uid("sink");
        interrupted.assert_restored(&env.execute("event time").unwrap(), RECORDS);

        let mut found = results.take();
        found.sort_unstable();
        let windows = RECORDS.cast_signed() / WINDOW_MS;
        let of_key = |key| {
            (0..windows).map(move |window| {
                let end = |window| (window + 1) * WINDOW_MS - 1;
                let before = (window > 0).then(|| end(window - 1));
                (key, end(window), WINDOW_MS.unsigned_abs() / KEYS, before)
            })
        };
        let expected: Vec<_> = (0..KEYS).flat_map(of_key).collect();
        assert_eq!(found, expected, "{out_of_order_ms} ms out of order");
    }
}

/// Emits each key some time after its first record, with whether that was the time.
#[derive(Clone)]
struct Alarm {
    interrupted: Interrupted,
    set: Option<ValueState<i64>>,
}

/// Odd keys are woken long before the failure, even ones behind it.
fn alarm_ms(key: u64) -> i64 {
    if key % 2 == 1 { 50 } else { 900 }
}

impl KeyedProcessFunction<u64, u64, (u64, bool)> for Alarm {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.set = Some(states.value_state("set")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        record: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, bool)>,
    ) -> Result<()> {
        self.interrupted.once_at(record);
        let set = self.set.unwrap();
        if set.value(context)?.is_none() {
            let time = context.current_processing_time() + alarm_ms(record % KEYS);
            set.update(context, &time)?;
            // Twice, which counts once; and never again, so that behind the failure there is only what was restored.
            context.register_processing_time_timer(time)?;
            context.register_processing_time_timer(time)?;
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, bool)>,
    ) -> Result<()> {
        assert_eq!(timer.domain, TimerDomain::ProcessingTime);
        let is_due = context.current_processing_time() >= timer.timestamp;
        let is_the_one = self.set.unwrap().value(context)? == Some(timer.timestamp);
        out.collect((context.current_key()?, is_due && is_the_one));
        Ok(())
    }
}

#[test]
fn timers_of_processing_time_fire_once_across_a_failure() {
    let interrupted = Interrupted::at(RECORDS / 3);
    let sink = CollectSink::new();
    let results = sink.results();
    let env = interrupted.environment(2);
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(4000.0)
        .key_by(|number: &u64| number % KEYS)
        .process(Alarm {
            interrupted: interrupted.clone(),
            set: None,
        })
        .uid("alarm")
        .sink_to_2pc(sink)
        .uid("sink");
    interrupted.assert_restored(&env.execute("processing time").unwrap(), RECORDS);
    let mut found = results.take();
    found.sort_unstable();
    assert_eq!(found, (0..KEYS).map(|key| (key, true)).collect::<Vec<_>>());
}

#[test]
fn timers_of_processing_time_fire_while_no_record_comes() {
    let interrupted = Interrupted::never();
    let sink = CollectSink::new();
    let results = sink.results();
    let env = interrupted.environment(2);
    let (sender, source) = ChannelSource::unbounded();
    env.from_source(source, "channel")
        .key_by(|number: &u64| number % KEYS)
        .process(Alarm {
            interrupted,
            set: None,
        })
        .sink_to_2pc(sink);
    let job = env.execute_async("silence").unwrap();
    (0..KEYS).for_each(|key| sender.send(key).unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while results.snapshot().len() < 20 && Instant::now() < deadline && !job.is_finished() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(sender);
    job.wait().unwrap();
    let mut found = results.take();
    found.sort_unstable();
    assert_eq!(found, (0..KEYS).map(|key| (key, true)).collect::<Vec<_>>());
}

/// Registers a timer for each key that no watermark but the last one reaches.
#[derive(Clone)]
struct AtTheEnd(Interrupted);

impl KeyedProcessFunction<u64, u64, (u64, bool)> for AtTheEnd {
    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, bool)>,
    ) -> Result<()> {
        self.0.once_at(number);
        if number < KEYS {
            context.register_event_time_timer(WATERMARK_MAX - 1)?;
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, bool)>,
    ) -> Result<()> {
        out.collect((
            context.current_key()?,
            context.current_watermark() == WATERMARK_MAX,
        ));
        Ok(())
    }
}

#[test]
fn the_end_of_the_input_fires_all_timers_of_event_time_also_restored_ones() {
    let interrupted = Interrupted::at(RECORDS / 2);
    let sink = CollectSink::new();
    let results = sink.results();
    let env = interrupted.environment(2);
    // Without event times of its own.
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(10_000.0)
        .key_by(|number: &u64| number % KEYS)
        .process(AtTheEnd(interrupted.clone()))
        .uid("at-the-end")
        .sink_to_2pc(sink)
        .uid("sink");
    interrupted.assert_restored(&env.execute("the end").unwrap(), RECORDS);
    let mut found = results.take();
    found.sort_unstable();
    assert_eq!(found, (0..KEYS).map(|key| (key, true)).collect::<Vec<_>>());
}
