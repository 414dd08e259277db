//! Values under keys of all lengths: removed and set again, over checkpoints, at one subtask and at two; and the built-in folds over such keys.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{StateRegistry, ValueState};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const RECORDS: u64 = 60_000;

/// Spreads numbers.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

/// The key of a record: few of them take most records, and their lengths are from 0 on to beyond what fits into a register.
fn key(record: u64) -> String {
    let random = mix(record);
    let rank = if random.is_multiple_of(4) {
        random / 4 % 5000
    } else {
        random / 4 % 40
    };
    let digits = rank.to_string();
    let len = usize::try_from(rank % 24).unwrap();
    digits.chars().cycle().take(len).collect()
}

/// Whether a record removes the value of its key.
fn removes(record: u64) -> bool {
    mix(record ^ 0x5555).is_multiple_of(5)
}

fn environment(parallelism: usize, folder: &std::path::Path) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(parallelism);
    env.set_state_backend("hashmap");
    env.enable_checkpointing(Duration::from_millis(20));
    let dir = folder.display().to_string();
    env.configure(|config| {
        config.set_string("execution.checkpointing.dir", dir);
    });
    env
}

/// Adds the record to the value of its key, or removes the value; emits what it is then.
#[derive(Clone, Default)]
struct Change {
    value: Option<ValueState<u64>>,
}

impl KeyedProcessFunction<String, u64, (u64, Option<u64>)> for Change {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.value = Some(states.value_state("value")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        record: u64,
        context: &mut ProcessContext<'_, String>,
        out: &mut Collector<(u64, Option<u64>)>,
    ) -> Result<()> {
        let Some(value) = self.value else { return Ok(()) };
        if removes(record) {
            value.clear(context)?;
        } else {
            value.modify(context, |before| before.unwrap_or(0) + record)?;
        }
        out.collect((record, value.value(context)?));
        Ok(())
    }
}

#[test]
fn values_are_those_of_their_keys_whatever_was_removed_meanwhile() {
    let mut expected = BTreeMap::new();
    let mut values: HashMap<String, u64> = HashMap::new();
    for record in 0..RECORDS {
        let key = key(record);
        if removes(record) {
            values.remove(&key);
        } else {
            *values.entry(key.clone()).or_default() += record;
        }
        expected.insert(record, values.get(&key).copied());
    }
    for parallelism in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let env = environment(parallelism, folder.path());
        let sink = CollectSink::new();
        let results = sink.results();
        env.from_source(SequenceSource::new(0..RECORDS), "records")
            .set_parallelism(1)
            .key_by(|record: &u64| key(*record))
            .process(Change::default())
            .sink_to_2pc(sink);
        env.execute("changes").unwrap();
        let found: BTreeMap<u64, Option<u64>> = results.take().into_iter().collect();
        assert!(found == expected, "parallelism {parallelism}");
    }
}

#[test]
fn folds_emit_after_each_record_also_where_one_batch_is_larger_than_any_other() {
    // Each of a few records becomes a batch of thousands.
    const MANY: u64 = 10_000;
    let mut counts = BTreeMap::new();
    let mut greatest = BTreeMap::new();
    let mut texts = BTreeMap::new();
    let (mut count_of, mut greatest_of, mut text_of) = (HashMap::new(), HashMap::new(), HashMap::new());
    for record in 0..6 * MANY {
        let key = key(record);
        let count: &mut u64 = count_of.entry(key.clone()).or_default();
        *count += 1;
        *counts.entry((key.clone(), *count)).or_insert(0) += 1;
        let most = greatest_of.entry(key.clone()).or_insert((0, 0));
        *most = (*most).max((mix(record), record));
        *greatest.entry(*most).or_insert(0) += 1;
        let text: &mut String = text_of.entry(key.len()).or_default();
        *text = text.as_str().max(&key).to_owned();
        *texts.entry(text.clone()).or_insert(0) += 1;
    }
    fn tally<T: Ord>(records: Vec<T>) -> BTreeMap<T, u64> {
        let mut tally = BTreeMap::new();
        records
            .into_iter()
            .for_each(|record| *tally.entry(record).or_insert(0) += 1);
        tally
    }
    for parallelism in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let env = environment(parallelism, folder.path());
        let sinks = (CollectSink::new(), CollectSink::new(), CollectSink::new());
        let results = (sinks.0.results(), sinks.1.results(), sinks.2.results());
        let records = env
            .from_source(SequenceSource::new(0..6), "groups")
            .set_parallelism(1)
            .flat_map(|group: u64, out| {
                (group * MANY..(group + 1) * MANY).for_each(|record| out.collect(record))
            });
        let keys = records.map(|record: u64| key(record));
        // A state with slots, one with slots of another width, and one without.
        keys.key_by(String::clone).count().sink_to_2pc(sinks.0);
        records
            .map(|record: u64| (mix(record), record))
            .key_by(|(_, record): &(u64, u64)| key(*record))
            .reduce(Ord::max)
            .sink_to_2pc(sinks.1);
        keys.key_by(String::len).reduce(Ord::max).sink_to_2pc(sinks.2);
        env.execute("folds").unwrap();
        assert!(
            tally(results.0.take()) == counts,
            "count, parallelism {parallelism}"
        );
        assert!(
            tally(results.1.take()) == greatest,
            "reduce, parallelism {parallelism}"
        );
        assert!(
            tally(results.2.take()) == texts,
            "reduce of text, parallelism {parallelism}"
        );
    }
}
