//! The memory state backend: the [tables](crate::Tables), and snapshots that have everything.

use crate::paged::{PagedKeyedState, Snapshots};
use crate::snapshot::{TableWriter, restore_canonical};
use crate::tables::Tables;
use millpond_backend_api::canonical::{self, FORMAT, is_canonical};
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, CheckpointEvent, OpenKeyed, SnapshotHandle, SnapshotRequest,
    StateBackend, StateBackendFactory,
};

/// Makes [`MemoryStateBackend`]s. Has no options: where snapshots go is the engine's choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStateBackendFactory;

impl StateBackendFactory for MemoryStateBackendFactory {
    type Backend = MemoryStateBackend;

    fn name(&self) -> String {
        "millpond::MemoryStateBackendFactory".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        ["jobmanager", "hashmap", "memory"].map(str::to_owned).into()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn create(&self, _config: &BackendConfig) -> BackendResult<MemoryStateBackend> {
        Ok(MemoryStateBackend)
    }
}

/// Keeps all state in memory, in the paged table.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStateBackend;

impl StateBackend for MemoryStateBackend {
    type Keyed = MemoryKeyedState;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            // Entries never move, and pages only when they are written for the first time after a snapshot.
            stable_slots: true,
            incremental: false,
            ordered_iteration: false,
            larger_than_memory: false,
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<MemoryKeyedState> {
        let mut tables = Tables::new(open.key_groups);
        for handle in &open.restore {
            check_format(handle)?;
            restore_canonical(&mut tables, handle, &open.files)?;
        }
        Ok(PagedKeyedState::new(tables, FullSnapshots))
    }
}

/// The keyed state of one subtask in memory.
pub type MemoryKeyedState = PagedKeyedState<FullSnapshots>;

/// Snapshots that have everything, so that what became of earlier ones does not matter. The canonical form is the native one.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullSnapshots;

impl Snapshots for FullSnapshots {
    type Writer = TableWriter;

    fn snapshot(&mut self, tables: &mut Tables, _request: &SnapshotRequest) -> BackendResult<TableWriter> {
        let states = tables.freeze()?;
        Ok(TableWriter::new(tables.range(), states))
    }

    fn notify(
        &mut self,
        _tables: &mut Tables,
        _checkpoint_id: u64,
        _event: CheckpointEvent,
    ) -> BackendResult<()> {
        Ok(())
    }
}

fn check_format(handle: &SnapshotHandle) -> BackendResult<()> {
    if is_canonical(handle) {
        return Ok(());
    }
    Err(canonical::unknown_format(handle, "memory", FORMAT))
}
