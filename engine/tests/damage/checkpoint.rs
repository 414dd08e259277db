//! A small checkpoint on disk, and the way back from it.

use crate::job::{self, STEPS, Steps, expected_rows};
use millpond_engine::checkpoint::{FileLocation, restore};
use millpond_engine::config::Configuration;
use millpond_engine::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a checkpoint may take before the test calls the job hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// The latest checkpoint of a job that took all steps, and all older ones beside it.
pub(crate) struct Checkpoint {
    folder: tempfile::TempDir,
    /// The job's folder in it.
    job: PathBuf,
    /// The folder of the latest one.
    latest: PathBuf,
    /// Its `_metadata` and the files that it names, by their paths in the job's folder, with their bytes.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

fn configuration(checkpoints: &Path, more: &[(&str, &str)]) -> Configuration {
    let mut config = Configuration::new();
    let dir = format!("file://{}", checkpoints.display());
    let common = [
        ("state.backend.type", "filesystem"),
        ("execution.checkpointing.dir", dir.as_str()),
        ("restart-strategy.type", "none"),
        ("parallelism.default", "1"),
        ("pipeline.max-parallelism", "2"),
    ];
    for (key, value) in common.iter().chain(more) {
        config.set_string(*key, *value);
    }
    config
}

impl Checkpoint {
    /// Runs the job until its checkpoint is as it is wanted: what goes into which file depends on when the job hears of a completed checkpoint.
    pub(crate) fn take_until(settings: &[(&str, &str)], is_good: impl Fn(&Self) -> bool) -> Self {
        const TRIES: u32 = 20;
        let mut taken = (0..TRIES).map(|_| Self::take(settings));
        taken.find(|taken| is_good(taken)).unwrap()
    }

    /// Runs the job with these settings.
    pub(crate) fn take(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = folder.path().join("checkpoints");
        let mut config = configuration(&checkpoints, settings);
        let common = [
            ("execution.checkpointing.interval", "10 ms"),
            (
                "execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION",
            ),
            ("execution.checkpointing.num-retained", "100"),
        ];
        for (key, value) in common {
            config.set_string(key, value);
        }
        let until = Arc::new(AtomicU64::new(0));
        let source = Steps {
            until: Some(Arc::clone(&until)),
        };
        let (env, _) = job::environment(config, source);
        let client = env.execute_async("damaged").unwrap();
        let progress = client.progress();
        for step in 1..=STEPS {
            until.store(step, Ordering::SeqCst);
            wait(|| progress.source_records() == job::records(step));
            let before = progress.checkpoints().completed;
            wait(|| progress.checkpoints().completed >= before + 2);
        }
        client.cancel();
        assert_eq!(client.wait().unwrap_err().kind(), ErrorKind::Cancelled);
        let [job] = entries(&checkpoints).try_into().unwrap();
        Self::of(folder, job)
    }

    /// The latest checkpoint in a job's folder, which is in `folder`.
    fn of(folder: tempfile::TempDir, job: PathBuf) -> Self {
        let latest = latest_of(&job);
        let files = files_of(&latest)
            .into_iter()
            .map(|path| {
                (
                    path.strip_prefix(&job).unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                )
            })
            .collect();
        Self {
            folder,
            job,
            latest,
            files,
        }
    }

    /// The same in another folder.
    pub(crate) fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let job = folder.path().join("checkpoints").join("job");
        copy_folder(&self.job, &job);
        Self::of(folder, job)
    }

    /// The path of one of the files.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        self.job.join(file)
    }

    /// Restores the checkpoint in a job that reads everything: `Ok` if all is as it was, else the job's error.
    ///
    /// # Panics
    /// If the job ends well with anything else than what was written.
    pub(crate) fn restore(&self, what: &dyn std::fmt::Debug) -> Result<(), Error> {
        let path = self.latest.to_str().unwrap();
        let settings = [("execution.state-recovery.path", path)];
        let config = configuration(&self.folder.path().join("reading"), &settings);
        let (env, results) = job::environment(config, Steps { until: None });
        env.execute("reading")?;
        let mut rows = results.take();
        job::sort(&mut rows);
        assert_eq!(rows, expected_rows(), "{what:?}: wrong state");
        Ok(())
    }

    /// Puts other bytes in place of a file, under a new inode, as nobody writes a mapped file.
    pub(crate) fn replace(&self, file: &Path, bytes: &[u8]) {
        let temporary = self.folder.path().join("replacement");
        fs::write(&temporary, bytes).unwrap();
        fs::rename(temporary, self.path(file)).unwrap();
    }

    /// Puts the file back as it was.
    pub(crate) fn repair(&self, file: &Path) {
        self.replace(file, &self.files[file]);
    }
}

fn wait(mut until: impl FnMut() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < PATIENCE, "the job hangs");
        // Not a spin: on a busy machine that would take the time of those who are waited for.
        thread::sleep(Duration::from_millis(1));
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in entries(from) {
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, copy).unwrap();
        }
    }
}

fn latest_of(job: &Path) -> PathBuf {
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        let number: u64 = name.strip_prefix("chk-")?.parse().ok()?;
        path.join("_metadata").exists().then_some(number)
    };
    entries(job).into_iter().max_by_key(number).unwrap()
}

/// The metadata of a checkpoint, and the files that it names.
pub(crate) fn files_of(checkpoint: &Path) -> Vec<PathBuf> {
    let loaded = restore::load(checkpoint).unwrap();
    let named = loaded.metadata.subtasks().flat_map(|subtask| subtask.files());
    let named = named.filter_map(|file| match &file.location {
        FileLocation::File(path) => Some(PathBuf::from(path)),
        FileLocation::Inline(_) => None,
    });
    named.chain([checkpoint.join("_metadata")]).collect()
}
