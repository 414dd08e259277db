//! The boundary itself: the objects and the root module that cross it, in ABI-stable types.
//!
//! Engines call these; backends get them from [`export`](crate::export). They grow only at their end (`#[sabi(last_prefix_field)]`), which
//! an older engine does not mind in a newer library. The reverse does not hold: abi_stable refuses a library that lacks a method
//! which the engine knows (tried), so every growth is a new version of the boundary, as `ABI.md` says.
#![expect(
    unsafe_code,
    non_local_definitions,
    non_camel_case_types,
    reason = "abi_stable's macros expand to these"
)]

use crate::backend::{Capabilities, CheckpointEvent};
use crate::error::BackendError;
use crate::key_group::KeyGroup;
use crate::slot::Slot;
use crate::snapshot::{OpenKeyed, SnapshotHandle, SnapshotRequest};
use crate::state::{Cell, EntryBuffer, KeyBatch, StateDescriptor, StateId};
use crate::streams::SnapshotStreams;
use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RSliceMut, RString, RVec, Tuple2};

/// The ABI's `Result`.
pub type AbiResult<T> = RResult<T, BackendError>;

/// A factory across the boundary. See [`StateBackendFactory`](crate::StateBackendFactory).
#[sabi_trait]
pub trait FactoryApi: Send + Sync + 'static {
    /// The fully qualified name.
    fn name(&self) -> RString;
    /// The short names.
    fn short_names(&self) -> RVec<RString>;
    /// The backend's version.
    fn version(&self) -> RString;
    /// Makes a backend.
    #[sabi(last_prefix_field)]
    fn create(&self, config: RVec<Tuple2<RString, RString>>) -> RResult<BackendObject, BackendError>;
}

/// A backend across the boundary. See [`StateBackend`](crate::StateBackend).
#[sabi_trait]
pub trait BackendApi: Send + Sync + 'static {
    /// What the backend can do.
    fn capabilities(&self) -> Capabilities;
    /// Opens the keyed state of a subtask.
    #[sabi(last_prefix_field)]
    fn open_keyed(&self, open: OpenKeyed) -> RResult<KeyedObject, BackendError>;
}

/// A keyed state across the boundary. See [`KeyedState`](crate::KeyedState).
#[sabi_trait]
pub trait KeyedApi: Send + 'static {
    /// Registers a state.
    fn register(&mut self, descriptor: &StateDescriptor) -> RResult<StateId, BackendError>;
    /// Every state that is there.
    fn states(&mut self) -> RResult<RVec<StateDescriptor>, BackendError>;
    /// Tells which keys come next.
    fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>);
    /// The places of fixed-width values.
    fn slots(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: RSliceMut<'_, Slot>,
    ) -> RResult<u64, BackendError>;
    /// Takes the places back.
    fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: RSlice<'_, Slot>,
        any_absent: bool,
    ) -> RResult<(), BackendError>;
    /// The value of a cell.
    fn get<'a>(
        &'a mut self,
        state: StateId,
        cell: &Cell<'_>,
    ) -> RResult<ROption<RSlice<'a, u8>>, BackendError>;
    /// Sets a cell.
    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: RSlice<'_, u8>) -> RResult<(), BackendError>;
    /// Removes a cell.
    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> RResult<bool, BackendError>;
    /// Appends to a list.
    fn append(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        element: RSlice<'_, u8>,
    ) -> RResult<(), BackendError>;
    /// Entries of a map.
    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: RSlice<'_, u8>,
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> RResult<(), BackendError>;
    /// Empties a map.
    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> RResult<u64, BackendError>;
    /// Every entry of a key group.
    fn visit(
        &mut self,
        state: StateId,
        group: KeyGroup,
        entries: &mut EntryBuffer,
    ) -> RResult<(), BackendError>;
    /// How many cells a state has.
    fn count(&mut self, state: StateId) -> RResult<u64, BackendError>;
    /// The synchronous part of a snapshot.
    fn snapshot(&mut self, request: &SnapshotRequest) -> RResult<WriterObject, BackendError>;
    /// What became of a checkpoint.
    fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) -> RResult<(), BackendError>;
    /// Figures for the metrics system.
    fn metrics(&mut self) -> RResult<RVec<Tuple2<RString, f64>>, BackendError>;
    /// Whether slots that were kept are still good.
    fn slot_generation(&mut self, state: StateId) -> RResult<u64, BackendError>;
    /// What time it is for a state with a TTL, and how many cells may be looked at.
    #[sabi(last_prefix_field)]
    fn clean_up(&mut self, state: StateId, now_ms: u64, cells: u64) -> RResult<u64, BackendError>;
}

/// A snapshot writer across the boundary. See [`SnapshotWriter`](crate::SnapshotWriter).
#[sabi_trait]
pub trait WriterApi: Send + 'static {
    /// Writes the snapshot.
    #[sabi(last_prefix_field)]
    fn write(&mut self, streams: &SnapshotStreams) -> RResult<RVec<SnapshotHandle>, BackendError>;
}

/// A factory as the engine holds it.
pub type FactoryObject = FactoryApi_TO<RBox<()>>;
/// A backend as the engine holds it.
pub type BackendObject = BackendApi_TO<RBox<()>>;
/// A keyed state as the engine holds it.
pub type KeyedObject = KeyedApi_TO<RBox<()>>;
/// A snapshot writer as the engine holds it.
pub type WriterObject = WriterApi_TO<RBox<()>>;

/// What a backend library exports: made by [`export_backends!`](crate::export_backends), found by the engine's loader.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BackendModule_Ref)))]
pub struct BackendModule {
    /// The library's factories, made anew at each call.
    #[sabi(last_prefix_field)]
    pub factories: extern "C" fn() -> RVec<FactoryObject>,
}

impl std::fmt::Debug for BackendModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackendModule")
    }
}

impl RootModule for BackendModule_Ref {
    abi_stable::declare_root_module_statics! {BackendModule_Ref}
    const BASE_NAME: &'static str = "millpond_backend";
    const NAME: &'static str = "millpond_backend";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
