//! Numbers into files, by way of a function that does not like one of them. Fit for several processes, since nothing is kept in memory.

use crate::{environment, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the numbers, one a line
    #[arg(long)]
    output: PathBuf,

    #[arg(long)]
    records: u64,

    /// The number from which on this process may panic
    #[arg(long)]
    at: u64,

    /// How often this process panics
    #[arg(long)]
    times: u64,

    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

static FAILURES: AtomicU64 = AtomicU64::new(0);

#[expect(clippy::panic, reason = "what this job is for")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let (at, times) = (args.at, args.times);
    env.from_source(SequenceSource::new(0..args.records), "numbers")
        .uid("numbers")
        .rate_limit(args.rate)
        .rebalance()
        .map(move |number: u64| {
            if number >= at && FAILURES.fetch_add(1, Ordering::Relaxed) < times {
                panic!("number {number} is not liked");
            }
            number
        })
        .name("picky")
        .uid("picky")
        .sink_to_2pc(FileSink::lines(&args.output))
        .uid("files");
    say_how_it_went(&env.execute("picky_files")?);
    Ok(())
}
