//! The task that runs a [`Coordinator`]: it reads the clock, does the I/O, and tells everybody.
//!
//! One event is handled after the other, with all its actions, so that for example [`CoordinatorHandle::begin_attempt`] waits for a
//! checkpoint that is just being published. Only deletions run beside it.
//!
//! The life of a job, as seen by a runtime:
//!
//! 1. open the job in [`ha`](crate::checkpoint::ha), build the storage for its job id, [`spawn`] the coordinator;
//! 2. for every attempt [`CoordinatorHandle::begin_attempt`], restore what it says, build the dataflow, then
//!    [`CoordinatorHandle::attempt_started`];
//! 3. while it runs, [`CoordinatorHandle::acks`] and the other notices; carry out each [`Output`];
//! 4. when the attempt has failed, [`CoordinatorHandle::attempt_failed`], and back to 2;
//! 5. when the job has ended, [`CoordinatorHandle::finish`].

use super::cleaner::{self, Clean};
use super::holds::Holds;
use super::persist::{self, Session};
use super::{
    Action, CheckpointFailure, CheckpointStats, Coordinator, Event, Now, OperatorInfo, Report, RequestId,
};
use crate::checkpoint::ha::{HaSession, JobEnd};
use crate::checkpoint::restore;
use crate::checkpoint::storage::CheckpointStorage;
use crate::checkpoint::store::{CompletedCheckpoint, CompletedStore};
use crate::checkpoint::{Ack, CheckpointId, CheckpointSettings, Command, JobId, Lineage, SnapshotKind};
use crate::{Error, ErrorKind, Result};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant};

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

/// Takes the answer; called on the coordinator's task, which it must not hold up.
type Answer = Box<dyn FnOnce(Triggered) + Send>;

enum Message {
    Event(Event),
    Trigger(SnapshotKind, Answer),
    BeginAttempt(u64, oneshot::Sender<Result<AttemptStart>>),
    Kept(oneshot::Sender<Vec<CompletedCheckpoint>>),
    GoBack(oneshot::Sender<Result<Option<CompletedCheckpoint>>>),
    Finish(JobEnd, oneshot::Sender<Result<()>>),
}

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
    let driver = Driver {
        core,
        session: Arc::new(Mutex::new(session)),
        cleaner: cleaner::spawn(runtime, Arc::clone(&config.storage)),
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

struct Driver {
    core: Coordinator,
    session: Session,
    storage: Arc<dyn CheckpointStorage>,
    cleaner: mpsc::UnboundedSender<Clean>,
    output: Box<dyn FnMut(Output) + Send>,
    stats: watch::Sender<CheckpointStats>,
    started: Instant,
    holds: Holds,
    requests: HashMap<RequestId, Answer>,
    next_request: u64,
}

impl Driver {
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        loop {
            let wakeup = self.core.next_wakeup();
            let message = tokio::select! {
                message = messages.recv() => message,
                () = sleep_until(self.started, wakeup) => Some(Message::Event(Event::Tick)),
            };
            match message {
                None => return,
                Some(Message::Event(event)) => self.handle(event).await,
                Some(Message::Trigger(kind, reply)) => {
                    let request = RequestId(self.next_request);
                    self.next_request += 1;
                    self.requests.insert(request, reply);
                    self.handle(Event::UserTrigger { request, kind }).await;
                }
                Some(Message::BeginAttempt(at_least, reply)) => {
                    let start = self.begin_attempt(at_least).await;
                    // Whoever asked may have gone; the next attempt has a higher number anyway.
                    let _ = reply.send(start);
                }
                Some(Message::Kept(reply)) => {
                    let _ = reply.send(self.kept());
                }
                Some(Message::GoBack(reply)) => {
                    let result = self.go_back().await;
                    self.stats.send_replace(self.core.stats());
                    let _ = reply.send(result);
                }
                Some(Message::Finish(end, reply)) => {
                    let result = self.finish(end).await;
                    drop(self);
                    let _ = reply.send(result);
                    return;
                }
            }
        }
    }

    fn now(&self) -> Now {
        Now {
            ms: millis(self.started.elapsed()),
            unix_ms: millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        }
    }

    /// Handles an event and everything that follows from it.
    async fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let actions = self.core.on(self.now(), event);
            self.carry_out(actions, &mut events).await;
            if !self.core.store().needs_initial() {
                self.holds.initial = None;
            }
            self.stats.send_replace(self.core.stats());
        }
    }

    async fn carry_out(&mut self, actions: Vec<Action>, events: &mut VecDeque<Event>) {
        for action in actions {
            match action {
                Action::Send(command) => (self.output)(Output::Command(command)),
                Action::Fail(cause) => (self.output)(Output::Fail(cause.into())),
                Action::ReserveIds { below } => {
                    let reserved = self.with_session(move |session| session.reserve_ids(below)).await;
                    if let Err(error) = reserved {
                        let reason = error.to_string();
                        events.push_back(Event::ReserveFailed { reason });
                        return;
                    }
                }
                Action::Persist {
                    metadata,
                    retained,
                    next_id,
                } => {
                    let id = metadata.id;
                    let (storage, session) = (Arc::clone(&self.storage), Arc::clone(&self.session));
                    let result = persist::checkpoint(storage, session, metadata, retained, next_id).await;
                    if let Ok(Some(path)) = &result {
                        self.holds.keep(id, Path::new(path));
                    }
                    events.push_back(Event::Persisted { id, result });
                }
                Action::PersistSavepoint {
                    metadata,
                    savepoint,
                    retained,
                } => {
                    let id = metadata.id;
                    let session = Arc::clone(&self.session);
                    let result = persist::savepoint(session, metadata, savepoint, retained).await;
                    events.push_back(Event::Persisted { id, result });
                }
                Action::DiscardSavepoint(folder) => self.clean(Clean::Savepoint(folder)),
                Action::DiscardCheckpoint(id) => {
                    self.holds.own.remove(&id);
                    self.clean(Clean::Checkpoint(id));
                }
                Action::DiscardClaimed(metadata) => {
                    self.holds.initial = None;
                    self.clean(Clean::Claimed(metadata));
                }
                Action::DiscardFiles(files) => self.clean(Clean::Files(files)),
                Action::Reply { request, result } => {
                    if let Some(reply) = self.requests.remove(&request) {
                        self.reply(reply, result);
                    }
                }
                Action::Report(report) => log(&report),
            }
        }
    }

    /// Answers a request; a failure only when what is there of the snapshot has been deleted.
    fn reply(&self, reply: Answer, result: Triggered) {
        if result.is_ok() {
            return reply(result);
        }
        let (done, cleaned) = oneshot::channel();
        self.clean(Clean::Barrier(done));
        tokio::spawn(async move {
            // An error says that the runtime is shutting down.
            let _ = cleaned.await;
            reply(result);
        });
    }

    fn clean(&self, clean: Clean) {
        // The cleaner lives as long as this sender, unless the runtime is shutting down; then the files are left for the next start.
        let _ = self.cleaner.send(clean);
    }

    async fn with_session<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut dyn HaSession) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let session = Arc::clone(&self.session);
        let task = tokio::task::spawn_blocking(move || {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            call(session.as_mut())
        });
        task.await.unwrap_or_else(|error| {
            Err(
                Error::new(ErrorKind::Bug, "a call of high availability did not come back")
                    .with_source(error),
            )
        })
    }

    async fn begin_attempt(&mut self, at_least: u64) -> Result<AttemptStart> {
        self.handle(Event::AttemptFailed).await;
        let attempt = self
            .with_session(move |session| session.begin_attempt(at_least))
            .await?;
        let settled = self.core.settled();
        self.carry_out(settled, &mut VecDeque::new()).await;
        self.delete_orphans().await;
        let restored = self.core.latest().cloned();
        Ok(AttemptStart {
            attempt,
            lineage: self.core.lineage().clone(),
            first_epoch: restored
                .as_ref()
                .map_or(CheckpointId::FIRST.0, |latest| latest.id().next().0),
            restored,
        })
    }

    fn kept(&self) -> Vec<CompletedCheckpoint> {
        let own: Vec<_> = self.core.store().iter().cloned().collect();
        if own.is_empty() {
            return self.core.store().initial().cloned().into_iter().collect();
        }
        own
    }

    async fn go_back(&mut self) -> Result<Option<CompletedCheckpoint>> {
        // Nothing of the attempt that found the damage is under way any more.
        self.handle(Event::AttemptFailed).await;
        let kept = self.kept();
        let Some((damaged, older)) = kept.split_last() else {
            return Ok(None);
        };
        let is_own = self.core.store().contains(damaged.id());
        let (storage, older) = (Arc::clone(&self.storage), older.to_vec());
        let damaged = damaged.path.clone();
        let found = tokio::task::spawn_blocking(move || {
            let is_whole = |candidate: &CompletedCheckpoint| {
                let verified = restore::verify_bytes(storage.as_ref(), &candidate.metadata);
                if let Err(error) = &verified {
                    tracing::warn!(checkpoint = %candidate.id(), %error, "an older checkpoint is damaged too");
                }
                verified.is_ok()
            };
            if is_own {
                return older.into_iter().rev().find(is_whole);
            }
            let beside = damaged.map(|path| restore::older_than(Path::new(&path)));
            let loaded = beside.into_iter().flatten().filter_map(|path| {
                restore::load(&path)
                    .inspect_err(|error| tracing::warn!(%error, "an older checkpoint is damaged too"))
                    .ok()
            });
            loaded.into_iter().find(is_whole)
        })
        .await
        .map_err(|error| {
            Error::new(ErrorKind::Bug, "the search for a checkpoint that is whole did not come back")
                .with_source(error)
        })?;
        let Some(to) = found else {
            return Ok(None);
        };
        let lineage = to.metadata.lineage.branch(to.id());
        let own = kept.iter().filter(|_| is_own).map(CompletedCheckpoint::id);
        let retained: Vec<_> = own.filter(|id| *id <= to.id()).collect();
        let recorded = lineage.clone();
        // The pointer goes first: a crash from here on goes on from the older one, too.
        self.with_session(move |session| session.go_back(&retained, recorded))
            .await?;
        self.core.go_back(to.clone(), lineage);
        Ok(Some(to))
    }

    /// Between attempts nothing is under way, so what nobody names now was left by a crash, or its acknowledgement was lost with the last attempt.
    async fn delete_orphans(&mut self) {
        let store = self.core.store();
        let mut retained = store.retained();
        // Files of checkpoints that were given up are not needed either: a full disk is emptied by this.
        let shared = store.needed_files(self.core.left_behind().min());
        retained.extend(self.core.left_behind());
        let next_id = self.core.next_id();
        let storage = Arc::clone(&self.storage);
        let task = tokio::task::spawn_blocking(move || storage.delete_orphans(&retained, next_id, &shared));
        if let Ok(Err(error)) = task.await {
            tracing::warn!(%error, "files that nobody knows of could not be deleted");
        }
    }

    async fn finish(&mut self, end: JobEnd) -> Result<()> {
        let (end, replies) = match end {
            JobEnd::Finished => self.core.finished(),
            end => (end, Vec::new()),
        };
        self.handle(Event::Cancel).await;
        // The pointer goes first: what it names is there, always.
        self.with_session(move |session| session.finish(end)).await?;
        self.carry_out(replies, &mut VecDeque::new()).await;
        let actions = self.core.finish(end);
        self.carry_out(actions, &mut VecDeque::new()).await;
        let (done, cleaned) = oneshot::channel();
        self.clean(Clean::Barrier(done));
        let _ = cleaned.await;
        self.delete_orphans().await;
        let storage = Arc::clone(&self.storage);
        let removed = tokio::task::spawn_blocking(move || storage.remove_empty_folders()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "an empty folder is left");
        }
        Ok(())
    }
}

async fn sleep_until(start: Instant, ms: Option<u64>) {
    match ms.and_then(|ms| start.checked_add(Duration::from_millis(ms))) {
        // A little later rather than a little earlier: the coordinator counts whole milliseconds.
        Some(at) => tokio::time::sleep_until(at + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

fn log(report: &Report) {
    match report {
        Report::Triggered(id) => tracing::debug!(checkpoint = %id, "checkpoint started"),
        Report::Completed {
            id,
            duration_ms,
            new_bytes,
            path,
        } => {
            tracing::info!(checkpoint = %id, duration_ms, new_bytes, path, "checkpoint completed");
        }
        Report::Saved {
            id,
            duration_ms,
            new_bytes,
            folder,
        } => {
            tracing::info!(checkpoint = %id, duration_ms, new_bytes, folder, "savepoint completed");
        }
        Report::NotSaved { id, failure } => {
            tracing::warn!(checkpoint = %id, "savepoint failed: {failure}");
        }
        Report::Failed { id, failure, counted } => match failure {
            CheckpointFailure::Suspended | CheckpointFailure::Subsumed { .. } => {
                tracing::info!(checkpoint = %id, "checkpoint given up: {failure}");
            }
            _ => tracing::warn!(checkpoint = %id, counted, "checkpoint failed: {failure}"),
        },
        Report::LateAcks(id) => {
            tracing::debug!(checkpoint = %id, "late acknowledgements; their files are deleted");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A number in `0.0..1.0` from the operating system's randomness: when jobs start together, their checkpoints should not.
fn random_share() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
