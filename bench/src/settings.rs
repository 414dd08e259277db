//! The settings of a run: those of files and `-D`, and above them what has an option of its own.

use crate::args::{Mode, RunArgs};
use crate::scratch;
use millpond_engine::api::StreamExecutionEnvironment;
use millpond_engine::checkpoint::CheckpointingMode;
use millpond_engine::config::options::{backend, checkpointing, execution, high_availability, recovery};
use millpond_engine::config::{Configuration, HighAvailabilityType};
use millpond_engine::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// What jobs are made with.
#[derive(Debug)]
pub(crate) struct RunSettings {
    config: Configuration,
    /// The folder for checkpoints, where none was given: it lives as long as this.
    _temporary: Option<TempDir>,
}

impl RunSettings {
    /// The settings that `args` ask for.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when one is wrong or has a run go on from another one, or the folder for checkpoints cannot be made.
    pub(crate) fn of(args: &RunArgs) -> Result<Self> {
        let mut config = args.common.configuration()?;
        starts_from_nothing(&config)?;
        config.set(&execution::PARALLELISM, args.parallelism as usize);
        if let Some(backend) = &args.backend {
            config.set_string(backend::TYPE.key(), backend.as_str());
        }
        if args.interval_ms > 0 {
            let interval = Duration::from_millis(args.interval_ms);
            config.set(&checkpointing::INTERVAL, interval);
        }
        if let Some(mode) = args.mode {
            config.set(&checkpointing::MODE, CheckpointingMode::from(mode));
        }
        let mut temporary = None;
        if let Some(dir) = &args.checkpoint_dir {
            config.set_string(checkpointing::DIR.key(), folder(dir)?);
        } else if config.get_optional(&checkpointing::DIR)?.is_none() {
            let dir = scratch::new_folder(None)?;
            config.set_string(checkpointing::DIR.key(), dir.path().display().to_string());
            temporary = Some(dir);
        }
        Ok(Self {
            config,
            _temporary: temporary,
        })
    }

    /// What a job is made from.
    pub(crate) fn environment(&self) -> StreamExecutionEnvironment {
        StreamExecutionEnvironment::with_configuration(self.config.clone())
    }

    /// The state backend, by the name that it was given.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the setting is wrong.
    pub(crate) fn backend(&self) -> Result<String> {
        self.config.get(&backend::TYPE)
    }

    /// Milliseconds between checkpoints; 0 where there are none.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the setting is wrong.
    pub(crate) fn interval_ms(&self) -> Result<u64> {
        let interval = self.config.get_optional(&checkpointing::INTERVAL)?;
        let ms = interval.unwrap_or_default().as_millis();
        Ok(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// The guarantee of checkpoints, where there are any.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when a setting is wrong.
    pub(crate) fn mode(&self) -> Result<Option<Mode>> {
        let mode = self.config.get(&checkpointing::MODE)?;
        Ok((self.interval_ms()? > 0).then(|| Mode::from(mode)))
    }
}

/// Refuses what has a run begin with the state of another one: its records would be more than it is said to have, or none.
fn starts_from_nothing(config: &Configuration) -> Result<()> {
    let highly_available = config.get(&high_availability::TYPE)? != HighAvailabilityType::None;
    for (is_set, key) in [
        (
            config.get_optional(&recovery::PATH)?.is_some(),
            recovery::PATH.key(),
        ),
        (config.get(&recovery::PLAN_ONLY)?, recovery::PLAN_ONLY.key()),
        (highly_available, high_availability::TYPE.key()),
    ] {
        if is_set {
            let text =
                format!("{key} is of no use here: a run that is measured starts from nothing; leave it out");
            return Err(Error::new(ErrorKind::Configuration, text));
        }
    }
    Ok(())
}

/// The path of a folder for checkpoints, whatever the working folder.
fn folder(dir: &Path) -> Result<String> {
    let wrong = |text| Error::new(ErrorKind::Configuration, text);
    let shown = dir.display().to_string();
    if shown.contains("://") {
        return Err(wrong(format!(
            "--checkpoint-dir {shown} is a URI, and a folder is wanted"
        )));
    }
    let absolute = std::path::absolute(dir)
        .map_err(|error| wrong(format!("--checkpoint-dir '{shown}' is no folder")).with_source(error))?;
    Ok(absolute.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, Workload};
    use clap::Parser;

    fn settings(options: &str) -> Result<RunSettings> {
        let line = format!("bench keyed-count {options}");
        match Command::parse_from(line.split_whitespace()).workload {
            Workload::KeyedCount(args) => RunSettings::of(&args.run),
            other => panic!("another command: {other:?}"),
        }
    }

    /// Backend, interval and mode.
    fn seen(options: &str) -> (String, u64, Option<Mode>) {
        let settings = settings(options).unwrap();
        (
            settings.backend().unwrap(),
            settings.interval_ms().unwrap(),
            settings.mode().unwrap(),
        )
    }

    #[test]
    fn settings_count_where_there_is_no_option_and_options_win() {
        assert_eq!(seen(""), ("hashmap".to_owned(), 0, None));
        let set = "-D execution.checkpointing.interval=2s -D execution.checkpointing.mode=AT_LEAST_ONCE -D state.backend.type=filesystem";
        assert_eq!(
            seen(set),
            ("filesystem".to_owned(), 2000, Some(Mode::AtLeastOnce))
        );
        let options = format!("{set} --interval-ms 500 --mode exactly_once --backend hashmap");
        assert_eq!(
            seen(&options),
            ("hashmap".to_owned(), 500, Some(Mode::ExactlyOnce))
        );
    }

    #[test]
    fn what_goes_on_from_another_run_is_refused() {
        for options in [
            "--from-savepoint /somewhere",
            "--restore-plan",
            "-D high-availability.type=filesystem -D high-availability.storageDir=/somewhere",
        ] {
            let error = settings(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("leave it out"), "{error}");
        }
    }

    #[test]
    fn the_folder_for_checkpoints_is_the_given_one_or_that_of_the_settings_or_a_temporary_one() {
        let dir = |options: &str| {
            let settings = settings(options).unwrap();
            (
                settings.config.get(&checkpointing::DIR).unwrap(),
                settings._temporary.is_some(),
            )
        };
        let set = "-D execution.checkpointing.dir=file:///in/settings";
        assert_eq!(dir(set), ("file:///in/settings".to_owned(), false));
        assert_eq!(
            dir(&format!("{set} --checkpoint-dir /in/option")),
            ("/in/option".to_owned(), false)
        );
        let (temporary, is_temporary) = dir("");
        assert!(is_temporary);
        assert!(!Path::new(&temporary).exists(), "it goes with the settings");
        let error = settings("--checkpoint-dir s3://bucket/x").unwrap_err();
        assert!(error.to_string().contains("is a URI"), "{error}");
    }
}
