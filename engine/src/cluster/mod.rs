//! Several processes of one program as one timely cluster, which outlives the loss and return of any of them.
//!
//! Every process runs the same program with the same [`ClusterSettings`], but for `process_index`. Each keeps one listener on its own
//! address for its whole life. Process 0 is the coordinator's home; the others keep a *control connection* to it. The job runs in
//! *attempts*: process 0 numbers them and says when one begins, then every pair of processes opens a *data connection*, and timely runs
//! on those. When a process fails or is lost, the attempt ends in all of them at once; process 0 waits until everybody is (back) there, and
//! the next attempt begins under a higher number. Every connection begins with a greeting, so that neither a process of another
//! job or program nor a port scan can disturb.
//!
//! What a program does in each process (a job of one process, [`ClusterSettings::local`], goes the same way, without network):
//!
//! ```
//! # use millpond_engine::cluster::{AttemptPlan, ClusterSession, ClusterSettings, FailureCause, Finish, JobIdentity};
//! # fn main() -> millpond_engine::Result<()> {
//! let identity = JobIdentity { job_name: "sums".to_owned(), plan_fingerprint: 7 };
//! let session = ClusterSession::connect(ClusterSettings::local(2), identity)?;
//! loop {
//!     // Process 0 decides what the attempt restores; the closure is not called in the others.
//!     let plan = |attempt| Ok(AttemptPlan { attempt, job_id: "j".to_owned(), restore: None, extra: Vec::new() });
//!     let Some(attempt) = session.next_attempt(plan)? else { break };
//!     let control = attempt.control.clone();
//!     let (builders, guard) = attempt.transport.into_timely()?;
//!     let worker_control = control.clone();
//!     let workers = timely::execute::execute_from(builders, guard, timely::WorkerConfig::default(), move |worker| {
//!         worker_control.register_worker();
//!         // Build the dataflow; then, until it is complete:
//!         while worker.has_dataflows() && !worker_control.is_ended() {
//!             worker.step_or_park(None);
//!         }
//!         // After an end timely would go on stepping what is installed.
//!         for dataflow in worker.installed_dataflows() {
//!             worker.drop_dataflow(dataflow);
//!         }
//!     });
//!     // A panic of the user's code is caught inside the worker, which calls `control.fail(cause)` and returns.
//!     drop(workers.map(|workers| workers.join()));
//!     match session.finish(&control) {
//!         Finish::JobFinished => break,
//!         // Process 0 asks its restart strategy here, and may call `session.give_up(cause)`.
//!         Finish::AttemptEnded(_) => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Losses: a closed control connection is a loss at once, a silent one after `heartbeat_timeout`. A data connection that closes without
//! timely's end mark is a loss a second later, unless the reason is heard of first. What timely's threads are shown of a loss is
//! silence ([`AttemptTransport::into_timely`]), so they do not panic.
//!
//! Peers are not authenticated or encrypted: who can reach the port and knows the job can join it.

mod connection;
mod control;
mod failure;
mod link;
mod listener;
mod network;
mod session;
mod settings;
mod shared;
#[cfg(test)]
mod tests;
mod timely_frames;
mod transport;
mod wire;

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use control::AttemptControl;
pub use failure::{AttemptEnd, FailureCause};
pub use session::{Attempt, ClusterSession, Finish};
pub use settings::{ClusterSettings, JobIdentity};
pub use transport::AttemptTransport;

/// The number of an attempt to run the job: 1 for the first, higher for each later one, also over the lives of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptNumber(pub u64);

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What process 0 tells the others when an attempt starts. At most 1 GiB as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptPlan {
    /// The attempt's number, at least the one that the session offers.
    pub attempt: AttemptNumber,
    /// The id of the job, as in the checkpoints folder.
    pub job_id: String,
    /// Metadata of the checkpoint to restore, if there is one.
    pub restore: Option<Vec<u8>>,
    /// Whatever else the processes must agree on.
    pub extra: Vec<u8>,
}

/// What happened in the cluster, for logs and progress displays. Decisions are better made on what
/// [`ClusterSession::finish`] and [`AttemptControl::end`] say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A process has a control connection with this one.
    PeerConnected {
        /// Index of that process.
        process: usize,
    },
    /// A control connection was closed or went silent.
    PeerLost {
        /// Index of the process at its other end.
        process: usize,
        /// Its address.
        address: String,
        /// What was seen of the loss.
        reason: String,
    },
    /// A process that does not belong here was turned away.
    PeerRefused {
        /// Where it came from.
        from: SocketAddr,
        /// What did not fit, with both values.
        reason: String,
    },
    /// The running attempt ended before its job was finished.
    AttemptEnded {
        /// Its number.
        attempt: AttemptNumber,
        /// The reason.
        end: AttemptEnd,
    },
    /// The coordinator gave the job up.
    GaveUp {
        /// The reason.
        cause: FailureCause,
    },
}
