//! The factory and the backend.

use crate::database::Setup;
use crate::expiry::Expiries;
use crate::folder::Folder;
use crate::options::{Memory, Options};
use crate::restore::restore;
use crate::snapshots::RocksDbSnapshots;
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, OpenKeyed, StateBackend, StateBackendFactory,
};
use millpond_backend_memory::PagedKeyedState;
use std::path::Path;
use std::sync::Arc;

/// Makes [`RocksDbStateBackend`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocksDbStateBackendFactory;

impl StateBackendFactory for RocksDbStateBackendFactory {
    type Backend = RocksDbStateBackend;

    fn name(&self) -> String {
        "millpond::RocksDbStateBackendFactory".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        vec!["rocksdb".to_owned()]
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn create(&self, config: &BackendConfig) -> BackendResult<RocksDbStateBackend> {
        let options = Options::read(config)?;
        Ok(RocksDbStateBackend {
            setup: Setup {
                memory: Memory::of(&options.memory),
                options: Arc::new(options),
                expiries: Arc::default(),
            },
        })
    }
}

/// Keeps state in RocksDB, with a write-back cache of paged tables in front of it.
#[derive(Debug)]
pub struct RocksDbStateBackend {
    setup: Setup,
}

/// The keyed state of one subtask: paged tables over RocksDB.
pub type RocksDbKeyedState = PagedKeyedState<RocksDbSnapshots>;

impl StateBackend for RocksDbStateBackend {
    type Keyed = RocksDbKeyedState;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            // As long as nothing is evicted or spilled, which the generation of slots tells.
            stable_slots: true,
            incremental: self.setup.options.incremental,
            ordered_iteration: false,
            larger_than_memory: true,
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<RocksDbKeyedState> {
        // States of other subtasks and operators have the same names.
        let expiries = Arc::<Expiries>::default();
        let setup = Setup {
            expiries: Arc::clone(&expiries),
            ..self.setup.clone()
        };
        let Setup { options, memory, .. } = &setup;
        let folder = Folder::make(options.local_folder(Path::new(open.local_dir.as_str()), open.subtask)?)?;
        let restored = restore(open.key_groups, &open.restore, &open.files, folder, &setup)?;
        let share = memory.open_tables(open.parallelism);
        let (tables, snapshots) = RocksDbSnapshots::new(Arc::clone(options), expiries, share, restored);
        Ok(PagedKeyedState::new(tables, snapshots))
    }
}
