//! The session behind the door: forming attempts and ending them together, as blocking calls over the [shared](super::shared) state.

use std::net::TcpListener;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::connection::{REMIND_EVERY, keep_to_coordinator, open};
use super::control::AttemptCore;
use super::listener::{deliver, listen};
use super::session::{Attempt, Finish};
use super::settings::{ClusterSettings, JobIdentity};
use super::shared::{Forming, JobEnd, Shared, State};
use super::transport::{AttemptTransport, Mesh};
use super::wire::{self, Answer, Message, Purpose};
use super::{AttemptControl, AttemptEnd, AttemptNumber, AttemptPlan, ClusterEvent, FailureCause};
use crate::{Error, ErrorKind, Result};

/// How long a session that ends waits for its last messages to be taken.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause before a data connection is tried again.
const DATA_RETRY: Duration = Duration::from_millis(20);
/// Pause before an address that is in use is tried again.
const BIND_RETRY: Duration = Duration::from_millis(200);

/// The thread with the tasks of all connections.
pub(super) struct Network {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Network {
    pub(super) fn start(
        settings: ClusterSettings,
        identity: JobIdentity,
        events: UnboundedSender<ClusterEvent>,
    ) -> Result<Self> {
        let address = settings.address(settings.process_index).to_owned();
        let cannot = |what: &str, error: std::io::Error| {
            Error::new(
                ErrorKind::Configuration,
                format!("cannot {what} {address}, this process's cluster address"),
            )
            .with_source(error)
        };
        let listener = bind(&address).map_err(|error| cannot("listen on", error))?;
        listener
            .set_nonblocking(true)
            .map_err(|error| cannot("listen on", error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| cannot("start the network thread for", error))?;
        let shared = Shared::new(settings, identity, runtime.handle().clone(), events);
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(|error| cannot("listen on", error))?
        };
        runtime.spawn(listen(Arc::clone(&shared), listener));
        if !shared.is_coordinator() {
            runtime.spawn(keep_to_coordinator(Arc::clone(&shared)));
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("millpond-cluster".to_owned())
            .spawn(move || {
                // Either a message or the dropped sender means the end; tasks are dropped with the runtime.
                let _ = runtime.block_on(stopped);
            });
        let thread = thread.map_err(|error| cannot("start the network thread for", error))?;
        Ok(Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// In process 0: see [`ClusterSession::give_up`](super::ClusterSession::give_up).
    pub(super) fn give_up(&self, cause: &FailureCause) {
        let shared = &self.shared;
        let mut state = shared.lock();
        if let Some(running) = state.current.as_ref().map(|core| core.attempt) {
            shared.end_attempt(&mut state, running, AttemptEnd::GaveUp(cause.clone()));
        }
        shared.broadcast(&state, &Message::GaveUp { cause: cause.clone() }, None);
        shared.end_job(&mut state, JobEnd::GaveUp(cause.clone()));
    }

    fn patience(&self) -> Duration {
        self.shared.settings.rejoin_timeout
    }

    pub(super) fn start_attempt(
        &self,
        mut plan: impl FnMut(AttemptNumber) -> Result<AttemptPlan>,
    ) -> Result<Attempt> {
        loop {
            let floor = self.await_peers()?;
            let plan = plan(floor)?;
            if let Some(attempt) = self.form(plan)? {
                return Ok(attempt);
            }
        }
    }

    /// Waits for a control connection with every process. Returns the lowest number for the next attempt.
    fn await_peers(&self) -> Result<AttemptNumber> {
        let shared = &self.shared;
        let began = Instant::now();
        let mut reminded: Option<Instant> = None;
        let mut state = shared.lock();
        loop {
            let missing = missing(&state);
            if missing.is_empty() {
                return Ok(AttemptNumber(state.attempt_seen.0 + 1));
            }
            let names = self.name(&missing);
            let waited = began.elapsed();
            if waited >= self.patience() {
                let mut text = format!("{names} did not join within {:?}", self.patience());
                for (process, refusal) in missing.iter().filter_map(|process| {
                    let refusal = state.peers.get(*process)?.refusal.as_ref()?;
                    Some((process, refusal))
                }) {
                    text.push_str(&format!("; process {process} was refused: {refusal}"));
                }
                return Err(Error::new(ErrorKind::Cluster, text));
            }
            if reminded.is_none_or(|at| at.elapsed() >= REMIND_EVERY) {
                tracing::info!("waiting for {names}");
                reminded = Some(Instant::now());
            }
            state = shared.wait(state, (self.patience() - waited).min(REMIND_EVERY));
        }
    }

    /// `processes 1 at a:1, 2 at b:2`
    fn name(&self, processes: &[usize]) -> String {
        let named = processes
            .iter()
            .map(|process| format!("{process} at {}", self.shared.settings.address(*process)));
        let plural = if processes.len() == 1 {
            "process"
        } else {
            "processes"
        };
        format!("{plural} {}", named.collect::<Vec<_>>().join(", "))
    }

    /// Makes `attempt` the current one, whose data connections are being opened.
    fn begin(&self, state: &mut State, attempt: AttemptNumber) -> Arc<AttemptCore> {
        let core = AttemptCore::new(attempt);
        state.attempt_seen = attempt;
        state.current = Some(Arc::clone(&core));
        state.ready.clear();
        state.finished.clear();
        let sockets = (0..self.shared.settings.processes()).map(|_| None).collect();
        state.forming = Some(Forming { attempt, sockets });
        core
    }

    /// In process 0: forms the attempt. None if a process was lost meanwhile.
    fn form(&self, plan: AttemptPlan) -> Result<Option<Attempt>> {
        let shared = &self.shared;
        // Large plans take their time, which the network's thread must not spend waiting for the lock.
        let start: Arc<[u8]> = match wire::frame(&Message::AttemptStart(plan.clone())) {
            Ok(frame) => frame.into(),
            Err(error) => {
                let text = format!(
                    "what attempt {} restores cannot be sent to the other processes",
                    plan.attempt
                );
                return Err(Error::new(ErrorKind::StateTooLarge, text).with_source(error));
            }
        };
        let mut state = shared.lock();
        if !missing(&state).is_empty() || plan.attempt <= state.attempt_seen {
            return Ok(None);
        }
        let attempt = plan.attempt;
        let core = self.begin(&mut state, attempt);
        tracing::info!(
            "attempt {attempt} starts in {} processes",
            shared.settings.processes()
        );
        Shared::broadcast_frame(&state, &start, None);
        drop(start);
        let began = Instant::now();
        loop {
            if core.is_ended() {
                state.forming = None;
                return Ok(None);
            }
            let everybody = shared.settings.processes() - 1;
            if state.ready.len() == everybody && is_connected(&state, 0) {
                break;
            }
            let waited = began.elapsed();
            if waited >= self.patience() {
                let processes = 1..shared.settings.processes();
                let late: Vec<_> = processes
                    .filter(|process| !state.ready.contains(process))
                    .collect();
                let text = format!(
                    "attempt {attempt}: {} did not connect with all others within {:?}",
                    self.name(&late),
                    self.patience()
                );
                let error = Error::new(ErrorKind::Cluster, text);
                state.forming = None;
                drop(state);
                shared.fail(&core, FailureCause::of(&error));
                return Err(error);
            }
            state = shared.wait(state, self.patience() - waited);
        }
        shared.broadcast(&state, &Message::Go { attempt }, None);
        Ok(Some(self.run(&mut state, plan, core)))
    }

    /// Takes the connections of an attempt that everybody is ready for.
    fn run(&self, state: &mut State, plan: AttemptPlan, core: Arc<AttemptCore>) -> Attempt {
        let shared = &self.shared;
        let sockets = state
            .forming
            .take()
            .map(|forming| forming.sockets)
            .unwrap_or_default();
        let weak = Arc::downgrade(shared);
        let attempt = plan.attempt;
        let mesh = Mesh {
            process: shared.me(),
            sockets,
            on_broken: Arc::new(move |process, reason| {
                if let Some(shared) = weak.upgrade() {
                    shared.suspect(attempt, process, reason);
                }
            }),
        };
        Attempt {
            plan,
            transport: AttemptTransport::new(shared.settings.slots, Arc::clone(&core), Some(mesh)),
            control: AttemptControl::new(core, Some(shared)),
        }
    }

    pub(super) fn await_attempt(&self) -> Result<Option<Attempt>> {
        let shared = &self.shared;
        let began = Instant::now();
        let mut state = shared.lock();
        loop {
            match &state.job_end {
                Some(JobEnd::Finished) => return Ok(None),
                Some(JobEnd::GaveUp(cause)) => return Err(cause.to_error()),
                None => {}
            }
            if let Some(text) = &state.refused {
                let text = format!(
                    "process 0 at {} refused this process: {text}",
                    shared.settings.address(0)
                );
                return Err(Error::new(ErrorKind::Configuration, text));
            }
            if let Some(plan) = state.asked.take() {
                let (formed, unlocked) = self.join(state, plan);
                if formed.is_some() {
                    return Ok(formed);
                }
                state = unlocked;
                continue;
            }
            let mut limit = REMIND_EVERY;
            if let Some(peer) = state.peers.first().filter(|peer| peer.connection.is_none()) {
                let away = peer.away_since.max(began).elapsed();
                if away >= self.patience() {
                    let text = format!(
                        "{} did not come back within {:?}",
                        self.name(&[0]),
                        self.patience()
                    );
                    return Err(Error::new(ErrorKind::Cluster, text));
                }
                limit = self.patience() - away;
            }
            state = shared.wait(state, limit);
        }
    }

    /// In another process than 0: takes part in forming an attempt. None if that came to nothing.
    fn join<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        plan: AttemptPlan,
    ) -> (Option<Attempt>, MutexGuard<'a, State>) {
        let shared = &self.shared;
        let attempt = plan.attempt;
        let core = self.begin(&mut state, attempt);
        for process in 0..shared.me() {
            shared
                .runtime
                .spawn(dial(Arc::clone(shared), Arc::clone(&core), process));
        }
        let mut is_ready = false;
        loop {
            if core.is_ended() || state.job_end.is_some() {
                state.forming = None;
                return (None, state);
            }
            if !is_ready && is_connected(&state, shared.me()) {
                is_ready = true;
                shared.send(&state, 0, &Message::Ready { attempt });
            }
            if is_ready && state.go == Some(attempt) {
                let formed = self.run(&mut state, plan, core);
                return (Some(formed), state);
            }
            state = shared.wait(state, REMIND_EVERY);
        }
    }

    pub(super) fn finish(&self, control: &AttemptControl) -> Finish {
        let shared = &self.shared;
        let attempt = control.attempt();
        let mut state = shared.lock();
        if !control.is_ended() {
            state.finished.insert(shared.me());
            shared.send(&state, 0, &Message::Finished { attempt });
        }
        loop {
            if matches!(state.job_end, Some(JobEnd::Finished)) {
                return Finish::JobFinished;
            }
            if let Some(end) = control.core().end() {
                return Finish::AttemptEnded(end.clone());
            }
            if shared.is_coordinator() && state.finished.len() == shared.settings.processes() {
                shared.broadcast(&state, &Message::JobFinished, None);
                shared.end_job(&mut state, JobEnd::Finished);
                return Finish::JobFinished;
            }
            state = shared.wait(state, REMIND_EVERY);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(core) = state.current.take() {
            // Whatever still runs must not wait for peers of a session that is gone.
            let address = self.shared.settings.address(self.shared.me()).to_owned();
            let reason = "its cluster session was closed".to_owned();
            core.finish_with(AttemptEnd::PeerLost {
                process: self.shared.me(),
                address,
                reason,
            });
        }
        state.is_closing = true;
        state.forming = None;
        for peer in &mut state.peers {
            peer.connection = None;
        }
        let began = Instant::now();
        while state.connection_tasks > 0 && began.elapsed() < FAREWELL {
            state = self.shared.wait(state, FAREWELL);
        }
        drop(state);
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the network thread of the cluster panicked");
        }
    }
}

/// Listens on `address`. One that is in use gets a second chance: the process that had it may be just about to end, and where
/// the port is one of those that the system gives to outgoing connections, one of these may hold it for a moment.
fn bind(address: &str) -> std::io::Result<TcpListener> {
    for _ in 0..5 {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::sleep(BIND_RETRY),
            other => return other,
        }
    }
    TcpListener::bind(address)
}

/// Processes without a control connection, seen from process 0.
fn missing(state: &State) -> Vec<usize> {
    let others = state.peers.iter().enumerate().skip(1);
    others
        .filter(|(_, peer)| peer.connection.is_none())
        .map(|(process, _)| process)
        .collect()
}

/// Whether there is a data connection with every other process.
fn is_connected(state: &State, me: usize) -> bool {
    let sockets = state
        .forming
        .as_ref()
        .map(|forming| forming.sockets.iter().enumerate());
    sockets.is_some_and(|mut sockets| sockets.all(|(process, socket)| process == me || socket.is_some()))
}

/// Opens the data connection to `process`, and tries again while its attempt is being formed.
async fn dial(shared: Arc<Shared>, core: Arc<AttemptCore>, process: usize) {
    let attempt = core.attempt;
    let mut is_first = true;
    while !core.is_ended() {
        let problem = match open(&shared, process, Purpose::Data { attempt }).await {
            Ok((stream, Answer::Accepted)) => match deliver(&shared, process, attempt, stream) {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Ok((_, Answer::NotYet)) => {
                tokio::time::sleep(DATA_RETRY).await;
                continue;
            }
            // The word that starts a newer attempt is on its way.
            Ok((_, Answer::Stale)) => return,
            Ok((_, Answer::Refused(text))) => text,
            Err(error) => error.to_string(),
        };
        if std::mem::take(&mut is_first) {
            let address = shared.settings.address(process);
            tracing::warn!(
                "attempt {attempt}: no data connection to process {process} at {address} yet: {problem}"
            );
        }
        tokio::time::sleep(DATA_RETRY * 5).await;
    }
}
