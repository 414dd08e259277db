//! Backpressure: a sink that is much slower than the source.

use crate::{environment, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::ForEachSink;
use millpond_engine::connectors::sources::SequenceSource;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    records: u64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    // Wide records, so that unbounded buffers would show.
    let source = SequenceSource::generate(0..args.records, |i| (i, vec![0u8; 1000]));
    env.from_source(source, "fast")
        .uid("fast")
        .key_by(|record: &(u64, Vec<u8>)| record.0 % 100)
        .reduce(|_, new| new)
        .uid("latest")
        .sink_to(ForEachSink::new(|_| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        }))
        .uid("slow");
    let result = env.execute("slow_sink")?;
    say_how_it_went(&result);
    Ok(())
}
