//! Defaults, types and families of options.

use std::collections::BTreeMap;
use std::time::Duration;

use super::from_yaml;
use crate::ErrorKind;
use crate::checkpoint::CheckpointingMode;
use crate::config::options::{all, backend, checkpointing, cluster, restart, rocksdb, storage};
use crate::config::*;

#[test]
fn every_default_is_a_valid_value_and_every_option_has_a_meaning() {
    let config = Configuration::new();
    for option in all() {
        let info = option.info();
        option.check(&config).unwrap();
        assert!(info.description.trim().ends_with('.'), "{}", info.key);
        if let Some(default) = info.default {
            let mut config = Configuration::new();
            config.set_string(info.key.replace("<name>", "x"), default);
            option.check(&config).unwrap();
        }
    }
}

#[test]
fn no_name_belongs_to_two_options_of_the_same_meaning() {
    // A count says both which strategy and how often.
    let shared = ["execution-retries.default"];
    let mut owners = BTreeMap::new();
    for option in all() {
        for name in option.info().names().filter(|name| !shared.contains(name)) {
            let other = owners.insert(name, option.info().key);
            assert_eq!(other, None, "{name}");
        }
    }
}

#[test]
fn an_option_that_is_not_set_has_its_default_and_that_origin() {
    let config = Configuration::new();
    assert_eq!(
        config.get(&checkpointing::TIMEOUT).unwrap(),
        Duration::from_secs(600)
    );
    assert_eq!(
        config.get(&storage::DATA_INLINE_THRESHOLD).unwrap(),
        MemorySize::from_kib(20)
    );
    assert_eq!(
        config.get(&checkpointing::MODE).unwrap(),
        CheckpointingMode::ExactlyOnce
    );
    assert_eq!(config.get(&backend::TYPE).unwrap(), "hashmap");
    assert_eq!(config.get_optional(&checkpointing::INTERVAL).unwrap(), None);
    assert_eq!(config.origin(&backend::TYPE), Origin::Default);
    let error = config.get(&checkpointing::DIR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error
            .to_string()
            .starts_with("execution.checkpointing.dir is not set"),
        "{error}"
    );
}

#[test]
fn what_is_set_by_type_is_read_back() {
    let mut config = Configuration::new();
    config
        .set(&checkpointing::INTERVAL, Duration::from_millis(1_500))
        .set(&checkpointing::MODE, CheckpointingMode::AtLeastOnce)
        .set(&rocksdb::WRITE_BUFFER_SIZE, MemorySize(12_345))
        .set(&cluster::ADDRESSES, vec!["a:1".into(), "b:2".into()])
        .set(&restart::EXPONENTIAL_JITTER, 0.25);
    config.validate().unwrap();
    assert_eq!(
        config.get(&checkpointing::INTERVAL).unwrap(),
        Duration::from_millis(1_500)
    );
    assert_eq!(
        config.get(&checkpointing::MODE).unwrap(),
        CheckpointingMode::AtLeastOnce
    );
    assert_eq!(
        config.get(&rocksdb::WRITE_BUFFER_SIZE).unwrap(),
        MemorySize(12_345)
    );
    assert_eq!(config.get(&cluster::ADDRESSES).unwrap(), ["a:1", "b:2"]);
    assert_eq!(
        config.get(&restart::EXPONENTIAL_JITTER).unwrap().to_string(),
        "0.25"
    );
}

#[test]
fn a_family_of_options_is_read_by_name() {
    let config =
        from_yaml("metrics.reporter.prom.factory.class: prometheus\nmetrics.reporter.prom.interval: 2 s\n");
    let interval = &options::metrics::REPORTER_INTERVAL;
    assert_eq!(
        config.get_named(interval, "prom").unwrap(),
        Duration::from_secs(2)
    );
    assert_eq!(
        config.get_named(interval, "other").unwrap(),
        Duration::from_secs(10)
    );
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());

    let config = from_yaml("metrics.reporter.prom.interval: soon\n");
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .contains(":1: metrics.reporter.prom.interval: 'soon'")
    );
}
