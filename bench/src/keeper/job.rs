//! Starts the job and directs it from phase to phase.

use super::control::{Control, Phase};
use super::facts::CheckpointFacts;
use super::function::Keeper;
use super::gate::{Gate, GateSink};
use super::source::{PhasedSource, Task};
use crate::args::StateArgs;
use crate::process::unix_ms;
use millpond_engine::api::{JobClient, StreamExecutionEnvironment};
use millpond_engine::checkpoint::{CheckpointId, Retention, metadata};
use millpond_engine::config::options::{checkpointing, recovery};
use millpond_engine::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the keyed function is found by in checkpoints.
const KEEPER_UID: &str = "keeper";
/// How often the program looks at its job while it waits: a checkpoint's metadata is read before the next checkpoint removes it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where a job starts.
#[derive(Debug)]
pub(crate) enum Start<'a> {
    /// Without state.
    Empty,
    /// From a retained checkpoint, and takes none itself.
    From(&'a Path),
    /// From a retained checkpoint, and takes checkpoints as one that starts without state.
    On(&'a Path),
}

impl<'a> Start<'a> {
    fn takes_checkpoints(&self) -> bool {
        !matches!(self, Self::From(_))
    }

    fn checkpoint(&self) -> Option<&'a Path> {
        match self {
            Self::Empty => None,
            Self::From(checkpoint) | Self::On(checkpoint) => Some(checkpoint),
        }
    }
}

/// What a job is made of.
#[derive(Debug)]
pub(crate) struct JobSetup<'a> {
    pub(crate) args: &'a StateArgs,
    pub(crate) parallelism: u32,
    /// Where checkpoints go.
    pub(crate) dir: &'a Path,
    pub(crate) interval: Duration,
    pub(crate) start: Start<'a>,
    /// What the source does first.
    pub(crate) phase: Phase,
}

/// Directs a running job.
#[derive(Debug)]
pub(crate) struct Director {
    pub(crate) control: Arc<Control>,
    pub(crate) gate: Arc<Gate>,
    /// Until it has ended.
    job: Option<JobClient>,
    subtasks: usize,
    /// The newest checkpoint that has been looked at.
    looked_at: Option<CheckpointId>,
    /// The completed checkpoints that have been seen, in their order.
    pub(crate) completed: Vec<CheckpointFacts>,
}

/// Ends the job where an error has left it running, so that nobody writes into a folder that is being removed.
impl Drop for Director {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            job.cancel();
            // The error that counts is known already.
            let _ = job.wait();
        }
    }
}

impl Director {
    /// Starts the job, with the gate closed unless it takes no checkpoints.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub(crate) fn start<const W: usize, const T: usize>(setup: &JobSetup<'_>) -> Result<Self> {
        let args = setup.args;
        if args.common.from_savepoint.is_some() {
            let what =
                "--from-savepoint is of no use here: this workload makes its state itself; leave it out";
            return Err(Error::new(ErrorKind::Configuration, what));
        }
        let env = StreamExecutionEnvironment::from_args(&args.common)?;
        env.set_parallelism(setup.parallelism as usize)
            .set_state_backend(args.backend.as_str());
        let gate = Arc::new(Gate::default());
        env.configure(|config| {
            config.set_string(checkpointing::DIR.key(), setup.dir.display().to_string());
            config.set_string("restart-strategy.type", "disable");
            if let Some(incremental) = args.incremental {
                config.set(&checkpointing::INCREMENTAL, incremental);
            }
        });
        if setup.start.takes_checkpoints() {
            gate.close();
            env.enable_checkpointing(setup.interval).configure(|config| {
                // A checkpoint is held open for as long as a phase takes.
                config.set(&checkpointing::TIMEOUT, Duration::from_secs(24 * 3600));
                config.set(&checkpointing::AFTER_TASKS_FINISH, false);
                config.set(
                    &checkpointing::EXTERNALIZED_RETENTION,
                    Retention::RetainOnCancellation,
                );
            });
        }
        if let Some(checkpoint) = setup.start.checkpoint() {
            env.configure(|config| {
                config.set_string(recovery::PATH.key(), checkpoint.display().to_string());
                // That of the source and of the gate.
                config.set(&recovery::IGNORE_UNCLAIMED_STATE, true);
            });
        }

        let control = Arc::new(Control::new(args.keys, setup.phase));
        // Under a name of its own the source is not that of the checkpoint, so it starts afresh.
        let source_uid = match setup.start.checkpoint() {
            None => "source",
            Some(_) => "source-of-restore",
        };
        env.from_source(PhasedSource(Arc::clone(&control)), "Source: Phases")
            .uid(source_uid)
            .key_by(|record: &u64| Task::key(*record))
            .process(Keeper::<W, T>::new(Arc::clone(&control)))
            .name("Keeper")
            .uid(KEEPER_UID)
            // In a task of its own, or the function's snapshot would wait at the gate as well.
            .rebalance()
            .sink_to_2pc(GateSink(Arc::clone(&gate)))
            .uid("gate")
            .set_parallelism(1);
        Ok(Self {
            job: Some(env.execute_async("bench-state")?),
            control,
            gate,
            subtasks: setup.parallelism as usize,
            looked_at: None,
            completed: Vec::new(),
        })
    }

    /// Waits until `is_so`, taking note of the checkpoints that complete meanwhile.
    ///
    /// # Errors
    /// When the job or a checkpoint fails.
    pub(crate) fn wait(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) -> Result<()> {
        loop {
            self.look()?;
            if is_so(self) {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Goes on for some time.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        self.wait(|_| Instant::now() >= until)
    }

    /// Has the sources do all of `phase`, which must have an end, and waits until everything is processed.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) fn complete(&mut self, phase: Phase) -> Result<()> {
        let number = self.control.begin(phase);
        self.wait(|this| {
            this.control.are_done(number, this.subtasks) && this.control.processed() == this.control.emitted()
        })
    }

    /// Has the sources begin `phase` and waits until they have.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) fn begin(&mut self, phase: Phase) -> Result<()> {
        let number = self.control.begin(phase);
        self.wait(|this| this.control.have_begun(number, this.subtasks))
    }

    /// Closes the gate and waits until a checkpoint is held there, whose snapshots may still be written.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) fn hold(&mut self) -> Result<CheckpointId> {
        self.gate.close();
        self.wait(|this| this.gate.waiting().is_some())?;
        Ok(self.gate.waiting().map_or(CheckpointId(0), |(id, _)| id))
    }

    /// Opens the gate and waits until a checkpoint is complete that was triggered after this call.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) fn next_checkpoint(&mut self) -> Result<CheckpointFacts> {
        let (since, held) = (unix_ms(), self.gate.waiting().map(|(id, _)| id));
        self.gate.open();
        let is_new = |facts: &CheckpointFacts| {
            // The clock has milliseconds: one of the same may have been triggered before.
            held.map_or(facts.triggered_unix_ms > since, |held| facts.id > held)
        };
        self.wait(|this| this.completed.last().is_some_and(is_new))?;
        let last = self.completed.last().cloned();
        last.ok_or_else(|| Error::new(ErrorKind::Bug, "no checkpoint"))
    }

    /// Ends the input and waits for the end of the job.
    ///
    /// # Errors
    /// The job's.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.gate.open();
        self.look()?;
        self.control.begin(Phase::End);
        self.ended()
    }

    /// Cancels the job, which leaves its checkpoints, and waits for its end.
    ///
    /// # Errors
    /// The job's, if it was another end.
    pub(crate) fn cancel(mut self) -> Result<()> {
        // The gate stays as it is until the job has let go of it: what is held is given up.
        if let Some(job) = &self.job {
            job.cancel();
        }
        match self.ended() {
            Err(error) if error.kind() != ErrorKind::Cancelled => Err(error),
            _ => Ok(()),
        }
    }

    fn ended(&mut self) -> Result<()> {
        self.job.take().map_or(Ok(()), |job| job.wait().map(drop))
    }

    /// Takes note of a new checkpoint and of the end of the job.
    fn look(&mut self) -> Result<()> {
        let Some(job) = &self.job else {
            return Err(self.failed("the job has ended"));
        };
        let (is_finished, stats) = (job.is_finished(), job.progress().checkpoints());
        if is_finished {
            self.ended()?;
            return Err(self.failed("the job ended too early"));
        }
        if stats.failed > 0 {
            let why = stats.last_failure.unwrap_or_default();
            return Err(self.failed(&format!("a checkpoint failed: {why}")));
        }
        if let Some(why) = self.control.failure() {
            return Err(self.failed(&why));
        }
        if stats.last_completed_id == self.looked_at {
            return Ok(());
        }
        self.looked_at = stats.last_completed_id;
        let Some(path) = stats.last_path.map(PathBuf::from) else {
            return Err(self.failed("checkpoints must have a folder: this storage has none"));
        };
        // Gone if the next checkpoint was very fast: then it is that one that counts.
        if let Ok(metadata) = metadata::read_file(&path) {
            let facts = CheckpointFacts::of(&metadata, KEEPER_UID, stats.last_duration_ms, path);
            self.completed.extend(facts);
        }
        Ok(())
    }

    fn failed(&self, why: &str) -> Error {
        // The job has no use for the checkpoint that is held any more, and its threads must not wait for ever.
        self.gate.open();
        Error::new(ErrorKind::JobFailed, why)
    }
}
