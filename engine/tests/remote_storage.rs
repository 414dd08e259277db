//! Whole jobs whose checkpoints are in remote storage, which here is a store in the memory of this process.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use futures_util::TryStreamExt;
use millpond_engine::api::StreamExecutionEnvironment;
use millpond_engine::checkpoint::storage::memory_store;
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const RECORDS: u64 = 20_000;
const KEYS: u64 = 97;

/// A job's folder in a store of its own, and a folder for local copies.
struct Place {
    name: String,
    copies: tempfile::TempDir,
}

impl Place {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            copies: tempfile::tempdir().unwrap(),
        }
    }

    fn configuration(&self, more: &[(&str, &str)]) -> Configuration {
        let dir = format!("memory://{}/checkpoints", self.name);
        let copies = self.copies.path().to_str().unwrap();
        let mut config = Configuration::new();
        let common = [
            ("state.backend.type", "hashmap"),
            ("execution.checkpointing.dir", dir.as_str()),
            ("execution.checkpointing.interval", "20 ms"),
            ("execution.checkpointing.data-inline-threshold", "0 b"),
            ("execution.checkpointing.local-backup.dirs", copies),
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "1"),
            ("restart-strategy.fixed-delay.delay", "1 ms"),
            ("parallelism.default", "2"),
        ];
        for (key, value) in common.iter().chain(more) {
            config.set_string(*key, *value);
        }
        config
    }

    fn copies(&self) -> usize {
        std::fs::read_dir(self.copies.path()).unwrap().count()
    }
}

/// The objects of the store `name`.
fn objects(name: &str) -> Vec<Path> {
    let list = memory_store(name).list(None).map_ok(|object| object.location);
    now(list.try_collect()).unwrap()
}

/// The store in memory answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn is_metadata(object: &Path) -> bool {
    object.filename() == Some("_metadata")
}

/// Counts numbers by key and fails once, when there is a checkpoint to go back to; `before` is called with the store's name just then. Returns the highest count of each key.
fn count(place: &Place, config: Configuration, before: fn(&str)) -> Result<BTreeMap<u64, u64>> {
    let env = StreamExecutionEnvironment::with_configuration(config);
    let sink = CollectSink::<(u64, u64)>::new();
    let results = sink.results();
    let failures = Arc::new(AtomicU32::new(0));
    let name = place.name.clone();
    env.from_source(SequenceSource::new(0..RECORDS), "numbers")
        .uid("numbers")
        .rate_limit(20_000.0)
        .key_by(|number: &u64| number % KEYS)
        .count()
        .uid("count")
        .try_map(move |counted| {
            let (_, count) = counted;
            if count > 20
                && failures.load(Ordering::SeqCst) == 0
                && objects(&name).iter().any(is_metadata)
                && failures.swap(1, Ordering::SeqCst) == 0
            {
                before(&name);
                return Err(Error::new(ErrorKind::UserCode, "once"));
            }
            Ok(counted)
        })
        .uid("picky")
        .sink_to_2pc(sink)
        .uid("collect");
    let result = env.execute("remote storage")?;
    assert_eq!(result.attempts, 2);
    let mut counts = BTreeMap::new();
    for (key, count) in results.take() {
        let highest = counts.entry(key).or_insert(0);
        *highest = count.max(*highest);
    }
    Ok(counts)
}

fn expected() -> BTreeMap<u64, u64> {
    (0..KEYS)
        .map(|key| (key, (key..RECORDS).step_by(97).count() as u64))
        .collect()
}

fn lose_the_state(name: &str) {
    for object in objects(name).iter().filter(|object| !is_metadata(object)) {
        now(memory_store(name).delete(object)).unwrap();
    }
}

#[test]
fn job_restores_from_remote_storage_and_leaves_nothing() {
    let place = Place::new("remote");
    let counts = count(&place, place.configuration(&[]), |_| {}).unwrap();
    assert_eq!(counts, expected());
    assert_eq!(objects(&place.name), Vec::new());
    assert_eq!(place.copies(), 0);
}

#[test]
fn job_restores_from_local_copies_without_a_remote_byte() {
    let place = Place::new("local");
    let config = place.configuration(&[("execution.state-recovery.from-local", "true")]);
    let counts = count(&place, config, |name| {
        assert!(objects(name).len() > 1, "there is state to lose");
        lose_the_state(name);
    });
    assert_eq!(counts.unwrap(), expected());
    assert_eq!(objects(&place.name), Vec::new());
}

#[test]
fn job_without_local_copies_says_which_remote_file_is_missing() {
    let place = Place::new("missing");
    let error = count(&place, place.configuration(&[]), lose_the_state).unwrap_err();
    assert!(
        error.to_string().contains("memory://missing/checkpoints/"),
        "{error}"
    );
}

#[test]
fn memory_of_the_coordinator_and_a_remote_folder_do_not_go_together() {
    let place = Place::new("jobmanager");
    let config = place.configuration(&[("execution.checkpointing.storage", "jobmanager")]);
    let error = count(&place, config, |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains("memory://jobmanager/checkpoints"),
        "{error}"
    );
}
