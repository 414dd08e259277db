//! The factories that are part of the program. The one place of the engine that names a backend.

use super::adapter::{BackendFactory, FactoryOrigin};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::StateBackendFactory;
use millpond_backend_api::abi::FactoryObject;
use millpond_backend_api::export::factory_object;

/// State backend factories by name.
///
/// A program that brings a backend of its own registers its factory here; the rest of the engine treats it like a built-in one and
/// like one from a library.
#[derive(Clone, Debug, Default)]
pub struct BackendRegistry {
    factories: Vec<BackendFactory>,
}

impl BackendRegistry {
    /// A registry without factories.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The backends that this build of the engine has, by its cargo features.
    #[must_use]
    pub fn with_builtin() -> Self {
        let factories: Vec<FactoryObject> = vec![
            #[cfg(feature = "memory")]
            factory_object(millpond_backend_memory::MemoryStateBackendFactory),
            #[cfg(feature = "fs")]
            millpond_backend_fs::factory(),
            #[cfg(feature = "rocksdb")]
            millpond_backend_rocksdb::factory(),
        ];
        Self {
            factories: factories
                .into_iter()
                .map(|object| BackendFactory::new(object, FactoryOrigin::Registered))
                .collect(),
        }
    }

    /// Adds a factory.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when its full name or one of its short names is taken, or it has no name.
    pub fn register(&mut self, factory: impl StateBackendFactory) -> Result<()> {
        self.register_object(factory_object(factory))
    }

    /// Adds a factory that is an object of the boundary already.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_object(&mut self, object: FactoryObject) -> Result<()> {
        let factory = BackendFactory::new(object, FactoryOrigin::Registered);
        if factory.name().is_empty() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a state backend factory without a name cannot be registered",
            ));
        }
        let mut names =
            std::iter::once(factory.name()).chain(factory.short_names().iter().map(String::as_str));
        let taken = names.find_map(|name| self.find(name).map(|owner| (name.to_owned(), owner)));
        if let Some((name, owner)) = taken {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "the state backend factory {} {} cannot be registered: the name '{name}' belongs to {owner}",
                    factory.name(),
                    factory.version()
                ),
            ));
        }
        self.factories.push(factory);
        Ok(())
    }

    /// The factory with this full name (compared as it is) or short name (compared in lower case).
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&BackendFactory> {
        let short_name = name.to_lowercase();
        self.factories
            .iter()
            .find(|factory| factory.name() == name)
            .or_else(|| {
                self.factories
                    .iter()
                    .find(|factory| factory.has_short_name(&short_name))
            })
    }

    /// All factories in the order in which they were registered.
    pub fn iter(&self) -> impl Iterator<Item = &BackendFactory> {
        self.factories.iter()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(all(feature = "fs", feature = "memory"))]
    #[test]
    fn every_short_name_of_a_built_in_backend_is_reserved_and_finds_it() {
        use super::*;
        let registry = BackendRegistry::with_builtin();
        for factory in registry.iter() {
            for name in factory.short_names() {
                assert!(super::super::names::RESERVED.contains(&name.as_str()), "{name}");
            }
        }
        for (name, full_name) in [
            ("hashmap", "millpond::MemoryStateBackendFactory"),
            ("jobmanager", "millpond::MemoryStateBackendFactory"),
            ("filesystem", "millpond::FsStateBackendFactory"),
            ("FS", "millpond::FsStateBackendFactory"),
        ] {
            let found = registry.find(name).map(BackendFactory::name);
            assert_eq!(found, Some(full_name), "{name}");
        }
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn rocksdb_and_the_class_names_of_flink_find_the_linked_backend_and_its_bad_values_are_refused() {
        use super::*;
        use crate::ErrorKind;
        use crate::backend::{BackendSettings, PluginLoader, Setting};
        use std::collections::BTreeMap;
        for name in [
            "rocksdb",
            "RocksDB",
            "millpond::RocksDbStateBackendFactory",
            "org.apache.flink.contrib.streaming.state.RocksDBStateBackendFactory",
            "org.apache.flink.contrib.streaming.state.EmbeddedRocksDBStateBackendFactory",
            "org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackendFactory",
        ] {
            let settings = BackendSettings {
                backend: Some(Setting::program(name)),
                ..BackendSettings::default()
            };
            let none: [&str; 0] = [];
            let choice = settings
                .choose(&BackendRegistry::with_builtin(), &PluginLoader::new(none))
                .unwrap();
            assert_eq!(
                choice.factory.name(),
                "millpond::RocksDbStateBackendFactory",
                "{name}"
            );

            let key = "state.backend.rocksdb.thread.num";
            let bad = BTreeMap::from([(key.to_owned(), "none".to_owned())]);
            let error = choice.create_backend(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(
                text.contains(name) && text.contains(&format!("{key}: 'none'")),
                "{text}"
            );
        }
    }

    #[cfg(feature = "fs")]
    #[test]
    fn the_old_names_of_the_filesystem_backend_choose_it_with_its_storage() {
        use super::*;
        use crate::backend::{BackendSettings, PluginLoader, Setting, StorageKind};
        for name in [
            "filesystem",
            "fs",
            "org.apache.flink.runtime.state.filesystem.FsStateBackend",
            "org.apache.flink.runtime.state.filesystem.FsStateBackendFactory",
        ] {
            let settings = BackendSettings {
                backend: Some(Setting::program(name)),
                storage: None,
                checkpoint_dir: Some(Setting::program("file:///checkpoints")),
            };
            let none: [&str; 0] = [];
            let choice = settings
                .choose(&BackendRegistry::with_builtin(), &PluginLoader::new(none))
                .unwrap();
            assert_eq!(choice.factory.name(), "millpond::FsStateBackendFactory", "{name}");
            assert_eq!(choice.storage, StorageKind::FileSystem, "{name}");
        }
    }
}
