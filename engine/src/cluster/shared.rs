//! What the session's blocking calls and its network tasks share: who is connected, which attempt runs, and what follows from each
//! message and each loss.
//!
//! Tasks change the state under its lock and notify; blocking calls wait on the condition variable. Nothing blocks while it holds the
//! lock: messages go to unbounded queues, one a connection.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::control::AttemptCore;
use super::settings::{ClusterSettings, JobIdentity};
use super::wire::{self, Hello, Message, Purpose};
use super::{AttemptEnd, AttemptNumber, AttemptPlan, ClusterEvent, FailureCause};

/// How long a broken data connection is taken for a side effect of something that a control connection is about to tell.
const SUSPICION: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    pub(super) settings: ClusterSettings,
    pub(super) identity: JobIdentity,
    pub(super) runtime: Handle,
    state: Mutex<State>,
    pub(super) changed: Condvar,
    events: UnboundedSender<ClusterEvent>,
}

/// A living control connection.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) outgoing: UnboundedSender<Arc<[u8]>>,
    pub(super) reader: AbortHandle,
}

/// What is known of another process. Only process 0 is, but in process 0 all are.
pub(super) struct Peer {
    pub(super) connection: Option<Connection>,
    /// When it was last seen to go, or when this process began to wait for it.
    pub(super) away_since: Instant,
    /// Why it was last refused, for the error that says it never came.
    pub(super) refusal: Option<String>,
}

/// An attempt whose data connections are being opened.
pub(super) struct Forming {
    pub(super) attempt: AttemptNumber,
    pub(super) sockets: Vec<Option<TcpStream>>,
}

/// How the whole job ended, as process 0 told.
#[derive(Clone, Debug)]
pub(super) enum JobEnd {
    Finished,
    GaveUp(FailureCause),
}

pub(super) struct State {
    pub(super) peers: Vec<Peer>,
    pub(super) last_connection: u64,
    /// Highest attempt that this process or any that greeted it has seen.
    pub(super) attempt_seen: AttemptNumber,
    pub(super) forming: Option<Forming>,
    pub(super) current: Option<Arc<AttemptCore>>,
    pub(super) ready: BTreeSet<usize>,
    pub(super) finished: BTreeSet<usize>,
    /// Not in process 0: the attempt that it asked for and that was not taken up yet.
    pub(super) asked: Option<AttemptPlan>,
    /// Not in process 0: the attempt that may run.
    pub(super) go: Option<AttemptNumber>,
    pub(super) job_end: Option<JobEnd>,
    /// Not in process 0: why it does not let this process in.
    pub(super) refused: Option<String>,
    /// From here on connections that close are no losses.
    pub(super) is_closing: bool,
    /// Tasks of control connections that have not ended.
    pub(super) connection_tasks: usize,
}

impl Shared {
    pub(super) fn new(
        settings: ClusterSettings,
        identity: JobIdentity,
        runtime: Handle,
        events: UnboundedSender<ClusterEvent>,
    ) -> Arc<Self> {
        let peers = (0..settings.processes())
            .map(|_| Peer {
                connection: None,
                away_since: Instant::now(),
                refusal: None,
            })
            .collect();
        Arc::new(Self {
            settings,
            identity,
            runtime,
            state: Mutex::new(State {
                peers,
                last_connection: 0,
                attempt_seen: AttemptNumber(0),
                forming: None,
                current: None,
                ready: BTreeSet::new(),
                finished: BTreeSet::new(),
                asked: None,
                go: None,
                job_end: None,
                refused: None,
                is_closing: false,
                connection_tasks: 0,
            }),
            changed: Condvar::new(),
            events,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lock away until something changes or `limit` has passed.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let wait = self.changed.wait_timeout(state, limit);
        wait.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn me(&self) -> usize {
        self.settings.process_index
    }

    pub(super) fn is_coordinator(&self) -> bool {
        self.me() == 0
    }

    pub(super) fn emit(&self, event: ClusterEvent) {
        // Nobody listens where the program did not ask for events.
        let _ = self.events.send(event);
    }

    /// The greeting of this process.
    pub(super) fn hello(&self, purpose: Purpose) -> Hello {
        Hello {
            purpose,
            job_name: self.identity.job_name.clone(),
            process: number(self.me()),
            processes: number(self.settings.processes()),
            slots: number(self.settings.slots),
            plan_fingerprint: self.identity.plan_fingerprint,
        }
    }

    /// Queues `message` for `process`, if it is connected.
    pub(super) fn send(&self, state: &State, process: usize, message: &Message) {
        let Some(connection) = state.peers.get(process).and_then(|peer| peer.connection.as_ref()) else {
            return;
        };
        match wire::frame(message) {
            Ok(frame) => drop(connection.outgoing.send(frame.into())),
            Err(error) => tracing::error!("a message to process {process} cannot be sent: {error}"),
        }
    }

    /// Queues `message` for all that are connected, but for `except`.
    pub(super) fn broadcast(&self, state: &State, message: &Message, except: Option<usize>) {
        let frame: Arc<[u8]> = match wire::frame(message) {
            Ok(frame) => frame.into(),
            Err(error) => return tracing::error!("a message to all processes cannot be sent: {error}"),
        };
        Self::broadcast_frame(state, &frame, except);
    }

    /// [`broadcast`](Self::broadcast) of a message that was encoded before.
    pub(super) fn broadcast_frame(state: &State, frame: &Arc<[u8]>, except: Option<usize>) {
        for (process, peer) in state.peers.iter().enumerate() {
            if let Some(connection) = peer.connection.as_ref().filter(|_| Some(process) != except) {
                // A closed queue belongs to a connection whose loss is being noticed.
                let _ = connection.outgoing.send(Arc::clone(frame));
            }
        }
    }

    /// Takes note that connection `id` to `process` is over.
    pub(super) fn lose(&self, process: usize, id: u64, reason: &str) {
        let mut state = self.lock();
        let Some(peer) = state.peers.get_mut(process) else {
            return;
        };
        if peer
            .connection
            .as_ref()
            .is_none_or(|connection| connection.id != id)
        {
            return;
        }
        peer.connection = None;
        peer.away_since = Instant::now();
        self.changed.notify_all();
        if state.is_closing {
            return;
        }
        let address = self.settings.address(process);
        tracing::warn!("process {process} at {address} was lost: {reason}");
        self.emit(ClusterEvent::PeerLost {
            process,
            address: address.to_owned(),
            reason: reason.to_owned(),
        });
        state.asked = None;
        let attempt = state.current.as_ref().map(|core| core.attempt);
        // Who has done its part of the attempt is not missed by it any more.
        if let Some(attempt) = attempt.filter(|_| !state.finished.contains(&process)) {
            self.end_as_lost(&mut state, attempt, process, reason, Some(process));
        }
    }

    /// A data connection to `process` broke: a loss, unless a better reason is heard of soon.
    pub(super) fn suspect(self: &Arc<Self>, attempt: AttemptNumber, process: usize, reason: String) {
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(SUSPICION).await;
            let mut state = shared.lock();
            shared.end_as_lost(&mut state, attempt, process, &reason, None);
        });
    }

    fn end_as_lost(
        &self,
        state: &mut State,
        attempt: AttemptNumber,
        process: usize,
        reason: &str,
        except: Option<usize>,
    ) {
        let end = AttemptEnd::PeerLost {
            process,
            address: self.settings.address(process).to_owned(),
            reason: reason.to_owned(),
        };
        if self.end_attempt(state, attempt, end) {
            let told = Message::Lost {
                attempt,
                process: number(process),
                reason: reason.to_owned(),
            };
            self.broadcast(state, &told, except);
        }
    }

    /// Ends `attempt` in this process if it is the current one and still runs.
    pub(super) fn end_attempt(&self, state: &mut State, attempt: AttemptNumber, end: AttemptEnd) -> bool {
        if state.asked.as_ref().is_some_and(|plan| plan.attempt == attempt) {
            state.asked = None;
        }
        let core = state.current.as_ref().filter(|core| core.attempt == attempt);
        let is_first = core.is_some_and(|core| core.finish_with(end.clone()));
        if is_first {
            self.emit(ClusterEvent::AttemptEnded { attempt, end });
            self.changed.notify_all();
        }
        is_first
    }

    /// This process failed: see [`AttemptControl::fail`](super::AttemptControl::fail).
    pub(super) fn fail(&self, core: &Arc<AttemptCore>, cause: FailureCause) -> bool {
        let mut state = self.lock();
        let is_first = self.end_attempt(&mut state, core.attempt, AttemptEnd::Failed(cause.clone()));
        if is_first {
            let told = Message::Failed {
                attempt: core.attempt,
                process: number(self.me()),
                cause,
            };
            self.broadcast(&state, &told, None);
        }
        is_first
    }

    /// Acts on a message that came in from `from` on its connection `id`.
    pub(super) fn receive(&self, from: usize, id: u64, message: Message) {
        let mut state = self.lock();
        let connection = state.peers.get(from).and_then(|peer| peer.connection.as_ref());
        if connection.is_none_or(|connection| connection.id != id) {
            return;
        }
        match message {
            Message::Heartbeat => return,
            Message::Failed {
                attempt,
                process,
                cause,
            } => {
                let end = AttemptEnd::PeerFailed {
                    process: index(process),
                    cause: cause.clone(),
                };
                if self.end_attempt(&mut state, attempt, end) {
                    self.broadcast(
                        &state,
                        &Message::Failed {
                            attempt,
                            process,
                            cause,
                        },
                        Some(from),
                    );
                }
            }
            Message::Lost {
                attempt,
                process,
                reason,
            } => {
                self.end_as_lost(&mut state, attempt, index(process), &reason, Some(from));
            }
            Message::Ready { attempt } if self.is_coordinator() => {
                if state.current.as_ref().is_some_and(|core| core.attempt == attempt) {
                    state.ready.insert(from);
                }
            }
            Message::Finished { attempt } if self.is_coordinator() => {
                if state.current.as_ref().is_some_and(|core| core.attempt == attempt) {
                    state.finished.insert(from);
                }
            }
            Message::AttemptStart(plan) if !self.is_coordinator() => {
                let by = plan.attempt;
                if let Some(running) = state.current.as_ref().map(|core| core.attempt) {
                    self.end_attempt(&mut state, running, AttemptEnd::Superseded { by });
                }
                state.asked = Some(plan);
            }
            Message::Go { attempt } if !self.is_coordinator() => state.go = Some(attempt),
            Message::JobFinished if !self.is_coordinator() => {
                self.end_job(&mut state, JobEnd::Finished);
            }
            Message::GaveUp { cause } if !self.is_coordinator() => {
                if let Some(running) = state.current.as_ref().map(|core| core.attempt) {
                    self.end_attempt(&mut state, running, AttemptEnd::GaveUp(cause.clone()));
                }
                self.emit(ClusterEvent::GaveUp { cause: cause.clone() });
                self.end_job(&mut state, JobEnd::GaveUp(cause));
            }
            other => tracing::warn!("process {from} sent a message out of place: {other:?}"),
        }
        self.changed.notify_all();
    }

    /// The job is over: connections may close. Their queues are still sent.
    pub(super) fn end_job(&self, state: &mut State, end: JobEnd) {
        state.job_end.get_or_insert(end);
        state.is_closing = true;
        for peer in &mut state.peers {
            peer.connection = None;
        }
        self.changed.notify_all();
    }
}

/// A process index or count as it travels. Clusters of more than 4 billion processes do not fit their own address list.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The reverse of [`number`].
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
