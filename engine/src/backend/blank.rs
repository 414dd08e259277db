//! A backend that keeps nothing: for finding out which states a function registers, without any file or state.

use super::adapter::{BackendFactory, FactoryOrigin, KeyedBackend, OpenSubtask, SnapshotSource, StoredFile};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::export::factory_object;
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, Cell, CheckpointEvent, EntryBuffer, KeyBatch, KeyGroup,
    KeyGroupRange, KeyedState, OpenKeyed, Slot, SnapshotHandle, SnapshotRequest, SnapshotStreams,
    SnapshotWriter, StateBackend, StateBackendFactory, StateDescriptor, StateId, unsupported,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// The keyed state of an operator in which states can be registered, and nothing else.
///
/// # Errors
/// [`ErrorKind::Bug`]: none is expected.
pub(crate) fn blank(operator: &str) -> Result<KeyedBackend> {
    let factory = BackendFactory::new(factory_object(Blank), FactoryOrigin::Registered);
    let key_groups = KeyGroupRange::new(0, 0)
        .ok_or_else(|| Error::new(ErrorKind::Bug, "a range of one key group is empty"))?;
    factory.create(&BTreeMap::new())?.open_keyed(OpenSubtask {
        job: String::new(),
        operator: operator.to_owned(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: 1,
        key_groups,
        local_dir: PathBuf::new(),
        restore: Vec::new(),
        source: Arc::new(Nothing),
    })
}

struct Blank;

struct BlankState(Vec<StateDescriptor>);

struct Nothing;

impl SnapshotSource for Nothing {
    fn open(&self, _: &StoredFile) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(std::io::empty()))
    }

    fn local_path(&self, _: &StoredFile) -> Result<Option<PathBuf>> {
        Ok(None)
    }
}

impl StateBackendFactory for Blank {
    type Backend = Self;

    fn name(&self) -> String {
        "millpond::Blank".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn create(&self, _: &BackendConfig) -> BackendResult<Self> {
        Ok(Self)
    }
}

impl StateBackend for Blank {
    type Keyed = BlankState;

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn open_keyed(&self, _: OpenKeyed) -> BackendResult<BlankState> {
        Ok(BlankState(Vec::new()))
    }
}

impl SnapshotWriter for Nothing {
    fn write(&mut self, _: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        Ok(Vec::new())
    }
}

impl KeyedState for BlankState {
    type Writer = Nothing;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        let known = self.0.iter().position(|known| known.name == descriptor.name);
        let index = known.unwrap_or_else(|| {
            self.0.push(descriptor.clone());
            self.0.len() - 1
        });
        Ok(StateId(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.0.clone()
    }

    fn prefetch(&mut self, _: StateId, _: &KeyBatch<'_>) {}

    fn slots(&mut self, _: StateId, _: &KeyBatch<'_>, _: &mut [Slot]) -> BackendResult<u64> {
        Err(unsupported("slots"))
    }

    fn end_batch(&mut self, _: StateId, _: &KeyBatch<'_>, _: &[Slot], _: bool) -> BackendResult<()> {
        Err(unsupported("slots"))
    }

    fn get(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        Ok(None)
    }

    fn put(&mut self, _: StateId, _: &Cell<'_>, _: &[u8]) -> BackendResult<()> {
        Err(unsupported("values"))
    }

    fn delete(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<bool> {
        Ok(false)
    }

    fn append(&mut self, _: StateId, _: &Cell<'_>, _: &[u8]) -> BackendResult<()> {
        Err(unsupported("values"))
    }

    fn scan(
        &mut self,
        _: StateId,
        _: &Cell<'_>,
        _: &[u8],
        _: usize,
        _: &mut EntryBuffer,
    ) -> BackendResult<()> {
        Ok(())
    }

    fn clear_map(&mut self, _: StateId, _: &Cell<'_>) -> BackendResult<u64> {
        Ok(0)
    }

    fn visit(&mut self, _: StateId, _: KeyGroup, _: &mut EntryBuffer) -> BackendResult<()> {
        Ok(())
    }

    fn len(&mut self, _: StateId) -> BackendResult<u64> {
        Ok(0)
    }

    fn snapshot(&mut self, _: &SnapshotRequest) -> BackendResult<Nothing> {
        Ok(Nothing)
    }

    fn notify(&mut self, _: u64, _: CheckpointEvent) -> BackendResult<()> {
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}
