//! From options to the settings that the parts of the engine take.

use std::path::PathBuf;
use std::time::Duration;

use super::options::{checkpointing, cluster, execution, high_availability, recovery, restart, storage};
use super::{ConfigOption, Configuration, HighAvailabilityType, RestartStrategyType};
use crate::Result;
use crate::checkpoint::CheckpointSettings;
use crate::checkpoint::ha::HaSettings;
use crate::checkpoint::storage::{CacheSettings, CheckpointLocation, parse_location};
use crate::cluster::ClusterSettings;
use crate::restart::RestartSettings;

/// Flink's bound of `execution.checkpointing.min-pause`.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Configuration {
    /// How checkpoints are taken, kept and given up.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), if a value is not valid.
    pub fn checkpoint_settings(&self) -> Result<CheckpointSettings> {
        Ok(CheckpointSettings {
            interval: self.get_optional(&checkpointing::INTERVAL)?,
            mode: self.get(&checkpointing::MODE)?,
            timeout: self.get(&checkpointing::TIMEOUT)?,
            min_pause: self.get(&checkpointing::MIN_PAUSE)?.min(YEAR),
            max_concurrent: self.get(&checkpointing::MAX_CONCURRENT)?,
            tolerable_failures: self.get(&checkpointing::TOLERABLE_FAILED)?,
            num_retained: in_memory(self.get(&storage::NUM_RETAINED)?.into()),
            retention: self.get(&checkpointing::EXTERNALIZED_RETENTION)?,
            inline_threshold: in_memory(self.get(&storage::DATA_INLINE_THRESHOLD)?.bytes()),
            write_buffer: in_memory(self.get(&storage::WRITE_BUFFER_SIZE)?.into()),
            create_subdir: self.get(&storage::CREATE_SUBDIR)?,
            ack_bytes_max: self.get(&storage::MESSAGE_SIZE_MAX)?.bytes(),
            incremental: self.get_optional(&storage::INCREMENTAL)?.unwrap_or(true),
            final_checkpoint: self.get(&checkpointing::AFTER_TASKS_FINISH)?,
        })
    }

    /// When and how often the job is started again. Unset, it depends on whether periodic checkpoints are taken.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), if a value is not valid.
    pub fn restart_settings(&self) -> Result<RestartSettings> {
        let kind = match self.get_optional(&restart::TYPE)? {
            Some(kind) => kind,
            None if self.get_optional(&checkpointing::INTERVAL)?.is_some() => {
                RestartStrategyType::ExponentialDelay
            }
            None => RestartStrategyType::Disable,
        };
        Ok(match kind {
            RestartStrategyType::Disable => RestartSettings::None,
            RestartStrategyType::FixedDelay => RestartSettings::FixedDelay {
                attempts: self.get(&restart::FIXED_DELAY_ATTEMPTS)?.into(),
                delay: self.get(&restart::FIXED_DELAY_DELAY)?,
            },
            RestartStrategyType::FailureRate => RestartSettings::FailureRate {
                max_failures: self.get(&restart::FAILURE_RATE_MAX_FAILURES)?.into(),
                interval: self.get(&restart::FAILURE_RATE_INTERVAL)?,
                delay: self.get(&restart::FAILURE_RATE_DELAY)?,
            },
            RestartStrategyType::ExponentialDelay => RestartSettings::ExponentialDelay {
                initial: self.get(&restart::EXPONENTIAL_INITIAL_BACKOFF)?,
                max: self.get(&restart::EXPONENTIAL_MAX_BACKOFF)?,
                multiplier: self.get(&restart::EXPONENTIAL_MULTIPLIER)?,
                reset_threshold: self.get(&restart::EXPONENTIAL_RESET_THRESHOLD)?,
                jitter_factor: self.get(&restart::EXPONENTIAL_JITTER)?,
                attempts_before_reset: match self.get(&restart::EXPONENTIAL_ATTEMPTS)? {
                    restart::UNBOUNDED => u64::MAX,
                    attempts => attempts.into(),
                },
            },
        })
    }

    /// How a killed program finds its latest checkpoint again.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), if a value is not valid, or the folder is missing.
    pub fn ha_settings(&self) -> Result<HaSettings> {
        Ok(match self.get(&high_availability::TYPE)? {
            HighAvailabilityType::None => HaSettings::None,
            HighAvailabilityType::Filesystem => {
                // For the error if it is not set.
                self.get(&high_availability::STORAGE_DIR)?;
                HaSettings::Filesystem {
                    storage_dir: self
                        .location(&high_availability::STORAGE_DIR)?
                        .unwrap_or_default(),
                    cluster_id: self.get(&high_availability::CLUSTER_ID)?,
                    take_over: self.get(&high_availability::TAKE_OVER)?,
                }
            }
        })
    }

    /// How this process takes part in a cluster.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), if a value is not valid.
    pub fn cluster_settings(&self) -> Result<ClusterSettings> {
        Ok(ClusterSettings {
            addresses: self.get(&cluster::ADDRESSES)?,
            process_index: self.get(&cluster::PROCESS_INDEX)?,
            slots: self.get(&cluster::TASK_SLOTS)?,
            rejoin_timeout: self.get(&cluster::REJOIN_TIMEOUT)?,
            heartbeat_interval: self.get(&cluster::HEARTBEAT_INTERVAL)?,
            heartbeat_timeout: self.get(&cluster::HEARTBEAT_TIMEOUT)?,
        })
    }

    /// The folder or file that the value of `option` names, as an absolute path; nothing if it is not set. A path that begins with
    /// `/` is one of `fs.default-scheme` if that is set.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with origin, key and value, if it is neither a path
    /// nor the address of a file.
    pub fn location(&self, option: &ConfigOption<String>) -> Result<Option<PathBuf>> {
        self.place_of(option, parse_location)
    }

    /// Where checkpoints are written, which may be remote storage; nothing if `execution.checkpointing.dir` is not set.
    ///
    /// # Errors
    /// As [`location`](Self::location).
    pub fn checkpoint_location(&self) -> Result<Option<CheckpointLocation>> {
        self.place_of(&storage::DIR, CheckpointLocation::parse)
    }

    fn place_of<T>(
        &self,
        option: &ConfigOption<String>,
        parse: impl FnOnce(&str, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get_optional(option)? else {
            return Ok(None);
        };
        let found = self.find(option.info());
        let key = found.map_or(option.key(), |found| found.key);
        let address = match self.get_optional(&storage::DEFAULT_SCHEME)? {
            Some(scheme) if value.starts_with('/') => format!("{}{value}", scheme.trim_end_matches('/')),
            _ => value,
        };
        parse(key, &address)
            .map(Some)
            .map_err(|error| error.context(self.origin(option)))
    }

    /// How local copies of snapshots in remote storage are made and used.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), if a value is not valid.
    pub fn cache_settings(&self) -> Result<CacheSettings> {
        let first = |option| -> Result<Option<String>> {
            let dirs: Option<Vec<String>> = self.get_optional(option)?;
            Ok(dirs.and_then(|dirs| dirs.into_iter().next()))
        };
        let folder = match first(&recovery::LOCAL_BACKUP_DIRS)? {
            Some(dir) => parse_location(recovery::LOCAL_BACKUP_DIRS.key(), &dir)
                .map_err(|error| error.context(self.origin(&recovery::LOCAL_BACKUP_DIRS)))?,
            None => first(&execution::TMP_DIRS)?
                .map_or_else(std::env::temp_dir, PathBuf::from)
                .join(LOCAL_STATE),
        };
        Ok(CacheSettings {
            folder,
            bytes_max: self.get(&recovery::LOCAL_BACKUP_SIZE_MAX)?.bytes(),
            backup: self.get(&recovery::LOCAL_BACKUP)?,
            from_local: self.get(&recovery::FROM_LOCAL)?,
        })
    }
}

/// Name of the folder for local copies of snapshots, below that for temporary files.
const LOCAL_STATE: &str = "millpond-local-state";

/// `number` as a length in memory; what does not fit is as good as unbounded.
fn in_memory(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::checkpoint::{CheckpointingMode, Retention};

    fn configured(settings: &[(&str, &str)]) -> Configuration {
        let mut config = Configuration::new();
        for (key, value) in settings {
            config.set_string(*key, *value);
        }
        config
    }

    #[test]
    fn the_defaults_of_the_options_are_those_of_the_parts() {
        let config = Configuration::new();
        assert_eq!(
            config.checkpoint_settings().unwrap(),
            CheckpointSettings::default()
        );
        assert_eq!(config.restart_settings().unwrap(), RestartSettings::None);
        assert_eq!(config.ha_settings().unwrap(), HaSettings::None);
        assert_eq!(config.cluster_settings().unwrap().processes(), 1);
        config.cluster_settings().unwrap().validate().unwrap();
    }

    #[test]
    fn every_checkpoint_option_arrives() {
        let config = configured(&[
            ("execution.checkpointing.interval", "200"),
            ("execution.checkpointing.mode", "at-least-once"),
            ("execution.checkpointing.timeout", "5 s"),
            ("execution.checkpointing.min-pause", "9223372036854775807"),
            ("execution.checkpointing.max-concurrent-checkpoints", "3"),
            ("execution.checkpointing.tolerable-failed-checkpoints", "4"),
            ("execution.checkpointing.num-retained", "5"),
            (
                "execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION",
            ),
            ("execution.checkpointing.data-inline-threshold", "6 kb"),
            ("execution.checkpointing.write-buffer-size", "7"),
            ("execution.checkpointing.create-subdir", "false"),
            ("pekko.framesize", "8 kb"),
            ("state.backend.incremental", "false"),
            ("execution.checkpointing.checkpoints-after-tasks-finish", "false"),
        ]);
        assert_eq!(
            config.checkpoint_settings().unwrap(),
            CheckpointSettings {
                interval: Some(Duration::from_millis(200)),
                mode: CheckpointingMode::AtLeastOnce,
                timeout: Duration::from_secs(5),
                min_pause: YEAR,
                max_concurrent: 3,
                tolerable_failures: 4,
                num_retained: 5,
                retention: Retention::RetainOnCancellation,
                inline_threshold: 6 * 1024,
                write_buffer: 7,
                create_subdir: false,
                ack_bytes_max: 8 * 1024,
                incremental: false,
                final_checkpoint: false,
            }
        );
    }

    #[test]
    fn the_restart_strategy_depends_on_checkpoints_unless_it_is_named() {
        let interval = ("execution.checkpointing.interval", "1 s");
        assert_eq!(
            configured(&[interval]).restart_settings().unwrap(),
            RestartSettings::default_for(true)
        );
        assert_eq!(
            configured(&[interval, ("restart-strategy", "none")])
                .restart_settings()
                .unwrap(),
            RestartSettings::None
        );
        assert_eq!(
            configured(&[("restart-strategy.type", "fixed-delay")])
                .restart_settings()
                .unwrap(),
            RestartSettings::fixed_delay()
        );
        assert_eq!(
            configured(&[("restart-strategy.type", "failure-rate")])
                .restart_settings()
                .unwrap(),
            RestartSettings::failure_rate()
        );
    }

    #[test]
    fn a_location_that_is_none_is_refused_with_its_origin() {
        let config = configured(&[("state.checkpoints.dir", "gopher://x/y")]);
        let error = config.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let place = "set by the program: state.checkpoints.dir: 'gopher://x/y' is not a place for files";
        assert!(error.message().starts_with(place), "{error}");
        let config = configured(&[("state.checkpoints.dir", "file:///tmp/c")]);
        assert_eq!(config.location(&storage::DIR).unwrap(), Some("/tmp/c".into()));
        assert_eq!(config.location(&storage::SAVEPOINT_DIR).unwrap(), None);
    }

    #[test]
    fn only_checkpoints_may_be_in_remote_storage() {
        let memory = "memory://name/c";
        let config = configured(&[("execution.checkpointing.dir", memory)]);
        config.validate().unwrap();
        let found = config.checkpoint_location().unwrap().unwrap();
        assert_eq!(found.to_string(), memory);
        let config = configured(&[("execution.checkpointing.savepoint-dir", memory)]);
        assert_eq!(config.validate().unwrap_err().kind(), ErrorKind::Configuration);
    }

    #[test]
    fn local_copies_are_off_and_below_the_temporary_folder_unless_something_else_is_set() {
        let settings = Configuration::new().cache_settings().unwrap();
        assert_eq!(
            settings,
            CacheSettings {
                folder: std::env::temp_dir().join("millpond-local-state"),
                bytes_max: 10 << 30,
                backup: false,
                from_local: false,
            }
        );
        let config = configured(&[
            ("state.backend.local-recovery", "true"),
            ("taskmanager.state.local.root-dirs", "/a,/b"),
            ("execution.checkpointing.local-backup.size-max", "1 mb"),
            ("io.tmp.dirs", "/tmp/x"),
        ]);
        let settings = config.cache_settings().unwrap();
        assert_eq!(settings.folder, PathBuf::from("/a"));
        assert_eq!(settings.bytes_max, 1 << 20);
        assert!(settings.backup && settings.from_local);
        assert_eq!(config.warnings(), Vec::<String>::new());
    }

    #[test]
    fn the_default_scheme_holds_for_paths_without_one() {
        let with = |scheme: &str, dir: &str| {
            configured(&[
                ("fs.default-scheme", scheme),
                ("execution.checkpointing.dir", dir),
            ])
            .location(&storage::DIR)
        };
        assert_eq!(with("file:///", "/tmp/c").unwrap(), Some("/tmp/c".into()));
        assert_eq!(
            with("hdfs://name:9000/", "file:///tmp/c").unwrap(),
            Some("/tmp/c".into())
        );
        let error = with("hdfs://name:9000/", "/tmp/c").unwrap_err().to_string();
        assert!(error.contains("'hdfs://name:9000/tmp/c'"), "{error}");
    }

    #[test]
    fn a_folder_of_high_availability_that_is_off_may_be_anywhere() {
        let mut config = configured(&[("recovery.zookeeper.storageDir", "hdfs://name/x")]);
        config.validate().unwrap();
        config.set_string("high-availability", "filesystem");
        assert!(config.validate().is_err());
    }

    #[test]
    fn high_availability_invents_no_folder_of_checkpoints() {
        let ha = [
            ("high-availability", "filesystem"),
            ("high-availability.storageDir", "file:///tmp/ha"),
        ];
        assert_eq!(configured(&ha).checkpoint_location().unwrap(), None);
        assert_eq!(configured(&ha).location(&storage::SAVEPOINT_DIR).unwrap(), None);
        let own = ("execution.checkpointing.dir", "file:///tmp/checkpoints");
        let config = configured(&[ha[0], ha[1], own]);
        assert!(config.checkpoint_location().unwrap().is_some());
    }

    #[test]
    fn high_availability_in_files_has_its_folder() {
        let config = configured(&[
            ("high-availability", "filesystem"),
            ("high-availability.storageDir", "file:///tmp/ha"),
        ]);
        assert_eq!(
            config.ha_settings().unwrap(),
            HaSettings::Filesystem {
                storage_dir: "/tmp/ha".into(),
                cluster_id: "/default".into(),
                take_over: false,
            }
        );
        assert!(
            configured(&[("high-availability", "filesystem")])
                .ha_settings()
                .is_err()
        );
    }
}
