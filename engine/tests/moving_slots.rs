//! A backend that moves its entries whenever it may: slots that were kept from earlier batches must not be used any more.
#![expect(
    unsafe_code,
    reason = "slots are addresses of the boxes in which the backend of this test keeps its values"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test"
)]

use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, Cell, CheckpointEvent, Entry, EntryBuffer, KeyBatch,
    KeyGroup, KeyedState, OpenKeyed, Slot, SnapshotHandle, SnapshotRequest, SnapshotStreams, SnapshotWriter,
    StateBackend, StateBackendFactory, StateDescriptor, StateId, unsupported,
};
use millpond_engine::Result;
use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment};
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::state::{MapState, StateRegistry, ValueState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const KEYS: u64 = 20;
const RECORDS: u64 = 200_000;

/// How often slots were taken with and without keys, and entries moved.
#[derive(Debug, Default)]
struct Calls {
    batches: AtomicU64,
    batches_without_keys: AtomicU64,
    moves: AtomicU64,
}

struct MovingFactory(Arc<Calls>);

impl StateBackendFactory for MovingFactory {
    type Backend = Moving;

    fn name(&self) -> String {
        "tests::MovingStateBackendFactory".into()
    }

    fn short_names(&self) -> Vec<String> {
        vec!["moving".into()]
    }

    fn version(&self) -> String {
        "1".into()
    }

    fn create(&self, _: &BackendConfig) -> BackendResult<Moving> {
        Ok(Moving(Arc::clone(&self.0)))
    }
}

struct Moving(Arc<Calls>);

impl StateBackend for Moving {
    type Keyed = MovingKeyed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            stable_slots: true,
            ..Capabilities::default()
        }
    }

    fn open_keyed(&self, _: OpenKeyed) -> BackendResult<MovingKeyed> {
        Ok(MovingKeyed {
            calls: Arc::clone(&self.0),
            states: Vec::new(),
            values: BTreeMap::new(),
            maps: BTreeMap::new(),
            open: BTreeSet::new(),
            generation: 1,
            puts: 0,
            ended: 0,
            left_behind: Vec::new(),
        })
    }
}

struct MovingKeyed {
    calls: Arc<Calls>,
    states: Vec<StateDescriptor>,
    /// Flag and value of each key, by state.
    values: BTreeMap<StateId, BTreeMap<Vec<u8>, Box<[u8]>>>,
    maps: BTreeMap<(StateId, Vec<u8>, Vec<u8>), Vec<u8>>,
    open: BTreeSet<StateId>,
    generation: u64,
    puts: u64,
    /// How many batches have ended.
    ended: u64,
    /// Where entries were before. What is written there is lost, and does no harm otherwise.
    left_behind: Vec<Box<[u8]>>,
}

impl MovingKeyed {
    /// Moves every entry that may be moved.
    fn move_all(&mut self) {
        for (_, values) in self
            .values
            .iter_mut()
            .filter(|(state, _)| !self.open.contains(state))
        {
            for place in values.values_mut() {
                let copy = place.clone();
                let mut old = std::mem::replace(place, copy);
                // Whoever reads there finds another value.
                old[1..].fill(0xee);
                self.left_behind.push(old);
            }
        }
        self.generation += 1;
        self.calls.moves.fetch_add(1, Ordering::Relaxed);
    }
}

impl KeyedState for MovingKeyed {
    type Writer = NoWriter;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        self.states.push(descriptor.clone());
        Ok(StateId(u32::try_from(self.states.len() - 1).unwrap()))
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.states.clone()
    }

    fn prefetch(&mut self, _: StateId, _: &KeyBatch<'_>) {}

    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        let calls = if slots.is_empty() {
            &self.calls.batches_without_keys
        } else {
            &self.calls.batches
        };
        calls.fetch_add(1, Ordering::Relaxed);
        let width = self.states[state.0 as usize].value_width as usize;
        let values = self.values.entry(state).or_default();
        let mut absent = BTreeSet::new();
        for (index, slot) in slots.iter_mut().enumerate() {
            let key = keys.cell(index).unwrap().key.as_slice().to_vec();
            let place = values
                .entry(key.clone())
                .or_insert_with(|| vec![0; 1 + width].into());
            if place[0] & Slot::PRESENT == 0 {
                absent.insert(key);
            }
            // SAFETY: the box has a flag and `width` bytes, and stays until the state is dropped, also when its entry has been moved.
            *slot = unsafe { Slot::new(place.as_mut_ptr().wrapping_add(1)) };
        }
        self.open.insert(state);
        Ok(absent.len() as u64)
    }

    fn end_batch(&mut self, state: StateId, _: &KeyBatch<'_>, _: &[Slot], _: bool) -> BackendResult<()> {
        assert!(self.open.remove(&state), "a batch was ended that was not open");
        self.ended += 1;
        if self.ended.is_multiple_of(16) {
            self.move_all();
        }
        Ok(())
    }

    fn slot_generation(&mut self, _: StateId) -> BackendResult<u64> {
        Ok(self.generation)
    }

    fn get(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        Err(unsupported("get"))
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let id = (
            state,
            cell.key.as_slice().to_vec(),
            cell.map_key.as_slice().to_vec(),
        );
        self.maps.insert(id, value.to_vec());
        // Once in a while, so that most batches find the slots good that they have kept.
        self.puts += 1;
        if self.puts.is_multiple_of(30_011) {
            self.move_all();
        }
        Ok(())
    }

    fn delete(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<bool> {
        Err(unsupported("delete"))
    }

    fn append(&mut self, _: StateId, _: &Cell<'_>, _: &[u8]) -> BackendResult<()> {
        Err(unsupported("append"))
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        _: &[u8],
        _: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        for ((of, key, map_key), value) in &self.maps {
            if *of == state && key.as_slice() == cell.key.as_slice() {
                entries.push(Entry {
                    key,
                    namespace: b"",
                    map_key,
                    value,
                });
            }
        }
        Ok(())
    }

    fn clear_map(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<u64> {
        Err(unsupported("clear_map"))
    }

    fn visit(&mut self, _: StateId, _: KeyGroup, _: &mut EntryBuffer) -> BackendResult<()> {
        Ok(())
    }

    fn len(&mut self, _: StateId) -> BackendResult<u64> {
        Ok(0)
    }

    fn snapshot(&mut self, _: &SnapshotRequest) -> BackendResult<NoWriter> {
        Err(unsupported("snapshots"))
    }

    fn notify(&mut self, _: u64, _: CheckpointEvent) -> BackendResult<()> {
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

struct NoWriter;

impl SnapshotWriter for NoWriter {
    fn write(&mut self, _: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        Err(unsupported("snapshots"))
    }
}

/// Counts records in a state with slots, and puts each count into a map, which is a call of the backend in the middle of the batch.
#[derive(Clone, Default)]
struct Count {
    count: Option<ValueState<u64>>,
    last: Option<MapState<u8, u64>>,
}

impl KeyedProcessFunction<u64, u64, (u64, u64)> for Count {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.count = Some(states.value_state("count")?);
        self.last = Some(states.map_state("last")?);
        Ok(())
    }

    fn process_element(
        &mut self,
        number: u64,
        context: &mut ProcessContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result<()> {
        let (Some(count), Some(last)) = (self.count, self.last) else {
            return Ok(());
        };
        let next = count.value(context)?.unwrap_or_default() + 1;
        count.update(context, &next)?;
        last.put(context, &0, &next)?;
        out.collect((number % KEYS, next));
        Ok(())
    }
}

#[test]
fn slots_are_used_again_only_where_the_backend_says_that_nothing_has_moved() {
    let calls = Arc::new(Calls::default());
    let env = StreamExecutionEnvironment::new();
    env.configure(|config| {
        config.set_string("state.backend.type", "moving");
    });
    env.set_parallelism(1);
    env.register_state_backend(MovingFactory(Arc::clone(&calls)))
        .unwrap();
    let sink = CollectSink::new();
    let results = sink.results();
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .key_by(|number: &u64| number % KEYS)
        .process(Count::default())
        .sink_to_2pc(sink);
    env.execute("moving").unwrap();
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, count) in results.take() {
        let last = seen.entry(key).or_default();
        *last += 1;
        assert_eq!(count, *last, "key {key}: an update was lost");
    }
    assert!(seen.len() as u64 == KEYS && seen.values().all(|count| *count == RECORDS / KEYS));
    let count = |calls: &AtomicU64| calls.load(Ordering::Relaxed);
    assert!(
        count(&calls.moves) > 5 && count(&calls.batches) > 10 && count(&calls.batches_without_keys) > 5,
        "{calls:?}"
    );
}
