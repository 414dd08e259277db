//! Every kind of state in one job, of keys and of operators, and what a test may do to it while it runs, by files in a folder:
//!
//! | file | what the job does |
//! |---|---|
//! | `enough` | the source ends |
//! | `panic` | a function deletes it and panics |
//! | `slow` | functions take their time, as long as it is there |
//!
//! The results follow from how many events there were.

mod apply_rules;

use crate::held_back::{HoldBack, HoldBackInAField};
use crate::rulebook::Rulebook;
use crate::told::UntilTold;
use crate::{environment, say, say_how_it_went};
use apply_rules::ApplyRules;
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, Timer, WatermarkStrategy};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, ReducingState, StateRegistry, StateTtlConfig,
    ValueState,
};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line for each event and one for each window
    #[arg(long)]
    output: PathBuf,

    /// One event a millisecond of event time, of one key after the other
    #[arg(long, default_value_t = u64::MAX >> 1)]
    records: u64,

    #[arg(long)]
    keys: u64,

    /// The length of a window
    #[arg(long)]
    window_ms: i64,

    #[arg(long)]
    rate: Option<f64>,

    /// The folder with the files that tell the job what to do
    #[arg(long)]
    told: Option<PathBuf>,

    #[arg(long, default_value_t = 1)]
    parallelism: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// The number of the event, its key, its place among those of its key.
type Event = (u64, u64, u64);
/// Key, event time, and the line that is written.
type Row = (u64, i64, String);

/// Every so many events there is a new rule.
const RULE_EVERY: u64 = 17;
/// How many rows a subtask holds back.
const BATCH: usize = 24;
/// And one behind it: another number, or what comes in at once would go on at once, and no checkpoint had anything of it.
const ODD_BATCH: usize = 17;

pub(crate) fn run(args: &Args) -> Result<()> {
    let env = environment(&args.common, args.parallelism)?;
    let keys = args.keys;
    let source = SequenceSource::generate(0..args.records, move |i| (i, i % keys, i / keys));
    let told = |name: &str| args.told.as_ref().map(|folder| folder.join(name));
    let mut events = env
        .from_source(UntilTold::new(source, told("enough")), "events")
        .uid("events")
        // One subtask, so that the events are in the order of their times at every parallelism of the rest.
        .set_parallelism(1);
    if let Some(rate) = args.rate {
        events = events.rate_limit(rate);
    }
    let events = events
        .assign_timestamps_and_watermarks(
            WatermarkStrategy::bounded_out_of_orderness(Duration::ZERO),
            |event: &Event| event.0.cast_signed(),
        )
        .set_parallelism(1);
    // Of the same source, so that there are as many of them as events ask for.
    let rules = events
        .filter(|(event, ..)| event.is_multiple_of(RULE_EVERY))
        .uid("rules")
        .set_parallelism(1)
        .broadcast_with(&[&Rulebook::descriptor()]);
    events
        .key_by(|event: &Event| event.1)
        .process(AllKinds {
            window_ms: args.window_ms,
            panic: told("panic"),
            slow: told("slow"),
            records: 0,
            states: None,
        })
        .uid("all-kinds")
        .key_by(|row: &Row| row.0)
        .connect(&rules)
        .process(ApplyRules::default())
        .uid("apply-rules")
        .process(HoldBack::<Row, BATCH>::default())
        .uid("held-back")
        .rebalance()
        .process(HoldBackInAField::<Row, ODD_BATCH>::default())
        .uid("held-back-in-a-field")
        .sink_to_2pc(FileSink::new(&args.output, |(_, _, row): &Row, line| {
            line.extend_from_slice(row.as_bytes());
            line.push(b'\n');
        }))
        .uid("files");
    say_how_it_went(&env.execute("soak")?);
    Ok(())
}

/// The mean of what was added, rounded down.
#[derive(Clone, Copy)]
struct Mean;

impl AggregateFunction for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, value: u64, (sum, count): (u64, u64)) -> (u64, u64) {
        (sum + value, count + 1)
    }

    fn result(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count.max(&1)
    }
}

#[derive(Clone)]
struct States {
    next: ValueState<u64>,
    text: ValueState<String>,
    list: ListState<u64>,
    map: MapState<u64, u64>,
    sum: ReducingState<u64>,
    mean: AggregatingState<Mean>,
    /// Has a TTL, which does not end.
    kept: MapState<u64, String>,
    /// Events by the start of their window, closed by timers.
    windows: MapState<i64, u64>,
}

#[derive(Clone)]
struct AllKinds {
    window_ms: i64,
    panic: Option<PathBuf>,
    slow: Option<PathBuf>,
    records: u64,
    states: Option<States>,
}

/// How many elements a list has before it is cleared.
const LIST_MAX: u64 = 5;
/// How many entries a map has.
const MAP_MAX: u64 = 7;

impl AllKinds {
    #[expect(clippy::panic, reason = "what the file is for")]
    fn do_as_told(&mut self) {
        self.records += 1;
        if !self.records.is_multiple_of(16) {
            return;
        }
        // Whoever has deleted it is the only one.
        if let Some(file) = &self.panic
            && std::fs::remove_file(file).is_ok()
        {
            panic!("{} was there", file.display());
        }
        if self.slow.as_ref().is_some_and(|file| file.exists()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl KeyedProcessFunction<u64, Event, Row> for AllKinds {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        let ttl = StateTtlConfig::new_builder(Duration::from_secs(1 << 30)).build()?;
        self.states = Some(States {
            next: states.value_state("next")?,
            text: states.value_state("text")?,
            list: states.list_state("list")?,
            map: states.map_state("map")?,
            sum: states.reducing_state("sum", |a: u64, b: u64| a + b)?,
            mean: states.aggregating_state("mean", Mean)?,
            kept: states.with_ttl(&ttl).map_state("kept")?,
            windows: states.map_state("windows")?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        (event, key, number): Event,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        self.do_as_told();
        let Some(states) = &self.states else { return Ok(()) };
        let expected = states.next.value(context)?.unwrap_or(0);
        if number != expected {
            // Not an error: that would start the next attempt, and be forgotten if it is right again.
            say(format_args!(
                "FAULT: key {key} saw event {number} where {expected} was next"
            ));
        }
        states.next.update(context, &(number + 1))?;
        let text = states.text.value(context)?.unwrap_or_default();
        states.text.update(context, &format!("{key}:{number}"))?;
        if number.is_multiple_of(LIST_MAX) {
            states.list.clear(context)?;
        }
        states.list.add(context, &event)?;
        states.map.put(context, &(number % MAP_MAX), &event)?;
        let sum = states.sum.add(context, event)?;
        states.mean.add(context, event)?;
        states
            .kept
            .put(context, &(number % LIST_MAX), &event.to_string())?;
        states
            .kept
            .remove(context, &((number + LIST_MAX / 2) % LIST_MAX))?;

        let time = event.cast_signed();
        let window = time - time % self.window_ms;
        let count = states.windows.get(context, &window)?.unwrap_or(0) + 1;
        states.windows.put(context, &window, &count)?;
        // Again and again for the same time, which counts once; and one that is taken back.
        context.register_event_time_timer(window + self.window_ms - 1)?;
        context.register_event_time_timer(window + self.window_ms + 7)?;
        context.delete_event_time_timer(window + self.window_ms + 7)?;

        let list: Vec<_> = states.list.get(context)?;
        let map: u64 = states.map.values(context)?.iter().sum();
        let mean = states.mean.get(context)?.unwrap_or(0);
        let mut kept = states.kept.entries(context)?;
        kept.sort();
        let row = format!("e {event} {text} {list:?} {map} {sum} {mean} {kept:?}");
        out.collect((key, time, row));
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<Row>,
    ) -> Result<()> {
        let Some(states) = &self.states else { return Ok(()) };
        let key = context.current_key()?;
        let window = timer.timestamp + 1 - self.window_ms;
        let Some(count) = states.windows.get(context, &window)? else {
            say(format_args!(
                "FAULT: key {key} has a timer of an empty window at {window}"
            ));
            return Ok(());
        };
        states.windows.remove(context, &window)?;
        out.collect((key, timer.timestamp, format!("w {key} {window} {count}")));
        Ok(())
    }
}
