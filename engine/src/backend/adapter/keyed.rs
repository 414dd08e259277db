//! The keyed state of one subtask, as the runtime uses it.

use super::error::{Place, failed};
use super::snapshot::SnapshotTask;
use crate::Result;
use abi_stable::std_types::{ROption, RResult};
use millpond_backend_api::abi::KeyedObject;
use millpond_backend_api::{
    BackendError, Capabilities, Cell, CheckpointEvent, EntryBuffer, KeyBatch, KeyGroup, KeyGroupRange, Slot,
    SnapshotRequest, StateDescriptor, StateId,
};
use std::fmt;

/// The keyed state of one subtask. See [`KeyedState`](millpond_backend_api::KeyedState) for the contract of every call.
///
/// Each call is one dynamic call into the backend, linked or loaded; errors get operator, subtask and backend in front.
pub struct KeyedBackend {
    object: KeyedObject,
    capabilities: Capabilities,
    key_groups: KeyGroupRange,
    place: Place,
}

impl KeyedBackend {
    pub(super) fn new(
        object: KeyedObject,
        capabilities: Capabilities,
        key_groups: KeyGroupRange,
        place: Place,
    ) -> Self {
        Self {
            object,
            capabilities,
            key_groups,
            place,
        }
    }

    /// What the backend can do.
    #[inline]
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The key groups that it was opened with.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroupRange {
        self.key_groups
    }

    /// The place in front of its errors.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Registers a state; the same name again gives the same id.
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) when what is stored under the name is of another kind or width.
    pub fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        done(self.object.register(descriptor), &self.place)
    }

    /// Every state that is there, restored or registered.
    ///
    /// # Errors
    /// When the backend panicked.
    pub fn states(&mut self) -> Result<Vec<StateDescriptor>> {
        done(self.object.states(), &self.place).map(Vec::from)
    }

    /// Tells which keys come next.
    #[inline]
    pub fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>) {
        self.object.prefetch(state, keys);
    }

    /// What must be as it was if slots are to be used that were kept from earlier batches.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn slot_generation(&mut self, state: StateId) -> Result<u64> {
        done(self.object.slot_generation(state), &self.place)
    }

    /// Tells what time it is for a state with a TTL, and lets the backend look at up to `cells` of its cells, see [`KeyedState::clean_up`](millpond_backend_api::KeyedState::clean_up).
    ///
    /// # Errors
    /// The backend's.
    pub fn clean_up(&mut self, state: StateId, now_ms: u64, cells: u64) -> Result<u64> {
        done(self.object.clean_up(state, now_ms, cells), &self.place)
    }

    /// The places of the values of `keys`, to be given back by [`end_batch`](Self::end_batch); returns how many of the keys have no
    /// value yet.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> Result<u64> {
        done(self.object.slots(state, keys, slots.into()), &self.place)
    }

    /// Gives the places back; `any_absent` is false only if every slot has a value now.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: &[Slot],
        any_absent: bool,
    ) -> Result<()> {
        done(
            self.object.end_batch(state, keys, slots.into(), any_absent),
            &self.place,
        )
    }

    /// The value of a cell, good until the next call.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn get(&mut self, state: StateId, cell: &Cell<'_>) -> Result<Option<&[u8]>> {
        match self.object.get(state, cell) {
            RResult::ROk(ROption::RSome(value)) => Ok(Some(value.as_slice())),
            RResult::ROk(ROption::RNone) => Ok(None),
            RResult::RErr(error) => Err(failed(&self.place, &error)),
        }
    }

    /// Sets a cell.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> Result<()> {
        done(self.object.put(state, cell, value.into()), &self.place)
    }

    /// Removes a cell; returns whether there was one.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> Result<bool> {
        done(self.object.delete(state, cell), &self.place)
    }

    /// Appends an element to a list.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> Result<()> {
        done(self.object.append(state, cell, element.into()), &self.place)
    }

    /// Appends the entries of a map to `entries`, at most `limit` (0: all); of a sorted map those in `cell.map_key .. to`.
    ///
    /// # Errors
    /// The backend's.
    #[inline]
    pub fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> Result<()> {
        done(
            self.object.scan(state, cell, to.into(), limit, entries),
            &self.place,
        )
    }

    /// Empties a map; returns how many entries it had.
    ///
    /// # Errors
    /// The backend's.
    pub fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> Result<u64> {
        done(self.object.clear_map(state, cell), &self.place)
    }

    /// Appends every entry of a key group to `entries`.
    ///
    /// # Errors
    /// The backend's.
    pub fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> Result<()> {
        done(self.object.visit(state, group, entries), &self.place)
    }

    /// How many cells a state has.
    ///
    /// # Errors
    /// The backend's.
    pub fn count(&mut self, state: StateId) -> Result<u64> {
        done(self.object.count(state), &self.place)
    }

    /// The synchronous part of a snapshot. What it returns may be written on any thread.
    ///
    /// # Errors
    /// The backend's.
    pub fn snapshot(&mut self, request: &SnapshotRequest) -> Result<SnapshotTask> {
        let writer = done(self.object.snapshot(request), &self.place)?;
        Ok(SnapshotTask::new(writer, self.place.clone()))
    }

    /// Tells what became of a checkpoint.
    ///
    /// # Errors
    /// The backend's.
    pub fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) -> Result<()> {
        done(self.object.notify(checkpoint_id, event), &self.place)
    }

    /// Figures for the metrics system, by name.
    ///
    /// # Errors
    /// When the backend panicked.
    pub fn metrics(&mut self) -> Result<Vec<(String, f64)>> {
        let figures = done(self.object.metrics(), &self.place)?;
        Ok(figures
            .into_iter()
            .map(|figure| (figure.0.into_string(), figure.1))
            .collect())
    }
}

/// The result of a call, its error with the place in front.
#[inline]
fn done<T>(result: RResult<T, BackendError>, place: &Place) -> Result<T> {
    match result {
        RResult::ROk(value) => Ok(value),
        RResult::RErr(error) => Err(failed(place, &error)),
    }
}

impl fmt::Debug for KeyedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBackend")
            .field("place", &self.place)
            .field("key_groups", &self.key_groups)
            .finish_non_exhaustive()
    }
}
