//! Very many timers of event time, which all wait until the input ends.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{
    Boundedness, Collector, KeyedProcessFunction, ProcessContext, ReaderContext, ReaderStatus, Source,
    SourceOutput, SourceReader, Timer, WatermarkStrategy,
};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::{SequenceSource, SequenceSplit};
use millpond_engine::state::{StateRegistry, ValueState};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line for each timer that fired: its number
    #[arg(long)]
    output: PathBuf,

    #[arg(long)]
    timers: u64,

    /// After so many the job waits for the file `go`
    #[arg(long)]
    few: u64,

    #[arg(long)]
    keys: u64,

    /// The folder with the files that tell the job what to do: `go`, and `enough` for the end
    #[arg(long)]
    told: PathBuf,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    let source = Paused {
        source: SequenceSource::new(0..args.timers),
        few: args.few,
        timers: args.timers,
        told: args.told.clone(),
    };
    env.from_source(source, "numbers")
        .uid("numbers")
        .set_parallelism(1)
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(1)),
            |_| 0,
        )
        .set_parallelism(1)
        .key_by(move |number: &u64| number % keys)
        .process(Register {
            keys,
            timers: args.timers,
            fired: None,
        })
        .uid("register")
        .sink_to_2pc(FileSink::new(&args.output, |number: &u64, line| {
            let _ = writeln!(line, "{number}"); // a `Vec` takes everything
        }))
        .uid("files");
    say_how_it_went(&env.execute("many-timers")?);
    Ok(())
}

/// Waits for a file after a few numbers, and for another one after all of them.
#[derive(Debug)]
struct Paused<F> {
    source: SequenceSource<F>,
    few: u64,
    timers: u64,
    told: PathBuf,
}

impl<F> Source for Paused<F>
where
    SequenceSource<F>: Source<Record = u64, Split = SequenceSplit>,
{
    type Record = u64;
    type Split = SequenceSplit;
    type Reader = PausedReader<<SequenceSource<F> as Source>::Reader>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<SequenceSplit>> {
        self.source.splits(parallelism)
    }

    fn reader(&self, context: ReaderContext, splits: Vec<SequenceSplit>) -> Result<Self::Reader> {
        // None is left of a split that was read to its end.
        let emitted = splits.first().map_or(self.timers, |split| split.next);
        Ok(PausedReader {
            emitted,
            reader: self.source.reader(context, splits)?,
            few: self.few,
            timers: self.timers,
            told: self.told.clone(),
            has_said: false,
        })
    }
}

struct PausedReader<R> {
    reader: R,
    emitted: u64,
    few: u64,
    timers: u64,
    told: PathBuf,
    has_said: bool,
}

/// How often a file is looked for.
const LOOK: Duration = Duration::from_millis(20);

impl<R: SourceReader<Record = u64, Split = SequenceSplit>> SourceReader for PausedReader<R> {
    type Record = u64;
    type Split = SequenceSplit;

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<u64>) -> Result<ReaderStatus> {
        let (until, file) = if self.emitted < self.few {
            (self.few, None)
        } else if self.emitted < self.timers {
            (self.timers, Some("go"))
        } else {
            if !self.has_said {
                self.has_said = true;
                say(format_args!("all numbers are emitted"));
            }
            (self.timers, Some("enough"))
        };
        if file.is_some_and(|file| !self.told.join(file).exists()) {
            return Ok(ReaderStatus::IdleFor(LOOK));
        }
        if self.emitted == self.timers {
            return Ok(ReaderStatus::Finished);
        }
        let left = usize::try_from(until - self.emitted).unwrap_or(usize::MAX);
        let asked = max_records.min(left);
        let before = self.emitted;
        self.reader.poll(asked, output)?;
        self.emitted = self
            .reader
            .snapshot()?
            .first()
            .map_or(self.timers, |split| split.next);
        debug_assert!(self.emitted >= before);
        Ok(ReaderStatus::More)
    }

    fn snapshot(&mut self) -> Result<Vec<SequenceSplit>> {
        self.reader.snapshot()
    }
}

#[derive(Clone)]
struct Register {
    keys: u64,
    timers: u64,
    /// How many timers of the key have fired.
    fired: Option<ValueState<u64>>,
}

impl Register {
    /// The time of the timer with a number: those of a key are in another order than they were registered in.
    fn time_of(&self, number: u64) -> i64 {
        let place = number / self.keys;
        (1_000_000 + (self.timers - place) * 10).cast_signed()
    }
}

impl KeyedProcessFunction<u64, u64, u64> for Register {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.fired = Some(states.value_state("fired")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        context.register_event_time_timer(self.time_of(number))
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<u64>,
    ) -> Result<()> {
        let Some(fired) = self.fired else { return Ok(()) };
        let count = fired.value(context)?.unwrap_or(0);
        fired.update(context, &(count + 1))?;
        let key = context.current_key()?;
        let place = self.timers - (timer.timestamp - 1_000_000).cast_unsigned() / 10;
        // Those that were registered last come first.
        let of_key = (self.timers - key).div_ceil(self.keys);
        if place + count + 1 != of_key {
            say(format_args!(
                "FAULT: the timer of place {place} of key {key} fired as number {count} of {of_key}"
            ));
        }
        out.collect(place * self.keys + key);
        Ok(())
    }
}
