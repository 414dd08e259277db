//! The memory state backend: the [tables](crate::Tables), and snapshots that have everything.

use crate::kinds::KindState;
use crate::paged::{PagedKeyedState, Snapshots};
use crate::snapshot::{RestoredSection, TableWriter, read_sections};
use crate::tables::Tables;
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, Cell, CheckpointEvent, OpenKeyed, SnapshotHandle,
    SnapshotRequest, StateBackend, StateBackendFactory, key_hash,
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
            restore(&mut tables, handle, &open)?;
        }
        Ok(PagedKeyedState::new(tables, FullSnapshots))
    }
}

/// The keyed state of one subtask in memory.
pub type MemoryKeyedState = PagedKeyedState<FullSnapshots>;

/// Snapshots that have everything, so that what became of earlier ones does not matter.
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

fn restore(tables: &mut Tables, handle: &SnapshotHandle, open: &OpenKeyed) -> BackendResult<()> {
    let range = tables.range();
    let states = read_sections(handle, range, &open.files, |section| {
        restore_section(tables, &section)
    })?;
    for descriptor in &states {
        tables.kind_of(descriptor)?;
    }
    Ok(())
}

fn restore_section(tables: &mut Tables, section: &RestoredSection<'_>) -> BackendResult<()> {
    let group = section.section.group;
    let index = group.index() - tables.range().first.index();
    let kind = tables.kind_of(section.descriptor)?;
    if let KindState::Value(value) = kind {
        // The count was verified against the section's entries.
        value.reserve(index, usize::try_from(section.section.entries).unwrap_or(0));
    }
    for entry in section.entries() {
        let cell = Cell::of_key(key_hash(entry.key), group, entry.key)
            .with_namespace(entry.namespace)
            .with_map_key(entry.map_key);
        match kind {
            KindState::Value(value) => value.put(index, &cell, entry.value)?,
            KindState::Map(map) => map.put(index, &cell, entry.value)?,
            KindState::Sorted(sorted) => sorted.put(index, &cell, entry.value)?,
        }
    }
    Ok(())
}
