//! Behaviour that takes several files of this module, and the pages that are kept true by tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use super::options::{
    all, backend, checkpointing, cluster, execution, recovery, rest, restart, rocksdb, storage,
};
use super::*;
use crate::ErrorKind;

/// A configuration folder with one file.
fn folder(file: &str, text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file), text).unwrap();
    dir
}

fn from_yaml(text: &str) -> Configuration {
    Configuration::from_dir(folder("config.yaml", text).path()).unwrap()
}

/// `text` without the folder's own name, which differs from run to run.
fn without(dir: &tempfile::TempDir, text: &str) -> String {
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    common: CommonArgs,
}

fn arguments(list: &[&str]) -> CommonArgs {
    let mut args = Program::parse_from(std::iter::once("program").chain(list.iter().copied())).common;
    // The environment of the test run must not decide.
    if !list.contains(&"--conf") {
        args.conf = None;
    }
    args
}

// ---- options --------------------------------------------------------------------------------------------------------------

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

// ---- precedence and old keys ----------------------------------------------------------------------------------------------

#[test]
fn a_stronger_origin_wins_whatever_the_order() {
    let dir = folder(
        "config.yaml",
        "parallelism.default: 2\nrest.port: 1\nweb.history: 7\n",
    );
    let args = arguments(&[
        "--conf",
        dir.path().to_str().unwrap(),
        "-D",
        "parallelism.default=3",
        "-Drest.port=2",
    ]);
    let mut config = args.configuration().unwrap();
    config.set(&execution::PARALLELISM, 4);
    assert_eq!(config.get(&execution::PARALLELISM).unwrap(), 4);
    assert_eq!(config.origin(&execution::PARALLELISM), Origin::Program);
    assert_eq!(config.get(&rest::PORT).unwrap(), 2);
    assert_eq!(config.origin(&rest::PORT).to_string(), "-D");
    assert_eq!(config.get(&rest::HISTORY).unwrap(), 7);
    assert_eq!(
        without(&dir, &config.origin(&rest::HISTORY).to_string()),
        "config.yaml:3"
    );

    config.insert("parallelism.default", "9".into(), Origin::Argument("-D"));
    assert_eq!(config.get(&execution::PARALLELISM).unwrap(), 4);
}

#[test]
fn an_old_key_is_honoured_and_the_new_one_wins_within_a_file_with_a_warning() {
    let config = from_yaml("state.backend: filesystem\nstate.backend.fs.checkpointdir: file:///old\n");
    assert_eq!(config.get(&backend::TYPE).unwrap(), "filesystem");
    assert_eq!(config.get(&checkpointing::DIR).unwrap(), "file:///old");
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());

    let dir = folder(
        "config.yaml",
        "state.backend.fs.checkpointdir: file:///oldest\nstate.checkpoints.dir: file:///old\nexecution.checkpointing.dir: file:///new\n",
    );
    let config = Configuration::from_dir(dir.path()).unwrap();
    assert_eq!(config.get(&checkpointing::DIR).unwrap(), "file:///new");
    let warnings: Vec<_> = config.warnings().iter().map(|text| without(&dir, text)).collect();
    assert_eq!(
        warnings,
        [
            "config.yaml:2: state.checkpoints.dir is an old name of execution.checkpointing.dir and has no effect, since execution.checkpointing.dir is given as well (config.yaml:3)",
            "config.yaml:1: state.backend.fs.checkpointdir is an old name of execution.checkpointing.dir and has no effect, since execution.checkpointing.dir is given as well (config.yaml:3)",
        ]
    );
}

#[test]
fn an_old_key_on_the_command_line_beats_the_new_one_in_the_file() {
    let dir = folder("config.yaml", "state.backend.type: hashmap\n");
    let args = arguments(&[
        "--conf",
        dir.path().to_str().unwrap(),
        "-D",
        "state.backend=rocksdb",
    ]);
    let config = args.configuration().unwrap();
    assert_eq!(config.get(&backend::TYPE).unwrap(), "rocksdb");
    assert_eq!(config.origin(&backend::TYPE).to_string(), "-D");
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn a_fallback_is_asked_last() {
    let config = from_yaml("rest.port: 9000\njobmanager.rpc.address: master\n");
    assert_eq!(config.get(&rest::BIND_PORT).unwrap(), "9000");
    assert_eq!(config.get(&rest::ADDRESS).unwrap(), "master");
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    let mut config = from_yaml("rest.bind-port: 9001-9005\n");
    config.set(&rest::PORT, 9000);
    assert_eq!(config.get(&rest::BIND_PORT).unwrap(), "9001-9005");
}

#[test]
fn execution_retries_are_a_fixed_delay_strategy() {
    let config = from_yaml("execution-retries.default: 3\nexecution-retries.delay: 5 s\n");
    config.validate().unwrap();
    assert_eq!(
        config.get(&restart::TYPE).unwrap(),
        RestartStrategyType::FixedDelay
    );
    assert_eq!(config.get(&restart::FIXED_DELAY_ATTEMPTS).unwrap(), 3);
    assert_eq!(
        config.get(&restart::FIXED_DELAY_DELAY).unwrap(),
        Duration::from_secs(5)
    );

    let none = from_yaml("execution-retries.default: 0\n");
    assert_eq!(none.get(&restart::TYPE).unwrap(), RestartStrategyType::Disable);

    let silent = from_yaml("execution-retries.default: -1\n");
    silent.validate().unwrap();
    assert_eq!(silent.get_optional(&restart::TYPE).unwrap(), None);
    assert_eq!(silent.get(&restart::FIXED_DELAY_ATTEMPTS).unwrap(), 1);

    let newer = from_yaml("execution-retries.default: 3\nrestart-strategy: none\n");
    assert_eq!(newer.get(&restart::TYPE).unwrap(), RestartStrategyType::Disable);

    let bad = from_yaml("execution-retries.default: often\n")
        .validate()
        .unwrap_err();
    assert!(
        bad.to_string().contains(
            ":1: execution-retries.default (read as restart-strategy.fixed-delay.attempts): 'often' is not valid"
        ),
        "{bad}"
    );
}

#[test]
fn an_old_file_of_flink_works_as_it_stands() {
    let dir = folder(
        "flink-conf.yaml",
        "jobmanager.rpc.address: localhost\njobmanager.rpc.port: 6123\njobmanager.heap.mb: 256\n\
         taskmanager.heap.mb: 512\ntaskmanager.numberOfTaskSlots: 2\nparallelism.default: 2\n\
         jobmanager.web.port: -1\nstate.backend: filesystem\nstate.backend.fs.checkpointdir: file:///tmp/chk\n\
         taskmanager.tmp.dirs: /tmp\nrecovery.mode: standalone\nenv.java.opts: -Xmx1g\nmy.backend.option: 5\n",
    );
    let config = Configuration::from_dir(dir.path()).unwrap();
    config.validate().unwrap();
    assert_eq!(config.get(&cluster::TASK_SLOTS).unwrap(), 2);
    assert_eq!(config.get(&rest::BIND_PORT).unwrap(), "-1");
    assert_eq!(config.get(&execution::TMP_DIRS).unwrap(), ["/tmp"]);
    assert_eq!(
        config.get(&options::high_availability::TYPE).unwrap(),
        HighAvailabilityType::None
    );
    let warned: Vec<_> = config
        .warnings()
        .iter()
        .map(|text| without(&dir, text).split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        warned,
        [
            "env.java.opts",
            "jobmanager.heap.mb",
            "jobmanager.rpc.port",
            "taskmanager.heap.mb"
        ]
    );
}

#[test]
fn settings_for_backends_carry_the_newest_names() {
    let mut config = from_yaml(
        "state.backend.rocksdb.checkpointdir: [/a, /b]\nstate.backend: rocksdb\nacme.pages: 5\nexecution-retries.default: 2\n",
    );
    config.set(&rocksdb::THREADS, 8);
    let explicit = config.effective(false);
    let expected = [
        ("acme.pages", "5"),
        ("restart-strategy.fixed-delay.attempts", "2"),
        ("restart-strategy.type", "fixed-delay"),
        ("state.backend.rocksdb.localdir", "/a;/b"),
        ("state.backend.rocksdb.thread.num", "8"),
        ("state.backend.type", "rocksdb"),
    ];
    assert_eq!(
        explicit,
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect()
    );
    let all = config.effective(true);
    assert_eq!(all["state.backend.rocksdb.block.blocksize"], "4 kb");
    assert_eq!(all["state.backend.rocksdb.thread.num"], "8");
}

// ---- bad values -----------------------------------------------------------------------------------------------------------

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

// ---- warnings -------------------------------------------------------------------------------------------------------------

#[test]
fn an_unknown_key_below_our_prefixes_is_a_warning_with_the_nearest_key() {
    let cases: &[(&str, Option<&str>)] = &[
        (
            "execution.checkpointing.intervall",
            Some("is not known; did you mean execution.checkpointing.interval?"),
        ),
        (
            "state.backend.typ",
            Some("is not known; did you mean state.backend.type?"),
        ),
        (
            "state.backend.rocksbd.thread.num",
            Some("is not known; did you mean state.backend.rocksdb.thread.num?"),
        ),
        (
            "paralelism.default",
            Some("is not known; did you mean parallelism.default?"),
        ),
        (
            "High-Availability.StorageDir",
            Some("is not known; did you mean high-availability.storageDir?"),
        ),
        ("cluster.xyzzy-of-nothing-at-all", Some("is not known")),
        // Somebody else's.
        ("acme.cache-pages", None),
        ("state.backend.redb.cache-size", None),
        ("metrics.reporter.prom.port", None),
        ("s3.endpoint", None),
        // Known.
        ("state.backend", None),
        ("state.backend.rocksdb.metrics.estimate-num-keys", None),
        // Flink's, without effect.
        (
            "state.changelog.enabled",
            Some("is an option of Flink that Millpond does not have yet; it is ignored"),
        ),
        (
            "classloader.resolve-order",
            Some("is an option of Flink that has no meaning in Millpond; it is ignored"),
        ),
        (
            "state.backend.async",
            Some("is ignored: snapshots are always asynchronous"),
        ),
        (
            "state.backend.local-recovery",
            Some("has no effect yet: state is restored from the checkpoint storage"),
        ),
    ];
    for (key, warning) in cases {
        let mut config = Configuration::new();
        config.set_string(*key, "true");
        let expected: Vec<_> = warning
            .iter()
            .map(|text| format!("set by the program: {key} {text}"))
            .collect();
        assert_eq!(config.warnings(), expected);
    }
}

#[test]
fn no_option_is_also_listed_as_one_without_effect() {
    for option in all() {
        for name in option.info().names() {
            assert!(
                foreign::why_without_effect(name).is_none()
                    || foreign::KEYS.iter().all(|(key, _)| *key != name),
                "{name}"
            );
        }
    }
}

// ---- folders and arguments ------------------------------------------------------------------------------------------------

#[test]
fn the_new_file_is_read_before_the_old_one() {
    let dir = folder("flink-conf.yaml", "rest.port: 1\n");
    assert_eq!(
        Configuration::from_dir(dir.path())
            .unwrap()
            .get(&rest::PORT)
            .unwrap(),
        1
    );
    std::fs::write(dir.path().join("config.yaml"), "rest.port: 2\n").unwrap();
    let warnings = Configuration::from_dir(dir.path()).unwrap().warnings();
    assert_eq!(
        warnings
            .iter()
            .map(|text| without(&dir, text))
            .collect::<Vec<_>>(),
        ["flink-conf.yaml is not read, since config.yaml is there"]
    );
    assert_eq!(
        Configuration::from_dir(dir.path())
            .unwrap()
            .get(&rest::PORT)
            .unwrap(),
        2
    );
}

#[test]
fn a_folder_that_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    for (path, message) in [
        (
            dir.path().join("absent"),
            format!("cannot read the configuration folder '{shown}/absent': "),
        ),
        (
            dir.path().to_owned(),
            format!("the configuration folder '{shown}' has neither config.yaml nor flink-conf.yaml"),
        ),
    ] {
        let error = Configuration::from_dir(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().starts_with(&message), "{error}");
    }
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, b"a: \xff\n").unwrap();
    let error = Configuration::from_dir(dir.path()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "cannot read the configuration file '{}'",
            file.display()
        )),
        "{error}"
    );
    let error = Configuration::from_dir(&file).unwrap_err().to_string();
    assert!(error.contains("is a file; give the folder"), "{error}");
}

#[test]
fn arguments_become_settings_with_their_origin() {
    let args = arguments(&[
        "-D",
        "rest.port = 9 ",
        "-Dacme.x=a=b",
        "--from-savepoint",
        "/s/1",
        "-D",
        "rest.port=10",
    ]);
    let config = args.configuration().unwrap();
    assert_eq!(config.get(&rest::PORT).unwrap(), 10);
    assert_eq!(config.get(&recovery::PATH).unwrap(), "/s/1");
    assert_eq!(config.origin(&recovery::PATH).to_string(), "--from-savepoint");
    assert_eq!(config.effective(false)["acme.x"], "a=b");
}

#[test]
fn a_definition_that_is_none_is_refused() {
    for definition in ["rest.port", "=5", ""] {
        let args = CommonArgs {
            define: vec![definition.to_owned()],
            ..CommonArgs::default()
        };
        let error = args.configuration().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(
            error.to_string(),
            format!("-D: '{definition}' is no setting, expected key=value")
        );
    }
}

#[test]
fn without_a_folder_no_file_is_read() {
    for conf in [None, Some(PathBuf::new())] {
        let args = CommonArgs {
            conf,
            ..CommonArgs::default()
        };
        assert_eq!(args.configuration().unwrap().iter().count(), 0);
    }
    let args = arguments(&["--conf", "/absent/folder"]);
    assert_eq!(args.configuration().unwrap_err().exit_code(), 2);
}

// ---- pages that are kept true ---------------------------------------------------------------------------------------------

fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn options_page_is_what_the_options_say() {
    let path = repository_file("docs/OPTIONS.md");
    let wanted = options_table();
    if std::env::var_os("MILLPOND_REGENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/OPTIONS.md is not what the options say; write it anew by: \
         MILLPOND_REGENERATE=1 cargo test -p millpond-engine config::tests::options_page"
    );
}

#[test]
fn the_example_configuration_loads_without_a_warning() {
    let config = Configuration::from_dir(repository_file("conf")).unwrap();
    config.validate().unwrap();
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert!(config.iter().count() > 0);
}

#[test]
fn settings_commented_out_in_the_example_are_defaults_or_below_the_word_example() {
    let text = std::fs::read_to_string(repository_file("conf/config.yaml")).unwrap();
    let mut is_example = false;
    for line in text.lines() {
        let Some(setting) = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')) else {
            is_example = line == "# Example:" || (is_example && !line.is_empty() && !line.starts_with("# "));
            continue;
        };
        if setting.is_empty() {
            continue;
        }
        let config = from_yaml(setting);
        config.validate_values().unwrap();
        assert!(config.warnings().is_empty(), "{setting}");
        let (key, value, _) = config.iter().next().unwrap();
        let option = all().find(|option| option.info().key == key).unwrap();
        assert!(
            is_example || option.info().default == Some(value.to_string().as_str()),
            "{setting} is not the default ({:?})",
            option.info().default
        );
    }
}
