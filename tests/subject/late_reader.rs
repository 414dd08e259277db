//! Keys that are counted early and late, and others in between: so there is state that a restored job does not touch for a long time.

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
    /// The folder for the results, one line `key count` for each record
    #[arg(long)]
    output: PathBuf,

    /// The keys `0..keys` are counted early and late, the keys `keys..2 keys` in between
    #[arg(long)]
    keys: u64,

    /// How often each of the first keys comes early, and again late
    #[arg(long)]
    early: u64,

    /// How often each of the other keys comes
    #[arg(long)]
    between: u64,

    /// Records a second
    #[arg(long)]
    rate: f64,

    /// How many bytes follow each text
    #[arg(long, default_value_t = 0)]
    padding: usize,

    /// The number of subtasks
    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let (keys, early, between) = (args.keys, args.keys * args.early, args.keys * args.between);
    let source = SequenceSource::generate(0..early + between + early, move |i| {
        let is_between = (early..early + between).contains(&i);
        if i == early + between {
            say(format_args!("the late records begin"));
        }
        i % keys + if is_between { keys } else { 0 }
    });
    env.from_source(source, "keys")
        .uid("keys")
        .rate_limit(args.rate)
        .key_by(|key: &u64| *key)
        .process(CountTwice {
            padding: args.padding,
            ..CountTwice::default()
        })
        .uid("count-twice")
        .sink_to_2pc(FileSink::new(&args.output, |(key, count): &(u64, u64), row| {
            let _ = writeln!(row, "{key} {count}"); // a `Vec` takes everything
        }))
        .uid("count-files");
    say_how_it_went(&env.execute("late_reader")?);
    Ok(())
}

/// Counts in a number and in a text, which must say the same.
#[derive(Clone, Default)]
struct CountTwice {
    padding: usize,
    number: Option<ValueState<u64>>,
    text: Option<ValueState<String>>,
}

/// What a test finds in files.
fn text_of(key: u64, count: u64, padding: usize) -> String {
    format!("key {key:04} was seen {count:06} times{}", " ".repeat(padding))
}

impl KeyedProcessFunction<u64, u64, (u64, u64)> for CountTwice {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.number = Some(states.value_state("number")?);
        self.text = Some(states.value_state("text")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        key: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        let (Some(number), Some(text)) = (self.number, self.text) else {
            return Ok(());
        };
        let before = number.value(context)?;
        let found = text.value(context)?;
        let text_of = |count| text_of(key, count, self.padding);
        if found != before.map(text_of) {
            say(format_args!(
                "FAULT: key {key} has the number {before:?} and the text {found:?}"
            ));
        }
        let count = before.unwrap_or(0) + 1;
        number.update(context, &count)?;
        text.update(context, &text_of(count))?;
        out.collect((key, count));
        Ok(())
    }
}
