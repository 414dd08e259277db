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
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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
            ("restart-strategy.fixed-delay.attempts", "3"),
            ("restart-strategy.fixed-delay.delay", "1 ms"),
            ("parallelism.default", "2"),
        ];
        for (key, value) in common.iter().chain(more) {
            config.set_string(*key, *value);
        }
        config
    }

    fn copies(&self) -> usize {
        copies(self.copies.path()).len()
    }
}

/// The local copies in a folder.
fn copies(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
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

/// What a job counted.
struct Counted {
    /// The highest count of each key.
    counts: BTreeMap<u64, u64>,
    attempts: u64,
    /// Whether there were local copies while it ran after its failure.
    had_copies: bool,
}

/// Counts numbers by key and fails once, when there is a checkpoint to go back to; `before` is called with the store's name and the folder of the copies just then.
fn count(place: &Place, config: Configuration, before: fn(&str, &std::path::Path)) -> Result<Counted> {
    let env = StreamExecutionEnvironment::with_configuration(config);
    let sink = CollectSink::<(u64, u64)>::new();
    let results = sink.results();
    let failures = Arc::new(AtomicU32::new(0));
    let (name, folder) = (place.name.clone(), place.copies.path().to_owned());
    let had_copies = Arc::new(AtomicBool::new(false));
    let copies_seen = Arc::clone(&had_copies);
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
                before(&name, &folder);
                return Err(Error::new(ErrorKind::UserCode, "once"));
            }
            if count % 100 == 0 && failures.load(Ordering::SeqCst) == 1 && !copies(&folder).is_empty() {
                copies_seen.store(true, Ordering::SeqCst);
            }
            Ok(counted)
        })
        .uid("picky")
        .sink_to_2pc(sink)
        .uid("collect");
    let result = env.execute("remote storage")?;
    let mut counts = BTreeMap::new();
    for (key, count) in results.take() {
        let highest = counts.entry(key).or_insert(0);
        *highest = count.max(*highest);
    }
    Ok(Counted {
        counts,
        attempts: result.attempts,
        had_copies: had_copies.load(Ordering::SeqCst),
    })
}

fn expected() -> BTreeMap<u64, u64> {
    (0..KEYS)
        .map(|key| (key, (key..RECORDS).step_by(97).count() as u64))
        .collect()
}

fn lose_the_state(name: &str) {
    let state: Vec<_> = objects(name)
        .into_iter()
        .filter(|object| !is_metadata(object))
        .collect();
    assert!(!state.is_empty(), "there is state to lose");
    for object in state {
        now(memory_store(name).delete(&object)).unwrap();
    }
}

/// Both backends with files: one reads them as streams, one maps them.
const BACKENDS: [&str; 2] = ["hashmap", "filesystem"];

#[test]
fn job_restores_from_remote_storage_and_leaves_nothing() {
    for backend in BACKENDS {
        let place = Place::new(&format!("remote-{backend}"));
        let config = place.configuration(&[("state.backend.type", backend)]);
        let counted = count(&place, config, |_, _| {}).unwrap();
        assert_eq!(counted.counts, expected());
        assert_eq!(counted.attempts, 2);
        assert_eq!(counted.had_copies, backend == "filesystem", "{backend}");
        assert_eq!(objects(&place.name), Vec::new());
        assert_eq!(place.copies(), 0);
    }
}

#[test]
fn job_restores_from_local_copies_without_a_remote_byte() {
    for backend in BACKENDS {
        let place = Place::new(&format!("local-{backend}"));
        let config = place.configuration(&[
            ("state.backend.type", backend),
            ("execution.state-recovery.from-local", "true"),
        ]);
        let counted = count(&place, config, |name, _| lose_the_state(name)).unwrap();
        assert_eq!(counted.counts, expected());
        assert_eq!(counted.attempts, 2);
        assert_eq!(objects(&place.name), Vec::new());
    }
}

#[test]
fn job_with_damaged_local_copies_restores_from_remote_storage() {
    for backend in BACKENDS {
        let place = Place::new(&format!("damaged-{backend}"));
        let config = place.configuration(&[
            ("state.backend.type", backend),
            ("execution.state-recovery.from-local", "true"),
        ]);
        let counted = count(&place, config, |_, folder| {
            for copy in copies(folder) {
                // Others delete, too.
                let Ok(mut bytes) = std::fs::read(&copy) else {
                    continue;
                };
                bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
                std::fs::write(&copy, bytes).unwrap();
            }
        });
        assert_eq!(counted.unwrap().counts, expected());
    }
}

#[test]
fn job_without_local_copies_says_which_remote_file_is_missing() {
    let place = Place::new("missing");
    let error = count(&place, place.configuration(&[]), |name, _| lose_the_state(name))
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("memory://missing/checkpoints/"),
        "{error}"
    );
}

#[test]
fn memory_of_the_coordinator_and_a_remote_folder_do_not_go_together() {
    let place = Place::new("jobmanager");
    let config = place.configuration(&[("execution.checkpointing.storage", "jobmanager")]);
    let error = count(&place, config, |_, _| {}).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains("memory://jobmanager/checkpoints"),
        "{error}"
    );
}
