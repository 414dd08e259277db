//! A snapshot stream into an object: sent in parts while it is written, or at once, or kept in the reference while it is small.

use super::calls::{CallError, Calls};
use super::discarded::Discarded;
use crate::checkpoint::storage::SnapshotStream;
use crate::checkpoint::{CheckpointId, FileLocation, FileRef};
use crate::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Bytes of a part. S3 takes at least 5 MiB and 10,000 parts, which makes 80 GB an object.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Parts on their way at a time, beside the one that is being filled: a stream holds at most three parts in memory.
const PARTS_IN_FLIGHT_MAX: usize = 2;

/// What an [`ObjectStream`] has to know.
#[derive(Clone, Debug)]
pub(super) struct ObjectStreamOptions {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) calls: Calls,
    /// The object to make; nobody else has its name.
    pub(super) path: Path,
    /// Its name below the job's folder.
    pub(super) name: String,
    /// Whether it may be named by later checkpoints.
    pub(super) shared: bool,
    /// Up to this many bytes, no object is made.
    pub(super) inline_threshold: usize,
    /// The checkpoint that it is for.
    pub(super) checkpoint: CheckpointId,
    pub(super) discarded: Arc<Discarded>,
}

/// Until [`finish`](SnapshotStream::finish) nothing can be seen under the object's name. Dropping it gives the parts up in the background.
#[derive(Debug)]
pub(super) struct ObjectStream {
    options: ObjectStreamOptions,
    buffer: Vec<u8>,
    upload: Option<Box<dyn MultipartUpload>>,
    parts: VecDeque<JoinHandle<object_store::Result<()>>>,
    written: u64,
    crc: crc32fast::Hasher,
    failed: bool,
}

impl ObjectStream {
    pub(super) fn new(options: ObjectStreamOptions) -> Self {
        Self {
            options,
            buffer: Vec::new(),
            upload: None,
            parts: VecDeque::new(),
            written: 0,
            crc: crc32fast::Hasher::new(),
            failed: false,
        }
    }

    fn failure(&self, error: CallError) -> Error {
        error.into_error(
            ErrorKind::Storage,
            format_args!("write the object '{}'", self.options.path),
        )
    }

    fn poisoned(&self) -> Error {
        Error::new(
            ErrorKind::Storage,
            format!(
                "the snapshot stream of object '{}' failed before and takes nothing more",
                self.options.path
            ),
        )
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some((now, later)) = bytes.split_at_checked(PART_BYTES - self.buffer.len()) {
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.send_part()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what is in the buffer, and waits while too much is on its way.
    fn send_part(&mut self) -> Result<()> {
        let part = PutPayload::from(std::mem::take(&mut self.buffer));
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let begun = self.begin().map_err(|error| self.failure(error))?;
                self.upload.insert(begun)
            }
        };
        let sent = upload.put_part(part);
        self.parts.push_back(self.options.calls.runtime().spawn(sent));
        self.wait_for_parts(PARTS_IN_FLIGHT_MAX)
    }

    fn begin(&self) -> Result<Box<dyn MultipartUpload>, CallError> {
        let (store, path) = (Arc::clone(&self.options.store), self.options.path.clone());
        self.options
            .calls
            .wait(async move { store.put_multipart(&path).await })
    }

    /// Waits for the oldest parts until no more than `left` are on their way.
    fn wait_for_parts(&mut self, left: usize) -> Result<()> {
        while self.parts.len() > left
            && let Some(part) = self.parts.pop_front()
        {
            let done = self.options.calls.wait(async move {
                part.await.unwrap_or_else(|error| {
                    Err(object_store::Error::Generic {
                        store: "upload",
                        source: Box::new(error),
                    })
                })
            });
            done.map_err(|error| self.failure(error))?;
        }
        Ok(())
    }

    /// Makes the object visible.
    fn publish(&mut self) -> Result<()> {
        let (store, path) = (Arc::clone(&self.options.store), self.options.path.clone());
        let done = if self.upload.is_none() {
            let payload = PutPayload::from(std::mem::take(&mut self.buffer));
            self.options
                .calls
                .wait(async move { store.put(&path, payload).await.map(drop) })
        } else {
            if !self.buffer.is_empty() {
                self.send_part()?;
            }
            self.wait_for_parts(0)?;
            let Some(mut upload) = self.upload.take() else {
                return Err(self.poisoned());
            };
            self.options.calls.wait(async move {
                let done = upload.complete().await.map(drop);
                if done.is_err() {
                    // The parts cost money for as long as nobody gives them up.
                    let _ = upload.abort().await;
                }
                done
            })
        };
        let failure = match done {
            Err(error) => self.failure(error),
            Ok(()) if self.options.discarded.contains(self.options.checkpoint) => Error::new(
                ErrorKind::Storage,
                format!(
                    "checkpoint {} was discarded before the object '{}' was written",
                    self.options.checkpoint, self.options.path
                ),
            ),
            Ok(()) => return Ok(()),
        };
        // It is there, or may be. Nothing names it, so taking it back is safe.
        let (store, path) = (Arc::clone(&self.options.store), self.options.path.clone());
        self.options
            .calls
            .detach(async move { store.delete(&path).await });
        Err(failure)
    }
}

impl Drop for ObjectStream {
    fn drop(&mut self) {
        for part in self.parts.drain(..) {
            part.abort();
        }
        // On whatever thread this is: it must not wait.
        if let Some(mut upload) = self.upload.take() {
            self.options.calls.detach(async move { upload.abort().await });
        }
    }
}

impl SnapshotStream for ObjectStream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.failed {
            return Err(self.poisoned());
        }
        self.crc.update(bytes);
        self.written += bytes.len() as u64;
        let result = self.append(bytes);
        self.failed = result.is_err();
        result
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<FileRef> {
        if self.failed {
            return Err(self.poisoned());
        }
        let size = self.written;
        let crc32 = std::mem::take(&mut self.crc).finalize();
        if self.upload.is_none() && self.buffer.len() <= self.options.inline_threshold {
            return Ok(FileRef {
                location: FileLocation::Inline(std::mem::take(&mut self.buffer)),
                size,
                crc32,
                shared: false,
            });
        }
        self.publish()?;
        Ok(FileRef {
            location: FileLocation::File(self.options.name.clone()),
            size,
            crc32,
            shared: self.options.shared,
        })
    }
}
