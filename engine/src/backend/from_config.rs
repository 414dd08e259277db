//! The settings of backends, storage and plugins folders, read from the configuration.

use super::loader::PluginLoader;
use super::select::{BackendSettings, Setting, Strength};
use crate::Result;
use crate::config::options::{backend, checkpointing, plugins};
use crate::config::{ConfigOption, Configuration, Origin};

impl BackendSettings {
    /// What `config` says about backend and storage.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when a value is not valid.
    pub fn from_config(config: &Configuration) -> Result<Self> {
        Ok(Self {
            backend: setting(config, &backend::TYPE)?,
            storage: setting(config, &checkpointing::STORAGE)?,
            checkpoint_dir: setting(config, &checkpointing::DIR)?,
        })
    }
}

impl PluginLoader {
    /// A loader for the folders of `plugins.dir`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when the value is not valid.
    pub fn from_config(config: &Configuration) -> Result<Self> {
        Ok(Self::new(config.get(&plugins::DIR)?))
    }
}

/// What somebody set, or nothing.
fn setting(config: &Configuration, option: &ConfigOption<String>) -> Result<Option<Setting>> {
    let origin = config.origin(option);
    let strength = match origin {
        Origin::Default => return Ok(None),
        Origin::Argument(_) => Strength::Argument,
        Origin::Program => Strength::Program,
        _ => Strength::File,
    };
    let value = config.get_optional(option)?;
    Ok(value.map(|value| Setting {
        value,
        place: origin.to_string(),
        strength,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::ModelFactory;
    use crate::backend::{BackendRegistry, StorageKind};

    #[test]
    fn an_old_flink_configuration_chooses_what_it_chose_then_and_the_program_overrules_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("flink-conf.yaml"),
            "jobmanager.rpc.port: 6123\nstate.backend: jobmanager\nstate.backend.fs.checkpointdir: file:///old\n",
        )
        .unwrap();
        let mut config = Configuration::from_dir(folder.path()).unwrap();
        let mut registry = BackendRegistry::empty();
        registry.register(ModelFactory::MEMORY).unwrap();
        let choose = |config: &Configuration| {
            BackendSettings::from_config(config)
                .unwrap()
                .choose(&registry, &PluginLoader::from_config(config).unwrap())
                .unwrap()
        };
        let choice = choose(&config);
        assert_eq!(choice.storage, StorageKind::JobManager);
        assert!(choice.why.contains("flink-conf.yaml:2"), "{}", choice.why);

        config.set(&backend::TYPE, "hashmap".to_owned());
        let choice = choose(&config);
        assert_eq!(choice.storage, StorageKind::FileSystem);
        assert!(choice.why.contains("set by the program"), "{}", choice.why);
        assert!(choice.why.contains("filesystem at file:///old"), "{}", choice.why);
    }

    #[test]
    fn nothing_set_is_the_default_and_plugins_are_looked_for_in_plugins() {
        let config = Configuration::new();
        assert_eq!(
            BackendSettings::from_config(&config).unwrap(),
            BackendSettings::default()
        );
        let loader = PluginLoader::from_config(&config).unwrap();
        assert_eq!(loader.folders(), [std::path::Path::new("plugins")]);
    }
}
