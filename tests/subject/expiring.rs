//! Keys that are written once, read soon after, when they must be there, and long after, when they must have expired. The clock that they expire by counts
//! records, so the output does not depend on how fast the machine is.

use crate::{environment, say, say_how_it_went};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
use millpond_engine::config::CommonArgs;
use millpond_engine::connectors::sinks::FileSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::ttl::ManualTtlTime;
use millpond_engine::state::{ListState, MapState, StateRegistry, StateTtlConfig, ValueState};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder for the results, one line `record states` for each record: in how many states its key was found, or `new`
    #[arg(long)]
    output: PathBuf,

    #[arg(long)]
    records: u64,

    #[arg(long)]
    rate: f64,

    /// For how many records a key lives
    #[arg(long)]
    ttl: u64,

    /// How many records after it was written a key is read; one more than a multiple of 3
    #[arg(long)]
    near: u64,

    /// How many records after it was written it is read again; two more than a multiple of 3
    #[arg(long)]
    far: u64,

    #[command(flatten)]
    common: CommonArgs,
}

/// A record and the key that it is about.
type Event = (u64, u64);

pub(crate) fn run(args: &Args) -> Result<()> {
    // One subtask, so that the clock is never far from the record.
    let env = environment(&args.common, 1)?;
    let clock = ManualTtlTime::at(0);
    env.set_ttl_time_provider(clock.clone());
    let (near, far) = (args.near, args.far);
    let event = move |record: u64| -> Event {
        let distance = [0, near, far];
        let distance = usize::try_from(record % 3)
            .ok()
            .and_then(|kind| distance.get(kind));
        // Nobody writes the keys before the first one.
        let key = record.checked_sub(distance.copied().unwrap_or(0));
        (record, key.unwrap_or(u64::MAX - record))
    };
    env.from_source(SequenceSource::generate(0..args.records, event), "events")
        .uid("events")
        .rate_limit(args.rate)
        .key_by(|(_, key): &Event| *key)
        .process(Expiring {
            ttl: StateTtlConfig::new_builder(Duration::from_millis(args.ttl)).build()?,
            clock,
            states: None,
        })
        .uid("expiring")
        .sink_to_2pc(FileSink::new(
            &args.output,
            |(record, found): &(u64, Option<u64>), line| {
                // A `Vec` takes everything.
                let _ = match found {
                    Some(found) => writeln!(line, "{record} {found}"),
                    None => writeln!(line, "{record} new"),
                };
            },
        ))
        .uid("expiring-files");
    let result = env.execute("expiring")?;
    say(format_args!(
        "bytes of state: {}",
        result.checkpoints.last_full_size_bytes
    ));
    say_how_it_went(&result);
    Ok(())
}

#[derive(Clone, Copy)]
struct States {
    number: ValueState<u64>,
    text: ValueState<String>,
    map: MapState<u8, u64>,
    list: ListState<u64>,
}

#[derive(Clone)]
struct Expiring {
    ttl: StateTtlConfig,
    clock: ManualTtlTime,
    states: Option<States>,
}

impl KeyedProcessFunction<u64, Event, (u64, Option<u64>)> for Expiring {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        let mut states = states.with_ttl(&self.ttl);
        self.states = Some(States {
            number: states.value_state("number")?,
            text: states.value_state("text")?,
            map: states.map_state("map")?,
            list: states.list_state("list")?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        (record, key): Event,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, Option<u64>)>,
    ) -> Result<()> {
        // Read once a batch, so that it shows the first record of it.
        self.clock.set(i64::try_from(record).unwrap_or(i64::MAX));
        let Some(States {
            number,
            text,
            map,
            list,
        }) = self.states
        else {
            return Ok(());
        };
        if record == key {
            number.update(context, &key)?;
            text.update(context, &key.to_string())?;
            map.put(context, &1, &key)?;
            list.add(context, &key)?;
            out.collect((record, None));
            return Ok(());
        }
        let found = [
            number.value(context)? == Some(key),
            text.value(context)? == Some(key.to_string()),
            map.entries(context)? == [(1, key)],
            list.get(context)? == [key],
        ];
        let found = found.iter().filter(|found| **found).count();
        out.collect((record, Some(found as u64)));
        Ok(())
    }
}
