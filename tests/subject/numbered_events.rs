//! The sharper oracle: per key the events are numbered 0, 1, 2, ..., and the state knows which one comes next.
//!
//! A record that is lost or counted twice is seen at once, with its key, by the first wrong number; at the end the output must have each event
//! once.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{StateRegistry, ValueState};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the events, one line `key number` each
    #[arg(long)]
    output: PathBuf,

    /// A multiple of the parallelism, so that the events of a key come from one subtask
    #[arg(long)]
    keys: u64,

    #[arg(long)]
    per_key: u64,

    /// Events a second
    #[arg(long)]
    rate: Option<f64>,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    /// What the job is called
    #[arg(long, default_value = "numbered_events")]
    job_name: String,

    /// An event may come again, as in AT_LEAST_ONCE mode
    #[arg(long)]
    repeats_allowed: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Key and number.
type Event = (u64, u64);

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    let source = SequenceSource::generate(0..keys * args.per_key, move |i| (i % keys, i / keys));
    let mut events = env.from_source(source, "events").uid("events");
    if let Some(rate) = args.rate {
        events = events.rate_limit(rate);
    }
    let check = Check {
        next: None,
        repeats_allowed: args.repeats_allowed,
    };
    events
        .key_by(|event: &Event| event.0)
        .process(check)
        .uid("check")
        .sink_to_2pc(FileSink::new(&args.output, |(key, number): &Event, row| {
            let _ = writeln!(row, "{key} {number}"); // a `Vec` takes everything
        }))
        .uid("event-files");
    say_how_it_went(&env.execute(&args.job_name)?);
    Ok(())
}

#[derive(Clone)]
struct Check {
    next: Option<ValueState<u64>>,
    repeats_allowed: bool,
}

impl KeyedProcessFunction<u64, Event, Event> for Check {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.next = Some(states.value_state("next")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, number): Event,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Event>,
    ) -> Result<()> {
        let Some(next) = self.next else { return Ok(()) };
        let expected = next.value(context)?.unwrap_or(0);
        if number > expected || (number < expected && !self.repeats_allowed) {
            // Not an error: that would start the next attempt, and be forgotten if it is right again.
            say(format_args!(
                "FAULT: key {key} saw event {number} where {expected} was next"
            ));
        }
        next.update(context, &(number + 1).max(expected))?;
        out.collect((key, number));
        Ok(())
    }
}
