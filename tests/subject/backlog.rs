//! A backlog: each event is put into the list of its key and has a timer of its own, far ahead, that takes it out again. So many timers wait, and lists are
//! appended to for a long time before anybody reads them.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, Timer, WatermarkStrategy};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{ListState, StateRegistry};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `key number` for each event that was taken out
    #[arg(long)]
    output: PathBuf,

    /// One event a millisecond of event time, of one key after the other
    #[arg(long)]
    records: u64,

    #[arg(long)]
    keys: u64,

    /// For how many milliseconds of event time, and so events of all keys together, an event waits
    #[arg(long)]
    delay: i64,

    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// Key and number.
type Row = (u64, i64);

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
        .key_by(|event: &Row| event.0)
        .process(Backlog {
            delay: args.delay,
            waiting: None,
        })
        .uid("backlog")
        .sink_to_2pc(FileSink::new(&args.output, |(key, number): &Row, line| {
            let _ = writeln!(line, "{key} {number}"); // a `Vec` takes everything
        }))
        .uid("backlog-files");
    say_how_it_went(&env.execute("backlog")?);
    Ok(())
}

#[derive(Clone)]
struct Backlog {
    delay: i64,
    waiting: Option<ListState<i64>>,
}

impl KeyedProcessFunction<u64, Row, Row> for Backlog {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.waiting = Some(states.list_state("waiting")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, number): Row,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result<()> {
        if let Some(waiting) = self.waiting {
            waiting.add(context, &number)?;
            context.register_event_time_timer(number + self.delay)?;
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(waiting) = self.waiting else {
            return Ok(());
        };
        let key = context.current_key()?;
        let number = timer.timestamp - self.delay;
        let all = waiting.get(context)?;
        match all.split_first() {
            Some((first, rest)) if *first == number && rest.is_sorted_by(|left, right| left < right) => {
                out.collect((key, number));
                waiting.update(context, rest)
            }
            _ => {
                say(format_args!(
                    "FAULT: key {key} has {all:?} waiting where {number} is due"
                ));
                Ok(())
            }
        }
    }
}
