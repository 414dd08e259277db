//! Which origin and which of several names wins.

use std::time::Duration;

use super::{arguments, folder, from_yaml, without};
use crate::config::options::{backend, checkpointing, cluster, execution, rest, restart, rocksdb};
use crate::config::*;

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
    let warnings = config.warnings();
    assert!(
        warnings
            .iter()
            .all(|text| text.ends_with("has no effect yet in this version")),
        "{warnings:?}"
    );
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
            "jobmanager.web.port",
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
