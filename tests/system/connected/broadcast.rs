//! Streams that every subtask sees, beside a state that all have, and the keyed state that they change.

use super::{environment, sorted};
use millpond_engine::Result;
use millpond_engine::api::{
    BroadcastProcessFunction, Collector, FunctionContext, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, KeyedReadOnlyContext, ProcessContext, ReadOnlyContext,
    StreamExecutionEnvironment, Timer,
};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{
    BroadcastState, FunctionInitializationContext, ListState, ListStateDescriptor, MapState,
    MapStateDescriptor, OperatorListState, StateRegistry, ValueState,
};
use std::collections::BTreeMap;

fn limits() -> MapStateDescriptor<String, u64> {
    MapStateDescriptor::new("limits")
}

/// Keeps limits, and emits all of them at the end.
#[derive(Clone, Default)]
struct Limits {
    limits: Option<BroadcastState<String, u64>>,
    seen: Option<OperatorListState<u64>>,
}

impl BroadcastProcessFunction<u64, u64, (String, u64)> for Limits {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        assert!(!context.is_restored());
        self.limits = Some(context.get_broadcast_state(&limits())?);
        self.seen = Some(context.get_list_state(&ListStateDescriptor::new("seen"))?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ReadOnlyContext<'_>,
        _: &mut Collector<(String, u64)>,
    ) -> Result<()> {
        self.limits.unwrap().entries(context.broadcast_states())?;
        self.seen.unwrap().add(context.list_states(), number)
    }

    fn process_broadcast_element(
        &mut self,
        number: u64,
        context: &mut FunctionContext<'_>,
        _: &mut Collector<(String, u64)>,
    ) -> Result<()> {
        let name = format!("limit {}", number % 10);
        let before = self.limits.unwrap().get(context.broadcast_states(), &name)?;
        let greatest = number.max(before.copied().unwrap_or(0));
        self.limits
            .unwrap()
            .put(context.broadcast_states(), name, greatest)?;
        Ok(())
    }

    fn end_input(
        &mut self,
        context: &mut ReadOnlyContext<'_>,
        out: &mut Collector<(String, u64)>,
    ) -> Result<()> {
        let seen = self.seen.unwrap().get(context.list_states())?.len();
        out.collect(("seen".into(), seen as u64));
        for (name, limit) in self.limits.unwrap().entries(context.broadcast_states())? {
            out.collect((name.clone(), *limit));
        }
        Ok(())
    }
}

#[test]
fn every_subtask_has_all_of_a_broadcast_state() {
    const SUBTASKS: usize = 3;
    let env = environment(SUBTASKS);
    let sink = CollectSink::new();
    let results = sink.results();
    let broadcast = env.from_sequence(0, 100).broadcast_with(&[&limits()]);
    env.from_sequence(0, 5000)
        .connect(&broadcast)
        .process(Limits::default())
        .uid("limits")
        .sink_to_2pc(sink);
    env.execute("limits").unwrap();
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (name, limit) in results.take() {
        found.entry(name).or_default().push(limit);
    }
    assert_eq!(found.remove("seen").unwrap().iter().sum::<u64>(), 5000);
    let expected: BTreeMap<_, _> = (0..10)
        .map(|digit| (format!("limit {digit}"), vec![90 + digit; SUBTASKS]))
        .collect();
    assert_eq!(found, expected);
}

/// A value, a list and a map for each key; each broadcast number has them all emitted and changed.
#[derive(Clone, Default)]
struct AtAllKeys {
    value: Option<ValueState<u64>>,
    list: Option<ListState<u64>>,
    map: Option<MapState<u64, u64>>,
}

type AtKey = (&'static str, String, u64);

impl KeyedBroadcastProcessFunction<String, (String, u64), u64, (String, String, u64)> for AtAllKeys {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.value = Some(states.value_state("value")?);
        self.list = Some(states.list_state("list")?);
        self.map = Some(states.map_state("map")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, number): (String, u64),
        context: &mut KeyedReadOnlyContext<'_, String>,
        _: &mut Collector<(String, String, u64)>,
    ) -> Result<()> {
        self.value.unwrap().update(context, &number)?;
        self.list.unwrap().add(context, &number)?;
        self.map.unwrap().put(context, &number, &number)?;
        // Far away, and at the end of the input.
        context.register_event_time_timer(i64::MAX - 1)
    }

    fn process_broadcast_element(
        &mut self,
        _: u64,
        context: &mut KeyedBroadcastContext<'_, String>,
        _: &mut Collector<(String, String, u64)>,
    ) -> Result<()> {
        context.apply_to_keyed_state(&self.value.unwrap(), |_| Ok(()))
    }

    /// All records have come, but the broadcast side cannot know: so the last word is a timer's, once for each key.
    fn on_timer(
        &mut self,
        _: Timer,
        context: &mut KeyedReadOnlyContext<'_, String>,
        out: &mut Collector<(String, String, u64)>,
    ) -> Result<()> {
        let key = context.current_key()?;
        let value = self.value.unwrap().value(context)?.unwrap();
        out.collect(("value".into(), key.clone(), value));
        let list = self.list.unwrap().get(context)?.len() as u64;
        out.collect(("list".into(), key.clone(), list));
        let map = self.map.unwrap().entries(context)?.len() as u64;
        out.collect(("map".into(), key, map));
        Ok(())
    }
}

#[test]
fn looking_at_all_keys_changes_nothing_that_is_not_changed() {
    let env = environment(2);
    let sink = CollectSink::new();
    let results = sink.results();
    let broadcast = env.from_sequence(0, 50).broadcast_with(&[]);
    env.from_sequence(0, 3000)
        .map(|n| (format!("key {}", n % 20), n / 20))
        .rebalance()
        .key_by(|(key, _)| key.clone())
        .connect(&broadcast)
        .process(AtAllKeys::default())
        .uid("all keys")
        .sink_to_2pc(sink);
    env.execute("all keys").unwrap();
    let found = sorted(results.take());
    let counted: Vec<AtKey> = (0..20)
        .flat_map(|key| ["list", "map"].map(|state| (state, format!("key {key}"), 150)))
        .collect();
    let found: Vec<_> = found
        .iter()
        .filter(|(state, ..)| state != "value")
        .cloned()
        .collect();
    let expected = counted
        .into_iter()
        .map(|(state, key, n)| (state.to_owned(), key, n))
        .collect();
    assert_eq!(found, sorted(expected));
}

/// Adds numbers up by key; each broadcast number empties all sums that are there, and emits them.
#[derive(Clone, Default)]
struct EmptySums {
    sums: Option<ValueState<u64>>,
    parts: Option<ListState<u64>>,
    by_number: Option<MapState<u64, u64>>,
}

impl KeyedBroadcastProcessFunction<u64, u64, u64, (u64, u64, u64, u64)> for EmptySums {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.sums = Some(states.value_state("sums")?);
        self.parts = Some(states.list_state("parts")?);
        self.by_number = Some(states.map_state("by number")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        _: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        self.sums
            .unwrap()
            .modify(context, |sum| sum.unwrap_or(0) + number)?;
        self.parts.unwrap().add(context, &number)?;
        self.by_number.unwrap().put(context, &number, &number)?;
        context.register_event_time_timer(i64::MAX - 1)
    }

    fn process_broadcast_element(
        &mut self,
        kind: u64,
        context: &mut KeyedBroadcastContext<'_, u64>,
        out: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        let (sums, parts, by_number) = (self.sums.unwrap(), self.parts.unwrap(), self.by_number.unwrap());
        let mut last = None;
        let mut empty = |context: &mut ProcessContext<'_, u64>| {
            let key = context.current_key()?;
            assert_ne!(last.replace(key), Some(key), "a key comes once");
            self.empty(context, out)
        };
        // Each kind of handle finds the same keys.
        match kind % 3 {
            0 => context.apply_to_keyed_state(&sums, &mut empty),
            1 => context.apply_to_keyed_state(&parts, &mut empty),
            _ => context.apply_to_keyed_state(&by_number, &mut empty),
        }
    }

    /// What has come behind the last broadcast record.
    fn on_timer(
        &mut self,
        _: Timer,
        context: &mut KeyedReadOnlyContext<'_, u64>,
        out: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        self.empty(context, out)
    }
}

impl EmptySums {
    fn empty(
        &self,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64, u64, u64)>,
    ) -> Result<()> {
        let (sums, parts, by_number) = (self.sums.unwrap(), self.parts.unwrap(), self.by_number.unwrap());
        let sum = sums.value(context)?.unwrap_or(0);
        let of_parts = parts.get(context)?.iter().sum();
        let of_map = by_number.entries(context)?.iter().map(|(_, number)| number).sum();
        out.collect((context.current_key()?, sum, of_parts, of_map));
        sums.clear(context)?;
        parts.clear(context)?;
        by_number.clear(context).map(drop)
    }
}

#[test]
fn a_broadcast_record_changes_the_state_of_all_keys() {
    for backend in ["hashmap", "filesystem"] {
        let mut config = millpond_engine::config::Configuration::new();
        config.set_string("state.backend", backend);
        let folder = tempfile::tempdir().unwrap();
        if backend == "filesystem" {
            config.set_string(
                "execution.checkpointing.dir",
                format!("file://{}", folder.path().display()),
            );
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_parallelism(2);
        let sink = CollectSink::<(u64, u64, u64, u64)>::new();
        let results = sink.results();
        let broadcast = env
            .from_source(SequenceSource::new(0..60), "broadcast")
            .uid("broadcast")
            .set_parallelism(1)
            .rate_limit(100.0)
            .broadcast_with(&[]);
        env.from_source(SequenceSource::new(0..1000), "numbers")
            .uid("numbers")
            .rate_limit(10_000.0)
            .key_by(|n| n % 13)
            .connect(&broadcast)
            .process(EmptySums::default())
            .uid("sums")
            .sink_to_2pc(sink);
        env.execute("sums").unwrap();
        let found = results.take();
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        for (key, sum, of_parts, of_map) in found {
            assert_eq!((sum, sum), (of_parts, of_map), "key {key}");
            *sums.entry(key).or_default() += sum;
        }
        assert_eq!(sums.len(), 13);
        for (key, sum) in sums {
            let all: u64 = (0..1000).filter(|n| n % 13 == key).sum();
            assert_eq!(sum, all, "key {key}");
        }
    }
}
