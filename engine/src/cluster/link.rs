//! The socket that timely's network threads read and write: one that never fails.
//!
//! Timely's send and receive threads panic when a connection breaks, which prints, poisons the workers' queues and panics again
//! where the threads are joined. A [`DataLink`] keeps the failure away from them. To timely a broken peer is one that is silent: reads
//! wait, writes are swallowed. Meanwhile the loss is reported, the attempt ends, the workers drop their dataflow; and when the
//! last of them is gone the stream is closed as if the peer had ended it, so that the threads return.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use timely::communication::allocator::zero_copy::stream::Stream;

use super::control::AttemptCore;
use super::timely_frames::FrameTracker;

/// Called once, with the reason, when a link breaks while its attempt runs.
pub(super) type OnBroken = Arc<dyn Fn(String) + Send + Sync>;

/// One end of a data connection. Clones share the socket.
pub(super) struct DataLink {
    socket: Arc<TcpStream>,
    core: Arc<AttemptCore>,
    broken: Arc<AtomicBool>,
    on_broken: OnBroken,
    frames: FrameTracker,
    /// Whether the rest of the stream is made up here.
    is_completing: bool,
}

impl DataLink {
    /// A link over `socket` that ends with the attempt of `core`.
    pub(super) fn new(socket: TcpStream, core: Arc<AttemptCore>, on_broken: OnBroken) -> Self {
        let socket = Arc::new(socket);
        core.adopt(&socket);
        Self {
            socket,
            core,
            broken: Arc::new(AtomicBool::new(false)),
            on_broken,
            frames: FrameTracker::new(),
            is_completing: false,
        }
    }

    fn break_off(&self, reason: String) {
        let was_broken = self.broken.swap(true, Ordering::SeqCst);
        if !was_broken && !self.core.is_ended() && !self.core.is_released() {
            (self.on_broken)(reason);
        }
    }
}

impl fmt::Debug for DataLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLink")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Read for DataLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.is_completing {
            match (&*self.socket).read(buffer) {
                Ok(length) if length > 0 => {
                    self.frames.advance(buffer.get(..length).unwrap_or_default());
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                _ if self.frames.has_ended() => return Ok(0),
                Ok(_) => self.break_off("its data connection was closed".to_owned()),
                Err(error) => self.break_off(format!("its data connection broke: {error}")),
            }
            self.core.await_release();
            self.is_completing = true;
        }
        Ok(self.frames.complete(buffer))
    }
}

impl Write for DataLink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        while !self.broken.load(Ordering::Relaxed) {
            match (&*self.socket).write(buffer) {
                Ok(length) if length > 0 => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => self.break_off("its data connection takes nothing".to_owned()),
                Err(error) => self.break_off(format!("its data connection broke: {error}")),
            }
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for DataLink {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: Arc::clone(&self.socket),
            core: Arc::clone(&self.core),
            broken: Arc::clone(&self.broken),
            on_broken: Arc::clone(&self.on_broken),
            frames: FrameTracker::new(),
            is_completing: false,
        })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // Fails only where the peer is gone already.
        let _ = self.socket.shutdown(how);
        Ok(())
    }
}
