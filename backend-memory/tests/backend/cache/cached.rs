//! A keyed state with one state over a database, as a backend that evicts has it, with a way in for tests.

use super::database::{Address, Database};
use crate::support::{Columns, Content, all_groups, cell, content};
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Cell, CheckpointEvent, KeyedState, SnapshotRequest,
    StateDescriptor, StateId, StateKind,
};
use millpond_backend_memory::kinds::{Counters, KindState};
use millpond_backend_memory::snapshot::{FrozenState, TableWriter};
use millpond_backend_memory::{PagedKeyedState, Snapshots, Tables};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Work = Box<dyn FnOnce(&mut Tables) + Send>;

/// Does with the tables what a test wants at a `notify`, and counts how often it might have evicted.
#[derive(Clone, Default)]
pub(crate) struct Inside {
    work: Arc<Mutex<Option<Work>>>,
    batches_ended: Arc<AtomicUsize>,
}

impl Snapshots for Inside {
    type Writer = TableWriter;

    fn snapshot(&mut self, _: &mut Tables, _: &SnapshotRequest) -> BackendResult<TableWriter> {
        Err(BackendError::new(BackendErrorKind::Unsupported, "not used"))
    }

    fn notify(&mut self, tables: &mut Tables, _: u64, _: CheckpointEvent) -> BackendResult<()> {
        let work = self.work.lock().unwrap().take();
        work.unwrap()(tables);
        Ok(())
    }

    fn batch_ended(&mut self, _: &mut Tables) -> BackendResult<()> {
        self.batches_ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A snapshot of which the database has nothing yet.
pub(crate) struct Pending {
    pub(crate) state: FrozenState,
    /// The last epoch whose changes it has.
    pub(crate) to: u32,
}

pub(crate) struct Cached {
    pub(crate) keyed: PagedKeyedState<Inside>,
    inside: Inside,
    pub(crate) database: Arc<Database>,
    pub(crate) state: StateId,
    pub(crate) descriptor: StateDescriptor,
    /// The epoch up to which the database has everything.
    pub(crate) ingested: u32,
}

/// The bytes of entries in a snapshot.
pub(crate) fn encoded_bytes(shape: EntryShape, content: &Content) -> u64 {
    let entries = content.iter();
    entries
        .map(|((key, namespace, map_key), value)| {
            shape.encoded_bytes(key.len(), namespace.len(), map_key.len(), value.len())
        })
        .sum()
}

impl Cached {
    /// A state over a database that has `restored`.
    pub(crate) fn new(kind: StateKind, width: u32, restored: &Content) -> Self {
        let range = all_groups();
        let descriptor = StateDescriptor::new("state", kind, width);
        let database = Arc::new(Database::default());
        let mut counters = vec![Counters::default(); range.len()];
        for (address, value) in restored {
            let group = cell(&address.0).group;
            database.insert(group, address.clone(), value.clone());
            let one = Content::from([(address.clone(), value.clone())]);
            counters[group.index()].cells += 1;
            counters[group.index()].encoded_bytes += encoded_bytes(EntryShape::of(&descriptor), &one);
        }
        let mut tables = Tables::for_increments(range);
        let below = Arc::clone(&database);
        tables
            .kind_of(&descriptor)
            .unwrap()
            .put_over(Some(below), counters);
        let inside = Inside::default();
        let mut keyed = PagedKeyedState::new(tables, inside.clone());
        Self {
            state: keyed.register(&descriptor).unwrap(),
            keyed,
            inside,
            database,
            descriptor,
            ingested: 0,
        }
    }

    /// What `work` makes of the tables.
    pub(crate) fn with_tables<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Tables) -> R + Send + 'static,
    ) -> R {
        let answer = Arc::new(Mutex::new(None));
        let to = Arc::clone(&answer);
        *self.inside.work.lock().unwrap() =
            Some(Box::new(move |tables| *to.lock().unwrap() = Some(work(tables))));
        self.keyed.notify(0, CheckpointEvent::Subsumed).unwrap();
        answer.lock().unwrap().take().unwrap()
    }

    pub(crate) fn with_kind<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut KindState) -> R + Send + 'static,
    ) -> R {
        let descriptor = self.descriptor.clone();
        self.with_tables(move |tables| work(tables.kind_of(&descriptor).unwrap()))
    }

    /// How often clean entries might have been evicted.
    pub(crate) fn batches_ended(&self) -> usize {
        self.inside.batches_ended.load(Ordering::Relaxed)
    }

    pub(crate) fn freeze(&mut self) -> Pending {
        let (to, mut states) = self.with_tables(|tables| (tables.epoch(), tables.freeze().unwrap()));
        let state = states.pop().unwrap();
        Pending { state, to }
    }

    /// The database takes over what a snapshot has; returns where something was changed. The tables do not know yet.
    pub(crate) fn ingest(&mut self, pending: &Pending) -> BTreeSet<Address> {
        let first = all_groups().first;
        let since = self.ingested;
        let changed = self.database.ingest(&pending.state, first, since, pending.to);
        self.ingested = pending.to;
        changed
    }

    /// Lets the tables know what the database has.
    pub(crate) fn tell(&mut self) {
        let to = self.ingested;
        self.with_kind(move |kind| kind.deletions_mut().below = to);
    }

    /// All that was changed is in the database, and the tables know it.
    pub(crate) fn flush(&mut self) {
        let pending = self.freeze();
        self.ingest(&pending);
        self.tell();
    }

    /// Evicts what is clean in all groups; returns how many bytes were given back.
    pub(crate) fn evict(&mut self) -> usize {
        self.with_kind(|kind| {
            all_groups()
                .iter()
                .map(|group| kind.evict(group.index(), u32::MAX))
                .sum()
        })
    }

    /// The bytes in memory.
    pub(crate) fn bytes(&mut self) -> usize {
        self.with_kind(|kind| kind.bytes())
    }

    pub(crate) fn get(&mut self, at: &Cell<'_>) -> Option<Vec<u8>> {
        let found = self.keyed.get(self.state, at).unwrap();
        found.map(<[u8]>::to_vec)
    }

    pub(crate) fn content(&mut self) -> Content {
        content(&mut self.keyed, self.state, all_groups())
    }

    pub(crate) fn prefetch(&mut self, keys: &[Vec<u8>]) {
        self.keyed.prefetch(self.state, &Columns::of_keys(keys).batch());
    }
}
