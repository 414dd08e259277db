//! The keyed state over paged tables: the checks that the boundary's contract asks for, with snapshots of any kind.

use crate::kinds::KindState;
use crate::tables::{BATCH_BYTES_MAX, NamedState, Tables, in_batch, misuse, not_owned};
use millpond_backend_api::{
    BackendResult, Cell, CheckpointEvent, EntryBuffer, KeyBatch, KeyGroup, KeyGroupRange, KeyedState, Slot,
    SnapshotRequest, SnapshotWriter, StateDescriptor, StateId, StateKind,
};

/// What a backend over paged tables does for snapshots; everything else is alike.
pub trait Snapshots: Send + 'static {
    /// The asynchronous part of a snapshot.
    type Writer: SnapshotWriter;

    /// Whether [`KindState::evict`] is called in [`batch_ended`](Self::batch_ended) or elsewhere. Then entries move, and the slots of a state are good for as long
    /// as its [generation](KeyedState::slot_generation).
    const EVICTS: bool = false;

    /// The synchronous part, as [`KeyedState::snapshot`].
    ///
    /// # Errors
    /// The checkpoint is declined.
    fn snapshot(&mut self, tables: &mut Tables, request: &SnapshotRequest) -> BackendResult<Self::Writer>;

    /// Tells what became of a checkpoint, as [`KeyedState::notify`].
    ///
    /// # Errors
    /// The attempt fails.
    fn notify(
        &mut self,
        tables: &mut Tables,
        checkpoint_id: u64,
        event: CheckpointEvent,
    ) -> BackendResult<()>;

    /// Called while neither slots nor references into the tables are out: when the last open batch of slots has ended, and before every 1024th of
    /// the other calls that may add entries (get, put, append, delete, scan, clear_map), unless there are slots out then. So clean entries
    /// can be [evicted](KindState::evict), and the tables can be [frozen](Tables::freeze). A backend that evicts gives no
    /// [stable slots](millpond_backend_api::Capabilities::stable_slots), since entries move.
    ///
    /// # Errors
    /// The call fails with it.
    fn batch_ended(&mut self, _tables: &mut Tables) -> BackendResult<()> {
        Ok(())
    }

    /// Tells what time it is for a state with a TTL, as [`KeyedState::clean_up`].
    fn time_told(&mut self, _state: &StateDescriptor, _now_ms: u64) {}

    /// Figures beside those of the tables.
    fn metrics(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// The keyed state of one subtask in paged tables, with snapshots as `S` takes them.
#[derive(Debug)]
pub struct PagedKeyedState<S> {
    tables: Tables,
    snapshots: S,
    /// How many calls may still add entries before the next [`Snapshots::batch_ended`].
    calls_left: u32,
}

/// How many calls outside of batches may add entries between two calls of [`Snapshots::batch_ended`].
const CALLS: u32 = 1024;

impl<S: Snapshots> PagedKeyedState<S> {
    /// The state that `tables` has.
    #[must_use]
    pub fn new(tables: Tables, snapshots: S) -> Self {
        Self {
            tables,
            snapshots,
            calls_left: CALLS,
        }
    }

    /// To be called before what may add an entry.
    #[inline]
    fn count_call(&mut self) -> BackendResult<()> {
        self.calls_left -= 1;
        if self.calls_left == 0 {
            self.calls_left = CALLS;
            return self.offer_room();
        }
        Ok(())
    }

    fn offer_room(&mut self) -> BackendResult<()> {
        if self.tables.in_batch() {
            return Ok(());
        }
        self.snapshots.batch_ended(&mut self.tables)
    }
}

/// An error if the columns of `keys` do not fit each other, or a group is not in `range`.
#[inline]
fn check_batch(keys: &KeyBatch<'_>, slots: usize, range: KeyGroupRange) -> BackendResult<()> {
    let len = keys.len();
    let key_bytes = keys.bytes.len();
    let complete = if keys.width > 0 {
        key_bytes == len * keys.width as usize
    } else {
        keys.ends.len() == len && keys.ends.last().map_or(0, |end| *end as usize) == key_bytes
    };
    if keys.groups.len() != len || slots != len || !complete || key_bytes > BATCH_BYTES_MAX {
        return Err(misuse(format!(
            "a batch of {len} hashes has {} groups, {slots} slots, {} ends and {key_bytes} key bytes of width {} \
             (columns have one length, and keys at most {BATCH_BYTES_MAX} bytes)",
            keys.groups.len(),
            keys.ends.len(),
            keys.width
        )));
    }
    let foreign = |group: &&KeyGroup| !range.contains(**group);
    // Without an early end this is done for many groups at once.
    if keys.groups.iter().fold(false, |any, group| any | foreign(&group)) {
        let group = keys.groups.iter().find(foreign).copied().unwrap_or_default();
        return Err(not_owned(group, range));
    }
    Ok(())
}

impl<S: Snapshots> KeyedState for PagedKeyedState<S> {
    type Writer = S::Writer;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        self.tables.register(descriptor)
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.tables
            .iter()
            .map(|(descriptor, _)| descriptor.clone())
            .collect()
    }

    fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>) {
        // States with slots fetch in `slots`.
        let range = self.tables.range();
        if let Ok(NamedState {
            descriptor,
            kind: KindState::Value(value),
            ..
        }) = self.tables.state(state)
            && descriptor.value_width == 0
            && check_batch(keys, keys.len(), range).is_ok()
        {
            value.prefetch(keys);
        }
    }

    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        let range = self.tables.range();
        let named = self.tables.state(state)?;
        if named.kind.in_batch() {
            return Err(in_batch(&named.descriptor));
        }
        check_batch(keys, slots.len(), range)?;
        match &mut named.kind {
            KindState::Value(value) if named.descriptor.value_width > 0 => value.slots(keys, slots),
            _ => Err(named.wrong_kind("slots")),
        }
    }

    fn slot_generation(&mut self, state: StateId) -> BackendResult<u64> {
        if !S::EVICTS {
            return Ok(Slot::STAY);
        }
        match &self.tables.state(state)?.kind {
            // One more, so that it is never the number of those that stay.
            KindState::Value(value) => Ok(value.moves() + 1),
            _ => Ok(Slot::STAY),
        }
    }

    fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: &[Slot],
        any_absent: bool,
    ) -> BackendResult<()> {
        let range = self.tables.range();
        let named = self.tables.state(state)?;
        if !named.kind.in_batch() {
            return Err(misuse(format!(
                "state {:?} has no batch to end",
                named.descriptor.name
            )));
        }
        check_batch(keys, slots.len(), range)?;
        if let KindState::Value(value) = &mut named.kind {
            value.end_batch(keys, any_absent);
        }
        self.offer_room()
    }

    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        self.count_call()?;
        let (named, group) = self.tables.at(state, cell.group)?;
        match &mut named.kind {
            KindState::Value(value) => value.get(group, cell),
            KindState::Map(map) => map.get(group, cell),
            KindState::Sorted(sorted) => sorted.get(group, cell),
        }
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        self.count_call()?;
        let (named, group) = self.tables.at(state, cell.group)?;
        let width = named.descriptor.value_width as usize;
        if width > 0 && value.len() != width {
            return Err(misuse(format!(
                "state {:?} has values of {width} bytes, not of {}",
                named.descriptor.name,
                value.len()
            )));
        }
        match &mut named.kind {
            KindState::Value(values) => values.put(group, cell, value),
            KindState::Map(map) => map.put(group, cell, value),
            KindState::Sorted(sorted) => sorted.put(group, cell, value),
        }
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        self.count_call()?;
        let (named, group) = self.tables.at(state, cell.group)?;
        match &mut named.kind {
            KindState::Value(value) => value.delete(group, cell),
            KindState::Map(map) => map.delete(group, cell),
            KindState::Sorted(sorted) => sorted.delete(group, cell),
        }
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        self.count_call()?;
        let (named, group) = self.tables.at(state, cell.group)?;
        match &mut named.kind {
            KindState::Value(list) if named.descriptor.kind == StateKind::List => {
                list.append(group, cell, element)
            }
            _ => Err(named.wrong_kind("append")),
        }
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        self.count_call()?;
        let (named, group) = self.tables.at(state, cell.group)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        match &mut named.kind {
            KindState::Map(map) => map.scan(group, cell, limit, |entry| entries.push(entry)),
            KindState::Sorted(sorted) => sorted.scan(group, cell, to, limit, |entry| entries.push(entry)),
            KindState::Value(_) => Err(named.wrong_kind("scan")),
        }
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64> {
        self.count_call()?;
        let (named, group) = self.tables.at(state, cell.group)?;
        match &mut named.kind {
            KindState::Map(map) => map.clear(group, cell),
            KindState::Sorted(sorted) => sorted.clear(group, cell),
            KindState::Value(_) => Err(named.wrong_kind("clear_map")),
        }
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        let (named, _) = self.tables.at(state, group)?;
        named.kind.visit(group, |entry| entries.push(entry))
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        let named = self.tables.state(state)?;
        if named.kind.in_batch() {
            return Err(in_batch(&named.descriptor));
        }
        if !named.descriptor.ttl.is_none() || named.kind.is_estimated() {
            named.kind.recount()?;
        }
        Ok(named.kind.cells())
    }

    fn clean_up(&mut self, state: StateId, now_ms: u64, cells: u64) -> BackendResult<u64> {
        let named = self.tables.state(state)?;
        if named.kind.in_batch() {
            return Err(in_batch(&named.descriptor));
        }
        if named.descriptor.ttl.is_none() {
            return Ok(0);
        }
        named.now_ms = now_ms;
        self.snapshots.time_told(&named.descriptor, now_ms);
        // Where clean entries are dropped and most lies below, what lies below has to be cleaned up there.
        if S::EVICTS || cells == 0 {
            return Ok(0);
        }
        named.kind.expire(&named.descriptor, now_ms, cells)
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> BackendResult<S::Writer> {
        self.snapshots.snapshot(&mut self.tables, request)
    }

    fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) -> BackendResult<()> {
        self.snapshots.notify(&mut self.tables, checkpoint_id, event)
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        let kinds = || self.tables.iter().map(|(_, kind)| kind);
        let tables = || kinds().flat_map(|kind| kind.tables());
        let copied: u64 = tables().map(|table| table.figures().pages_copied).sum();
        let kept: u64 = tables().map(|table| table.figures().entries_kept).sum();
        let shared: usize = kinds().map(KindState::shared_pages).sum();
        let bytes: usize = kinds().map(KindState::bytes).sum();
        let cells: u64 = kinds().map(KindState::cells).sum();
        let figure = |name: &str, number: u64| (name.to_owned(), as_f64(number));
        let mut figures = vec![
            figure("table_bytes", bytes as u64),
            figure("entries", cells),
            figure("pages_shared", shared as u64),
            figure("pages_copied", copied),
            figure("entries_kept", kept),
        ];
        figures.extend(self.snapshots.metrics());
        figures
    }
}

fn as_f64(number: u64) -> f64 {
    number as f64
}
