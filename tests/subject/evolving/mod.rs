//! A job whose states have changed their types between two releases, and which writes all that they hold at each record, so that its output is the same whichever release
//! has processed which records.

mod first;
mod merging;
mod second;
mod shown;
mod third;

use crate::{environment, say, say_how_it_went};
use first::First;
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, Timer, WatermarkStrategy};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::StateRegistry;
use second::Second;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use third::Third;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results: for each record `record visits last total recent kinds sum mean mood merged`, for each timer `timer time`; see [`merging::Merging`] for the last one
    #[arg(long)]
    output: PathBuf,

    #[arg(long)]
    records: u64,

    #[arg(long)]
    keys: u64,

    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    /// The release: 1 or 2; 3 has a type that nothing leads to
    #[arg(long)]
    schema: u8,

    /// Waits for ever when it has migrated so many values by its own function
    #[arg(long, default_value_t = u64::MAX)]
    stop_after_migrating: u64,

    /// Panics in place of that
    #[arg(long)]
    panics_then: bool,

    /// The uid of the sink
    #[arg(long, default_value = "evolving-files")]
    sink_uid: String,

    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    let events = env
        .from_source(
            SequenceSource::generate(0..args.records, |record| record),
            "events",
        )
        .uid("events")
        .set_parallelism(1)
        .rate_limit(args.rate)
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::ZERO),
            |record| record.cast_signed(),
        )
        .set_parallelism(1)
        .key_by(move |record: &u64| record % keys);
    let gate = Gate {
        left: Arc::new(AtomicU64::new(args.stop_after_migrating)),
        panics: args.panics_then,
    };
    let lines = match args.schema {
        1 => events.process(Evolving::<First>::new(keys, gate)),
        2 => events.process(Evolving::<Second>::new(keys, gate)),
        _ => events.process(Evolving::<Third>::new(keys, gate)),
    };
    lines
        .name("Evolving")
        .uid("evolving")
        .sink_to_2pc(FileSink::new(&args.output, |text: &String, line| {
            let _ = writeln!(line, "{text}"); // a `Vec` takes everything
        }))
        .uid(&args.sink_uid);
    say_how_it_went(&env.execute("evolving")?);
    Ok(())
}

/// Where a migration waits to be killed.
#[derive(Clone, Debug)]
struct Gate {
    left: Arc<AtomicU64>,
    panics: bool,
}

impl Gate {
    fn pass(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            assert!(!self.panics, "the migration was told to panic");
            say(format_args!("waits within the migration"));
            loop {
                std::thread::park();
            }
        }
    }
}

/// The states of one release: each call takes a record of the current key, and shows what there is then.
trait Release: Clone + Send + Sync + 'static {
    fn open(states: &mut StateRegistry<'_>, gate: &Gate) -> Result<Self>;

    /// Enters the `number`-th record of a key.
    fn enter(&self, record: u64, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<String>;
}

#[derive(Clone)]
struct Evolving<R> {
    keys: u64,
    gate: Gate,
    states: Option<R>,
}

impl<R> Evolving<R> {
    fn new(keys: u64, gate: Gate) -> Self {
        Self {
            keys,
            gate,
            states: None,
        }
    }
}

impl<R: Release> KeyedProcessFunction<u64, u64, String> for Evolving<R> {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.states = Some(R::open(states, &self.gate)?);
        Ok(())
    }

    fn process_element(
        &mut self,
        record: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<String>,
    ) -> Result<()> {
        let Some(states) = &self.states else { return Ok(()) };
        context.register_event_time_timer((record + 2 * self.keys).cast_signed())?;
        let shown = states.enter(record, record / self.keys, context)?;
        out.collect(format!("{record} {shown}"));
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        _: &mut ProcessContext<'_, u64>,
        out: &mut Collector<String>,
    ) -> Result<()> {
        out.collect(format!("timer {}", timer.timestamp));
        Ok(())
    }
}

/// How many elements the list holds before it begins anew.
const RECENT: usize = 5;

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn kind_of(number: u64) -> u8 {
    u8::try_from(number % 3).unwrap_or(0)
}
