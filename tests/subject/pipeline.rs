//! Two sources of different speed, two exchanges by key with a rebalance between them, three parallelisms: barriers over many channels.

use crate::{environment, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{MapState, StateRegistry};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `key count digit seen` for each number: see the fields of [`Row`]
    #[arg(long)]
    output: PathBuf,

    /// How many numbers the fast source emits; the slow one emits half as many at a third of the rate
    #[arg(long)]
    records: u64,

    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// How many keys there are in the first exchange.
const KEYS: u64 = 50;
/// How many in the second one.
const DIGITS: u64 = 7;

/// Key, how often it was seen; digit of that count, how often that was seen.
type Row = (u64, u64, u64, u64);

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let (fast, slow) = (args.records, args.records / 2);
    let fast = env
        .from_source(SequenceSource::new(0..fast), "fast")
        .uid("fast")
        .rate_limit(args.rate);
    let slow = env
        .from_source(SequenceSource::new(0..slow), "slow")
        .uid("slow")
        .set_parallelism(1)
        .rate_limit(args.rate / 3.0);
    fast.union(&slow)
        .rebalance()
        .map(|number| number)
        .set_parallelism(3)
        .key_by(|number: &u64| number % KEYS)
        .count()
        .uid("count")
        .rebalance()
        .map(|(key, count)| (key, count, count % DIGITS))
        .set_parallelism(2)
        .key_by(|row: &(u64, u64, u64)| row.2)
        .process(CountByDigit::default())
        .uid("digits")
        .sink_to_2pc(FileSink::new(&args.output, |row: &Row, line| {
            let (key, count, digit, seen) = row;
            let _ = writeln!(line, "{key} {count} {digit} {seen}"); // a `Vec` takes everything
        }))
        .uid("pipeline-files");
    say_how_it_went(&env.execute("pipeline")?);
    Ok(())
}

/// Counts in a map state, by key as well as by digit.
#[derive(Clone, Default)]
struct CountByDigit {
    seen: Option<MapState<u64, u64>>,
}

impl KeyedProcessFunction<u64, (u64, u64, u64), Row> for CountByDigit {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.seen = Some(states.map_state("seen")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (key, count, digit): (u64, u64, u64),
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(seen) = self.seen else { return Ok(()) };
        let of_key = seen.get(context, &key)?.unwrap_or(0) + 1;
        seen.put(context, &key, &of_key)?;
        out.collect((key, count, digit, of_key));
        Ok(())
    }
}
