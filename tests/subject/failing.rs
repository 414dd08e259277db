//! A function that does not like one of the records.

use crate::{environment, say, say_how_it_went, threads};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    records: u64,

    /// The record that is not liked
    #[arg(long)]
    at: u64,

    /// How often it is not liked
    #[arg(long)]
    times: u64,

    /// Return an error instead of a panic
    #[arg(long)]
    error: bool,

    #[arg(long)]
    rate: Option<f64>,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

static FAILURES: AtomicU64 = AtomicU64::new(0);

#[expect(clippy::panic, reason = "what this job is for")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let threads_before = threads();
    let (at, times, error) = (args.at, args.times, args.error);
    let sink = CollectSink::<u64>::new();
    let results = sink.results();
    let outcome = {
        let env = environment(&args.common, args.parallelism)?;
        let mut numbers = env
            .from_source(SequenceSource::new(0..args.records), "numbers")
            .uid("numbers");
        if let Some(rate) = args.rate {
            numbers = numbers.rate_limit(rate);
        }
        numbers
            .rebalance()
            .try_map(move |number: u64| {
                if number == at && FAILURES.fetch_add(1, Ordering::Relaxed) < times {
                    if error {
                        return Err(Error::new(
                            ErrorKind::UserCode,
                            format!("record {number} is refused"),
                        ));
                    }
                    panic!("record {number} is not liked");
                }
                Ok(number)
            })
            .name("picky")
            .uid("picky")
            .sink_to_2pc(sink)
            .uid("collect");
        env.execute("failing")
    };
    let collected = results.take();
    let sum: u64 = collected.iter().sum();
    let distinct = collected.iter().collect::<std::collections::BTreeSet<_>>().len();
    say(format_args!(
        "collected {} records, {distinct} distinct, sum {sum}, after {} failures",
        collected.len(),
        FAILURES.load(Ordering::Relaxed).min(times),
    ));
    say(format_args!(
        "threads left: {}",
        threads().saturating_sub(threads_before)
    ));
    say_how_it_went(&outcome?);
    Ok(())
}
