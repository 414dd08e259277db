//! The `_metadata` file: everything there is to know about one completed checkpoint.
//!
//! It describes itself: job, attempt, mode, operators with their parallelism, their states with the codecs that wrote them, and the
//! handles of every subtask. The bytes are described in `FORMAT.md` beside this file: a header with its own checksum, then two
//! checksummed sections. Whatever is wrong with a file is an error that names file, section, offset, expected and found.

mod v2;

use crate::state::StateCodec;
use crate::{Error, ErrorKind, Result};
use std::path::Path;

use super::envelope::Format;
use super::{CheckpointId, CheckpointingMode, JobId, Lineage, OperatorId, SubtaskSnapshot};
use serde::{Deserialize, Serialize};

/// A completed checkpoint, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMetadata {
    /// Name of the job.
    pub job_name: String,
    /// The run of the job that took it.
    pub job_id: JobId,
    /// The checkpoint.
    pub id: CheckpointId,
    /// The line of checkpoints that it is on.
    pub lineage: Lineage,
    /// The attempt of the job that took it, from 1. Attempts have rising numbers, whichever process leads, so this also tells which one did.
    pub attempt: u64,
    /// The guarantee that it was taken under.
    pub mode: CheckpointingMode,
    /// The epoch that it ended; a job that starts from it begins in the next one.
    pub epoch: u64,
    /// When it was triggered, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Asked for by a person and self-contained: its paths start at its own folder.
    pub is_savepoint: bool,
    /// The operators, sorted by id.
    pub operators: Vec<OperatorMetadata>,
}

/// One operator in a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorMetadata {
    /// Who owns the state.
    pub id: OperatorId,
    /// The operator's name, for people.
    pub name: String,
    /// Number of subtasks it had.
    pub parallelism: u32,
    /// Number of key groups, which bounds the parallelism for the life of the state.
    pub max_parallelism: u32,
    /// The keyed states that its subtasks had registered, sorted by name.
    pub states: Vec<StateDescription>,
    /// The snapshots of its subtasks, sorted by index.
    pub subtasks: Vec<SubtaskSnapshot>,
}

/// A keyed state as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateDescription {
    /// Name, unique in its operator.
    pub name: String,
    /// Kind of state, such as `value`, `list`, `map`.
    pub kind: String,
    /// What wrote keys and values: names, versions and shapes of the codecs. None for what the engine keeps in a form of its own.
    pub codec: Option<StateCodec>,
    /// Size of a value in bytes where all are of one size.
    pub width: Option<u32>,
}

impl CheckpointMetadata {
    /// The subtask snapshots of all operators.
    pub fn subtasks(&self) -> impl Iterator<Item = &SubtaskSnapshot> {
        self.operators.iter().flat_map(|operator| &operator.subtasks)
    }

    /// Bytes of state that the checkpoint stands for, whoever wrote them.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.subtasks().map(SubtaskSnapshot::state_bytes).sum()
    }

    /// Bytes that were written for this checkpoint alone.
    #[must_use]
    pub fn new_bytes(&self) -> u64 {
        self.subtasks().map(SubtaskSnapshot::new_bytes).sum()
    }

    /// The operator with this id.
    #[must_use]
    pub fn operator(&self, id: &OperatorId) -> Option<&OperatorMetadata> {
        self.operators.iter().find(|operator| operator.id == *id)
    }
}

impl OperatorMetadata {
    /// Whether all its subtasks had processed all their input.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.subtasks.is_empty() && self.subtasks.iter().all(|subtask| subtask.finished)
    }

    /// Whether there is anything to restore; an operator that never held state needs no successor.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.subtasks.iter().any(|subtask| {
            !subtask.keyed.is_empty()
                || subtask
                    .operator_state
                    .iter()
                    .any(|state| !state.offsets.is_empty())
        })
    }
}

/// The version that [`encode`] writes.
pub const VERSION_CURRENT: u32 = 2;
/// The oldest version that [`decode`] reads.
pub const VERSION_OLDEST: u32 = 2;

const FORMAT: Format<2> = Format {
    what: "checkpoint metadata",
    magic: *b"MillMeta",
    sections: ["job", "operators"],
    versions: (VERSION_OLDEST, VERSION_CURRENT),
};

/// The bytes of a `_metadata` file.
///
/// # Errors
/// [`ErrorKind::Bug`] when the metadata cannot be encoded.
pub fn encode(metadata: &CheckpointMetadata) -> Result<Vec<u8>> {
    v2::encode(metadata)
}

/// Reads the bytes of a `_metadata` file; `source` is its path, for errors.
///
/// # Errors
/// [`ErrorKind::Restore`] when the bytes are no metadata, of an unknown version, cut or damaged anywhere.
pub fn decode(bytes: &[u8], source: &Path) -> Result<CheckpointMetadata> {
    // One arm a version, once there is more than one that can be read.
    FORMAT.version(bytes, source)?;
    v2::decode(bytes, source)
}

/// Reads a `_metadata` file.
///
/// # Errors
/// [`ErrorKind::Restore`] when it cannot be read, and as [`decode`].
pub fn read_file(path: &Path) -> Result<CheckpointMetadata> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::new(
            ErrorKind::Restore,
            format!("cannot read checkpoint metadata '{}'", path.display()),
        )
        .with_source(error)
    })?;
    decode(&bytes, path)
}

#[cfg(test)]
mod tests;
