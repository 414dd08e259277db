//! The factory and the backend.

use crate::database::Setup;
use crate::folder::Folder;
use crate::memory::Share;
use crate::restore::restore;
use crate::snapshots::{Limits, RocksDbSnapshots};
use millpond_backend_api::{
    BackendConfig, BackendResult, Capabilities, OpenKeyed, StateBackend, StateBackendFactory,
};
use millpond_backend_memory::PagedKeyedState;
use std::path::Path;

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
        let _ = config;
        Ok(RocksDbStateBackend)
    }
}

/// Keeps state in RocksDB, with a write-back cache of paged tables in front of it.
#[derive(Debug)]
pub struct RocksDbStateBackend;

/// The keyed state of one subtask: paged tables over RocksDB.
pub type RocksDbKeyedState = PagedKeyedState<RocksDbSnapshots>;

impl StateBackend for RocksDbStateBackend {
    type Keyed = RocksDbKeyedState;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            stable_slots: false,
            incremental: true,
            ordered_iteration: false,
            larger_than_memory: true,
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<RocksDbKeyedState> {
        let folder = Folder::make(Path::new(open.local_dir.as_str()).to_owned())?;
        let mut database = rocksdb::Options::default();
        database.create_if_missing(true);
        let setup = Setup {
            database,
            column_family: rocksdb::Options::default(),
        };
        let restored = restore(open.key_groups, &open.restore, &open.files, folder, &setup)?;
        let limits = Limits {
            incremental: true,
            threads: 4,
        };
        let (tables, snapshots) = RocksDbSnapshots::new(
            limits,
            Share {
                limit: std::env::var("LIMIT")
                    .ok()
                    .and_then(|v| v.parse().ok())
                    .unwrap_or(1 << 30),
            },
            restored,
        );
        Ok(PagedKeyedState::new(tables, snapshots))
    }
}
