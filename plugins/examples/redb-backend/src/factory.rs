//! The factory that the engine finds by name, and the backend that it makes.

use crate::cache_size;
use crate::keyed::RedbKeyedState;
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, OpenKeyed, StateBackend, StateBackendFactory,
};

/// Makes backends that keep keyed state in redb databases: `state.backend: redb`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedbStateBackendFactory;

/// A backend that keeps the keyed state of each subtask in a redb database of its own.
#[derive(Clone, Copy, Debug)]
pub struct RedbStateBackend {
    cache_bytes: usize,
}

impl StateBackendFactory for RedbStateBackendFactory {
    type Backend = RedbStateBackend;

    fn name(&self) -> String {
        "acme::RedbStateBackendFactory".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        vec!["redb".to_owned()]
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn create(&self, config: &BackendConfig) -> BackendResult<RedbStateBackend> {
        Ok(RedbStateBackend {
            cache_bytes: cache_size::from_config(config)?,
        })
    }
}

impl StateBackend for RedbStateBackend {
    type Keyed = RedbKeyedState;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: false,
            stable_slots: false,
            incremental: false,
            ordered_iteration: true,
            larger_than_memory: true,
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<RedbKeyedState> {
        RedbKeyedState::open(&open, self.cache_bytes)
    }
}
