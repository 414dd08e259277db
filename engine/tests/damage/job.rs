//! The job whose checkpoints are damaged: it writes all kinds of state in steps, and reads them back in another run.

use millpond_engine::api::{
    Boundedness, Collector, KeyedProcessFunction, ProcessContext, ReaderContext, ReaderStatus, Source,
    SourceOutput, SourceReader, StreamExecutionEnvironment, Timer,
};
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::{CollectSink, CollectedResults};
use millpond_engine::state::{ListState, MapState, StateRegistry, ValueState};
use millpond_engine::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The keys that the first step fills.
const KEYS: u64 = 32;
/// What each later step changes; every other one also empties a key.
const CHANGED: [u64; 1] = [3];
/// One base, and deltas of which some are folded.
pub(crate) const STEPS: u64 = 8;

/// All state of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    count: Option<u64>,
    text: Option<String>,
    list: Vec<u32>,
    map: BTreeMap<u32, String>,
    timer: Option<i64>,
}

/// What a step leaves for a key. Steps after the first leave as many bytes as each other.
fn content(step: u64, key: u64) -> Content {
    if step > 1 && !CHANGED.contains(&key) {
        return Content::default();
    }
    let number = u32::try_from(step * 100 + key).unwrap();
    Content {
        count: Some(step * 1000 + key),
        text: Some(format!("text {number}")),
        list: vec![number, number + 1, 7],
        map: BTreeMap::from([(1, format!("one {number}")), (number, "by number".to_owned())]),
        timer: Some(i64::from(number)),
    }
}

/// The keys of a step.
fn keys(step: u64) -> Vec<u64> {
    match step {
        1 => (0..KEYS).collect(),
        _ if step % 2 == 1 => CHANGED.to_vec(),
        _ => vec![CHANGED[0], 17 + step],
    }
}

/// The state after all steps.
pub(crate) fn model() -> BTreeMap<u64, Content> {
    let mut model = BTreeMap::new();
    for step in 1..=STEPS {
        for key in keys(step) {
            model.insert(key, content(step, key));
        }
    }
    model
}

/// How many records the steps up to `step` have.
pub(crate) fn records(step: u64) -> u64 {
    (1..=step).map(|step| keys(step).len() as u64).sum()
}

/// Step and key; step 0 reads.
type Record = (u64, u64);

/// Emits the steps up to `until` and waits for more; or, if there is none, a record to read for each key, and ends.
pub(crate) struct Steps {
    pub(crate) until: Option<Arc<AtomicU64>>,
}

pub(crate) struct StepsReader {
    until: Option<Arc<AtomicU64>>,
    done: u64,
}

impl Source for Steps {
    type Record = Record;
    type Split = u64;
    type Reader = StepsReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, _parallelism: u32) -> Result<Vec<u64>> {
        Ok(vec![0])
    }

    fn reader(&self, _context: ReaderContext, splits: Vec<u64>) -> Result<StepsReader> {
        Ok(StepsReader {
            until: self.until.clone(),
            done: splits[0],
        })
    }
}

impl SourceReader for StepsReader {
    type Record = Record;
    type Split = u64;

    fn poll(&mut self, _max_records: usize, output: &mut SourceOutput<Record>) -> Result<ReaderStatus> {
        let Some(until) = &self.until else {
            if self.done != STEPS {
                let text = format!("WRONG: the source was restored after step {}", self.done);
                return Err(Error::new(ErrorKind::UserCode, text));
            }
            output.collect_all((0..KEYS + 9).map(|key| (0, key)));
            return Ok(ReaderStatus::Finished);
        };
        if self.done < until.load(Ordering::SeqCst) {
            self.done += 1;
            output.collect_all(keys(self.done).into_iter().map(|key| (self.done, key)));
        }
        Ok(ReaderStatus::IdleFor(Duration::from_millis(1)))
    }

    fn snapshot(&mut self) -> Result<Vec<u64>> {
        Ok(vec![self.done])
    }
}

#[derive(Clone, Default)]
struct Keep {
    count: Option<ValueState<u64>>,
    text: Option<ValueState<String>>,
    list: Option<ListState<u32>>,
    map: Option<MapState<u32, String>>,
}

impl Keep {
    fn read(&self, context: &mut ProcessContext<'_, u64>) -> Result<Content> {
        Ok(Content {
            count: self.count.unwrap().value(context)?,
            text: self.text.unwrap().value(context)?,
            list: self.list.unwrap().get(context)?,
            map: self.map.unwrap().entries(context)?.into_iter().collect(),
            timer: None,
        })
    }

    fn write(&self, content: &Content, context: &mut ProcessContext<'_, u64>) -> Result<()> {
        match content.count {
            Some(count) => self.count.unwrap().update(context, &count)?,
            None => self.count.unwrap().clear(context)?,
        }
        match &content.text {
            Some(text) => self.text.unwrap().update(context, text)?,
            None => self.text.unwrap().clear(context)?,
        }
        self.list.unwrap().update(context, &content.list)?;
        let map = self.map.unwrap();
        for key in map.keys(context)? {
            if !content.map.contains_key(&key) {
                map.remove(context, &key)?;
            }
        }
        for (key, value) in &content.map {
            map.put(context, key, value)?;
        }
        Ok(())
    }
}

impl KeyedProcessFunction<u64, Record, (u64, Content)> for Keep {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.count = Some(states.value_state("count")?);
        self.text = Some(states.value_state("text")?);
        self.list = Some(states.list_state("list")?);
        self.map = Some(states.map_state("map")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (step, key): Record,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, Content)>,
    ) -> Result<()> {
        if step == 0 {
            out.collect((key, self.read(context)?));
            return Ok(());
        }
        if let Some(timer) = content(1, key).timer {
            context.delete_event_time_timer(timer)?;
        }
        for earlier in 1..step {
            if let Some(timer) = content(earlier, key).timer {
                context.delete_event_time_timer(timer)?;
            }
        }
        let content = content(step, key);
        if let Some(timer) = content.timer {
            context.register_event_time_timer(timer)?;
        }
        self.write(&content, context)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, Content)>,
    ) -> Result<()> {
        let timer = Content {
            timer: Some(timer.timestamp),
            ..Content::default()
        };
        out.collect((context.current_key()?, timer));
        Ok(())
    }
}

/// The rows that reading gives: one a key with its state, and one a timer.
pub(crate) fn expected_rows() -> Vec<(u64, Content)> {
    let model = model();
    let mut rows = Vec::new();
    for key in 0..KEYS + 9 {
        let mut content = model.get(&key).cloned().unwrap_or_default();
        if let Some(timer) = content.timer.take() {
            let timer = Some(timer);
            rows.push((
                key,
                Content {
                    timer,
                    ..Content::default()
                },
            ));
        }
        rows.push((key, content));
    }
    sort(&mut rows);
    rows
}

pub(crate) fn sort(rows: &mut [(u64, Content)]) {
    rows.sort_by_key(|(key, content)| (*key, content.timer));
}

/// The job with its source.
pub(crate) fn environment(
    config: Configuration,
    source: Steps,
) -> (StreamExecutionEnvironment, CollectedResults<(u64, Content)>) {
    let env = StreamExecutionEnvironment::with_configuration(config);
    let sink = CollectSink::new();
    let results = sink.results();
    env.from_source(source, "steps")
        .uid("steps")
        .key_by(|record: &Record| record.1)
        .process(Keep::default())
        .uid("keep")
        .sink_to_2pc(sink)
        .uid("rows");
    (env, results)
}
