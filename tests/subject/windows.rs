//! Tumbling windows of event time by hand: counts and lists by window, closed by timers, and everything that was closed before in a map.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, Timer, WatermarkStrategy};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{ListState, MapState, StateRegistry, ValueState};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `key end count times closed` for each window: see the fields of [`Row`]
    #[arg(long)]
    output: PathBuf,

    /// One event a millisecond of event time, of one key after the other
    #[arg(long)]
    records: u64,

    #[arg(long)]
    keys: u64,

    /// The length of a window
    #[arg(long)]
    window_ms: i64,

    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// Key, end of the window, events in it, the sum of their times, and how many windows of the key were closed before.
type Row = (u64, i64, u64, i64, u64);

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    let event = move |i: u64| (i % keys, i.cast_signed());
    env.from_source(SequenceSource::generate(0..args.records, event), "events")
        .uid("events")
        // One subtask, so that the events are in the order of their times at every parallelism of the rest.
        .set_parallelism(1)
        .rate_limit(args.rate)
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::ZERO),
            |event| event.1,
        )
        .set_parallelism(1)
        .key_by(|event: &(u64, i64)| event.0)
        .process(Windows {
            window_ms: args.window_ms,
            states: None,
        })
        .uid("windows")
        .sink_to_2pc(FileSink::new(&args.output, |row: &Row, line| {
            let (key, end, count, times, closed) = row;
            let _ = writeln!(line, "{key} {end} {count} {times} {closed}"); // a `Vec` takes everything
        }))
        .uid("window-files");
    say_how_it_went(&env.execute("windows")?);
    Ok(())
}

#[derive(Clone, Copy)]
struct States {
    /// Events by the start of their window.
    counts: MapState<i64, u64>,
    /// The times of the events in windows that are open.
    times: ListState<i64>,
    /// Ends of closed windows, and their counts.
    closed: MapState<i64, u64>,
    last_closed: ValueState<i64>,
}

#[derive(Clone)]
struct Windows {
    window_ms: i64,
    states: Option<States>,
}

impl KeyedProcessFunction<u64, (u64, i64), Row> for Windows {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.states = Some(States {
            counts: states.map_state("counts")?,
            times: states.list_state("times")?,
            closed: states.map_state("closed")?,
            last_closed: states.value_state("last-closed")?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, time): (u64, i64),
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(states) = self.states else { return Ok(()) };
        if time <= context.current_watermark() {
            say(format_args!("FAULT: event {time} of key {key} is late"));
        }
        let window = time - time % self.window_ms;
        let count = states.counts.get(context, &window)?.unwrap_or(0) + 1;
        states.counts.put(context, &window, &count)?;
        states.times.add(context, &time)?;
        // Again and again for the same time, which counts once; and one that is taken back.
        context.register_event_time_timer(window + self.window_ms - 1)?;
        context.register_event_time_timer(window + self.window_ms + 7)?;
        context.delete_event_time_timer(window + self.window_ms + 7)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(states) = self.states else { return Ok(()) };
        let end = timer.timestamp;
        let key = context.current_key()?;
        let expected = states
            .last_closed
            .value(context)?
            .map_or(self.window_ms - 1, |last| last + self.window_ms);
        if end != expected {
            say(format_args!(
                "FAULT: key {key} closed the window that ends at {end} where {expected} was next"
            ));
        }
        let window = end + 1 - self.window_ms;
        let count = states.counts.get(context, &window)?.unwrap_or(0);
        let times = states.times.get(context)?;
        // The next window may have begun.
        let (times, later): (Vec<i64>, Vec<i64>) = times.into_iter().partition(|time| *time <= end);
        let closed = states.closed.entries(context)?.len() as u64;
        out.collect((key, end, count, times.iter().sum(), closed));
        states.counts.remove(context, &window)?;
        states.times.update(context, &later)?;
        states.closed.put(context, &end, &count)?;
        states.last_closed.update(context, &end)
    }
}
