//! What is read without effect, and what is said about it.

use crate::config::options::all;
use crate::config::*;

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
        // No option is near, but the backend's name is.
        (
            "state.backend.rocksbd.nothing-that-was-ever-heard-of-in-any-release",
            Some("is not known"),
        ),
        // Somebody else's.
        ("acme.cache-pages", None),
        ("state.backend.redb.cache-size", None),
        ("metrics.reporter.prom.port", None),
        ("s3.endpoint", None),
        // Known.
        ("state.backend", None),
        ("state.backend.rocksdb.metrics.estimate-num-keys", None),
        // Ours, and not there yet.
        ("state.backend.incremental", None),
        ("execution.checkpointing.snapshot-compression", None),
        ("rest.port", Some("has no effect yet in this version")),
        ("execution.checkpointing.create-subdir", None),
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
        ("state.backend.local-recovery", None),
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
