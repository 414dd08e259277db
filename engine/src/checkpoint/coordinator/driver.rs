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

use super::cleaner::Clean;
use super::handle::{AttemptStart, Output, Triggered};
use super::holds::Holds;
use super::log::log;
use super::persist::{self, Session};
use super::{Action, CheckpointStats, Coordinator, Event, Now, RequestId};
use crate::checkpoint::ha::{HaSession, JobEnd};
use crate::checkpoint::storage::CheckpointStorage;
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{CheckpointId, SnapshotKind};
use crate::{Error, ErrorKind, Result};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant};

/// Takes the answer; called on the coordinator's task, which it must not hold up.
pub(super) type Answer = Box<dyn FnOnce(Triggered) + Send>;

/// What the coordinator's task is told.
pub(super) enum Message {
    Event(Event),
    Trigger(SnapshotKind, Answer),
    BeginAttempt(u64, oneshot::Sender<Result<AttemptStart>>),
    Kept(oneshot::Sender<Vec<CompletedCheckpoint>>),
    GoBack(oneshot::Sender<Result<Option<CompletedCheckpoint>>>),
    Finish(JobEnd, oneshot::Sender<Result<()>>),
    Settle(oneshot::Sender<()>),
}

/// The task.
pub(super) struct Driver {
    pub(super) core: Coordinator,
    pub(super) session: Session,
    pub(super) storage: Arc<dyn CheckpointStorage>,
    pub(super) cleaner: mpsc::UnboundedSender<Clean>,
    pub(super) output: Box<dyn FnMut(Output) + Send>,
    pub(super) stats: watch::Sender<CheckpointStats>,
    pub(super) started: Instant,
    pub(super) holds: Holds,
    pub(super) requests: HashMap<RequestId, Answer>,
    pub(super) next_request: u64,
}

impl Driver {
    pub(super) async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
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
                Some(Message::Settle(reply)) => {
                    self.handle(Event::AttemptFailed).await;
                    self.clean(Clean::Barrier(reply));
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
    pub(super) async fn handle(&mut self, event: Event) {
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

    pub(super) async fn carry_out(&mut self, actions: Vec<Action>, events: &mut VecDeque<Event>) {
        for action in actions {
            match action {
                Action::Send(command) => (self.output)(Output::Command(command)),
                Action::Fail(cause) => (self.output)(Output::Fail(cause.into())),
                Action::ReserveIds { below } => {
                    let reserved = self.with_session(move |session| session.reserve_ids(below)).await;
                    if let Err(error) = reserved {
                        let fenced = error.kind() == ErrorKind::Fenced;
                        let reason = error.to_string();
                        events.push_back(Event::ReserveFailed { reason, fenced });
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

    pub(super) fn clean(&self, clean: Clean) {
        // The cleaner lives as long as this sender, unless the runtime is shutting down; then the files are left for the next start.
        let _ = self.cleaner.send(clean);
    }

    pub(super) async fn with_session<T: Send + 'static>(
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
}

async fn sleep_until(start: Instant, ms: Option<u64>) {
    match ms.and_then(|ms| start.checked_add(Duration::from_millis(ms))) {
        // A little later rather than a little earlier: the coordinator counts whole milliseconds.
        Some(at) => tokio::time::sleep_until(at + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
