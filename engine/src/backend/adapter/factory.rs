//! A factory, and the backend that it makes.

use super::error::{Place, engine_kind, failed};
use super::keyed::KeyedBackend;
use super::restore::restore_files;
use super::storage::{KeyedSnapshot, SnapshotSource};
use crate::{Error, ErrorKind, Result};
use abi_stable::std_types::{RResult, Tuple2};
use millpond_backend_api::abi::{BackendObject, FactoryObject};
use millpond_backend_api::{Capabilities, KeyGroupRange, OpenKeyed, SnapshotHandle};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a factory came from: for logs and listings only, nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FactoryOrigin {
    /// It is part of the program.
    Registered,
    /// It was found in this library.
    Library(PathBuf),
}

impl fmt::Display for FactoryOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("built in"),
            Self::Library(path) => write!(f, "from {}", path.display()),
        }
    }
}

/// A factory of state backends. Clones are the same factory.
#[derive(Clone)]
pub struct BackendFactory(Arc<Inner>);

struct Inner {
    object: FactoryObject,
    name: Arc<str>,
    short_names: Vec<String>,
    version: String,
    origin: FactoryOrigin,
}

impl BackendFactory {
    /// Wraps a factory object; its names are asked for once.
    pub(in crate::backend) fn new(object: FactoryObject, origin: FactoryOrigin) -> Self {
        let name = Arc::from(object.name().as_str());
        let short_names = object
            .short_names()
            .iter()
            .map(|name| name.to_lowercase())
            .collect();
        let version = object.version().into_string();
        Self(Arc::new(Inner {
            object,
            name,
            short_names,
            version,
            origin,
        }))
    }

    /// The fully qualified name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The short names, in lower case.
    #[must_use]
    pub fn short_names(&self) -> &[String] {
        &self.0.short_names
    }

    /// The backend's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Where the factory came from, for logs and listings.
    #[must_use]
    pub fn origin(&self) -> &FactoryOrigin {
        &self.0.origin
    }

    /// Whether `short_name` (in lower case) is one of its short names.
    #[must_use]
    pub fn has_short_name(&self, short_name: &str) -> bool {
        self.0.short_names.iter().any(|name| name == short_name)
    }

    /// Makes a backend from the whole configuration, keys by their newest names.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the factory refuses a value, with its own text, else [`ErrorKind::Plugin`].
    pub fn create(&self, config: &BTreeMap<String, String>) -> Result<Backend> {
        let pairs = config
            .iter()
            .map(|(key, value)| Tuple2(key.as_str().into(), value.as_str().into()))
            .collect();
        match self.0.object.create(pairs) {
            RResult::ROk(object) => Ok(Backend {
                capabilities: object.capabilities(),
                object,
                name: Arc::clone(&self.0.name),
            }),
            RResult::RErr(error) => {
                let kind = match engine_kind(error.kind()) {
                    ErrorKind::Configuration => ErrorKind::Configuration,
                    _ => ErrorKind::Plugin,
                };
                Err(Error::new(
                    kind,
                    format!(
                        "the state backend factory {self} refused the configuration: {}",
                        error.message()
                    ),
                ))
            }
        }
    }
}

impl fmt::Display for BackendFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.0.name, self.0.version, self.0.origin)
    }
}

impl fmt::Debug for BackendFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendFactory({self})")
    }
}

/// What a subtask needs to open its keyed state.
pub struct OpenSubtask {
    /// The job's name.
    pub job: String,
    /// The operator's uid.
    pub operator: String,
    /// The subtask, `0 .. parallelism`.
    pub subtask: u32,
    /// The operator's parallelism.
    pub parallelism: u32,
    /// The operator's number of key groups.
    pub max_parallelism: u32,
    /// The key groups of this subtask.
    pub key_groups: KeyGroupRange,
    /// A folder for the backend's working files in this attempt.
    pub local_dir: PathBuf,
    /// What to restore; empty for a fresh start. Parts that do not meet `key_groups` are left out.
    pub restore: Vec<KeyedSnapshot>,
    /// Where the files of `restore` are.
    pub source: Arc<dyn SnapshotSource>,
}

impl OpenSubtask {
    /// The same subtask with nothing to restore, in a folder beside the other one, whose name has `suffix` behind it.
    #[must_use]
    pub fn without_state(&self, suffix: &str) -> Self {
        let mut name = self.local_dir.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        Self {
            job: self.job.clone(),
            operator: self.operator.clone(),
            subtask: self.subtask,
            parallelism: self.parallelism,
            max_parallelism: self.max_parallelism,
            key_groups: self.key_groups,
            local_dir: self.local_dir.with_file_name(name),
            restore: Vec::new(),
            source: Arc::clone(&self.source),
        }
    }
}

impl fmt::Debug for OpenSubtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSubtask")
            .field("operator", &self.operator)
            .field("subtask", &self.subtask)
            .field("key_groups", &self.key_groups)
            .field("restore", &self.restore)
            .finish_non_exhaustive()
    }
}

/// A configured backend; used by all workers at once.
pub struct Backend {
    object: BackendObject,
    capabilities: Capabilities,
    name: Arc<str>,
}

impl Backend {
    /// What the backend can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The fully qualified name of its factory, stored in the metadata with every snapshot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens the keyed state of one subtask.
    ///
    /// # Errors
    /// The backend's, with operator and subtask: [`ErrorKind::Restore`] when a snapshot is damaged, [`ErrorKind::Storage`] when
    /// files cannot be read or written.
    pub fn open_keyed(&self, open: OpenSubtask) -> Result<KeyedBackend> {
        let place = Place {
            backend: Arc::clone(&self.name),
            operator: Arc::from(open.operator.as_str()),
            subtask: open.subtask,
        };
        let local_dir = open.local_dir.into_os_string().into_string().map_err(|path| {
            Error::new(
                ErrorKind::Configuration,
                format!("{place}: the path {} is not UTF-8", path.display()),
            )
        })?;
        let key_groups = open.key_groups;
        let request = OpenKeyed {
            job: open.job.into(),
            operator: open.operator.into(),
            subtask: open.subtask,
            parallelism: open.parallelism,
            max_parallelism: open.max_parallelism,
            key_groups,
            local_dir: local_dir.into(),
            restore: open
                .restore
                .into_iter()
                .filter(|part| part.key_groups.intersection(&key_groups).is_some())
                .map(SnapshotHandle::from)
                .collect(),
            files: restore_files(open.source),
        };
        match self.object.open_keyed(request) {
            RResult::ROk(object) => Ok(KeyedBackend::new(object, self.capabilities, key_groups, place)),
            RResult::RErr(error) => Err(failed(&place, &error)),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name)
    }
}
