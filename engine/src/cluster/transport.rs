//! From connected sockets to what timely executes on.

use std::any::Any;
use std::fmt;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::{
    CommsGuard, initialize_networking_from_sockets,
};
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::control::AttemptCore;
use super::link::{DataLink, OnBroken};
use crate::{Error, ErrorKind, Result};

/// The connections of one attempt, ready for timely.
pub struct AttemptTransport {
    slots: usize,
    core: Arc<AttemptCore>,
    pub(super) mesh: Option<Mesh>,
}

/// A data connection to every other process.
pub(super) struct Mesh {
    pub(super) process: usize,
    /// By process index; none at this process's own.
    pub(super) sockets: Vec<Option<TcpStream>>,
    /// Told the index of a process whose link broke, and how.
    pub(super) on_broken: Arc<dyn Fn(usize, String) + Send + Sync>,
}

impl AttemptTransport {
    pub(super) fn new(slots: usize, core: Arc<AttemptCore>, mesh: Option<Mesh>) -> Self {
        Self { slots, core, mesh }
    }

    /// The first two arguments of [`timely::execute::execute_from`]: a builder for each worker of this process, and the guard whose
    /// drop waits for timely's network threads and closes the connections.
    ///
    /// `execute_from` holds the guard in the `WorkerGuards` it returns, and drops it after the workers were joined. Its drop returns
    /// when the other processes have finished too, or when the attempt has ended; so a worker that fails must say so
    /// ([`AttemptControl::fail`](super::AttemptControl::fail)) before it returns. It never panics.
    ///
    /// # Errors
    /// [`ErrorKind::Cluster`] if a socket or a thread cannot be set up.
    pub fn into_timely(self) -> Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>)> {
        let hooks = Hooks::default();
        let workers = ProcessBuilder::new_typed_vector(self.slots, hooks.refill.clone(), hooks.spill.clone());
        let mut guard = Box::new(TransportGuard {
            core: self.core,
            threads: None,
        });
        let Some(mesh) = self.mesh else {
            return Ok((
                workers.into_iter().map(AllocatorBuilder::Process).collect(),
                guard,
            ));
        };
        let mut links = Vec::with_capacity(mesh.sockets.len());
        for (process, socket) in mesh.sockets.into_iter().enumerate() {
            links.push(socket.map(|socket| {
                let on_broken = Arc::clone(&mesh.on_broken);
                let on_broken: OnBroken = Arc::new(move |reason| on_broken(process, reason));
                DataLink::new(socket, Arc::clone(&guard.core), on_broken)
            }));
        }
        let (builders, threads) =
            initialize_networking_from_sockets(workers, links, mesh.process, self.slots, hooks).map_err(
                |error| {
                    Error::new(
                        ErrorKind::Cluster,
                        "cannot start the network threads of an attempt",
                    )
                    .with_source(error)
                },
            )?;
        guard.threads = Some(threads);
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), guard))
    }
}

impl fmt::Debug for AttemptTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptTransport")
            .field("attempt", &self.core.attempt)
            .field("slots", &self.slots)
            .field("is_mesh", &self.mesh.is_some())
            .finish_non_exhaustive()
    }
}

/// Joins timely's network threads.
struct TransportGuard {
    core: Arc<AttemptCore>,
    threads: Option<CommsGuard>,
}

impl Drop for TransportGuard {
    fn drop(&mut self) {
        self.core.release();
        // Links do not fail, so the threads panic only where a worker was torn down by a panic that nobody caught.
        if catch_unwind(AssertUnwindSafe(|| drop(self.threads.take()))).is_err() {
            tracing::error!("a network thread of attempt {} panicked", self.core.attempt);
        }
        self.core.clear();
    }
}
