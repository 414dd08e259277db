//! A job without anything to do.

use crate::{environment, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::PrintSink;
use millpond_engine::connectors::sources::ChannelSource;
use std::io::Read;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let (sender, source) = ChannelSource::unbounded();
    std::thread::spawn(move || {
        // One record to show that the job runs, and the end of the job when the test closes the stream.
        let _ = sender.send("running".to_owned());
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(sender);
    });
    env.from_source(source, "silent")
        .uid("silent")
        .key_by(String::clone)
        .count()
        .uid("count")
        .map(|(word, count)| format!("{word} {count}"))
        .sink_to(PrintSink::new());
    let result = env.execute("idle")?;
    say_how_it_went(&result);
    Ok(())
}
