//! A job over one function that a test gives it, asked one record at a time.

use millpond_engine::api::{
    Collector, Data, JobClient, KeyedProcessFunction, ProcessContext, StreamExecutionEnvironment,
};
use millpond_engine::checkpoint::SavepointFormat;
use millpond_engine::config::Configuration;
use millpond_engine::connectors::sinks::DiscardSink;
use millpond_engine::connectors::sources::{ChannelSender, ChannelSource};
use millpond_engine::state::StateRegistry;
use millpond_engine::state::ttl::ManualTtlTime;
use millpond_engine::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long an answer may take before the test calls the job hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a release of the job registers its states, what it does at a record, and by which key.
pub(crate) struct Release<K, S> {
    pub(crate) key: fn(&u64) -> K,
    pub(crate) open: fn(&mut StateRegistry<'_>) -> Result<S>,
    pub(crate) answer: fn(&S, u64, &mut ProcessContext<'_, K>) -> Result<String>,
}

impl<K, S> Clone for Release<K, S> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

struct Worker<K, S> {
    release: Release<K, S>,
    answers: Arc<Mutex<Sender<String>>>,
    states: Option<S>,
}

impl<K, S> Clone for Worker<K, S> {
    fn clone(&self) -> Self {
        Self {
            release: self.release.clone(),
            answers: Arc::clone(&self.answers),
            states: None,
        }
    }
}

impl<K: Data, S: Send + Sync + 'static> KeyedProcessFunction<K, u64, u64> for Worker<K, S> {
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.states = Some((self.release.open)(states)?);
        Ok(())
    }

    fn process_element(
        &mut self,
        record: u64,
        context: &mut ProcessContext<'_, K>,
        _: &mut Collector<u64>,
    ) -> Result<()> {
        let Some(states) = &self.states else { return Ok(()) };
        let answer = (self.release.answer)(states, record, context)?;
        self.answers
            .lock()
            .map_err(|_| Error::new(ErrorKind::Bug, "the test has failed"))?
            .send(answer)
            .map_err(|_| Error::new(ErrorKind::Bug, "the test is over"))
    }
}

/// A running job.
pub(crate) struct Job {
    sender: ChannelSender<u64>,
    answers: Receiver<String>,
    client: JobClient,
    savepoints: PathBuf,
}

impl Job {
    /// Starts `release` on a backend with savepoints below `folder`, from the savepoint `from` if there is one.
    pub(crate) fn start<K: Data, S: Send + Sync + 'static>(
        backend: &str,
        folder: &Path,
        from: Option<&Path>,
        clock: &ManualTtlTime,
        release: &Release<K, S>,
    ) -> Self {
        let mut config = Configuration::new();
        let dir = format!("file://{}", folder.join("checkpoints").display());
        for (key, value) in [
            ("state.backend.type", backend),
            ("execution.checkpointing.dir", &dir),
            ("restart-strategy.type", "none"),
            ("parallelism.default", "1"),
            ("pipeline.max-parallelism", "4"),
        ] {
            config.set_string(key, value);
        }
        if let Some(from) = from {
            config.set_string("execution.state-recovery.path", from.to_str().unwrap());
        }
        let env = StreamExecutionEnvironment::with_configuration(config);
        env.set_ttl_time_provider(clock.clone());
        let (sender, source) = ChannelSource::unbounded();
        let (answer, answers) = channel();
        env.from_source(source, "requests")
            .uid("requests")
            .key_by(release.key)
            .process(Worker {
                release: release.clone(),
                answers: Arc::new(Mutex::new(answer)),
                states: None,
            })
            .name("Worker")
            .uid("worker")
            .sink_to(DiscardSink::new());
        Self {
            sender,
            answers,
            client: env.execute_async("evolution").unwrap(),
            savepoints: folder.join("savepoints"),
        }
    }

    /// The answer to a record.
    #[track_caller]
    pub(crate) fn ask(&self, record: u64) -> String {
        self.sender.send(record).unwrap();
        self.answers.recv_timeout(PATIENCE).unwrap()
    }

    /// Stops the job with a savepoint, and gives its path.
    pub(crate) fn end(self) -> PathBuf {
        let savepoint = self
            .client
            .stop_with_savepoint(self.savepoints.to_str(), false, SavepointFormat::Native)
            .unwrap();
        self.client.wait().unwrap();
        savepoint
    }

    /// The error with which the job ends by itself.
    pub(crate) fn failure(self) -> Error {
        self.client.wait().unwrap_err()
    }
}
