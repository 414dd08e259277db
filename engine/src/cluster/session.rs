//! The calls by which a program takes part in its cluster. They block, so they are not for async code.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::control::AttemptCore;
use super::network::Network;
use super::settings::{ClusterSettings, JobIdentity};
use super::transport::AttemptTransport;
use super::{AttemptControl, AttemptEnd, AttemptNumber, AttemptPlan, ClusterEvent, FailureCause};
use crate::{Error, ErrorKind, Result};

/// An attempt that all processes are ready for.
#[derive(Debug)]
pub struct Attempt {
    /// What process 0 decided.
    pub plan: AttemptPlan,
    /// The connections, to give to timely.
    pub transport: AttemptTransport,
    /// The way to end the attempt and to see its end.
    pub control: AttemptControl,
}

/// How an attempt came out, for all processes alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Finish {
    /// All workers of all processes have finished: the job is done.
    JobFinished,
    /// It ended early. Process 0 decides what follows; the others ask for the next attempt.
    AttemptEnded(AttemptEnd),
}

/// The membership of this process in its cluster; see the [module](super) for how it is used. Dropping it leaves the cluster, which is
/// a loss to the others unless the job is over.
pub struct ClusterSession {
    settings: ClusterSettings,
    network: Option<Network>,
    events: Mutex<Option<UnboundedReceiver<ClusterEvent>>>,
    /// Highest attempt of a job of one process.
    local_attempt: Mutex<AttemptNumber>,
}

impl ClusterSession {
    /// Opens the door of this process and begins to look for the others, without waiting for them. A job of one process has no door.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the settings cannot work or the own address cannot be listened on.
    pub fn connect(settings: ClusterSettings, identity: JobIdentity) -> Result<Self> {
        settings.validate()?;
        let (events_in, events) = unbounded_channel();
        let network = match settings.processes() {
            1 => None,
            _ => Some(Network::start(settings.clone(), identity, events_in)?),
        };
        Ok(Self {
            settings,
            network,
            events: Mutex::new(Some(events)),
            local_attempt: Mutex::new(AttemptNumber(0)),
        })
    }

    /// Whether this is process 0, which decides on attempts.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.settings.process_index == 0
    }

    /// The settings that it was opened with.
    #[must_use]
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// The events of this session, to whoever asks first. Nothing is lost before that.
    pub fn take_events(&self) -> Option<UnboundedReceiver<ClusterEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// [`start_attempt`](Self::start_attempt) in process 0, [`await_attempt`](Self::await_attempt) in the others.
    ///
    /// # Errors
    /// As those two.
    pub fn next_attempt(
        &self,
        plan: impl FnMut(AttemptNumber) -> Result<AttemptPlan>,
    ) -> Result<Option<Attempt>> {
        if self.is_coordinator() {
            self.start_attempt(plan).map(Some)
        } else {
            self.await_attempt()
        }
    }

    /// In process 0: waits until all processes are there, asks `plan` for what the attempt is, and forms it.
    ///
    /// `plan` is given the lowest number that the attempt may have: higher than any that a process has seen. It is called again if a
    /// process is lost before all were ready, which is no failure of the attempt: no worker has run.
    ///
    /// # Errors
    /// - [`ErrorKind::Cluster`] if processes are missing, or are not ready, for the rejoin timeout; they are named with their addresses.
    /// - [`ErrorKind::StateTooLarge`] if the plan is larger than 1 GiB.
    /// - What `plan` returns.
    /// - [`ErrorKind::Bug`] in another process than 0, or if `plan` gives a number that is too low.
    pub fn start_attempt(
        &self,
        mut plan: impl FnMut(AttemptNumber) -> Result<AttemptPlan>,
    ) -> Result<Attempt> {
        if !self.is_coordinator() {
            return Err(Error::new(ErrorKind::Bug, "only process 0 can start an attempt"));
        }
        let checked_plan = |floor: AttemptNumber| {
            let plan = plan(floor)?;
            if plan.attempt < floor {
                let text = format!(
                    "attempt {} cannot start: the next must be at least {floor}",
                    plan.attempt
                );
                return Err(Error::new(ErrorKind::Bug, text));
            }
            Ok(plan)
        };
        match &self.network {
            Some(network) => network.start_attempt(checked_plan),
            None => self.start_alone(checked_plan),
        }
    }

    fn start_alone(&self, mut plan: impl FnMut(AttemptNumber) -> Result<AttemptPlan>) -> Result<Attempt> {
        let mut last = self.local_attempt.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plan(AttemptNumber(last.0 + 1))?;
        *last = plan.attempt;
        let core = AttemptCore::new(plan.attempt);
        Ok(Attempt {
            plan,
            transport: AttemptTransport::new(self.settings.slots, Arc::clone(&core), None),
            control: AttemptControl::new(core, None),
        })
    }

    /// In another process than 0: waits until process 0 starts an attempt and all are ready for it. None if the job is finished.
    ///
    /// # Errors
    /// - [`ErrorKind::Configuration`] if process 0 refuses this process; the text names what differs.
    /// - [`ErrorKind::Cluster`] if process 0 is away for the rejoin timeout.
    /// - The cause with which process 0 gave the job up, of whatever kind.
    /// - [`ErrorKind::Bug`] in process 0.
    pub fn await_attempt(&self) -> Result<Option<Attempt>> {
        match &self.network {
            Some(network) if !self.is_coordinator() => network.await_attempt(),
            _ => Err(Error::new(
                ErrorKind::Bug,
                "process 0 starts attempts, it does not wait for them",
            )),
        }
    }

    /// Says that the workers of this process are done with the attempt of `control`; to be called after timely's guards were dropped.
    /// If the attempt has not ended early, waits until all processes have said the same.
    ///
    /// A process that is lost between its own word and the last one's does not matter any more. If process 0 is lost then, the
    /// attempt has ended early: what it still wanted to do is not known.
    pub fn finish(&self, control: &AttemptControl) -> Finish {
        match (&self.network, control.end()) {
            (Some(network), _) => network.finish(control),
            (None, Some(end)) => Finish::AttemptEnded(end),
            (None, None) => Finish::JobFinished,
        }
    }

    /// In process 0: tells the others that the job failed for good, and why. They end with the same cause.
    pub fn give_up(&self, cause: &FailureCause) {
        if let Some(network) = self.network.as_ref().filter(|_| self.is_coordinator()) {
            network.give_up(cause);
        }
    }
}

impl fmt::Debug for ClusterSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSession")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
