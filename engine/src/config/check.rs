//! Checks of everything that was set, before anything runs.

use std::collections::BTreeSet;

use super::configuration::Configuration;
use super::file::refused;
use super::option::ConfigOption;
use super::options::{all, cluster, control, execution, high_availability, recovery, restart, storage};
use super::secrets::shown;
use super::{ConfigValue, HighAvailabilityType};
use crate::Result;

impl Configuration {
    /// Checks the value of every option that is set, and how options go together.
    ///
    /// To be called when the program has set what it wants to set, before anything runs.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), with all that is wrong, a line each: origin, key,
    /// value, and what was expected.
    pub fn validate(&self) -> Result<()> {
        let mut problems = self.bad_values();
        problems.extend(CHECKS_ACROSS.iter().filter_map(|check| check(self)));
        report(problems)
    }

    /// Checks the value of every option that is set, but not how options go together, since the program may still set others.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_values(&self) -> Result<()> {
        report(self.bad_values())
    }

    fn bad_values(&self) -> Vec<String> {
        // Two options may take their value from one key; what is wrong with it is said once.
        let mut places = BTreeSet::new();
        all()
            .filter_map(|option| option.check(self).err())
            .map(|error| error.message().to_owned())
            .filter(|message| places.insert(message.clone()))
            .collect()
    }

    /// `origin: key: 'value'` for the beginning of a message.
    fn place<T: ConfigValue>(&self, option: &ConfigOption<T>) -> String {
        let found = self.find(option.info());
        let value = found
            .as_ref()
            .map(|found| found.value.to_string())
            .or_else(|| option.default_text().map(str::to_owned))
            .unwrap_or_default();
        let key = found.as_ref().map_or(option.key(), |found| found.key);
        format!("{}: {key}: '{}'", self.origin(option), shown(key, &value))
    }
}

fn report(problems: Vec<String>) -> Result<()> {
    match problems.as_slice() {
        [] => Ok(()),
        [problem] => Err(refused(problem.clone())),
        several => Err(refused(format!(
            "{} settings are not valid:\n{}",
            several.len(),
            several.join("\n")
        ))),
    }
}

/// Checks of several options together. A value that is not valid by itself is reported elsewhere and ends such a check.
const CHECKS_ACROSS: &[fn(&Configuration) -> Option<String>] = &[
    bad_checkpoint_location,
    |config| bad_location(config, &storage::SAVEPOINT_DIR),
    |config| bad_location(config, &recovery::PATH),
    |config| bad_location(config, &control::DIR),
    |config| match config.get(&high_availability::TYPE).ok()? {
        // A file of Flink's may have a folder on a file system that nothing needs here.
        HighAvailabilityType::None => None,
        HighAvailabilityType::Filesystem => bad_location(config, &high_availability::STORAGE_DIR),
    },
    parallelism_within_maximum,
    process_index_within_addresses,
    addresses_differ,
    storage_dir_for_high_availability,
    first_backoff_within_longest,
    heartbeats_within_timeout,
];

fn bad_checkpoint_location(config: &Configuration) -> Option<String> {
    config.get_optional(&storage::DIR).ok()?;
    let location = config.checkpoint_location();
    location.err().map(|error| error.message().to_owned())
}

fn bad_location(config: &Configuration, option: &ConfigOption<String>) -> Option<String> {
    config.get_optional(option).ok()?;
    config
        .location(option)
        .err()
        .map(|error| error.message().to_owned())
}

fn parallelism_within_maximum(config: &Configuration) -> Option<String> {
    let parallelism = config.get(&execution::PARALLELISM).ok()?;
    let maximum = usize::try_from(config.get(&execution::MAX_PARALLELISM).ok()?).ok()?;
    (parallelism > maximum).then(|| {
        format!(
            "{} is more than pipeline.max-parallelism, expected at most {maximum}",
            config.place(&execution::PARALLELISM)
        )
    })
}

fn process_index_within_addresses(config: &Configuration) -> Option<String> {
    let addresses = config.get(&cluster::ADDRESSES).ok()?.len();
    let index = config.get(&cluster::PROCESS_INDEX).ok()?;
    let place = config.place(&cluster::PROCESS_INDEX);
    match addresses {
        0 if index > 0 => Some(format!(
            "{place} is not valid, expected cluster.addresses to be set as well, or no index"
        )),
        1.. if index >= addresses => Some(format!(
            "{place} is not valid, expected a whole number from 0 to {}, since cluster.addresses has {addresses}",
            addresses - 1
        )),
        _ => None,
    }
}

fn addresses_differ(config: &Configuration) -> Option<String> {
    let addresses = config.get(&cluster::ADDRESSES).ok()?;
    let mut seen = BTreeSet::new();
    let twice = addresses.iter().find(|address| !seen.insert(*address))?;
    Some(format!(
        "{} is not valid, expected each address once, '{twice}' is there twice",
        config.place(&cluster::ADDRESSES)
    ))
}

fn storage_dir_for_high_availability(config: &Configuration) -> Option<String> {
    let kind = config.get(&high_availability::TYPE).ok()?;
    let dir = config.get_optional(&high_availability::STORAGE_DIR).ok()?;
    (kind == HighAvailabilityType::Filesystem && dir.is_none()).then(|| {
        format!(
            "{} needs a folder, expected high-availability.storageDir to be set as well",
            config.place(&high_availability::TYPE)
        )
    })
}

fn first_backoff_within_longest(config: &Configuration) -> Option<String> {
    let first = config.get(&restart::EXPONENTIAL_INITIAL_BACKOFF).ok()?;
    let longest = config.get(&restart::EXPONENTIAL_MAX_BACKOFF).ok()?;
    (first > longest).then(|| {
        format!(
            "{} is not valid, expected at most {}, the value of restart-strategy.exponential-delay.max-backoff",
            config.place(&restart::EXPONENTIAL_INITIAL_BACKOFF),
            longest.to_raw()
        )
    })
}

fn heartbeats_within_timeout(config: &Configuration) -> Option<String> {
    let interval = config.get(&cluster::HEARTBEAT_INTERVAL).ok()?;
    let timeout = config.get(&cluster::HEARTBEAT_TIMEOUT).ok()?;
    (interval >= timeout).then(|| {
        format!(
            "{} is not valid, expected less than {}, the value of heartbeat.timeout",
            config.place(&cluster::HEARTBEAT_INTERVAL),
            timeout.to_raw()
        )
    })
}
