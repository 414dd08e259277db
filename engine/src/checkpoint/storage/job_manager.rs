//! `jobmanager` storage: snapshots ride in the acknowledgements and stay in the coordinator's memory.
//!
//! Gone with the process, unless high availability keeps the metadata (which carries the bytes). Made for small state and for tests, hence its limits.

use super::file::{discard_checkpoint_folder, probe_folder, publish_metadata_file, remove_empty_job_folders};
use super::file_input::{open_file, open_inline};
use super::{CheckpointPaths, CheckpointStorage, Scope, SnapshotInput, SnapshotStream, StreamHint, durable};
use crate::checkpoint::{CheckpointId, FileLocation, FileRef};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The most bytes that one stream may have: 5 MiB, as in Flink, where it cannot be configured either.
pub const STATE_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// Snapshots in memory.
#[derive(Debug)]
pub struct JobManagerStorage {
    state_bytes_max: u64,
    ack_bytes_max: u64,
    metadata: Option<(PathBuf, CheckpointPaths)>,
}

impl JobManagerStorage {
    /// Storage with a limit a stream (usually [`STATE_BYTES_MAX`]) and one for all that an acknowledgement carries (`pekko.framesize`), in bytes.
    #[must_use]
    pub fn new(state_bytes_max: u64, ack_bytes_max: u64) -> Self {
        Self {
            state_bytes_max,
            ack_bytes_max,
            metadata: None,
        }
    }

    /// The same, but metadata (and with it every snapshot) is also written to files under `root`.
    #[must_use]
    pub fn with_metadata_files(mut self, root: PathBuf, paths: CheckpointPaths) -> Self {
        self.metadata = Some((root, paths));
        self
    }
}

impl CheckpointStorage for JobManagerStorage {
    fn name(&self) -> &'static str {
        "jobmanager"
    }

    fn probe(&self) -> Result<()> {
        match &self.metadata {
            Some((root, _)) => probe_folder(root),
            None => Ok(()),
        }
    }

    fn open_stream(
        &self,
        _id: CheckpointId,
        _scope: Scope,
        hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>> {
        if let Some(expected) = hint.expected_bytes
            && expected > self.state_bytes_max
        {
            return Err(too_large(hint, &expected.to_string(), self.state_bytes_max));
        }
        Ok(Box::new(MemoryStream {
            hint: hint.clone(),
            limit: self.state_bytes_max,
            bytes: Vec::new(),
            failed: false,
        }))
    }

    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
        match &file.location {
            FileLocation::Inline(bytes) => Ok(open_inline(bytes, file)),
            // From a checkpoint that another storage wrote.
            FileLocation::File(path) if Path::new(path).is_absolute() => open_file(Path::new(path), file),
            FileLocation::File(path) => Err(Error::new(
                ErrorKind::Restore,
                format!(
                    "snapshot file '{path}' of {} bytes was written by another checkpoint storage; jobmanager storage keeps no files: set \
                     `execution.checkpointing.storage: filesystem` with the `execution.checkpointing.dir` it was written to",
                    file.size
                ),
            )),
        }
    }

    fn local_path(&self, file: &FileRef) -> Option<PathBuf> {
        match &file.location {
            FileLocation::File(path) if Path::new(path).is_absolute() => Some(PathBuf::from(path)),
            _ => None,
        }
    }

    fn ack_bytes_max(&self) -> u64 {
        self.ack_bytes_max
    }

    fn publish_metadata(&self, id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>> {
        let Some((_, paths)) = &self.metadata else {
            return Ok(None);
        };
        durable::create_dirs(&paths.checkpoint(id))?;
        publish_metadata_file(paths, id, bytes).map(Some)
    }

    fn discard_checkpoint(&self, id: CheckpointId) -> Result<()> {
        match &self.metadata {
            Some((_, paths)) => discard_checkpoint_folder(paths, id),
            None => Ok(()),
        }
    }

    fn discard_file(&self, _path: &str) -> Result<()> {
        Ok(())
    }

    /// Metadata alone is small, and its folder may be shared: left alone.
    fn delete_orphans(
        &self,
        _retained: &[CheckpointId],
        _next_id: CheckpointId,
        _shared: &HashSet<String>,
        _still_leads: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn remove_empty_folders(&self) -> Result<()> {
        match &self.metadata {
            Some((root, paths)) => remove_empty_job_folders(paths, root),
            None => Ok(()),
        }
    }

    fn job_folder(&self) -> Option<&Path> {
        self.metadata.as_ref().map(|(_, paths)| paths.job())
    }
}

fn too_large(hint: &StreamHint, found: &str, limit: u64) -> Error {
    Error::new(
        ErrorKind::StateTooLarge,
        format!(
            "{hint} has {found} bytes, more than the {limit} bytes that jobmanager storage takes for one state; use \
             `execution.checkpointing.storage: filesystem` with `execution.checkpointing.dir`"
        ),
    )
}

struct MemoryStream {
    hint: StreamHint,
    limit: u64,
    bytes: Vec<u8>,
    failed: bool,
}

impl SnapshotStream for MemoryStream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let size = self.written() + bytes.len() as u64;
        if self.failed || size > self.limit {
            self.failed = true;
            self.bytes = Vec::new();
            return Err(too_large(&self.hint, &format!("at least {size}"), self.limit));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn written(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn finish(self: Box<Self>) -> Result<FileRef> {
        if self.failed {
            return Err(too_large(&self.hint, "too many", self.limit));
        }
        Ok(FileRef::inline(self.bytes))
    }
}
