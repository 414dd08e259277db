//! A job whose states have changed their types between two releases, and which writes all that they hold at each record, so that its output is the same whichever release
//! has processed which records.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, Data, KeyedProcessFunction, ProcessContext, Timer, WatermarkStrategy};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, MergingAggregateFunction, Namespaced,
    NamespacedRegistry, ReducingState, StateRegistry, ValueState,
};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results: for each record `record visits last total recent kinds sum mean mood merged`, for each timer `timer time`; see [`Merging`] for the last one
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

#[derive(Clone, Serialize, Deserialize)]
struct FirstVisits {
    count: u32,
    last: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct FirstKind {
    count: u32,
    unused: (bool, String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum FirstMood {
    Calm,
    Busy(u32),
}

#[derive(Clone)]
struct FirstMean;

impl AggregateFunction for FirstMean {
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
        sum / count
    }
}

/// The first release.
#[derive(Clone)]
struct First {
    visits: ValueState<FirstVisits>,
    total: ValueState<u32>,
    recent: ListState<u32>,
    kinds: MapState<u8, FirstKind>,
    sum: ReducingState<u64>,
    mean: AggregatingState<FirstMean>,
    mood: ValueState<FirstMood>,
    merging: Merging<u32, FirstMean>,
    /// The second release does not know of it.
    given_up: ValueState<String>,
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn kind_of(number: u64) -> u8 {
    u8::try_from(number % 3).unwrap_or(0)
}

impl Release for First {
    fn open(states: &mut StateRegistry<'_>, _: &Gate) -> Result<Self> {
        Ok(Self {
            visits: states.value_state("visits")?,
            total: states.value_state("total")?,
            recent: states.list_state("recent")?,
            kinds: states.map_state("kinds")?,
            sum: states.reducing_state("sum", |left, right| left + right)?,
            mean: states.aggregating_state("mean", FirstMean)?,
            mood: states.value_state("mood")?,
            merging: Merging::open(states.with_namespaces(), FirstMean, |left, right| left + right)?,
            given_up: states.value_state("given up")?,
        })
    }

    fn enter(&self, record: u64, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<String> {
        let before = self.visits.value(context)?;
        let count = before.as_ref().map_or(0, |before| before.count) + 1;
        self.visits
            .update(context, &FirstVisits { count, last: record })?;
        let total = self
            .total
            .modify(context, |total| total.unwrap_or(0) + narrow(number))?;
        if self.recent.get(context)?.len() == RECENT {
            self.recent.clear(context)?;
        }
        self.recent.add(context, &narrow(record))?;
        let kind = self.kinds.get(context, &kind_of(number))?;
        let kind = FirstKind {
            count: kind.map_or(0, |kind| kind.count) + 1,
            unused: (true, "unused".to_owned()),
        };
        self.kinds.put(context, &kind_of(number), &kind)?;
        let kinds = self.kinds.entries(context)?;
        self.sum.add(context, record)?;
        self.mean.add(context, record)?;
        let mood = self.mood.value(context)?;
        let next = match mood {
            Some(FirstMood::Calm) | None => FirstMood::Busy(narrow(number)),
            Some(FirstMood::Busy(_)) => FirstMood::Calm,
        };
        self.mood.update(context, &next)?;
        self.given_up.update(context, &format!("{record}"))?;
        let merged = self.merging.enter(record, narrow(1), number, context)?;
        Ok(show(Shown {
            merged,
            count: count.into(),
            last: before.map(|before| before.last),
            total: total.into(),
            recent: self.recent.get(context)?.into_iter().map(u64::from).collect(),
            kinds: kinds
                .into_iter()
                .map(|(kind, entry)| (kind, entry.count.into()))
                .collect(),
            sum: self.sum.get(context)?.unwrap_or(0).into(),
            mean: self.mean.get(context)?.unwrap_or(0),
            mood: mood.map_or_else(|| "None".to_owned(), |mood| format!("{mood:?}")),
        }))
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct SecondVisits {
    count: u64,
    last: Option<u64>,
    note: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct SecondKind {
    #[serde(default)]
    name: String,
    count: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SecondMood {
    Idle { since: u64 },
    Busy(u64),
    Calm,
}

#[derive(Clone, Serialize, Deserialize)]
struct Seen {
    record: u64,
    text: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct MeanOf {
    count: u64,
    sum: u64,
}

impl MergingAggregateFunction for FirstMean {
    fn merge(&self, left: (u64, u64), right: (u64, u64)) -> (u64, u64) {
        (left.0 + right.0, left.1 + right.1)
    }
}

impl MergingAggregateFunction for SecondMean {
    fn merge(&self, left: MeanOf, right: MeanOf) -> MeanOf {
        MeanOf {
            count: left.count + right.count,
            sum: left.sum + right.sum,
        }
    }
}

#[derive(Clone)]
struct SecondMean;

impl AggregateFunction for SecondMean {
    type Input = u64;
    type Accumulator = MeanOf;
    type Output = u64;

    fn create(&self) -> MeanOf {
        MeanOf { count: 0, sum: 0 }
    }

    fn add(&self, value: u64, MeanOf { count, sum }: MeanOf) -> MeanOf {
        MeanOf {
            count: count + 1,
            sum: sum + value,
        }
    }

    fn result(&self, accumulator: &MeanOf) -> u64 {
        accumulator.sum / accumulator.count
    }
}

/// The second release: some states by a function of its own, the others by their names.
#[derive(Clone)]
struct Second {
    visits: ValueState<SecondVisits>,
    total: ValueState<u64>,
    recent: ListState<Seen>,
    kinds: MapState<u8, SecondKind>,
    sum: ReducingState<u128>,
    mean: AggregatingState<SecondMean>,
    mood: ValueState<SecondMood>,
    merging: Merging<u64, SecondMean>,
}

impl Release for Second {
    fn open(states: &mut StateRegistry<'_>, gate: &Gate) -> Result<Self> {
        let gate = gate.clone();
        Ok(Self {
            mood: states.value_state("mood")?,
            merging: Merging::open(
                states
                    .with_migration(|(sum, count): (u64, u64)| MeanOf { count, sum })
                    .with_namespaces(),
                SecondMean,
                |left, right| left + right,
            )?,
            total: states.value_state("total")?,
            kinds: states.map_state("kinds")?,
            sum: states.reducing_state("sum", |left, right| left + right)?,
            visits: states
                .with_migration(move |FirstVisits { count, last }| {
                    gate.pass();
                    SecondVisits {
                        count: count.into(),
                        last: Some(last),
                        note: format!("{count} by the first release"),
                    }
                })
                .value_state("visits")?,
            recent: states
                .with_migration(|record: u32| Seen {
                    record: record.into(),
                    text: record.to_string(),
                })
                .list_state("recent")?,
            mean: states
                .with_migration(|(sum, count): (u64, u64)| MeanOf { count, sum })
                .aggregating_state("mean", SecondMean)?,
        })
    }

    fn enter(&self, record: u64, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<String> {
        let before = self.visits.value(context)?;
        let (count, last, note) = before.map_or((0, None, String::new()), |visits| {
            (visits.count, visits.last, visits.note)
        });
        let visits = SecondVisits {
            count: count + 1,
            last: Some(record),
            note,
        };
        self.visits.update(context, &visits)?;
        let total = self.total.modify(context, |total| total.unwrap_or(0) + number)?;
        if self.recent.get(context)?.len() == RECENT {
            self.recent.clear(context)?;
        }
        let seen = Seen {
            record,
            text: record.to_string(),
        };
        self.recent.add(context, &seen)?;
        let recent = self.recent.get(context)?;
        let kind = self.kinds.get(context, &kind_of(number))?;
        let kind = SecondKind {
            name: kind.as_ref().map_or_else(String::new, |kind| kind.name.clone()),
            count: kind.map_or(0, |kind| kind.count) + 1,
        };
        self.kinds.put(context, &kind_of(number), &kind)?;
        let kinds = self.kinds.entries(context)?;
        self.sum.add(context, record.into())?;
        self.mean.add(context, record)?;
        let mood = self.mood.value(context)?;
        let next = match mood {
            Some(SecondMood::Busy(_)) => SecondMood::Calm,
            _ => SecondMood::Busy(number),
        };
        self.mood.update(context, &next)?;
        if recent.iter().any(|seen| seen.text != seen.record.to_string()) {
            say(format_args!("FAULT: an element has the text of another one"));
        }
        let merged = self.merging.enter(record, 1, number, context)?;
        Ok(show(Shown {
            merged,
            count: count + 1,
            last,
            total,
            recent: recent.into_iter().map(|seen| seen.record).collect(),
            kinds: kinds
                .into_iter()
                .map(|(kind, entry)| (kind, entry.count))
                .collect(),
            sum: self.sum.get(context)?.unwrap_or(0),
            mean: self.mean.get(context)?.unwrap_or(0),
            mood: mood.map_or_else(|| "None".to_owned(), |mood| format!("{mood:?}")),
        }))
    }
}

/// States with namespaces: the `number`-th record of a key goes to namespace `number % 4`, and with each fourth record the namespaces 1 to 3 are merged into 0. Then the list is shown and
/// cleared; the fold and the mean are shown, and go on.
#[derive(Clone)]
struct Merging<C, A: AggregateFunction> {
    list: Namespaced<u64, ListState<u64>>,
    count: Namespaced<u64, ReducingState<C>>,
    mean: Namespaced<u64, AggregatingState<A>>,
}

impl<C: Data + Display, A: MergingAggregateFunction<Input = u64, Output = u64> + Clone> Merging<C, A> {
    fn open(
        mut states: NamespacedRegistry<'_, u64>,
        mean: A,
        add: impl Fn(C, C) -> C + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self {
            list: states.list_state("merged list")?,
            count: states.reducing_state("merged count", add)?,
            mean: states.aggregating_state("merged mean", mean)?,
        })
    }

    fn enter(
        &self,
        record: u64,
        one: C,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
    ) -> Result<String> {
        let namespace = number % 4;
        self.list.at(context, &namespace)?.add(context, &record)?;
        self.count.at(context, &namespace)?.add(context, one)?;
        self.mean.at(context, &namespace)?.add(context, record)?;
        if namespace != 3 {
            return Ok("-".to_owned());
        }
        self.list.merge(context, &0, &[3, 0, 1, 2])?;
        self.count.merge(context, &0, &[1, 2, 3])?;
        self.mean.merge(context, &0, &[1, 2, 3, 7])?;
        let list = self.list.at(context, &0)?;
        let records: Vec<String> = list.get(context)?.iter().map(u64::to_string).collect();
        list.clear(context)?;
        let count = self.count.at(context, &0)?.get(context)?;
        let mean = self.mean.at(context, &0)?.get(context)?;
        for empty in 1..4 {
            if !self.list.at(context, &empty)?.get(context)?.is_empty() {
                say(format_args!("FAULT: a list that was merged is not empty"));
            }
        }
        let count = count.map_or_else(String::new, |count| count.to_string());
        Ok(format!("{}:{count}:{}", records.join(","), mean.unwrap_or(0)))
    }
}

/// A release whose `visits` are text, which nothing makes of those of the others.
#[derive(Clone)]
struct Third;

impl Release for Third {
    fn open(states: &mut StateRegistry<'_>, _: &Gate) -> Result<Self> {
        states.value_state::<u64>("total")?;
        states.value_state::<String>("visits")?;
        Ok(Self)
    }

    fn enter(&self, _: u64, _: u64, _: &mut ProcessContext<'_, u64>) -> Result<String> {
        Ok(String::new())
    }
}

struct Shown {
    count: u64,
    last: Option<u64>,
    total: u64,
    recent: Vec<u64>,
    kinds: Vec<(u8, u64)>,
    sum: u128,
    mean: u64,
    mood: String,
    merged: String,
}

fn show(mut shown: Shown) -> String {
    shown.kinds.sort_unstable();
    let Shown {
        count,
        last,
        total,
        recent,
        kinds,
        sum,
        mean,
        mood,
        merged,
    } = shown;
    let last = last.map_or_else(|| "-".to_owned(), |last| last.to_string());
    let recent = recent.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let kinds = kinds
        .iter()
        .map(|(kind, count)| format!("{kind}:{count}"))
        .collect::<Vec<_>>()
        .join(",");
    format!("{count} {last} {total} {recent} {kinds} {sum} {mean} {mood} {merged}")
}
