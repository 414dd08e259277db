//! What the handles of state do, call by call, on each backend.

use crate::harness::{FILES, HEAP, ROCKSDB, Settings, has_rocksdb};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment};
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    AggregateFunction, AggregatingState, ListState, MapState, MergingAggregateFunction, Namespaced,
    ReducingState, StateRegistry, StateTtlConfig, ValueState,
};
use std::time::Duration;

const RECORDS: u64 = 60;
/// Each key comes several times, after the others.
const KEYS: u64 = 12;

/// Collects words, with the longest one first.
#[derive(Clone, Copy)]
struct Words;

impl AggregateFunction for Words {
    type Input = String;
    type Accumulator = Vec<String>;
    type Output = String;

    fn create(&self) -> Vec<String> {
        Vec::new()
    }

    fn add(&self, word: String, mut words: Vec<String>) -> Vec<String> {
        words.push(word);
        words
    }

    fn result(&self, words: &Vec<String>) -> String {
        words.join(" ")
    }
}

impl MergingAggregateFunction for Words {
    fn merge(&self, mut left: Vec<String>, right: Vec<String>) -> Vec<String> {
        left.extend(right);
        left
    }
}

#[derive(Clone)]
struct States {
    fixed: ValueState<u64>,
    text: ValueState<String>,
    list: ListState<String>,
    map: MapState<String, u64>,
    greatest: ReducingState<u64>,
    words: AggregatingState<Words>,
    /// With namespaces.
    lists: Namespaced<u8, ListState<u64>>,
    sums: Namespaced<u8, ReducingState<u64>>,
    texts: Namespaced<u8, AggregatingState<Words>>,
    /// With namespaces and a TTL that does not end.
    kept: Namespaced<u8, ListState<u64>>,
}

type Check = fn(&States, u64, &mut ProcessContext<'_, u64>) -> Result<()>;

/// Does one thing for each record. What it asserts ends the job.
#[derive(Clone)]
struct Checked {
    check: Check,
    states: Option<States>,
}

impl KeyedProcessFunction<u64, u64, u64> for Checked {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        let for_ever = StateTtlConfig::new_builder(Duration::from_secs(1 << 30)).build()?;
        self.states = Some(States {
            fixed: states.value_state("fixed")?,
            text: states.value_state("text")?,
            list: states.list_state("list")?,
            map: states.map_state("map")?,
            greatest: states.reducing_state("greatest", |a: u64, b: u64| a.max(b))?,
            words: states.aggregating_state("words", Words)?,
            lists: states.with_namespaces().list_state("lists")?,
            sums: states
                .with_namespaces()
                .reducing_state("sums", |a: u64, b: u64| a + b)?,
            texts: states.with_namespaces().aggregating_state("texts", Words)?,
            kept: states.with_ttl(&for_ever).with_namespaces().list_state("kept")?,
        });
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<u64>,
    ) -> Result<()> {
        (self.check)(self.states.as_ref().unwrap(), number, context)?;
        out.collect(number);
        Ok(())
    }
}

fn on(settings: Settings, check: Check) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Configuration::new();
    for (key, value) in settings {
        config.set_string(*key, *value);
    }
    config
        .set_string("execution.checkpointing.dir", folder.path().to_str().unwrap())
        .set_string("restart-strategy.type", "none");
    let env = StreamExecutionEnvironment::with_configuration(config);
    env.set_parallelism(2);
    let sink = CollectSink::<u64>::new();
    let results = sink.results();
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        // So that the numbers of a key come in order.
        .set_parallelism(1)
        .key_by(|number| number % KEYS)
        .process(Checked { check, states: None })
        .uid("checked")
        .sink_to_2pc(sink)
        .uid("results");
    env.execute("state api").unwrap();
    assert_eq!(results.take().len() as u64, RECORDS);
}

fn on_each_backend(check: Check) {
    on(HEAP, check);
    on(FILES, check);
    if has_rocksdb() {
        on(ROCKSDB, check);
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Leaves nothing behind, so that the next record of the key begins with nothing as well.
fn check_every_handle(states: &States, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<()> {
    let States {
        fixed,
        text,
        list,
        map,
        greatest,
        words,
        ..
    } = states;
    assert_eq!(fixed.value(context)?, None);
    fixed.update(context, &number)?;
    assert_eq!(fixed.value(context)?, Some(number));
    assert_eq!(fixed.modify(context, |before| before.unwrap() + 1)?, number + 1);
    fixed.clear(context)?;
    assert_eq!(fixed.value(context)?, None);
    // Again, when there is nothing.
    fixed.clear(context)?;
    assert_eq!(fixed.modify(context, |before| before.map_or(7, |_| 8))?, 7);
    fixed.clear(context)?;

    assert_eq!(text.value(context)?, None);
    text.update(context, &String::new())?;
    assert_eq!(text.value(context)?, Some(String::new()), "empty is not absent");
    text.clear(context)?;
    assert_eq!(text.value(context)?, None);

    assert_eq!(list.get(context)?, strings(&[]));
    list.add_all(context, &[])?;
    assert_eq!(list.get(context)?, strings(&[]));
    list.add(context, &"one".to_owned())?;
    list.add_all(context, &strings(&["", "three"]))?;
    list.add_all(context, &[])?;
    assert_eq!(list.get(context)?, strings(&["one", "", "three"]));
    list.update(context, &strings(&["four", "five"]))?;
    assert_eq!(list.get(context)?, strings(&["four", "five"]));
    list.update(context, &[])?;
    assert_eq!(list.get(context)?, strings(&[]), "an empty update clears");
    list.add(context, &"six".to_owned())?;
    list.clear(context)?;
    assert_eq!(list.get(context)?, strings(&[]));

    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert!(map.is_empty(context)?);
    assert_eq!(map.entries(context)?, []);
    assert_eq!(map.get(context, &a)?, None);
    assert!(!map.remove(context, &a)?);
    map.put(context, &a, &number)?;
    map.put(context, &String::new(), &0)?;
    map.put(context, &a, &(number + 1))?;
    assert!(!map.is_empty(context)?);
    assert_eq!(map.get(context, &a)?, Some(number + 1));
    assert!(map.contains(context, &a)? && !map.contains(context, &b)?);
    let mut entries = map.entries(context)?;
    entries.sort();
    assert_eq!(entries, [(String::new(), 0), (a.clone(), number + 1)]);
    assert!(map.remove(context, &a)? && !map.remove(context, &a)?);
    assert_eq!(map.keys(context)?, [String::new()]);
    assert_eq!(map.values(context)?, [0]);
    map.clear(context)?;
    assert!(map.is_empty(context)? && !map.contains(context, &String::new())?);

    assert_eq!(greatest.get(context)?, None);
    assert_eq!(
        greatest.add(context, number)?,
        number,
        "the first is stored as it is"
    );
    assert_eq!(greatest.add(context, number + 2)?, number + 2);
    assert_eq!(greatest.add(context, 0)?, number + 2);
    assert_eq!(greatest.get(context)?, Some(number + 2));
    greatest.clear(context)?;
    assert_eq!(greatest.get(context)?, None);

    assert_eq!(words.get(context)?, None, "nothing was added");
    words.add(context, format!("word {number}"))?;
    words.add(context, "and".to_owned())?;
    assert_eq!(words.get(context)?, Some(format!("word {number} and")));
    words.clear(context)?;
    assert_eq!(words.get(context)?, None);
    Ok(())
}

#[test]
fn every_handle_does_what_its_documentation_says() {
    on_each_backend(check_every_handle);
}

/// What was added for one key is that key's, whatever was done for others in between.
fn check_keys_are_apart(states: &States, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<()> {
    let before: Vec<u64> = (0..number)
        .filter(|before| before % KEYS == number % KEYS)
        .collect();
    let words: Vec<_> = before.iter().map(u64::to_string).collect();
    assert_eq!(states.list.get(context)?, words);
    assert_eq!(states.fixed.value(context)?, before.last().copied());
    assert_eq!(states.greatest.get(context)?, before.last().copied());
    assert_eq!(
        states.words.get(context)?,
        (!words.is_empty()).then(|| words.join(" "))
    );
    assert_eq!(states.map.keys(context)?.len(), before.len());
    states.list.add(context, &number.to_string())?;
    states.fixed.update(context, &number)?;
    states.greatest.add(context, number)?;
    states.words.add(context, number.to_string())?;
    states.map.put(context, &number.to_string(), &number)
}

#[test]
fn keys_share_neither_values_nor_accumulators() {
    on_each_backend(check_keys_are_apart);
}

/// Goes through what was there at the beginning, whatever is put and removed meanwhile.
fn check_changes_underway(states: &States, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<()> {
    let map = &states.map;
    map.clear(context)?;
    for i in 0..20u64 {
        map.put(context, &format!("key {i:02}"), &i)?;
    }
    let mut seen = 0;
    for (key, value) in map.entries(context)? {
        assert_eq!(key, format!("key {value:02}"));
        seen += 1;
        match value % 4 {
            // Itself, one that may come later or have been there, and a new one.
            0 => assert!(map.remove(context, &key)?),
            1 => map.put(context, &key, &(value + 100))?,
            2 => map.put(context, &format!("key {:02}", (value + 1) % 20), &(value + 201))?,
            _ => map.put(context, &format!("new {value:02}"), &number)?,
        }
    }
    assert_eq!(seen, 20);
    let mut entries = map.entries(context)?;
    entries.sort();
    let expected: Vec<_> = (0..20u64)
        .filter(|i| i % 4 != 0)
        .map(|i| (format!("key {i:02}"), [0, i + 100, i, i + 200][(i % 4) as usize]))
        .chain((3..20).step_by(4).map(|i| (format!("new {i:02}"), number)))
        .collect();
    assert_eq!(entries, expected);
    Ok(())
}

#[test]
fn a_map_is_changed_while_its_entries_are_gone_through() {
    on_each_backend(check_changes_underway);
}

/// Merges two sources into a target, where each of the three has something or nothing: bit 0 of `full` is the target.
fn check_merging(states: &States, number: u64, context: &mut ProcessContext<'_, u64>) -> Result<()> {
    const TARGET: u8 = 7;
    const SOURCES: [u8; 2] = [9, 4];
    // What another namespace has is not touched.
    states.lists.at(context, &1)?.update(context, &[number])?;
    for full in 0..8u8 {
        let mut expected = Vec::new();
        for (bit, namespace) in [TARGET, SOURCES[0], SOURCES[1]].into_iter().enumerate() {
            if full & (1 << bit) == 0 {
                continue;
            }
            let elements = [u64::from(namespace), number];
            expected.extend(elements);
            states.lists.at(context, &namespace)?.update(context, &elements)?;
            states.kept.at(context, &namespace)?.update(context, &elements)?;
            for element in elements {
                states.sums.at(context, &namespace)?.add(context, element)?;
                let texts = states.texts.at(context, &namespace)?;
                texts.add(context, element.to_string())?;
            }
        }
        // The target may be among the sources.
        let sources = if full & 1 == 0 {
            SOURCES.to_vec()
        } else {
            vec![SOURCES[0], TARGET, SOURCES[1]]
        };
        states.lists.merge(context, &TARGET, &sources)?;
        states.kept.merge(context, &TARGET, &sources)?;
        states.sums.merge(context, &TARGET, &sources)?;
        states.texts.merge(context, &TARGET, &sources)?;
        let text = expected.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let (sum, text) = match expected.is_empty() {
            true => (None, None),
            false => (Some(expected.iter().sum::<u64>()), Some(text)),
        };
        assert_eq!(
            states.lists.at(context, &TARGET)?.get(context)?,
            expected,
            "{full:03b}"
        );
        assert_eq!(
            states.kept.at(context, &TARGET)?.get(context)?,
            expected,
            "{full:03b}"
        );
        assert_eq!(states.sums.at(context, &TARGET)?.get(context)?, sum, "{full:03b}");
        assert_eq!(
            states.texts.at(context, &TARGET)?.get(context)?,
            text,
            "{full:03b}"
        );
        for source in SOURCES {
            assert_eq!(states.lists.at(context, &source)?.get(context)?, []);
            assert_eq!(states.kept.at(context, &source)?.get(context)?, []);
            assert_eq!(states.sums.at(context, &source)?.get(context)?, None);
            assert_eq!(states.texts.at(context, &source)?.get(context)?, None);
        }
        states.lists.at(context, &TARGET)?.clear(context)?;
        states.kept.at(context, &TARGET)?.clear(context)?;
        states.sums.at(context, &TARGET)?.clear(context)?;
        states.texts.at(context, &TARGET)?.clear(context)?;
    }
    assert_eq!(states.lists.at(context, &1)?.get(context)?, [number]);
    Ok(())
}

#[test]
fn namespaces_are_merged_whether_they_have_anything_or_not() {
    on_each_backend(check_merging);
}
