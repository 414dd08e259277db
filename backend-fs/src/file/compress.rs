//! Compression: a plain file's bytes in frames, each compressed and checksummed by itself (`millpond-mapped-lz4/1`).
//!
//! A compressed file cannot be probed in place; [`expand`](super::expand) makes the plain file of it. The frames are compressed by a thread
//! of their own, beside the one that makes the plain bytes.

use super::damage::thread_failed;
use super::layout::header;
use super::output::Output;
use millpond_backend_api::BackendResult;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// The name of the format of compressed files. Handles name [`FORMAT`](super::FORMAT) and say of each file in their payload whether it is compressed.
pub const FORMAT_COMPRESSED: &str = "millpond-mapped-lz4/1";

/// What a compressed file begins with.
pub(super) const FRAMES_MAGIC: [u8; 8] = *b"mpframes";
/// The most plain bytes of a frame.
pub(super) const FRAME_BYTES: usize = 256 << 10;
/// The plain length, the stored length, the CRC32 of both and the stored bytes.
pub(super) const FRAME_HEAD_BYTES: usize = 4 + 4 + 4;

/// The frames that may wait to be compressed.
const WAITING_MAX: usize = 2;

/// What a compressed file comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedFigures {
    /// Its length.
    pub bytes: u64,
    /// The length of the plain file that is made of it.
    pub plain_bytes: u64,
}

/// An output that compresses what is written to it and passes it on to another, in a thread of its own. Dropped without
/// [`finish`](Compressor::finish), it ends the thread and drops the other output.
pub struct Compressor<O> {
    frame: Vec<u8>,
    plain_bytes: u64,
    /// Gives frames to the thread; `None` once it is told to end.
    full: Option<SyncSender<Frame>>,
    /// The memory of frames that were written.
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<BackendResult<(O, u64)>>>,
}

enum Frame {
    Plain(Vec<u8>),
    /// The last one, with the length of all before.
    End(u64),
}

impl<O> fmt::Debug for Compressor<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("plain_bytes", &self.plain_bytes)
            .finish_non_exhaustive()
    }
}

impl<O: Output + Send + 'static> Compressor<O> {
    /// Begins a compressed file in `output`.
    ///
    /// # Errors
    /// [`Io`](millpond_backend_api::BackendErrorKind::Io) when no thread can be started.
    pub fn new(output: O) -> BackendResult<Self> {
        let (full, frames) = sync_channel(WAITING_MAX);
        let (used, empty) = channel();
        let thread = std::thread::Builder::new()
            .name("millpond-compress".to_owned())
            .spawn(move || write_frames(output, &frames, |frame| drop(used.send(frame))))?;
        Ok(Self {
            frame: Vec::with_capacity(FRAME_BYTES),
            plain_bytes: 0,
            full: Some(full),
            empty,
            thread: Some(thread),
        })
    }

    /// Ends the file and gives the output back.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> BackendResult<(O, CompressedFigures)> {
        if !self.frame.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            self.send(Frame::Plain(frame))?;
        }
        let plain_bytes = self.plain_bytes;
        self.send(Frame::End(plain_bytes))?;
        let (output, bytes) = self.end_thread()?;
        Ok((output, CompressedFigures { bytes, plain_bytes }))
    }

    fn send(&mut self, frame: Frame) -> BackendResult<()> {
        let sent = self.full.as_ref().is_some_and(|full| full.send(frame).is_ok());
        if sent {
            return Ok(());
        }
        // The thread ends before it is told to only when it has failed.
        Err(match self.end_thread() {
            Err(error) => error,
            Ok(_) => thread_failed(),
        })
    }
}

impl<O> Compressor<O> {
    fn end_thread(&mut self) -> BackendResult<(O, u64)> {
        self.full = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(thread_failed()),
        }
    }
}

impl<O> Drop for Compressor<O> {
    fn drop(&mut self) {
        // What became of an abandoned file is of no interest, but it is gone when this returns.
        drop(self.end_thread());
    }
}

impl<O: Output + Send + 'static> Output for Compressor<O> {
    fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(FRAME_BYTES - self.frame.len()));
            self.frame.extend_from_slice(piece);
            rest = after;
            if self.frame.len() == FRAME_BYTES {
                let next = self.empty.try_recv();
                let next = next.unwrap_or_else(|_| Vec::with_capacity(FRAME_BYTES));
                let frame = std::mem::replace(&mut self.frame, next);
                self.send(Frame::Plain(frame))?;
            }
        }
        self.plain_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The thread: compresses and writes frames until the last. Returns the output and the bytes that it was given.
fn write_frames<O: Output>(
    mut output: O,
    frames: &Receiver<Frame>,
    give_back: impl Fn(Vec<u8>),
) -> BackendResult<(O, u64)> {
    let head = header(FRAMES_MAGIC);
    output.write(&head)?;
    let mut bytes = head.len() as u64;
    let mut stored = Vec::new();
    loop {
        // An error means that the file was abandoned.
        let frame = frames.recv().map_err(|_| thread_failed())?;
        let end = match frame {
            Frame::Plain(mut plain) => {
                put_frame(&mut stored, &plain);
                plain.clear();
                give_back(plain);
                false
            }
            Frame::End(plain_bytes) => {
                put_head(&mut stored, 0, &plain_bytes.to_le_bytes());
                true
            }
        };
        output.write(&stored)?;
        bytes += stored.len() as u64;
        if end {
            return Ok((output, bytes));
        }
    }
}

/// Makes `to` the frame of `plain`, at most [`FRAME_BYTES`].
fn put_frame(to: &mut Vec<u8>, plain: &[u8]) {
    to.clear();
    to.resize(
        FRAME_HEAD_BYTES + lz4_flex::block::get_maximum_output_size(plain.len()),
        0,
    );
    let place = to.get_mut(FRAME_HEAD_BYTES..).unwrap_or_default();
    // The place is as large as it can become; were it not, the frame would be stored as it is.
    match lz4_flex::block::compress_into(plain, place) {
        Ok(stored) if stored < plain.len() => {
            to.truncate(FRAME_HEAD_BYTES + stored);
            seal_head(to, plain.len());
        }
        _ => put_head(to, plain.len(), plain),
    }
}

/// Makes `to` a frame with `stored` as it is.
fn put_head(to: &mut Vec<u8>, plain_len: usize, stored: &[u8]) {
    to.clear();
    to.resize(FRAME_HEAD_BYTES, 0);
    to.extend_from_slice(stored);
    seal_head(to, plain_len);
}

/// Writes the head of `frame`, behind which the stored bytes are.
fn seal_head(frame: &mut [u8], plain_len: usize) {
    let stored_len = frame.len() - FRAME_HEAD_BYTES;
    let Some((head, stored)) = frame.split_first_chunk_mut::<FRAME_HEAD_BYTES>() else {
        return;
    };
    let lens = frame_lens(plain_len, stored_len);
    let crc32 = frame_crc32(lens, stored);
    for (place, byte) in head.iter_mut().zip(lens.iter().chain(&crc32.to_le_bytes())) {
        *place = *byte;
    }
}

fn frame_lens(plain_len: usize, stored_len: usize) -> [u8; 8] {
    // Both are at most FRAME_BYTES.
    let lens = (plain_len as u64 & 0xffff_ffff) | (stored_len as u64) << 32;
    lens.to_le_bytes()
}

/// The checksum of a frame.
pub(super) fn frame_crc32(lens: [u8; 8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&lens);
    hasher.update(stored);
    hasher.finalize()
}
