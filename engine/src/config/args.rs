//! The arguments that every program on the engine takes.

use std::fmt;
use std::path::PathBuf;

use super::configuration::Configuration;
use super::file::refused;
use super::options::recovery;
use super::origin::Origin;
use super::secrets::shown;
use super::value::RawValue;
use crate::Result;

/// Arguments of every program: `-D key=value`, `--conf DIR`, `--from-savepoint PATH`, `--allow-non-restored-state` and `--restore-plan`.
///
/// A program flattens them into its own:
///
/// ```
/// use clap::Parser;
/// use millpond_engine::config::{CommonArgs, options};
///
/// #[derive(Parser)]
/// struct Args {
///     #[command(flatten)]
///     common: CommonArgs,
/// }
///
/// let args = Args::parse_from(["word_count", "-D", "parallelism.default=2"]);
/// let config = args.common.configuration()?;
/// assert_eq!(config.get(&options::execution::PARALLELISM)?, 2);
/// # Ok::<(), millpond_engine::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[non_exhaustive]
pub struct CommonArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Savepoint or retained checkpoint to start from
    #[arg(long, value_name = "PATH")]
    pub from_savepoint: Option<String>,

    /// Start also if that savepoint or checkpoint has state of operators that the job does not have
    #[arg(long)]
    pub allow_non_restored_state: bool,

    /// Tell what would become of the state in that savepoint or checkpoint, and start nothing; ends with 1 if the job could not start from it
    #[arg(long)]
    pub restore_plan: bool,
}

/// Where the configuration is, for programs that start no job: part of [`CommonArgs`].
#[derive(Clone, Default, PartialEq, Eq, clap::Args)]
#[non_exhaustive]
pub struct ConfigArgs {
    /// Set an option; wins over the configuration file. May be repeated
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub define: Vec<String>,

    /// Folder with config.yaml (or Flink's flink-conf.yaml). Without it the defaults hold
    #[arg(long, value_name = "DIR", env = "MILLPOND_CONF_DIR")]
    pub conf: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration that these arguments ask for, writes its warnings to the log and checks each value.
    ///
    /// # Errors
    /// As [`CommonArgs::configuration`].
    pub fn configuration(&self) -> Result<Configuration> {
        checked(self.unchecked()?)
    }

    fn unchecked(&self) -> Result<Configuration> {
        // An empty variable in the environment is as good as none.
        let mut config = match self.conf.as_ref().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => Configuration::from_dir(dir)?,
            None => Configuration::new(),
        };
        for definition in &self.define {
            let (key, value) = definition
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| refused(format!("-D: '{definition}' is no setting, expected key=value")))?;
            config.insert(key, RawValue::Text(value.to_owned()), Origin::Argument("-D"));
        }
        Ok(config)
    }
}

fn checked(config: Configuration) -> Result<Configuration> {
    config.log_warnings();
    config.validate_values()?;
    Ok(config)
}

impl CommonArgs {
    /// Reads the configuration that these arguments ask for, writes its warnings to the log and checks each value.
    ///
    /// How options go together is for [`Configuration::validate`] when the program has set its own.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), if the folder or its file cannot be read, a `-D` is
    /// not `key=value`, or a value is not valid.
    pub fn configuration(&self) -> Result<Configuration> {
        checked(self.unchecked()?)
    }

    fn unchecked(&self) -> Result<Configuration> {
        let mut config = self.config.unchecked()?;
        if let Some(path) = &self.from_savepoint {
            let origin = Origin::Argument("--from-savepoint");
            config.insert(recovery::PATH.key(), RawValue::Text(path.clone()), origin);
        }
        if self.allow_non_restored_state {
            let origin = Origin::Argument("--allow-non-restored-state");
            let key = recovery::IGNORE_UNCLAIMED_STATE.key();
            config.insert(key, RawValue::Text("true".to_owned()), origin);
        }
        if self.restore_plan {
            let origin = Origin::Argument("--restore-plan");
            config.insert(
                recovery::PLAN_ONLY.key(),
                RawValue::Text("true".to_owned()),
                origin,
            );
        }
        Ok(config)
    }
}

impl fmt::Debug for ConfigArgs {
    /// As derived, with the values of secret keys masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let define: Vec<_> = self
            .define
            .iter()
            .map(|definition| match definition.split_once('=') {
                Some((key, value)) => format!("{key}={}", shown(key, &value)),
                None => definition.clone(),
            })
            .collect();
        f.debug_struct("ConfigArgs")
            .field("define", &define)
            .field("conf", &self.conf)
            .finish()
    }
}
