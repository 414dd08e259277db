//! Keyed state, called directly or across the boundary.

use millpond_backend_api::{
    BackendError, Cell, EntryBuffer, KeyBatch, KeyedState, Slot, StateDescriptor, StateId,
};
use millpond_engine::backend::KeyedBackend;
use millpond_engine::{Error, ErrorKind, Result};

/// The calls that are measured. Compiled for each way of calling, so that a direct call is one.
pub(crate) trait Access {
    fn has_slots(&self) -> bool;
    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId>;
    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> Result<u64>;
    fn end_batch(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &[Slot]) -> Result<()>;
    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> Result<Option<&[u8]>>;
    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> Result<()>;
    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> Result<()>;
    fn scan(&mut self, state: StateId, cell: &Cell<'_>, entries: &mut EntryBuffer) -> Result<()>;
}

/// A backend's type itself, without anything in between.
#[derive(Debug)]
pub(crate) struct Direct<S> {
    pub(crate) state: S,
    pub(crate) has_slots: bool,
}

fn failed(error: BackendError) -> Error {
    Error::new(ErrorKind::State, error.to_string())
}

impl<S: KeyedState> Access for Direct<S> {
    fn has_slots(&self) -> bool {
        self.has_slots
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        self.state.register(descriptor).map_err(failed)
    }

    #[inline]
    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> Result<u64> {
        self.state.slots(state, keys, slots).map_err(failed)
    }

    #[inline]
    fn end_batch(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &[Slot]) -> Result<()> {
        self.state.end_batch(state, keys, slots, false).map_err(failed)
    }

    #[inline]
    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> Result<Option<&[u8]>> {
        self.state.get(state, cell).map_err(failed)
    }

    #[inline]
    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> Result<()> {
        self.state.put(state, cell, value).map_err(failed)
    }

    #[inline]
    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> Result<()> {
        self.state.append(state, cell, element).map_err(failed)
    }

    #[inline]
    fn scan(&mut self, state: StateId, cell: &Cell<'_>, entries: &mut EntryBuffer) -> Result<()> {
        self.state.scan(state, cell, &[], 0, entries).map_err(failed)
    }
}

impl Access for KeyedBackend {
    fn has_slots(&self) -> bool {
        self.capabilities().slots
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        KeyedBackend::register(self, descriptor)
    }

    #[inline]
    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> Result<u64> {
        KeyedBackend::slots(self, state, keys, slots)
    }

    #[inline]
    fn end_batch(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &[Slot]) -> Result<()> {
        KeyedBackend::end_batch(self, state, keys, slots, false)
    }

    #[inline]
    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> Result<Option<&[u8]>> {
        KeyedBackend::get(self, state, cell)
    }

    #[inline]
    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> Result<()> {
        KeyedBackend::put(self, state, cell, value)
    }

    #[inline]
    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> Result<()> {
        KeyedBackend::append(self, state, cell, element)
    }

    #[inline]
    fn scan(&mut self, state: StateId, cell: &Cell<'_>, entries: &mut EntryBuffer) -> Result<()> {
        KeyedBackend::scan(self, state, cell, &[], 0, entries)
    }
}
