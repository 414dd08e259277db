//! The two tasks of a control connection, and the task that keeps one to process 0.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::shared::{Connection, Shared};
use super::wire::{self, Answer, Message, Purpose};
use super::{AttemptNumber, ClusterEvent};

/// How long a greeting and its answer may take, and a connection to open.
pub(super) const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// First and longest pause between two tries to reach process 0.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often it is said whom this process waits for.
pub(super) const REMIND_EVERY: Duration = Duration::from_secs(10);

/// Counts a task of a connection while it lives.
struct TaskCount(Arc<Shared>);

impl TaskCount {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.lock().connection_tasks += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for TaskCount {
    fn drop(&mut self) {
        self.0.lock().connection_tasks -= 1;
        self.0.changed.notify_all();
    }
}

/// Takes up a control connection with `process` whose greeting was accepted; an older one of the same process is dropped, since
/// only a process that lost the old one opens another. Returns the task that runs as long as the connection.
pub(super) fn take_up(
    shared: &Arc<Shared>,
    process: usize,
    attempt_seen: AttemptNumber,
    stream: TcpStream,
) -> Option<JoinHandle<()>> {
    let old = {
        let state = shared.lock();
        let connection = state.peers.get(process).and_then(|peer| peer.connection.as_ref());
        connection.map(|connection| (connection.id, connection.reader.clone()))
    };
    if let Some((id, reader)) = old {
        reader.abort();
        shared.lose(process, id, "it connected anew");
    }
    let (read_half, write_half) = stream.into_split();
    let (outgoing, queue) = unbounded_channel();
    let counts = (TaskCount::new(shared), TaskCount::new(shared));
    let mut state = shared.lock();
    if state.is_closing {
        // The counts take the lock again when they go.
        drop(state);
        return None;
    }
    state.last_connection += 1;
    let id = state.last_connection;
    shared.runtime.spawn(write(counts.0, queue, write_half));
    // The reader's first step takes the lock that is held here, so it cannot see the connection missing.
    let reader = shared.runtime.spawn(read(counts.1, process, id, read_half));
    state.attempt_seen = state.attempt_seen.max(attempt_seen);
    if let Some(peer) = state.peers.get_mut(process) {
        peer.connection = Some(Connection {
            id,
            outgoing,
            reader: reader.abort_handle(),
        });
        peer.refusal = None;
    }
    drop(state);
    tracing::info!(
        "process {process} at {} is connected",
        shared.settings.address(process)
    );
    shared.emit(ClusterEvent::PeerConnected { process });
    shared.changed.notify_all();
    Some(reader)
}

async fn read(count: TaskCount, process: usize, id: u64, mut stream: OwnedReadHalf) {
    let shared = &count.0;
    let error = loop {
        match wire::read_message(&mut stream, shared.settings.heartbeat_timeout).await {
            Ok(message) => shared.receive(process, id, message),
            Err(error) => break error,
        }
    };
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed its control connection".to_owned(),
        io::ErrorKind::TimedOut => {
            format!("no sign of life for {:?}", shared.settings.heartbeat_timeout)
        }
        _ => format!("its control connection broke: {error}"),
    };
    shared.lose(process, id, &reason);
}

/// Sends the queue until its sender is dropped, and signs of life in between. Errors are left to the reader, which sees them too.
async fn write(count: TaskCount, mut queue: UnboundedReceiver<Arc<[u8]>>, mut stream: OwnedWriteHalf) {
    let Ok(heartbeat) = wire::frame(&Message::Heartbeat) else {
        return;
    };
    let mut beat = tokio::time::interval(count.0.settings.heartbeat_interval);
    loop {
        let frame = tokio::select! {
            biased;
            frame = queue.recv() => frame,
            _ = beat.tick() => Some(heartbeat.as_slice().into()),
        };
        let Some(frame) = frame else { break };
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
    // The peer learns of the end by itself where this fails.
    let _ = stream.shutdown().await;
}

/// Keeps a control connection to process 0, as long as that may take.
pub(super) async fn keep_to_coordinator(shared: Arc<Shared>) {
    let address = shared.settings.address(0).to_owned();
    let mut backoff = BACKOFF.0;
    let mut reminded: Option<Instant> = None;
    loop {
        let attempt_seen = shared.lock().attempt_seen;
        let problem = match open(&shared, 0, Purpose::Control { attempt_seen }).await {
            Ok((stream, Answer::Accepted)) => {
                if let Some(reader) = take_up(&shared, 0, AttemptNumber(0), stream) {
                    // Ends with the connection; there is no result.
                    let _ = reader.await;
                }
                (backoff, reminded) = (BACKOFF.0, None);
                "its connection was lost".to_owned()
            }
            Ok((_, Answer::Refused(text))) => {
                shared.lock().refused = Some(text);
                shared.changed.notify_all();
                return;
            }
            Ok((_, Answer::NotYet | Answer::Stale)) => "it is busy".to_owned(),
            Err(error) => error.to_string(),
        };
        if shared.lock().is_closing {
            return;
        }
        if reminded.is_none_or(|at| at.elapsed() >= REMIND_EVERY) {
            tracing::info!("waiting for process 0 at {address}: {problem}");
            reminded = Some(Instant::now());
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// Opens a connection to `process` and greets it.
pub(super) async fn open(
    shared: &Shared,
    process: usize,
    purpose: Purpose,
) -> io::Result<(TcpStream, Answer)> {
    let address = shared.settings.address(process);
    let mut stream = timeout(GREETING_TIMEOUT, TcpStream::connect(address)).await??;
    prepare(shared, &stream)?;
    let answer = wire::greet(&mut stream, &shared.hello(purpose), GREETING_TIMEOUT).await?;
    Ok((stream, answer))
}

/// Has it send at once, and fail when the peer's machine went away, whether or not something is being sent. Timely's receive threads
/// always read, so a peer that acknowledges nothing for the heartbeat timeout is gone and not just slow.
pub(super) fn prepare(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(shared.settings.heartbeat_interval.max(Duration::from_secs(1)))
        .with_interval(shared.settings.heartbeat_interval.max(Duration::from_secs(1)));
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(shared.settings.heartbeat_timeout))?;
    Ok(())
}
