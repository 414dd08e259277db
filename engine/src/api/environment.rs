//! Where a program begins: settings, sources, and the start of the job.

use super::backends::StateBackendSetting;
use super::client::{JobClient, JobExecutionResult};
use super::data::Data;
use super::nodes::SourceDescription;
use super::source::Source;
use super::stream::DataStream;
use crate::Result;
use crate::backend::BackendRegistry;
use crate::checkpoint::CheckpointingMode;
use crate::checkpoint::restore::RestoreReport;
use crate::config::options::{checkpointing, execution};
use crate::config::{CommonArgs, Configuration};
use crate::connectors::sources::{FromCollection, SequenceSource, TextFileSource};
use crate::runtime::job::{JobSpec, restore_report, start};
use crate::runtime::plan::{Node, NodeKind, Plan};
use crate::state::ttl::{SystemTtlTime, TtlTimeProvider};
use millpond_backend_api::StateBackendFactory;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) type SharedPlan = Rc<RefCell<Plan>>;

/// Describes a job and runs it.
///
/// Settings come from, weakest first: built-in defaults, the configuration file, `-D key=value`, and the calls of this type.
///
/// ```
/// use millpond_engine::api::StreamExecutionEnvironment;
/// use millpond_engine::connectors::sinks::CollectSink;
///
/// # fn main() -> millpond_engine::Result<()> {
/// let env = StreamExecutionEnvironment::new();
/// let sink = CollectSink::new();
/// let results = sink.results();
/// env.from_collection("to be or not to be".split(' ').map(str::to_owned))
///     .key_by(|word: &String| word.clone())
///     .count()
///     .sink_to_2pc(sink);
/// env.execute("word count")?;
/// let mut counts = results.take();
/// counts.sort();
/// assert_eq!(counts.last(), Some(&("to".to_owned(), 2)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamExecutionEnvironment {
    config: RefCell<Configuration>,
    plan: SharedPlan,
    registry: RefCell<BackendRegistry>,
    ttl_clock: RefCell<Arc<dyn TtlTimeProvider>>,
}

impl Default for StreamExecutionEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamExecutionEnvironment {
    /// An environment with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::with_configuration(Configuration::new())
    }

    /// An environment with the settings of a program's [common arguments](CommonArgs).
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when a setting is wrong.
    pub fn from_args(args: &CommonArgs) -> Result<Self> {
        Ok(Self::with_configuration(args.configuration()?))
    }

    /// An environment with these settings.
    #[must_use]
    pub fn with_configuration(config: Configuration) -> Self {
        Self {
            config: RefCell::new(config),
            plan: SharedPlan::default(),
            registry: RefCell::new(BackendRegistry::with_builtin()),
            ttl_clock: RefCell::new(Arc::new(SystemTtlTime)),
        }
    }

    /// The settings, to be changed.
    pub fn configure(&self, change: impl FnOnce(&mut Configuration)) -> &Self {
        change(&mut self.config.borrow_mut());
        self
    }

    /// Takes a checkpoint every `interval`, under [`CheckpointingMode::ExactlyOnce`] unless another mode is configured.
    pub fn enable_checkpointing(&self, interval: Duration) -> &Self {
        self.configure(|config| {
            config.set(&checkpointing::INTERVAL, interval);
        })
    }

    /// Sets the guarantee that checkpoints give.
    pub fn set_checkpointing_mode(&self, mode: CheckpointingMode) -> &Self {
        self.configure(|config| {
            config.set(&checkpointing::MODE, mode);
        })
    }

    /// Chooses the state backend.
    pub fn set_state_backend(&self, backend: impl StateBackendSetting) -> &Self {
        self.configure(|config| backend.configure(config))
    }

    /// Makes a backend of the program's own known, under its factory's names, just like the built-in ones.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when one of its names is taken.
    pub fn register_state_backend(&self, factory: impl StateBackendFactory) -> Result<&Self> {
        self.registry.borrow_mut().register(factory)?;
        Ok(self)
    }

    /// Sets the clock that [state with a TTL](crate::state::StateTtlConfig) expires by, in place of the wall clock: so that a test need not wait.
    pub fn set_ttl_time_provider(&self, clock: impl TtlTimeProvider) -> &Self {
        *self.ttl_clock.borrow_mut() = Arc::new(clock);
        self
    }

    /// Sets the number of subtasks of every operator that has none of its own.
    pub fn set_parallelism(&self, parallelism: usize) -> &Self {
        self.configure(|config| {
            config.set(&execution::PARALLELISM, parallelism);
        })
    }

    /// Sets the number of key groups of every operator that has none of its own: the bound of parallelism for the life of the state.
    pub fn set_max_parallelism(&self, max_parallelism: u16) -> &Self {
        self.configure(|config| {
            config.set(&execution::MAX_PARALLELISM, i32::from(max_parallelism));
        })
    }

    /// The records of a source. `name` is for people.
    pub fn from_source<S: Source>(&self, source: S, name: &str) -> DataStream<S::Record> {
        let node = self.plan.borrow_mut().add(Node {
            name: name.to_owned(),
            uid: None,
            parallelism: None,
            max_parallelism: None,
            inputs: Vec::new(),
            kind: NodeKind::Source(Arc::new(SourceDescription::new(source)), None),
            has_state: true,
        });
        DataStream::of_node(SharedPlan::clone(&self.plan), node)
    }

    /// The elements of a collection.
    pub fn from_collection<T: Data>(&self, elements: impl IntoIterator<Item = T>) -> DataStream<T> {
        self.from_source(FromCollection::new(elements), "Source: Collection")
    }

    /// The numbers `from .. to`, `to` itself left out.
    pub fn from_sequence(&self, from: u64, to: u64) -> DataStream<u64> {
        self.from_source(SequenceSource::new(from..to), "Source: Sequence")
    }

    /// The lines of a text file, or of all files of a folder.
    pub fn read_text_file(&self, path: impl Into<PathBuf>) -> DataStream<String> {
        self.from_source(TextFileSource::new(path), "Source: Text File")
    }

    /// Runs the job and waits for its end.
    ///
    /// # Errors
    /// What is wrong with the settings before anything runs; [`ErrorKind::JobFailed`](crate::ErrorKind::JobFailed) with the cause when the restart strategy
    /// has given up.
    pub fn execute(&self, job_name: &str) -> Result<JobExecutionResult> {
        self.execute_async(job_name)?.wait()
    }

    /// What would become of the snapshot that the job is told to start from (`--from-savepoint`): which state is found, new or left behind, what migrates, and what
    /// stands in the way. Functions are opened for it, without state; nothing is started, and nothing on disk is changed.
    ///
    /// # Errors
    /// What is wrong with the settings; [`ErrorKind::Restore`](crate::ErrorKind::Restore) when the snapshot cannot be read,
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) when none was named.
    pub fn restore_report(&self, job_name: &str) -> Result<RestoreReport> {
        restore_report(self.spec(job_name))
    }

    fn spec(&self, job_name: &str) -> JobSpec {
        JobSpec {
            job_name: job_name.to_owned(),
            plan: self.plan.borrow().clone(),
            config: self.config.borrow().clone(),
            registry: self.registry.borrow().clone(),
            ttl_clock: Arc::clone(&self.ttl_clock.borrow()),
        }
    }

    /// Starts the job. With `--restore-plan` it prints the [`restore_report`](Self::restore_report) instead, and the job ends at once, with an error of the kind
    /// [`ErrorKind::PlanRefused`](crate::ErrorKind::PlanRefused) if it could not start so.
    ///
    /// # Errors
    /// What is wrong with the settings, before anything runs.
    pub fn execute_async(&self, job_name: &str) -> Result<JobClient> {
        start(self.spec(job_name))
    }
}
