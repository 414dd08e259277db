//! Tumbling windows by the API, twice over the same events: of keys of a fixed width, and of words.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{TumblingEventTimeWindows, WatermarkStrategy};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::AggregateFunction;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `key start count times` for each window
    #[arg(long)]
    output: PathBuf,

    /// One event a millisecond of event time, of one key after the other, each ten backwards
    #[arg(long)]
    records: u64,

    #[arg(long)]
    keys: u64,

    /// The length of a window
    #[arg(long)]
    window_ms: u64,

    /// How much later than at a multiple of their length windows begin
    #[arg(long)]
    offset_ms: u64,

    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// How far events are out of order.
const OUT_OF_ORDER_MS: u64 = 10;

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    let event = move |i: u64| {
        let time = i - i % OUT_OF_ORDER_MS + (OUT_OF_ORDER_MS - 1 - i % OUT_OF_ORDER_MS);
        (time % keys, time)
    };
    let windows = TumblingEventTimeWindows::of(Duration::from_millis(args.window_ms))
        .offset(Duration::from_millis(args.offset_ms));
    let events = env
        .from_source(SequenceSource::generate(0..args.records, event), "events")
        .uid("events")
        // One subtask, so that the events are about in the order of their times at every parallelism of the rest.
        .set_parallelism(1)
        .rate_limit(args.rate)
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(OUT_OF_ORDER_MS)),
            |event| event.1.cast_signed(),
        )
        .set_parallelism(1);
    let numbers = events
        .key_by(|event: &(u64, u64)| event.0)
        .window(windows)
        .aggregate_with(CountAndSum, |key, window, (count, times), out| {
            out.collect(format!("{key} {} {count} {times}", window.start));
        })
        .uid("numbers");
    let words = events
        .map(|(key, time)| (word(key), format!("{time}+")))
        .set_parallelism(1)
        .key_by(|(word, _)| word.clone())
        .window(windows)
        .reduce_with(
            |left, right| (left.0, left.1 + &right.1),
            |word, window, (_, times), out| {
                let times: Vec<u64> = times.split_terminator('+').flat_map(str::parse).collect();
                let (count, sum) = (times.len(), times.iter().sum::<u64>());
                out.collect(format!("{word} {} {count} {sum}", window.start));
            },
        )
        .uid("words");
    numbers
        .union(&words)
        .sink_to_2pc(FileSink::new(&args.output, |row: &String, line| {
            let _ = writeln!(line, "{row}"); // a `Vec` takes everything
        }))
        .uid("window-files");
    let result = env.execute("tumbling")?;
    if result.late_records_dropped > 0 {
        say(format_args!(
            "FAULT: {} events were late",
            result.late_records_dropped
        ));
    }
    say_how_it_went(&result);
    Ok(())
}

/// Words of several lengths, one of them empty.
fn word(key: u64) -> String {
    "w".repeat(usize::try_from(key).unwrap_or(0))
}

struct CountAndSum;

impl AggregateFunction for CountAndSum {
    type Input = (u64, u64);
    type Accumulator = (u64, u64);
    type Output = (u64, u64);

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, (_, time): (u64, u64), (count, times): (u64, u64)) -> (u64, u64) {
        (count + 1, times + time)
    }

    fn result(&self, accumulator: &(u64, u64)) -> (u64, u64) {
        *accumulator
    }
}
