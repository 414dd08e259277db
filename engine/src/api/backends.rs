//! State backends as a program chooses them.

use crate::Result;
use crate::checkpoint::storage::CheckpointLocation;
use crate::config::options::{backend, checkpointing, rocksdb};
use crate::config::{Configuration, MemorySize, PredefinedOptions};

/// A state backend as a program chooses it: see [`StreamExecutionEnvironment::set_state_backend`](super::StreamExecutionEnvironment::set_state_backend).
pub trait StateBackendSetting {
    /// Sets what chooses the backend.
    fn configure(&self, config: &mut Configuration);
}

/// A backend by name: `jobmanager`, `hashmap`, `filesystem`, `rocksdb`, or that of a factory in a plugins folder.
impl StateBackendSetting for &str {
    fn configure(&self, config: &mut Configuration) {
        config.set_string(backend::TYPE.key(), *self);
    }
}

/// Working state on the heap, snapshots where the checkpoint storage is (Flink's `HashMapStateBackend`).
#[derive(Clone, Copy, Debug, Default)]
pub struct HashMapStateBackend;

impl StateBackendSetting for HashMapStateBackend {
    fn configure(&self, config: &mut Configuration) {
        config.set_string(backend::TYPE.key(), "hashmap");
    }
}

/// Working state on the heap, snapshots in the coordinator's memory, at most 5 MiB a state (Flink's `MemoryStateBackend`).
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStateBackend;

impl StateBackendSetting for MemoryStateBackend {
    fn configure(&self, config: &mut Configuration) {
        config.set_string(backend::TYPE.key(), "jobmanager");
    }
}

/// Working state in memory over snapshot files that are mapped where they lie when they are restored, incremental checkpoints in the folder that is given
/// (Flink's `FsStateBackend`).
///
/// ```
/// use millpond_engine::api::{FsStateBackend, StreamExecutionEnvironment};
/// use millpond_engine::connectors::sinks::CollectSink;
/// use std::time::Duration;
///
/// # fn main() -> millpond_engine::Result<()> {
/// # let folder = tempfile::tempdir().map_err(|error| {
/// #     millpond_engine::Error::new(millpond_engine::ErrorKind::Storage, error.to_string())
/// # })?;
/// # let checkpoints = format!("file://{}", folder.path().display());
/// let env = StreamExecutionEnvironment::new();
/// // Such as "file:///var/lib/millpond/checkpoints".
/// env.set_state_backend(FsStateBackend::new(checkpoints)?);
/// env.enable_checkpointing(Duration::from_millis(100));
/// let sink = CollectSink::new();
/// let results = sink.results();
/// env.from_sequence(0, 1000)
///     .key_by(|number: &u64| number % 3)
///     .count()
///     .sink_to_2pc(sink);
/// env.execute("remainders")?;
/// assert!(results.take().contains(&(2, 333)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsStateBackend {
    checkpoint_dir: String,
}

impl FsStateBackend {
    /// The backend with its checkpoints in `checkpoint_dir`: a path (a relative one starts at the current folder), a `file://` address, or that of remote
    /// storage. It stands for `state.backend.type: filesystem` with `execution.checkpointing.dir`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when that is no place for files. Whether it can be written to is found out when the job
    /// starts.
    pub fn new(checkpoint_dir: impl Into<String>) -> Result<Self> {
        let checkpoint_dir = checkpoint_dir.into();
        CheckpointLocation::parse("FsStateBackend::new", &checkpoint_dir)?;
        Ok(Self { checkpoint_dir })
    }

    /// Where checkpoints go, as it was given.
    #[must_use]
    pub fn checkpoint_dir(&self) -> &str {
        &self.checkpoint_dir
    }
}

impl StateBackendSetting for FsStateBackend {
    fn configure(&self, config: &mut Configuration) {
        config.set_string(backend::TYPE.key(), "filesystem");
        config.set_string(checkpointing::DIR.key(), self.checkpoint_dir.clone());
    }
}

/// State in RocksDB on local disks, with a cache of tables in front of it, incremental checkpoints in the folder that is given (Flink's
/// `EmbeddedRocksDBStateBackend`, and `RocksDBStateBackend` before it). For state that is larger than memory.
///
/// The backend itself is in the program with the engine's cargo feature `rocksdb`, or in a library in a folder of `plugins.dir`, which
/// `cargo xtask plugins` builds; which of them is found when the job starts. Everything else is set by the options of `state.backend.rocksdb`.
///
/// ```
/// use millpond_engine::api::{RocksDbStateBackend, StreamExecutionEnvironment};
/// use millpond_engine::config::{MemorySize, PredefinedOptions};
///
/// # fn main() -> millpond_engine::Result<()> {
/// let env = StreamExecutionEnvironment::new();
/// env.set_state_backend(
///     RocksDbStateBackend::new("file:///var/lib/millpond/checkpoints")?
///         .with_predefined_options(PredefinedOptions::FlashSsdOptimized)
///         .with_db_storage_paths(["/nvme0/millpond", "/nvme1/millpond"])
///         .with_memory_per_slot(MemorySize::from_mib(512)),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksDbStateBackend {
    checkpoint_dir: String,
    incremental: Option<bool>,
    predefined_options: Option<PredefinedOptions>,
    db_storage_paths: Vec<String>,
    memory_per_slot: Option<MemorySize>,
}

impl RocksDbStateBackend {
    /// The backend with its checkpoints in `checkpoint_dir`, as for [`FsStateBackend::new`]. It stands for `state.backend.type: rocksdb` with
    /// `execution.checkpointing.dir`.
    ///
    /// # Errors
    /// As [`FsStateBackend::new`].
    pub fn new(checkpoint_dir: impl Into<String>) -> Result<Self> {
        let checkpoint_dir = checkpoint_dir.into();
        CheckpointLocation::parse("RocksDbStateBackend::new", &checkpoint_dir)?;
        Ok(Self {
            checkpoint_dir,
            incremental: None,
            predefined_options: None,
            db_storage_paths: Vec::new(),
            memory_per_slot: None,
        })
    }

    /// Where checkpoints go, as it was given.
    #[must_use]
    pub fn checkpoint_dir(&self) -> &str {
        &self.checkpoint_dir
    }

    /// Whether checkpoints write only the files that the one before has not (`execution.checkpointing.incremental`). Unset: they do.
    #[must_use]
    pub fn with_incremental(mut self, incremental: bool) -> Self {
        self.incremental = Some(incremental);
        self
    }

    /// A set of options for a kind of disk (`state.backend.rocksdb.predefined-options`).
    #[must_use]
    pub fn with_predefined_options(mut self, options: PredefinedOptions) -> Self {
        self.predefined_options = Some(options);
        self
    }

    /// Local folders of the databases, which subtasks take in turn (`state.backend.rocksdb.localdir`). Unset: the folders for temporary files.
    #[must_use]
    pub fn with_db_storage_paths(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.db_storage_paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Memory for tables, blocks and write buffers in each worker thread (`state.backend.rocksdb.memory.fixed-per-slot`). Unset: managed memory.
    #[must_use]
    pub fn with_memory_per_slot(mut self, size: MemorySize) -> Self {
        self.memory_per_slot = Some(size);
        self
    }
}

impl StateBackendSetting for RocksDbStateBackend {
    fn configure(&self, config: &mut Configuration) {
        config.set_string(backend::TYPE.key(), "rocksdb");
        config.set_string(checkpointing::DIR.key(), self.checkpoint_dir.clone());
        if let Some(incremental) = self.incremental {
            config.set(&checkpointing::INCREMENTAL, incremental);
        }
        if let Some(options) = self.predefined_options {
            config.set(&rocksdb::PREDEFINED_OPTIONS, options);
        }
        if !self.db_storage_paths.is_empty() {
            config.set(&rocksdb::LOCAL_DIR, self.db_storage_paths.clone());
        }
        if let Some(size) = self.memory_per_slot {
            config.set(&rocksdb::MEMORY_FIXED_PER_SLOT, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_on_the_rocksdb_backend_is_its_options_and_nothing_else_is() {
        let mut config = Configuration::new();
        let backend = RocksDbStateBackend::new("/checkpoints").unwrap();
        backend.configure(&mut config);
        let keys = |config: &Configuration| -> Vec<String> {
            config.iter().map(|(key, ..)| key.to_owned()).collect()
        };
        assert_eq!(
            keys(&config),
            ["execution.checkpointing.dir", "state.backend.type"]
        );

        backend
            .with_incremental(false)
            .with_predefined_options(PredefinedOptions::SpinningDiskOptimized)
            .with_db_storage_paths(["/a", "/b"])
            .with_memory_per_slot(MemorySize::from_mib(5))
            .configure(&mut config);
        let effective = config.effective(false);
        for (key, value) in [
            ("state.backend.type", "rocksdb"),
            ("execution.checkpointing.dir", "/checkpoints"),
            ("execution.checkpointing.incremental", "false"),
            (
                "state.backend.rocksdb.predefined-options",
                "SPINNING_DISK_OPTIMIZED",
            ),
            ("state.backend.rocksdb.localdir", "/a;/b"),
            ("state.backend.rocksdb.memory.fixed-per-slot", "5 mb"),
        ] {
            assert_eq!(effective[key], value, "{key}");
        }
        config.validate().unwrap();
    }

    #[test]
    fn a_checkpoint_folder_that_is_none_is_refused_at_once() {
        for place in ["", "gopher://hole"] {
            assert!(RocksDbStateBackend::new(place).is_err(), "{place}");
            assert!(FsStateBackend::new(place).is_err(), "{place}");
        }
    }
}
