//! Which backend and which checkpoint storage a job gets, and why.

use super::adapter::{Backend, BackendFactory};
use super::loader::PluginLoader;
use super::names;
use super::registry::BackendRegistry;
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;

/// The key that names the backend.
const BACKEND_KEY: &str = "state.backend.type";
/// The key that names the storage.
const STORAGE_KEY: &str = "execution.checkpointing.storage";
/// The key that names the folder of checkpoints.
const DIR_KEY: &str = "execution.checkpointing.dir";
/// The backend of a job that names none, as in Flink.
const DEFAULT_BACKEND: &str = "hashmap";

/// Where checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageKind {
    /// In the coordinator's memory. With a checkpoint folder, the metadata goes there, but the state is in it only as far as
    /// it rides inline.
    JobManager,
    /// In files under the checkpoint folder.
    FileSystem,
}

impl fmt::Display for StorageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JobManager => "jobmanager",
            Self::FileSystem => "filesystem",
        })
    }
}

/// How strong a setting is, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// From a configuration file.
    File,
    /// From the command line.
    Argument,
    /// From the program.
    Program,
}

/// A setting that somebody made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value as text.
    pub value: String,
    /// Where it was set, for people: `conf/config.yaml:3`, `-D`, `set by the program`.
    pub place: String,
    /// How strong that place is.
    pub strength: Strength,
}

impl Setting {
    /// A setting of the program.
    pub fn program(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            place: "set by the program".to_owned(),
            strength: Strength::Program,
        }
    }
}

/// The settings that choose backend and storage; `None` is what nobody set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendSettings {
    /// `state.backend.type`, or the older `state.backend`.
    pub backend: Option<Setting>,
    /// `execution.checkpointing.storage`.
    pub storage: Option<Setting>,
    /// `execution.checkpointing.dir`.
    pub checkpoint_dir: Option<Setting>,
}

/// What was chosen.
#[derive(Clone, Debug)]
pub struct BackendChoice {
    /// The factory to make the backend with.
    pub factory: BackendFactory,
    /// The name that it was asked for by, in the words of today (`hashmap` for Flink's class names).
    pub name: String,
    /// Where checkpoints are kept.
    pub storage: StorageKind,
    /// One line for the log: which backend and storage were chosen, and why.
    pub why: String,
    /// What the user should know about outdated or overruled settings, a line each.
    pub warnings: Vec<String>,
    /// Where the backend's name was set, for errors.
    asked: String,
}

impl BackendChoice {
    /// Makes the backend from the whole configuration, keys by their newest names.
    ///
    /// # Errors
    /// As [`BackendFactory::create`], with the configured name in front.
    pub fn create_backend(&self, config: &BTreeMap<String, String>) -> Result<Backend> {
        self.factory
            .create(config)
            .map_err(|error| error.context(&self.asked))
    }
}

impl BackendSettings {
    /// Chooses. Libraries are opened only if the name is not a registered factory's.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] when the backend's name leads to no factory (see [`LoadError`](super::LoadError)),
    /// [`ErrorKind::Configuration`] when the storage's name is unknown or it lacks a folder.
    pub fn choose(&self, registry: &BackendRegistry, loader: &PluginLoader) -> Result<BackendChoice> {
        let (value, asked, reason) = self.backend.as_ref().map_or_else(
            || {
                (
                    DEFAULT_BACKEND,
                    format!("default: {BACKEND_KEY}: {DEFAULT_BACKEND}"),
                    format!("{BACKEND_KEY} is not set (default)"),
                )
            },
            |setting| {
                let value = setting.value.trim();
                (
                    value,
                    format!("{}: {BACKEND_KEY}: '{value}'", setting.place),
                    format!("{BACKEND_KEY} is '{value}', {}", setting.place),
                )
            },
        );
        if value.is_empty() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("{asked} is empty, expected the name of a state backend such as '{DEFAULT_BACKEND}'"),
            ));
        }
        let meaning = names::backend(value);
        let factory = loader
            .find(meaning.name, registry)
            .map_err(|error| Error::from(error).context(&asked))?;
        let mut warnings = Vec::new();
        if meaning.translated {
            warnings.push(format!(
                "{asked} is one of Flink's class names; it is read as '{}'",
                meaning.name
            ));
        }
        let storage = self.choose_storage(meaning.storage, &mut warnings)?;
        let why = format!(
            "state backend {factory} because {reason}; checkpoint storage {} because {}",
            storage.described, storage.reason
        );
        Ok(BackendChoice {
            factory,
            name: meaning.name.to_owned(),
            storage: storage.kind,
            why,
            warnings,
            asked,
        })
    }

    /// Flink's rule: a storage that the backend's name implies, unless a stronger place names another one; then what is set; then
    /// files where there is a folder for them; then the coordinator's memory.
    fn choose_storage(
        &self,
        implied: Option<StorageKind>,
        warnings: &mut Vec<String>,
    ) -> Result<ChosenStorage> {
        let named = self
            .storage
            .as_ref()
            .map(|setting| named_storage(setting).map(|kind| (kind, setting)))
            .transpose()?;
        let backend_strength = self.backend.as_ref().map(|setting| setting.strength);
        let (kind, reason) = match (implied, named) {
            (Some(implied), Some((named, setting))) if Some(setting.strength) <= backend_strength => {
                if implied != named {
                    let advice = match implied {
                        StorageKind::JobManager => {
                            format!("; use '{DEFAULT_BACKEND}' to choose the storage by itself")
                        }
                        StorageKind::FileSystem => String::new(),
                    };
                    warnings.push(format!(
                        "{}: {STORAGE_KEY}: '{}' is overruled: the backend's name chooses the storage '{implied}'{advice}",
                        setting.place, setting.value
                    ));
                }
                (implied, "the backend's name says so".to_owned())
            }
            (_, Some((named, setting))) => (
                named,
                format!("{STORAGE_KEY} is '{}', {}", setting.value, setting.place),
            ),
            (Some(implied), None) => (implied, "the backend's name says so".to_owned()),
            (None, None) => match &self.checkpoint_dir {
                Some(dir) => (
                    StorageKind::FileSystem,
                    format!("{DIR_KEY} is set, {}", dir.place),
                ),
                None => (
                    StorageKind::JobManager,
                    format!("neither {STORAGE_KEY} nor {DIR_KEY} is set"),
                ),
            },
        };
        let described = match (kind, &self.checkpoint_dir) {
            (StorageKind::FileSystem, Some(dir)) => format!("{kind} at {}", dir.value),
            (StorageKind::FileSystem, None) => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "the checkpoint storage is '{kind}' because {reason}, but {DIR_KEY} is not set; set it to a folder such \
                         as file:///var/lib/millpond/checkpoints"
                    ),
                ));
            }
            (StorageKind::JobManager, Some(dir)) => format!("{kind} with metadata at {}", dir.value),
            (StorageKind::JobManager, None) => kind.to_string(),
        };
        Ok(ChosenStorage {
            kind,
            described,
            reason,
        })
    }
}

/// The storage with what the log says about it.
struct ChosenStorage {
    kind: StorageKind,
    described: String,
    reason: String,
}

/// The storage that a setting names.
fn named_storage(setting: &Setting) -> Result<StorageKind> {
    let value = setting.value.trim();
    names::storage(value).ok_or_else(|| {
        let nearest = names::nearest(value, ["jobmanager", "filesystem"].into_iter())
            .map(|name| format!("; did you mean '{name}'?"))
            .unwrap_or_default();
        Error::new(
            ErrorKind::Configuration,
            format!(
                "{}: {STORAGE_KEY}: '{value}' is not valid, expected 'jobmanager' or 'filesystem'{nearest}",
                setting.place
            ),
        )
    })
}

#[cfg(test)]
mod tests;
