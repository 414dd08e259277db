//! Backends, opened in each of the ways that they can be called.

use super::access::{Access, Direct};
use super::{StateMicroArgs, Via};
use abi_stable::std_types::{ROption, RResult, RString};
use millpond_backend_api::abi::AbiResult;
use millpond_backend_api::streams::RestoreFilesApi;
use millpond_backend_api::{
    BackendConfig, BackendError, BackendErrorKind, FileRef, KeyGroupRange, KeyedState, OpenKeyed,
    RestoreFiles, RestoreStream, StateBackend, StateBackendFactory,
};
use millpond_engine::backend::adapter::{OpenSubtask, SnapshotSource, StoredFile};
use millpond_engine::backend::{BackendFactory, BackendRegistry, FactoryOrigin, PluginLoader};
use millpond_engine::{Error, ErrorKind, Result};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key groups of an operator.
pub(crate) const GROUPS: u32 = 128;

/// What is to be done with a backend, whatever its type.
pub(crate) trait Task {
    fn run(&mut self, access: impl Access) -> Result<()>;
}

/// Opens `backend` as `via` says, in an empty folder, and has `task` run on it. `Ok(false)`: it cannot be called that way here.
///
/// # Errors
/// Those of the backend and the task.
pub(crate) fn with(
    args: &StateMicroArgs,
    backend: &str,
    via: Via,
    folder: &Path,
    task: &mut impl Task,
) -> Result<bool> {
    match via {
        Via::Static => direct(args, backend, folder, task),
        Via::Abi => {
            let registry = BackendRegistry::with_builtin();
            match registry.find(backend) {
                Some(factory) => task.run(open(args, factory, folder)?).map(|()| true),
                None => Ok(false),
            }
        }
        Via::Library => match library(args, backend) {
            Some(factory) => task.run(open(args, &factory, folder)?).map(|()| true),
            None => Ok(false),
        },
    }
}

fn direct(args: &StateMicroArgs, backend: &str, folder: &Path, task: &mut impl Task) -> Result<bool> {
    match backend {
        "hashmap" => task.run(made_by(
            millpond_backend_memory::MemoryStateBackendFactory,
            args,
            folder,
        )?)?,
        "filesystem" => task.run(made_by(millpond_backend_fs::FsStateBackendFactory, args, folder)?)?,
        #[cfg(feature = "rocksdb")]
        "rocksdb" => task.run(made_by(
            millpond_backend_rocksdb::RocksDbStateBackendFactory,
            args,
            folder,
        )?)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn made_by<F: StateBackendFactory>(
    factory: F,
    args: &StateMicroArgs,
    folder: &Path,
) -> Result<Direct<impl KeyedState>> {
    let failed = |error: BackendError| Error::new(ErrorKind::State, error.to_string());
    let config: BackendConfig = args.settings()?.into_iter().collect();
    let backend = factory.create(&config).map_err(failed)?;
    let open = OpenKeyed {
        job: RString::from("bench"),
        operator: RString::from("state-micro"),
        subtask: 0,
        parallelism: 1,
        max_parallelism: GROUPS,
        key_groups: all_groups()?,
        local_dir: RString::from(folder.display().to_string()),
        restore: Vec::new().into(),
        files: RestoreFiles::new(NoFiles),
    };
    Ok(Direct {
        has_slots: backend.capabilities().slots,
        state: backend.open_keyed(open).map_err(failed)?,
    })
}

fn all_groups() -> Result<KeyGroupRange> {
    KeyGroupRange::of_subtask(0, 1, GROUPS).ok_or_else(|| Error::new(ErrorKind::Bug, "no key groups"))
}

/// The factory of a library in the plugins folder.
fn library(args: &StateMicroArgs, backend: &str) -> Option<BackendFactory> {
    let folders = PluginLoader::new([args.plugins.clone()]).scan();
    let libraries = folders
        .iter()
        .flat_map(|folder| folder.libraries.iter().flatten());
    let mut factories = libraries
        .flatten()
        .flat_map(|library| library.factories().to_vec());
    factories.find(|factory| {
        factory.has_short_name(backend) && matches!(factory.origin(), FactoryOrigin::Library(_))
    })
}

fn open(args: &StateMicroArgs, factory: &BackendFactory, folder: &Path) -> Result<impl Access + use<>> {
    let backend = factory.create(&args.settings()?)?;
    backend.open_keyed(OpenSubtask {
        job: "bench".to_owned(),
        operator: "state-micro".to_owned(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: GROUPS,
        key_groups: all_groups()?,
        local_dir: folder.to_owned(),
        restore: Vec::new(),
        source: Arc::new(NoFiles),
    })
}

/// Nothing is restored.
#[derive(Clone, Copy, Debug)]
struct NoFiles;

impl RestoreFilesApi for NoFiles {
    fn open(&self, _: &FileRef) -> AbiResult<RestoreStream> {
        RResult::RErr(BackendError::new(BackendErrorKind::Io, "there are no files"))
    }

    fn local_path(&self, _: &FileRef) -> AbiResult<ROption<RString>> {
        RResult::ROk(ROption::RNone)
    }
}

impl SnapshotSource for NoFiles {
    fn open(&self, _: &StoredFile) -> Result<Box<dyn Read + Send>> {
        Err(Error::new(ErrorKind::Restore, "there are no files"))
    }

    fn local_path(&self, _: &StoredFile) -> Result<Option<PathBuf>> {
        Ok(None)
    }
}
