//! How the rest of the engine talks to the coordinator.

use super::cleaner;
use super::driver::{Answer, Driver, Message};
use super::holds::Holds;
use super::{CheckpointFailure, CheckpointStats, Coordinator, Event, OperatorInfo};
use crate::checkpoint::ha::{HaSession, JobEnd};
use crate::checkpoint::storage::CheckpointStorage;
use crate::checkpoint::store::{CompletedCheckpoint, CompletedStore};
use crate::checkpoint::{Ack, CheckpointId, CheckpointSettings, Command, JobId, Lineage, SnapshotKind};
use crate::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What a coordinator is made of.
#[derive(Debug)]
pub struct CoordinatorConfig {
    /// Name of the job.
    pub job_name: String,
    /// The rules.
    pub settings: CheckpointSettings,
    /// Where metadata is published; the same storage that operators write to.
    pub storage: Arc<dyn CheckpointStorage>,
    /// The hold on the job; released when the coordinator ends.
    pub session: Box<dyn HaSession>,
    /// The snapshot of somebody else that the job is to start from; ignored if the session found checkpoints of the job itself.
    pub initial: Option<CompletedCheckpoint>,
    /// The metadata file of the initial snapshot, if the job owns it from now on.
    pub claimed: Option<PathBuf>,
    /// How often a damaged checkpoint was passed over already, to be counted.
    pub went_back: u64,
}

/// What the coordinator wants of the runtime.
#[derive(Debug)]
pub enum Output {
    /// Send the command into the dataflow of the running attempt.
    Command(Command),
    /// End the attempt with this cause.
    Fail(Error),
}

/// How an attempt begins.
#[derive(Clone, Debug)]
pub struct AttemptStart {
    /// Its number, higher than all before.
    pub attempt: u64,
    /// What to restore; none: start empty.
    pub restored: Option<CompletedCheckpoint>,
    /// The line of checkpoints that it goes on with.
    pub lineage: Lineage,
    /// The epoch that sources begin in.
    pub first_epoch: u64,
}

/// The answer to a snapshot that was asked for: its number, and where its metadata is; for a savepoint, its folder.
pub type Triggered = Result<(CheckpointId, Option<String>), CheckpointFailure>;

/// How the rest of the engine talks to the coordinator, from any thread. The coordinator ends when the last handle is dropped; without
/// [`finish`](Self::finish) it deletes nothing then.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    job_id: JobId,
    messages: mpsc::UnboundedSender<Message>,
    stats: watch::Receiver<CheckpointStats>,
}

/// Starts the coordinator's task on `runtime`, which must have its timer enabled. `output` is called from that task and must not block.
///
/// # Errors
/// [`ErrorKind::Restore`] when the recovered checkpoints contradict each other, or the snapshot to start from is in use by another program.
pub fn spawn(
    runtime: &Handle,
    config: CoordinatorConfig,
    output: impl FnMut(Output) + Send + 'static,
) -> Result<CoordinatorHandle> {
    let mut session = config.session;
    let job_id = session.job_id().clone();
    let recovered = session.recovered().iter().cloned().map(Into::into).collect();
    let holds = Holds::new(
        config.storage.as_ref(),
        session.recovered(),
        config.initial.as_ref(),
        config.claimed.as_deref(),
    )?;
    if let Some(initial) = config.initial.as_ref().filter(|_| session.recovered().is_empty()) {
        // Whoever took it may have gone on.
        session.set_lineage(initial.metadata.lineage.branch(initial.id()));
    }
    let claimed = config.claimed.as_ref().map(|path| path.display().to_string());
    let store = CompletedStore::new(config.settings.num_retained, recovered, config.initial)
        .map_err(|conflict| Error::new(ErrorKind::Restore, conflict.to_string()))?
        .claiming(claimed);
    let core = Coordinator::new(
        config.settings,
        config.job_name,
        job_id.clone(),
        session.lineage().clone(),
        session.next_id(),
        store,
    )
    .after_going_back(config.went_back);
    let (messages, receiver) = mpsc::unbounded_channel();
    let (stats_sender, stats) = watch::channel(core.stats());
    // Weak, or the coordinator would never end by itself.
    let weak = messages.downgrade();
    let cleaned = move || {
        if let Some(messages) = weak.upgrade() {
            let _ = messages.send(Message::Event(Event::Cleaned));
        }
    };
    let driver = Driver {
        core,
        session: Arc::new(Mutex::new(session)),
        cleaner: cleaner::spawn(runtime, Arc::clone(&config.storage), cleaned),
        storage: config.storage,
        output: Box::new(output),
        stats: stats_sender,
        started: Instant::now(),
        holds,
        requests: HashMap::new(),
        next_request: 0,
    };
    runtime.spawn(driver.run(receiver));
    Ok(CoordinatorHandle {
        job_id,
        messages,
        stats,
    })
}

impl CoordinatorHandle {
    /// The run of the job.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// Reports an event. After the coordinator has ended this does nothing.
    pub fn send(&self, event: Event) {
        let _ = self.messages.send(Message::Event(event));
    }

    /// All subtasks of the attempt run: checkpoints begin. `operators` are exactly those that acknowledge.
    pub fn attempt_started(&self, attempt: u64, operators: Vec<OperatorInfo>) {
        self.send(Event::AttemptStarted {
            attempt,
            operators,
            first_delay: random_share(),
        });
    }

    /// The attempt is over.
    pub fn attempt_failed(&self) {
        self.send(Event::AttemptFailed);
    }

    /// The frontier of the acknowledgements has passed `id`, and these are all.
    pub fn acks(&self, id: CheckpointId, acks: Vec<Ack>) {
        self.send(Event::Acks { id, acks });
    }

    /// A decline came in before the frontier has passed its checkpoint.
    pub fn early_decline(&self, id: CheckpointId, ack: Ack) {
        self.send(Event::EarlyDecline { id, ack });
    }

    /// Every source has ended.
    pub fn all_sources_finished(&self) {
        self.send(Event::AllSourcesFinished);
    }

    /// A source in `epoch` is running out of ticks.
    pub fn source_needs_epoch(&self, epoch: u64) {
        self.send(Event::SourceNeedsEpoch { epoch });
    }

    /// The user asked for the end.
    pub fn cancel(&self) {
        self.send(Event::Cancel);
    }

    /// Raises the attempt counter durably and says what to restore. A checkpoint that is whole when this is called is published first.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the counter cannot be stored (the attempt must not start), [`ErrorKind::Cancelled`] when the coordinator has ended.
    pub async fn begin_attempt(&self, at_least: u64) -> Result<AttemptStart> {
        self.ask(|reply| Message::BeginAttempt(at_least, reply)).await?
    }

    /// Takes a checkpoint or savepoint now; comes back when it is complete, or for one that the job stops with, when the job has ended.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] and others when the checkpoint failed, [`ErrorKind::Cancelled`] when the coordinator has ended.
    pub async fn trigger(&self, kind: SnapshotKind) -> Result<(CheckpointId, Option<String>)> {
        self.ask(|reply| Message::Trigger(kind, answer_to(reply)))
            .await?
            .map_err(refused)
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the coordinator has ended.
    pub fn trigger_and_wait(&self, kind: SnapshotKind) -> Result<Triggered> {
        let (reply, answer) = std::sync::mpsc::channel();
        let reply = Box::new(move |triggered| {
            // Whoever asked may have gone.
            let _ = reply.send(triggered);
        });
        self.messages
            .send(Message::Trigger(kind, reply))
            .map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())
    }

    /// What a restart could begin from: the checkpoints of this job that are kept, oldest first; if there are none, the snapshot that it was started from.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the coordinator has ended.
    pub async fn kept(&self) -> Result<Vec<CompletedCheckpoint>> {
        self.ask(Message::Kept).await
    }

    /// Gives up the latest checkpoint, which is damaged, for the newest one before it whose files are all whole: a new lineage. Every file of those that come
    /// into question is read. Only between attempts. None, and nothing is changed, if there is no such checkpoint.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when high availability cannot be told, [`ErrorKind::Cancelled`] when the coordinator has ended.
    pub async fn go_back(&self) -> Result<Option<CompletedCheckpoint>> {
        self.ask(Message::GoBack).await?
    }

    /// Records how the job ended (one that ends well may have been stopped by a savepoint), deletes what is not to be kept, and ends the coordinator.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the end cannot be recorded; nothing is deleted then. [`ErrorKind::Cancelled`] when the coordinator has ended before.
    pub async fn finish(&self, end: JobEnd) -> Result<()> {
        self.ask(|reply| Message::Finish(end, reply)).await?
    }

    /// Gives up what is under way, and comes back when what there is of it has been deleted: the program ends, and the job does not.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the coordinator has ended.
    pub async fn settle(&self) -> Result<()> {
        self.ask(Message::Settle).await
    }

    /// Follows how checkpoints go.
    #[must_use]
    pub fn stats(&self) -> watch::Receiver<CheckpointStats> {
        self.stats.clone()
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Cancelled, "the checkpoint coordinator has ended")
}

fn refused(failure: CheckpointFailure) -> Error {
    Error::new(failure.error_kind(), failure.to_string())
}

fn answer_to(reply: oneshot::Sender<Triggered>) -> Answer {
    Box::new(move |triggered| {
        // Whoever asked may have gone.
        let _ = reply.send(triggered);
    })
}

/// A number in `0.0..1.0` from the operating system's randomness: when jobs start together, their checkpoints should not.
fn random_share() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
