//! Writing a snapshot: the backend's writer, and the streams that the engine lends to it.

use super::error::{Place, failed, guarded, to_backend};
use super::storage::{FileHint, KeyedSnapshot, SnapshotFile, SnapshotSink};
use crate::Result;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr};
use millpond_backend_api::abi::WriterObject;
use millpond_backend_api::streams::{SnapshotStreamApi, SnapshotStreamsApi};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, FileRef, SnapshotStream, SnapshotStreams, StreamHint,
};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells the writers of one snapshot that it is no longer wanted. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every writer to stop; there is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the snapshot is no longer wanted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn check(&self) -> BackendResult<()> {
        if self.is_cancelled() {
            return Err(BackendError::new(
                BackendErrorKind::Cancelled,
                "the snapshot was cancelled",
            ));
        }
        Ok(())
    }
}

/// The asynchronous part of one subtask's snapshot. Dropped unwritten, it frees what it holds.
pub struct SnapshotTask {
    writer: WriterObject,
    place: Place,
}

impl SnapshotTask {
    pub(super) fn new(writer: WriterObject, place: Place) -> Self {
        Self { writer, place }
    }

    /// Writes the snapshot to `sink`, on the thread that calls, for as long as `cancel` allows.
    ///
    /// # Errors
    /// The backend's and the sink's, with operator and subtask. [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) after
    /// [`CancelFlag::cancel`]. What was finished up to then is to be deleted by the caller.
    pub fn write(mut self, sink: Arc<dyn SnapshotSink>, cancel: CancelFlag) -> Result<Vec<KeyedSnapshot>> {
        let streams = SnapshotStreams::new(Streams { sink, cancel });
        match self.writer.write(&streams) {
            RResult::ROk(handles) => Ok(handles.into_iter().map(KeyedSnapshot::from).collect()),
            RResult::RErr(error) => Err(failed(&self.place, &error)),
        }
    }
}

impl fmt::Debug for SnapshotTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SnapshotTask").field(&self.place).finish()
    }
}

/// The streams of one snapshot.
pub(super) struct Streams {
    pub(super) sink: Arc<dyn SnapshotSink>,
    pub(super) cancel: CancelFlag,
}

impl SnapshotStreamsApi for Streams {
    fn open(&self, hint: StreamHint) -> RResult<SnapshotStream, BackendError> {
        guarded("open", || {
            self.cancel.check()?;
            let file = self
                .sink
                .open(&file_hint(hint))
                .map_err(|error| to_backend(&error))?;
            Ok(SnapshotStream::new(Stream {
                file: Some(file),
                cancel: self.cancel.clone(),
            }))
        })
        .into()
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn link(&self, path: RStr<'_>, hint: StreamHint, crc32: u32) -> RResult<ROption<FileRef>, BackendError> {
        guarded("link", || {
            self.cancel.check()?;
            let linked = self
                .sink
                .link(Path::new(path.as_str()), &file_hint(hint), crc32)
                .map_err(|error| to_backend(&error))?;
            Ok(linked.map(FileRef::from).into())
        })
        .into()
    }
}

fn file_hint(hint: StreamHint) -> FileHint {
    FileHint {
        state: hint.state.into_string(),
        expected_bytes: hint.expected_bytes.into_option(),
        shared: hint.shared,
    }
}

/// One file. Without one after its end or its first failure.
struct Stream {
    file: Option<Box<dyn SnapshotFile>>,
    cancel: CancelFlag,
}

impl Stream {
    fn over() -> BackendError {
        BackendError::new(
            BackendErrorKind::Misuse,
            "a snapshot stream was used after it had been finished or had failed",
        )
    }
}

impl SnapshotStreamApi for Stream {
    fn write(&mut self, bytes: RSlice<'_, u8>) -> RResult<(), BackendError> {
        let written = guarded("write", || {
            // A backend that never asks is stopped here.
            self.cancel.check()?;
            let file = self.file.as_mut().ok_or_else(Self::over)?;
            file.write(bytes.as_slice()).map_err(|error| to_backend(&error))
        });
        if written.is_err() {
            self.file = None;
        }
        written.into()
    }

    fn finish(&mut self) -> RResult<FileRef, BackendError> {
        let file = self.file.take();
        guarded("finish", || {
            let stored = file
                .ok_or_else(Self::over)?
                .finish()
                .map_err(|error| to_backend(&error))?;
            Ok(FileRef::from(stored))
        })
        .into()
    }
}
