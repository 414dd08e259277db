//! The keyed state of one subtask while records are processed: which key is current, and the way to the backend.

use super::StateCodec;
use super::evolution::{Opening, bring_over};
use super::keys::KeyColumn;
use super::operator::OperatorStates;
use super::running::RunningFold;
use super::slots::SlotColumn;
use super::timers::{TimerDomain, Timers};
use super::ttl::{Expiry, TtlStates, TtlTimeProvider};
use crate::Result;
use crate::api::{Data, TimestampMs};
use crate::backend::KeyedBackend;
use crate::codec;
use millpond_backend_api::{
    Cell, CheckpointEvent, EntryBuffer, SnapshotForm, SnapshotRequest, StateDescriptor, StateId,
    ttl::TIME_BYTES,
};
use std::sync::Arc;

/// Keyed state, scoped to the key of the current record or timer.
///
/// State handles take it as their first argument; functions get it inside of their own context.
pub struct KeyedContext {
    pub(crate) backend: KeyedBackend,
    pub(crate) keys: KeyColumn,
    /// The record of the batch that is being processed.
    at: usize,
    /// One for each fixed-width value state, where the backend has slots.
    columns: Vec<SlotColumn>,
    /// For values on their way to the backend.
    scratch: Vec<u8>,
    pub(crate) entries: EntryBuffer,
    pub(crate) timers: Timers,
    pub(crate) ttl: TtlStates,
    pub(crate) watermark: TimestampMs,
    /// What belongs to the subtask and to no key.
    pub(crate) operator: OperatorStates,
    /// Where each state that has namespaces is at now.
    namespaces: Namespaces,
    /// While states are registered.
    pub(crate) opening: Option<Opening>,
}

impl std::fmt::Debug for KeyedContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedContext")
            .field("backend", &self.backend.place())
            .finish_non_exhaustive()
    }
}

impl KeyedContext {
    pub(crate) fn new(
        backend: KeyedBackend,
        key_width: Option<usize>,
        max_parallelism: u32,
        ttl_clock: Arc<dyn TtlTimeProvider>,
        opening: Opening,
    ) -> Self {
        Self {
            timers: Timers::new(&backend),
            opening: Some(opening),
            namespaces: Namespaces::default(),
            ttl: TtlStates::new(ttl_clock),
            backend,
            keys: KeyColumn::new(key_width, max_parallelism),
            at: 0,
            columns: Vec::new(),
            scratch: Vec::new(),
            entries: EntryBuffer::new(),
            watermark: crate::api::WATERMARK_MIN,
            operator: OperatorStates::default(),
        }
    }

    /// Registers a state with the backend.
    pub(crate) fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        let state = self.backend.register(descriptor)?;
        if let Some(opening) = &mut self.opening {
            opening.note(descriptor);
        }
        Ok(state)
    }

    /// Every state is registered: has those migrate that have to, and finds the timers that were restored. `codec` describes the operator's key.
    pub(crate) fn opened(&mut self, codec: &StateCodec) -> Result<()> {
        if let Some(opening) = self.opening.take() {
            bring_over(opening, &mut self.backend)?;
        }
        self.timers.open(&mut self.backend, codec::to_vec(codec)?)
    }

    /// Makes `state` one that has namespaces.
    pub(crate) fn add_namespaces(&mut self, state: StateId) {
        if !self.namespaces.0.iter().any(|(known, _)| *known == state) {
            self.namespaces.0.push((state, Vec::new()));
        }
    }

    /// The current namespace of a state that has namespaces; nothing of one that has none.
    pub(crate) fn namespace(&mut self, state: StateId) -> Option<&mut Vec<u8>> {
        self.namespaces.current(state)
    }

    /// Adds the slots of a fixed-width state; returns their number.
    pub(crate) fn add_column(&mut self, state: StateId, width: usize) -> usize {
        let is_stable = self.backend.capabilities().stable_slots;
        self.columns.push(SlotColumn::new(state, width, is_stable));
        self.columns.len() - 1
    }

    /// Makes record `index` of the batch the current one.
    #[inline]
    pub(crate) fn select(&mut self, index: usize) {
        self.at = index;
    }

    /// Ends the batch: gives back slots and forgets the keys.
    pub(crate) fn end_batch(&mut self) -> Result<()> {
        let Self {
            columns,
            backend,
            keys,
            ttl,
            ..
        } = self;
        for column in columns.iter_mut().filter(|column| column.is_set()) {
            column.end_batch(backend, keys)?;
        }
        ttl.end_batch(backend, keys.len(), |state| {
            let columns = columns.iter_mut().filter(|column| column.state() == state);
            columns.for_each(SlotColumn::forget);
        })?;
        keys.clear();
        self.at = 0;
        Ok(())
    }

    /// The slots of state number `column`, of every record from the current one on.
    #[inline]
    fn column(&mut self, column: usize) -> Result<Option<&mut SlotColumn>> {
        let Self {
            columns,
            backend,
            keys,
            at,
            ..
        } = self;
        let Some(column) = columns.get_mut(column) else {
            return Ok(None);
        };
        if !column.is_set() {
            column.fetch(backend, keys, *at)?;
        }
        Ok(Some(column))
    }

    #[inline]
    pub(crate) fn slot_get<T: Data>(&mut self, column: usize) -> Result<Option<T>> {
        let at = self.at;
        self.column(column)?.map_or(Ok(None), |column| column.get(at))
    }

    #[inline]
    pub(crate) fn slot_put<T: Data>(&mut self, column: usize, value: &T) -> Result<()> {
        let at = self.at;
        self.column(column)?
            .map_or(Ok(()), |column| column.put(at, value))
    }

    #[inline]
    pub(crate) fn slot_modify<T: Data>(
        &mut self,
        column: usize,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Result<T> {
        let at = self.at;
        let is_set = self.columns.get(column).is_some_and(|column| column.has(at));
        if !is_set {
            self.column(column)?;
        }
        let modified = self
            .columns
            .get_mut(column)
            .and_then(|column| column.modify(at, change));
        modified.unwrap_or_else(no_slot)
    }

    /// Folds `records`, which are those of the batch from the current one on, each into the value at its key, and appends the results to `results`.
    pub(crate) fn slot_fold<T, U, F: RunningFold<T, U>>(
        &mut self,
        column: usize,
        records: impl ExactSizeIterator<Item = T>,
        fold: &F,
        results: &mut Vec<U>,
    ) -> Result<()> {
        let (at, expected) = (self.at, records.len());
        let folded = match self.column(column)? {
            Some(column) => column.fold(at, records, fold, results)?,
            None => 0,
        };
        if folded == expected { Ok(()) } else { no_slot() }
    }

    #[inline]
    pub(crate) fn slot_get_timed<T: Data>(&mut self, column: usize, expiry: Expiry) -> Result<Option<T>> {
        let (at, now) = (self.at, self.ttl.now());
        self.column(column)?
            .map_or(Ok(None), |column| column.get_timed(at, expiry, now))
    }

    #[inline]
    pub(crate) fn slot_put_timed<T: Data>(&mut self, column: usize, value: &T) -> Result<()> {
        let (at, now) = (self.at, self.ttl.now());
        self.column(column)?
            .map_or(Ok(()), |column| column.put_timed(at, now, value))
    }

    #[inline]
    pub(crate) fn slot_modify_timed<T: Data>(
        &mut self,
        column: usize,
        expiry: Expiry,
        change: impl FnOnce(Option<T>) -> T,
    ) -> Result<T> {
        let (at, now) = (self.at, self.ttl.now());
        let modified = self
            .column(column)?
            .and_then(|column| column.modify_timed(at, expiry, now, change));
        modified.unwrap_or_else(no_slot)
    }

    pub(crate) fn slot_clear(&mut self, column: usize) -> Result<()> {
        let at = self.at;
        if let Some(column) = self.column(column)? {
            column.clear(at);
        }
        Ok(())
    }

    /// The encoded key of the current record.
    pub(crate) fn key_bytes(&self) -> &[u8] {
        self.keys.key(self.at)
    }

    /// The bytes at the current key in `state`, and for maps at `map_key`.
    pub(crate) fn get(&mut self, state: StateId, map_key: &[u8]) -> Result<Option<&[u8]>> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            ..
        } = self;
        backend.get(
            state,
            &namespaces.cell(state, keys.cell(*at).with_map_key(map_key)),
        )
    }

    pub(crate) fn put<T: Data>(&mut self, state: StateId, map_key: &[u8], value: &T) -> Result<()> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            scratch,
            ..
        } = self;
        scratch.clear();
        codec::encode_into(value, scratch)?;
        backend.put(
            state,
            &namespaces.cell(state, keys.cell(*at).with_map_key(map_key)),
            scratch,
        )
    }

    /// The same in a state with a TTL: without the time, and only what is to be seen. What has expired is removed.
    pub(crate) fn get_timed(
        &mut self,
        state: StateId,
        map_key: &[u8],
        expiry: Expiry,
    ) -> Result<Option<&[u8]>> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            scratch,
            ttl,
            ..
        } = self;
        let now = ttl.now();
        let cell = namespaces.cell(state, keys.cell(*at).with_map_key(map_key));
        let Some(stored) = backend.get(state, &cell)? else {
            return Ok(None);
        };
        let (time, _) = Expiry::split(stored)?;
        // Kept beyond the next call.
        scratch.clear();
        scratch.extend_from_slice(stored);
        if expiry.has_expired(time, now) {
            backend.delete(state, &cell)?;
            if !expiry.shows_expired {
                return Ok(None);
            }
        } else if expiry.refreshes && time != now {
            set_time(scratch, now);
            backend.put(state, &cell, scratch)?;
        }
        Ok(scratch.get(TIME_BYTES..))
    }

    /// Sets a value of a state with a TTL.
    pub(crate) fn put_timed<T: Data>(&mut self, state: StateId, map_key: &[u8], value: &T) -> Result<()> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.ttl.now().to_le_bytes());
        codec::encode_into(value, &mut self.scratch)?;
        self.put_scratch(state, map_key)
    }

    /// Lets the entry at `map_key`, whose stored bytes are `stored`, live on from now.
    pub(crate) fn refresh(&mut self, state: StateId, map_key: &[u8], stored: &[u8]) -> Result<()> {
        self.scratch.clear();
        self.scratch.extend_from_slice(stored);
        set_time(&mut self.scratch, self.ttl.now());
        self.put_scratch(state, map_key)
    }

    fn put_scratch(&mut self, state: StateId, map_key: &[u8]) -> Result<()> {
        let cell = self.keys.cell(self.at).with_map_key(map_key);
        let cell = self.namespaces.cell(state, cell);
        self.backend.put(state, &cell, &self.scratch)
    }

    pub(crate) fn put_bytes(&mut self, state: StateId, bytes: &[u8]) -> Result<()> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            ..
        } = self;
        backend.put(state, &namespaces.cell(state, keys.cell(*at)), bytes)
    }

    pub(crate) fn append_bytes(&mut self, state: StateId, bytes: &[u8]) -> Result<()> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            ..
        } = self;
        backend.append(state, &namespaces.cell(state, keys.cell(*at)), bytes)
    }

    pub(crate) fn delete(&mut self, state: StateId, map_key: &[u8]) -> Result<bool> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            ..
        } = self;
        backend.delete(
            state,
            &namespaces.cell(state, keys.cell(*at).with_map_key(map_key)),
        )
    }

    pub(crate) fn clear_map(&mut self, state: StateId) -> Result<u64> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            ..
        } = self;
        backend.clear_map(state, &namespaces.cell(state, keys.cell(*at)))
    }

    /// Entries of the map at the current key, at most `limit` (0: all), in [`entries`](Self::entries).
    pub(crate) fn scan(&mut self, state: StateId, limit: usize) -> Result<&EntryBuffer> {
        let Self {
            backend,
            keys,
            namespaces,
            at,
            entries,
            ..
        } = self;
        entries.clear();
        backend.scan(
            state,
            &namespaces.cell(state, keys.cell(*at)),
            &[],
            limit,
            entries,
        )?;
        Ok(entries)
    }

    /// Registers a timer for the current key.
    pub(crate) fn register_timer(&mut self, domain: TimerDomain, time: TimestampMs) -> Result<()> {
        let Self {
            backend,
            keys,
            at,
            timers,
            ..
        } = self;
        let Cell { group, .. } = keys.cell(*at);
        timers.register(backend, domain, time, group, keys.key(*at))
    }

    /// Removes a timer of the current key, if there is one.
    pub(crate) fn delete_timer(&mut self, domain: TimerDomain, time: TimestampMs) -> Result<()> {
        let Self {
            backend,
            keys,
            at,
            timers,
            ..
        } = self;
        let Cell { group, .. } = keys.cell(*at);
        timers.delete(backend, domain, time, group, keys.key(*at))
    }

    pub(crate) fn snapshot(
        &mut self,
        id: u64,
        may_share: bool,
        form: SnapshotForm,
    ) -> Result<crate::backend::adapter::SnapshotTask> {
        self.columns.iter_mut().for_each(SlotColumn::forget);
        self.ttl.tell_time(&mut self.backend)?;
        self.backend.snapshot(&SnapshotRequest {
            checkpoint_id: id,
            may_share,
            form,
        })
    }

    pub(crate) fn notify(&mut self, id: u64, event: CheckpointEvent) -> Result<()> {
        self.backend.notify(id, event)
    }
}

/// The current namespaces of the states that have any, encoded.
#[derive(Debug, Default)]
struct Namespaces(Vec<(StateId, Vec<u8>)>);

impl Namespaces {
    fn current(&mut self, state: StateId) -> Option<&mut Vec<u8>> {
        let mut known = self.0.iter_mut();
        known
            .find(|(known, _)| *known == state)
            .map(|(_, namespace)| namespace)
    }

    /// The cell in the current namespace of `state`.
    #[inline]
    fn cell<'a>(&'a self, state: StateId, cell: Cell<'a>) -> Cell<'a> {
        match self.0.iter().find(|(known, _)| *known == state) {
            Some((_, namespace)) => cell.with_namespace(namespace),
            None => cell,
        }
    }
}

/// Replaces the time that stored bytes begin with.
fn set_time(stored: &mut [u8], time: u64) {
    if let Some(place) = stored.first_chunk_mut::<TIME_BYTES>() {
        *place = time.to_le_bytes();
    }
}

#[cold]
fn no_slot<T>() -> Result<T> {
    Err(crate::Error::new(
        crate::ErrorKind::Bug,
        "a record of a batch has no slot",
    ))
}
