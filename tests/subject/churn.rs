//! Random updates of large values, of maps and of lists, and deletions: state that stays about as large as it is while all of it changes.
//!
//! The events of a key count up to [`LIFE`], then all state of the key is cleared and it begins anew. So the output follows from how often each key occurs.

use crate::rationed::Rationed;
use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{ListState, MapState, StateRegistry, ValueState};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `key count digits history` for each event: see the fields of [`Row`]
    #[arg(long)]
    output: PathBuf,

    #[arg(long)]
    keys: u64,

    #[arg(long)]
    records: u64,

    #[arg(long)]
    rate: f64,

    /// How many records a subtask of the source emits at most from one checkpoint to the next
    #[arg(long, default_value_t = usize::MAX)]
    between_checkpoints: usize,

    /// How many bytes the value of a key has
    #[arg(long)]
    value_bytes: usize,

    /// Panic as soon as there is a file of this name
    #[arg(long)]
    panic_when_there_is: Option<PathBuf>,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// How many events of a key there are until it begins anew.
const LIFE: u64 = 3;
/// How many entries the map of a key has at most.
const DIGITS: u64 = 2;

/// Key, its count, the sum of the counts in its map, the sum of those in its list.
type Row = (u64, u64, u64, u64);

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    // Fibonacci hashing: scattered, and known to the test.
    let key = move |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % keys;
    let source = SequenceSource::generate(0..args.records, key);
    env.from_source(Rationed::new(source, args.between_checkpoints), "keys")
        .uid("keys")
        .rate_limit(args.rate)
        .key_by(|key| *key)
        .process(Churn {
            value_bytes: args.value_bytes,
            panic_when_there_is: args.panic_when_there_is.clone(),
            records: 0,
            value: None,
            digits: None,
            history: None,
        })
        .uid("churn")
        .sink_to_2pc(FileSink::new(&args.output, |row: &Row, line| {
            let (key, count, digits, history) = row;
            let _ = writeln!(line, "{key} {count} {digits} {history}"); // a `Vec` takes everything
        }))
        .uid("churn-files");
    say_how_it_went(&env.execute("churn")?);
    Ok(())
}

#[derive(Clone)]
struct Churn {
    value_bytes: usize,
    panic_when_there_is: Option<PathBuf>,
    records: u64,
    value: Option<ValueState<(u64, Vec<u8>)>>,
    digits: Option<MapState<u64, u64>>,
    history: Option<ListState<u64>>,
}

impl Churn {
    #[expect(clippy::panic, reason = "what the option is for")]
    fn panic_if_told_to(&mut self) {
        self.records += 1;
        if self.records.is_multiple_of(64)
            && let Some(file) = &self.panic_when_there_is
            && file.exists()
        {
            panic!("{} is there", file.display());
        }
    }
}

impl KeyedProcessFunction<u64, u64, Row> for Churn {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.value = Some(states.value_state("value")?);
        self.digits = Some(states.map_state("digits")?);
        self.history = Some(states.list_state("history")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        key: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        self.panic_if_told_to();
        let (Some(value), Some(digits), Some(history)) = (self.value, self.digits, self.history) else {
            return Ok(());
        };
        let (before, bytes) = value
            .value(context)?
            .unwrap_or_else(|| (0, vec![0; self.value_bytes]));
        let filler = |count: u64| count.to_le_bytes()[0] ^ key.to_le_bytes()[0];
        let is_right = bytes.len() == self.value_bytes
            && (before == 0 || bytes.iter().all(|byte| *byte == filler(before)));
        if !is_right {
            // Not an error: that would start the next attempt, and be forgotten if it is right again.
            say(format_args!(
                "FAULT: the value of key {key} at count {before} is another one's"
            ));
        }
        let count = before + 1;
        digits.put(context, &(count % DIGITS), &count)?;
        history.add(context, &count)?;
        let of_digits = digits.values(context)?.iter().sum();
        let of_history = history.get(context)?.iter().sum();
        out.collect((key, count, of_digits, of_history));
        if count < LIFE {
            return value.update(context, &(count, vec![filler(count); self.value_bytes]));
        }
        value.clear(context)?;
        digits.clear(context)?;
        history.clear(context)
    }
}
