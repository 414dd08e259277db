//! The factory and the backend.

use crate::options::Options;
use crate::restore::{Opener, restore};
use crate::snapshots::ChainSnapshots;
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, OpenKeyed, StateBackend, StateBackendFactory,
};
use millpond_backend_memory::PagedKeyedState;

/// Makes [`FsStateBackend`]s. Reads `execution.checkpointing.incremental` (default: true) and
/// `execution.checkpointing.snapshot-compression` (default: false) from the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsStateBackendFactory;

impl StateBackendFactory for FsStateBackendFactory {
    type Backend = FsStateBackend;

    fn name(&self) -> String {
        "millpond::FsStateBackendFactory".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        ["filesystem", "fs"].map(str::to_owned).into()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn create(&self, config: &BackendConfig) -> BackendResult<FsStateBackend> {
        Ok(FsStateBackend {
            options: Options::read(config)?,
        })
    }
}

/// Keeps what is changed in memory, in paged tables, and what was restored in mapped files below them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsStateBackend {
    options: Options,
}

/// The keyed state of one subtask in memory over files.
pub type FsKeyedState = PagedKeyedState<ChainSnapshots>;

impl StateBackend for FsStateBackend {
    type Keyed = FsKeyedState;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            stable_slots: true,
            incremental: self.options.incremental,
            ordered_iteration: false,
            // Restored state is mapped, but what is changed stays in memory.
            larger_than_memory: false,
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<FsKeyedState> {
        let (files, local_dir) = (open.files, open.local_dir.as_str());
        let opener = Opener::new(files, local_dir);
        let restored = restore(open.key_groups, &open.restore, &opener)?;
        let snapshots = ChainSnapshots::new(self.options, opener, &restored);
        Ok(PagedKeyedState::new(restored.tables, snapshots))
    }
}
