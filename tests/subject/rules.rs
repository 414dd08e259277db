//! Two streams joined by key and event time, broadcast rules, and batches that are held back in operator state: what comes out depends on nothing but the numbers.

use crate::held_back::{HoldBack, HoldBackInAField};
use crate::rulebook::Rulebook;
use crate::{environment, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{
    Collector, DataStream, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedCoProcessFunction,
    KeyedReadOnlyContext, ProcessContext, StreamExecutionEnvironment, Timer, WatermarkStrategy,
};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{FunctionInitializationContext, MapState, StateRegistry, ValueState};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `key time marks rule` for each event: see the fields of [`Row`]
    #[arg(long)]
    output: PathBuf,

    /// One event a millisecond of event time, of one key after the other; a mark every third one, a rule every twentieth
    #[arg(long)]
    records: u64,

    #[arg(long)]
    keys: u64,

    /// Events a second
    #[arg(long)]
    rate: f64,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

const MARK_EVERY: u64 = 3;
const RULE_EVERY: u64 = 20;
/// How many kinds of rules there are; that of a key is its remainder.
const KINDS: u64 = 4;
/// How many rows are held back in a subtask.
const BATCH: usize = 64;
/// And one behind it: another number, or what comes in at once would go on at once, and no checkpoint had anything of it.
const ODD_BATCH: usize = 41;

/// Key and event time.
type Event = (u64, i64);
/// Kind, event time and value.
type Rule = (u64, i64, u64);
/// Key and event time of an event, the marks of the key up to then, and the value of the last rule of its kind up to then.
type Row = (u64, i64, u64, u64);

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let (keys, records) = (args.keys, args.records);
    let events = timed(
        &env,
        "events",
        records,
        args.rate,
        1,
        move |i| (i % keys, i.cast_signed()),
        |event| event.1,
    );
    let marks = timed(
        &env,
        "marks",
        records,
        args.rate,
        MARK_EVERY,
        move |i| (i % keys, (i * MARK_EVERY).cast_signed()),
        |mark| mark.1,
    );
    let rules = timed(
        &env,
        "rules",
        records,
        args.rate,
        RULE_EVERY,
        |i| (i % KINDS, (i * RULE_EVERY).cast_signed(), i * 7 + 1),
        |rule: &Rule| rule.1,
    );
    let rules = rules.broadcast_with(&[&Rulebook::descriptor()]);
    events
        .key_by(|event: &Event| event.0)
        .connect(&marks.key_by(|mark: &Event| mark.0))
        .process(CountMarks::default())
        .uid("marks-of-events")
        .key_by(|row: &(u64, i64, u64)| row.0)
        .connect(&rules)
        .process(ApplyRules::default())
        .uid("rules-of-events")
        .process(HoldBack::<Row, BATCH>::default())
        .uid("held-back")
        .rebalance()
        .process(HoldBackInAField::<Row, ODD_BATCH>::default())
        .uid("held-back-in-a-field")
        .sink_to_2pc(FileSink::new(&args.output, |row: &Row, line| {
            let (key, time, marks, rule) = row;
            let _ = writeln!(line, "{key} {time} {marks} {rule}"); // a `Vec` takes everything
        }))
        .uid("rules-files");
    say_how_it_went(&env.execute("rules")?);
    Ok(())
}

/// A source in the order of its event times, with a record every `every` milliseconds of `records`.
fn timed<T: millpond_engine::api::Data>(
    env: &StreamExecutionEnvironment,
    name: &str,
    records: u64,
    rate: f64,
    every: u64,
    record: impl Fn(u64) -> T + Clone + Send + Sync + 'static,
    time: impl Fn(&T) -> i64 + Clone + Send + Sync + 'static,
) -> DataStream<T> {
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let rate = rate / every as f64;
    env.from_source(SequenceSource::generate(0..records.div_ceil(every), record), name)
        .uid(name)
        .set_parallelism(1)
        .rate_limit(rate)
        .assign_timestamps_and_watermarks(WatermarkStrategy::bounded_out_of_orderness(Duration::ZERO), time)
        .set_parallelism(1)
}

/// Waits until both streams have passed a moment, by timers that they share, and then counts marks before events.
#[derive(Clone, Default)]
struct CountMarks {
    /// Whether there is an event at a time, and a mark.
    at: Option<MapState<i64, (bool, bool)>>,
    marks: Option<ValueState<u64>>,
}

impl KeyedCoProcessFunction<u64, Event, Event, (u64, i64, u64)> for CountMarks {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.at = Some(states.map_state("at")?);
        self.marks = Some(states.value_state("marks")?);
        Ok(())
    }

    fn process_element1(
        &mut self,
        (_, time): Event,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, i64, u64)>,
    ) -> Result<()> {
        let Some(at) = self.at else { return Ok(()) };
        let (_, is_mark) = at.get(context, &time)?.unwrap_or_default();
        at.put(context, &time, &(true, is_mark))?;
        context.register_event_time_timer(time)
    }

    fn process_element2(
        &mut self,
        (_, time): Event,
        context: &mut ProcessContext<'_, u64>,
        _: &mut Collector<(u64, i64, u64)>,
    ) -> Result<()> {
        let Some(at) = self.at else { return Ok(()) };
        let (is_event, _) = at.get(context, &time)?.unwrap_or_default();
        at.put(context, &time, &(is_event, true))?;
        context.register_event_time_timer(time)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, i64, u64)>,
    ) -> Result<()> {
        let (Some(at), Some(marks)) = (self.at, self.marks) else {
            return Ok(());
        };
        let (is_event, is_mark) = at.get(context, &timer.timestamp)?.unwrap_or_default();
        at.remove(context, &timer.timestamp)?;
        let count = marks.modify(context, |before| before.unwrap_or(0) + u64::from(is_mark))?;
        if is_event {
            out.collect((context.current_key()?, timer.timestamp, count));
        }
        Ok(())
    }
}

/// Waits until all rules up to an event's time are there, and says which one it falls under.
#[derive(Clone, Default)]
struct ApplyRules {
    rules: Option<Rulebook>,
    waiting: Option<MapState<i64, u64>>,
}

impl KeyedBroadcastProcessFunction<u64, (u64, i64, u64), Rule, Row> for ApplyRules {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.rules = Some(Rulebook::open(context)?);
        Ok(())
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.waiting = Some(states.map_state("waiting")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, time, marks): (u64, i64, u64),
        context: &mut KeyedReadOnlyContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(waiting) = self.waiting else {
            return Ok(());
        };
        waiting.put(context, &time, &marks)?;
        context.register_event_time_timer(time)
    }

    fn process_broadcast_element(
        &mut self,
        (kind, time, value): Rule,
        context: &mut KeyedBroadcastContext<'_, u64>,
        _: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(rules) = self.rules else { return Ok(()) };
        rules.add(context.broadcast_states(), (kind, time), value)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let (Some(waiting), Some(rules)) = (self.waiting, self.rules) else {
            return Ok(());
        };
        let (key, time) = (context.current_key()?, timer.timestamp);
        let rule = rules.at(context.broadcast_states(), key % KINDS, time)?;
        if let Some(marks) = waiting.get(context, &time)? {
            out.collect((key, time, marks, rule.unwrap_or(0)));
        }
        waiting.remove(context, &time)?;
        Ok(())
    }
}
