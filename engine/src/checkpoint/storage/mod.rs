//! Where snapshot bytes go: files, objects of a remote store, or the coordinator's memory.
//!
//! An operator opens a stream for each part of its snapshot, writes, and finishes it; what comes back is a
//! [`FileRef`] that goes into the acknowledgement. A stream that is dropped leaves nothing behind. The coordinator
//! publishes the metadata last.

mod cache;
pub(crate) mod durable;
mod file;
mod file_input;
mod file_link;
mod file_stream;
mod job_manager;
mod location;
mod object;
mod paths;
mod savepoint;
mod writeback;

pub use cache::{CacheSettings, CachedStorage, LocalCache};
pub(crate) use file::in_use_by_others;
pub use file::{FileStorage, FileStorageOptions};
pub use job_manager::{JobManagerStorage, STATE_BYTES_MAX};
pub use location::{CheckpointLocation, parse_location};
pub use object::{ObjectStorage, RemoteLocation, memory_store};
pub use paths::CheckpointPaths;
pub use savepoint::SavepointStorage;
pub(crate) use savepoint::{
    create_savepoint_folder, discard_savepoint, discard_unfinished_savepoints, publish_savepoint,
};

use super::{CheckpointId, FileRef, SubtaskSnapshot};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// How long the bytes of a stream live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// As long as the checkpoint that they were written for.
    Exclusive,
    /// As long as any checkpoint names them.
    Shared,
}

impl Scope {
    /// The folder below the job's that files of checkpoint `id` go to.
    fn folder_name(self, id: CheckpointId) -> String {
        match self {
            Self::Exclusive => CheckpointPaths::checkpoint_name(id),
            Self::Shared => CheckpointPaths::SHARED.to_owned(),
        }
    }
}

/// What is about to be written, so that a limit can be enforced before anything is serialised and an error can name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHint {
    /// Name of the operator.
    pub operator: String,
    /// The subtask.
    pub subtask: u32,
    /// Name of the state, or of the backend where one stream holds all states.
    pub state: String,
    /// Number of bytes that will be written, where known.
    pub expected_bytes: Option<u64>,
}

impl fmt::Display for StreamHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "state '{}' of operator '{}' (subtask {})",
            self.state, self.operator, self.subtask
        )
    }
}

/// A place to write one part of a snapshot to. Dropping it unfinished removes what was written.
pub trait SnapshotStream: Send {
    /// Appends bytes. After an error the stream takes nothing more and cannot be finished.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the bytes cannot be written, [`ErrorKind::StateTooLarge`] when they are more than the storage takes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Number of bytes written so far.
    fn written(&self) -> u64;

    /// Makes the bytes durable and names them.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when they cannot be made durable; they are removed then. A failed fsync is never repeated on the same file.
    fn finish(self: Box<Self>) -> Result<FileRef>;
}

impl fmt::Debug for dyn SnapshotStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotStream({} bytes)", self.written())
    }
}

/// Reads a [`FileRef`] back from its first byte to its last, verifying as it goes.
pub trait SnapshotInput: Send {
    /// Reads the next bytes into `buffer`; returns how many, 0 at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when bytes are missing, or when all are read and their checksum is not the expected one; the error
    /// names file, range, expected and found. [`ErrorKind::Restore`] when they cannot be read now.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;
}

impl fmt::Debug for dyn SnapshotInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotInput")
    }
}

/// Keeps snapshots and metadata. Thread-safe; every worker process has one, and so has the coordinator.
///
/// # Contract
/// 1. What [`SnapshotStream::finish`] returned can be read, whole and unchanged, after any crash, until it is discarded.
/// 2. Metadata is visible whole or not at all, and is durable when [`publish_metadata`](Self::publish_metadata) returns.
/// 3. Discarding what is missing, or was half written, is no error.
pub trait CheckpointStorage: fmt::Debug + Send + Sync {
    /// The name it is configured by: `filesystem`, `jobmanager`.
    fn name(&self) -> &'static str;

    /// Finds out, before the job runs, whether anything can be written at all.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], naming the path and the reason.
    fn probe(&self) -> Result<()>;

    /// Opens a stream for a part of checkpoint `id`.
    ///
    /// # Errors
    /// [`ErrorKind::StateTooLarge`] when `hint` announces more than the storage takes, [`ErrorKind::Storage`] when nothing can be created.
    fn open_stream(
        &self,
        id: CheckpointId,
        scope: Scope,
        hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>>;

    /// Makes the file at `path` a part of checkpoint `id` without copying it, durable as a finished stream. `crc32` is that of its bytes, which nobody changes from
    /// now on. None where it must be copied: the files are not on this machine or on another file system, or so small a file rides inline.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when there is no such file, or it cannot be made durable; nothing is left then.
    fn link(&self, _id: CheckpointId, _scope: Scope, _path: &Path, _crc32: u32) -> Result<Option<FileRef>> {
        Ok(None)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the file is missing or not as long as it should be, [`ErrorKind::Restore`] when that cannot be found out now, or another storage
    /// has it.
    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>>;

    /// Where the file can be mapped or hard-linked, if it is a local file. A remote file is brought to this machine first ([`CachedStorage`]), so this may take as
    /// long as a download; when that fails, there is none, and [`open_input`](Self::open_input) is what is left.
    fn local_path(&self, file: &FileRef) -> Option<PathBuf>;

    /// Forgets the local copy of a remote file, so that the next [`local_path`](Self::local_path) fetches it anew: for a copy that turned out to be damaged.
    /// Who has it mapped may go on reading. Does nothing where files are local anyway: there is no second copy.
    fn drop_local_copy(&self, _file: &FileRef) {}

    /// The most bytes of state that one acknowledgement may carry inline.
    fn ack_bytes_max(&self) -> u64;

    /// Publishes the metadata of checkpoint `id`; returns its path, or none where nothing outlives the process.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`]; nothing is visible then.
    fn publish_metadata(&self, id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>>;

    /// Deletes metadata and exclusive files of checkpoint `id`.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when something is there and cannot be deleted.
    fn discard_checkpoint(&self, id: CheckpointId) -> Result<()>;

    /// Deletes a shared file, given by its path below the job's folder.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it is there and cannot be deleted.
    fn discard_file(&self, path: &str) -> Result<()>;

    /// Deletes what nobody knows of, as a crash leaves it: folders of checkpoints below `next_id` that are not among `retained`, and shared files that are not among `shared` (paths
    /// below the job's folder). Only called while no attempt runs; what the uploads of the last one are still writing may go too. A folder that the job may share with others is left alone.
    ///
    /// `still_leads` is asked after everything has been listed and before anything is deleted: a former leader of a job that was taken over must not delete what the new
    /// one writes.
    ///
    /// # Errors
    /// That of `still_leads`, after which nothing is deleted; [`ErrorKind::Storage`] when something cannot be deleted; the rest is tried all the same.
    fn delete_orphans(
        &self,
        retained: &[CheckpointId],
        next_id: CheckpointId,
        shared: &HashSet<String>,
        still_leads: &dyn Fn() -> Result<()>,
    ) -> Result<()>;

    /// Deletes the job's folders where they are empty; for the end of a job.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when an empty folder cannot be deleted.
    fn remove_empty_folders(&self) -> Result<()>;

    /// The folder that relative paths start at, where there is one.
    fn job_folder(&self) -> Option<&Path>;
}

/// A storage whose files are not on this machine.
pub trait RemoteStorage: CheckpointStorage {
    /// The full address of a file, given by its path as it is in [`FileRef`]s. No two files ever have the same.
    fn address_of(&self, path: &str) -> String;
}

/// Reads a whole file into memory, verified.
///
/// # Errors
/// As [`SnapshotInput::read`] and [`CheckpointStorage::open_input`].
pub fn read_all(storage: &dyn CheckpointStorage, file: &FileRef) -> Result<Vec<u8>> {
    const CHUNK_BYTES: usize = 256 * 1024;
    let mut input = storage.open_input(file)?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = input.read(&mut chunk)?;
        let Some(read) = chunk.get(..n) else {
            return Err(Error::new(
                ErrorKind::Bug,
                "a snapshot input returned more bytes than it was asked for",
            ));
        };
        if read.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(read);
    }
}

/// Checks that an acknowledgement may travel.
///
/// # Errors
/// [`ErrorKind::StateTooLarge`], naming operator, size, limit and what to use instead.
pub fn check_ack(storage: &dyn CheckpointStorage, snapshot: &SubtaskSnapshot) -> Result<()> {
    let (found, limit) = (snapshot.inline_bytes(), storage.ack_bytes_max());
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::StateTooLarge,
        format!(
            "the snapshot of operator '{}' (subtask {}) carries {found} bytes of state in its acknowledgement, more than the \
             {limit} bytes of pekko.framesize; use `execution.checkpointing.storage: filesystem` with \
             `execution.checkpointing.dir`, a lower `execution.checkpointing.data-inline-threshold`, or less operator state",
            snapshot.operator_name, snapshot.subtask
        ),
    ))
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
