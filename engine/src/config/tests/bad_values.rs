//! What is refused, and how it is said.

use super::{arguments, folder, without};
use crate::ErrorKind;
use crate::config::options::checkpointing;
use crate::config::*;

#[test]
fn a_bad_value_names_file_line_key_value_and_what_was_expected() {
    let dir = folder(
        "config.yaml",
        "# head\nexecution:\n  checkpointing:\n    interval: 0\n",
    );
    let config = Configuration::from_dir(dir.path()).unwrap();
    let error = config.validate().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(error.exit_code(), 2);
    assert_eq!(
        without(&dir, error.message()),
        "config.yaml:4: execution.checkpointing.interval: '0' is not valid, expected a duration of at least 10 ms; leave the key out to switch checkpoints off"
    );
    assert_eq!(
        config.get(&checkpointing::INTERVAL).unwrap_err().message(),
        error.message()
    );
}

#[test]
fn all_bad_values_are_reported_at_once_a_line_each() {
    let args = arguments(&[
        "-D",
        "parallelism.default=0",
        "-D",
        "state.checkpoints.num-retained=none",
    ]);
    let error = args.configuration().unwrap_err();
    assert_eq!(
        error.message(),
        "2 settings are not valid:\n\
         -D: state.checkpoints.num-retained (read as execution.checkpointing.num-retained): 'none' is not valid, expected a whole number of at least 1\n\
         -D: parallelism.default: '0' is not valid, expected a whole number from 1 to 32768"
    );
}

#[test]
fn values_out_of_range_are_refused_and_those_at_its_edge_are_not() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "execution.checkpointing.interval",
            &["10 ms", "1 d"],
            &["0", "9 ms", "9999 µs", "x"],
        ),
        ("execution.checkpointing.timeout", &["10"], &["0", "9"]),
        ("execution.checkpointing.num-retained", &["1"], &["0", "-1"]),
        (
            "execution.checkpointing.max-concurrent-checkpoints",
            &["1"],
            &["0"],
        ),
        (
            "execution.checkpointing.data-inline-threshold",
            &["0", "1 mb"],
            &["1048577"],
        ),
        (
            "execution.checkpointing.tolerable-failed-checkpoints",
            &["0"],
            &["-1"],
        ),
        ("parallelism.default", &["1", "32768"], &["0", "-1", "32769"]),
        (
            "pipeline.max-parallelism",
            &["-1", "1", "32768"],
            &["0", "-2", "32769"],
        ),
        ("taskmanager.numberOfTaskSlots", &["1"], &["0"]),
        (
            "high-availability.type",
            &["none", "NONE"],
            &["zookeeper", "etcd"],
        ),
        (
            "restart-strategy.exponential-delay.backoff-multiplier",
            &["1", "1.0"],
            &["0.9", "NaN"],
        ),
        (
            "restart-strategy.exponential-delay.jitter-factor",
            &["0", "1"],
            &["1.1", "-0.1"],
        ),
        (
            "state.backend.rocksdb.compression.per.level",
            &["lz4_compression;ZSTD_COMPRESSION"],
            &["lz5", ""],
        ),
        ("heartbeat.rpc-failure-threshold", &["-1", "1"], &["0", "-2"]),
        ("rest.bind-port", &["0", "8081-8090"], &["http"]),
        ("execution.checkpointing.dir", &["/tmp"], &["", " "]),
        ("cluster.rejoin-timeout", &["1"], &["0"]),
    ];
    for (key, good, bad) in cases {
        for value in *good {
            let mut config = Configuration::new();
            config.set_string(*key, *value);
            config.validate().unwrap();
        }
        for value in *bad {
            let mut config = Configuration::new();
            config.set_string(*key, *value);
            let error = config.validate().unwrap_err();
            let place = format!("set by the program: {key}: '{value}' is not valid, expected ");
            assert!(error.message().starts_with(&place), "{error}");
        }
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("parallelism.default", "5"), ("pipeline.max-parallelism", "4")],
            "set by the program: parallelism.default: '5' is more than pipeline.max-parallelism, expected at most 4",
        ),
        (
            &[("cluster.process-index", "1")],
            "set by the program: cluster.process-index: '1' is not valid, expected cluster.addresses to be set as well, or no index",
        ),
        (
            &[("cluster.process-index", "2"), ("cluster.addresses", "a:1,b:2")],
            "set by the program: cluster.process-index: '2' is not valid, expected a whole number from 0 to 1, since cluster.addresses has 2",
        ),
        (
            &[("cluster.addresses", "a:1;a:1")],
            "set by the program: cluster.addresses: 'a:1;a:1' is not valid, expected each address once, 'a:1' is there twice",
        ),
        (
            &[("high-availability", "filesystem")],
            "set by the program: high-availability: 'filesystem' needs a folder, expected high-availability.storageDir to be set as well",
        ),
        (
            &[("restart-strategy.exponential-delay.initial-backoff", "2 min")],
            "set by the program: restart-strategy.exponential-delay.initial-backoff: '2 min' is not valid, expected at most 1 min, the value of restart-strategy.exponential-delay.max-backoff",
        ),
        (
            &[("heartbeat.timeout", "10 s")],
            "default: heartbeat.interval: '10 s' is not valid, expected less than 10 s, the value of heartbeat.timeout",
        ),
    ];
    for (settings, message) in cases {
        let mut config = Configuration::new();
        for (key, value) in *settings {
            config.set_string(*key, *value);
        }
        config.validate_values().unwrap();
        assert_eq!(config.validate().unwrap_err().message(), *message);
    }
}

#[test]
fn secrets_are_printed_nowhere() {
    const PIN: ConfigOption<u16> = ConfigOption::new("acme.secret-pin");
    let mut config = Configuration::new();
    config
        .set_string("acme.secret-pin", "hunter2")
        .set_string("rest.port", "1");
    let error = config.get(&PIN).unwrap_err().to_string();
    assert_eq!(
        error,
        "set by the program: acme.secret-pin: '******' is not valid, expected a whole number from 0 to 65535"
    );
    let args = arguments(&["-D", "acme.secret-pin=hunter2"]);
    for shown in [format!("{config:?}"), format!("{args:?}")] {
        assert!(!shown.contains("hunter2") && shown.contains("******"), "{shown}");
    }
}
