//! The job of these tests: numbers, counted by their remainder, with faults on demand.

use crate::backend::{ChainFactory, Event, Events};
use crate::rationed::Rationed;
use millpond_engine::api::{JobExecutionResult, StreamExecutionEnvironment};
use millpond_engine::checkpoint::metadata;
use millpond_engine::connectors::sinks::CollectSink;
use millpond_engine::connectors::sources::SequenceSource;
use millpond_engine::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records of the whole input.
pub(crate) const RECORDS: u64 = 3000;
const KEYS: u64 = 40;
/// Records from one checkpoint to the next in each of the two subtasks of the source, however long a checkpoint takes.
const BETWEEN_CHECKPOINTS: usize = 40;

/// What is done at a record; the number is how often the record was seen, from 1.
type Hook = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A run of the job.
pub(crate) struct Run {
    settings: Vec<(String, String)>,
    hook: Hook,
    pub(crate) events: Events,
    name: String,
}

pub(crate) struct Ended {
    pub(crate) result: Result<JobExecutionResult>,
    /// Every count that was emitted and committed, by key.
    counts: BTreeMap<u64, BTreeSet<u64>>,
    pub(crate) events: Events,
}

impl Run {
    /// A run whose checkpoints are below `root`.
    pub(crate) fn new(root: &Path) -> Self {
        let run = Self {
            settings: Vec::new(),
            hook: Arc::new(|_, _| {}),
            events: Events::default(),
            name: "counts".into(),
        };
        run.set("state.backend.type", "chain")
            .set("execution.checkpointing.interval", "20 ms")
            .set("execution.checkpointing.dir", root.display())
            .set("execution.checkpointing.num-retained", 3)
            .set(
                "execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION",
            )
            // Small deltas ride inline, bases and large deltas are files.
            .set("execution.checkpointing.data-inline-threshold", "1 kb")
            .set("restart-strategy.type", "fixed-delay")
            .set("restart-strategy.fixed-delay.attempts", 20)
            .set("restart-strategy.fixed-delay.delay", "1 ms")
    }

    pub(crate) fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// Does something when record `.0` comes for the `.1`-th time.
    pub(crate) fn at_records(mut self, hook: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.hook = Arc::new(hook);
        self
    }

    /// Fails whenever this record comes, for good.
    pub(crate) fn fails_at(self, record: u64) -> Self {
        self.set("restart-strategy.type", "none")
            .at_records(move |number, _| assert!(number != record, "told to fail"))
    }

    pub(crate) fn run(&self) -> Ended {
        let env = StreamExecutionEnvironment::new();
        env.configure(|config| {
            for (key, value) in &self.settings {
                config.set_string(key, value);
            }
        });
        env.set_parallelism(2);
        env.register_state_backend(ChainFactory {
            events: self.events.clone(),
        })
        .unwrap();
        let seen: Arc<Vec<AtomicU64>> = Arc::new((0..RECORDS).map(|_| AtomicU64::new(0)).collect());
        let hook = Arc::clone(&self.hook);
        let sink = CollectSink::new();
        let results = sink.results();
        let source = Rationed::new(SequenceSource::new(0..RECORDS), BETWEEN_CHECKPOINTS);
        env.from_source(source, "numbers")
            .uid("numbers")
            .map(move |number: u64| {
                let times = seen[usize::try_from(number).unwrap()].fetch_add(1, Ordering::Relaxed) + 1;
                hook(number, times);
                number
            })
            .key_by(|number: &u64| number % KEYS)
            .count()
            .uid("counts")
            .sink_to_2pc(sink);
        let result = env.execute(&self.name);
        let mut counts: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (key, count) in results.take() {
            counts.entry(key).or_default().insert(count);
        }
        Ended {
            result,
            counts,
            events: self.events.clone(),
        }
    }
}

impl Ended {
    pub(crate) fn error(&self) -> &Error {
        self.result.as_ref().unwrap_err()
    }

    pub(crate) fn finished(&self) -> &JobExecutionResult {
        self.result.as_ref().unwrap()
    }

    /// That no record was lost or counted twice: the counts of each key end with the right one, and from the first that this run emitted none is left out.
    pub(crate) fn assert_exact(&self) {
        self.assert_exact_after(None);
    }

    /// The same for a run that went on from a checkpoint of `before`: one of the two subtasks of the source may have been at its end there, and then half of
    /// the keys have their last count from that run.
    pub(crate) fn assert_exact_after(&self, before: Option<&Self>) {
        self.finished();
        for key in 0..KEYS {
            let before = before.and_then(|before| before.counts.get(&key)?.last());
            assert!(
                self.counts.contains_key(&key) || before == Some(&(RECORDS / KEYS)),
                "key {key}: nothing after {before:?}"
            );
        }
        for (key, counts) in &self.counts {
            assert_eq!(counts.last(), Some(&(RECORDS / KEYS)), "key {key}");
            let first = counts.first().unwrap();
            assert_eq!(
                counts.len() as u64,
                RECORDS / KEYS - first + 1,
                "key {key}: {counts:?}"
            );
        }
    }

    pub(crate) fn asked(&self) -> Vec<(u64, bool)> {
        let asked = |event| match event {
            Event::Asked { id, may_share } => Some((id, may_share)),
            _ => None,
        };
        self.events.all().into_iter().filter_map(asked).collect()
    }
}

/// The checkpoints of the one job below `root`, oldest first.
pub(crate) fn checkpoints(root: &Path) -> Vec<PathBuf> {
    let number =
        |path: &PathBuf| -> Option<u64> { path.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok() };
    let mut found: Vec<_> = names(&only_job(root))
        .into_iter()
        .filter(|path| number(path).is_some() && path.join("_metadata").exists())
        .collect();
    found.sort_by_key(number);
    found
}

pub(crate) fn only_job(root: &Path) -> PathBuf {
    let jobs = names(root);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs[0].clone()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// The files that a checkpoint names, by their paths below the job's folder.
pub(crate) fn named(checkpoint: &Path) -> BTreeSet<String> {
    let metadata = metadata::read_file(&checkpoint.join("_metadata")).unwrap();
    let files = metadata.subtasks().flat_map(|subtask| subtask.files());
    files
        .filter_map(|file| file.owned_path().map(str::to_owned))
        .collect()
}

/// That what is on disk is what the retained checkpoints name.
pub(crate) fn assert_no_orphans(root: &Path) {
    let job = only_job(root);
    let named: BTreeSet<String> = checkpoints(root).iter().flat_map(|path| named(path)).collect();
    let shared: BTreeSet<String> = names(&job.join("shared"))
        .iter()
        .map(|path| format!("shared/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(shared, named);
    let folders = names(&job)
        .iter()
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("chk-"))
        .count();
    assert_eq!(folders, checkpoints(root).len());
}

/// Flips a bit near the end of a file.
pub(crate) fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}
