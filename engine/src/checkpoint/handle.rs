//! What an operator hands over when it acknowledges a checkpoint: handles that name snapshot bytes, and the bytes of small state.

use super::{CheckpointId, OperatorId, OperatorStateSnapshot, StateDescription};
use crate::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where the bytes of a [`FileRef`] are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileLocation {
    /// Right here: the stream stayed below the inline threshold, or the storage keeps everything in the coordinator's memory.
    Inline(#[serde(with = "super::bytes")] Vec<u8>),
    /// In a file. A relative path starts at the job's checkpoint folder (the parent of `chk-<n>`) and the file belongs to the
    /// job; an absolute path names a file of another job, which is read but never deleted.
    File(String),
}

impl fmt::Debug for FileLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Self::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// The bytes that one snapshot stream wrote: where they are, how many, and their checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Where the bytes are.
    pub location: FileLocation,
    /// Number of bytes.
    pub size: u64,
    /// CRC-32 (IEEE) of all bytes.
    pub crc32: u32,
    /// Whether later checkpoints may name the same file; such a file lives as long as the last checkpoint that names it.
    pub shared: bool,
}

impl FileRef {
    /// A reference that carries its bytes.
    #[must_use]
    pub fn inline(bytes: Vec<u8>) -> Self {
        Self {
            size: bytes.len() as u64,
            crc32: crc32fast::hash(&bytes),
            location: FileLocation::Inline(bytes),
            shared: false,
        }
    }

    /// Number of bytes that ride in the reference itself.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        match &self.location {
            FileLocation::Inline(bytes) => bytes.len() as u64,
            FileLocation::File(_) => 0,
        }
    }

    /// The file's path if the file belongs to this job (a relative path), else nothing.
    #[must_use]
    pub fn owned_path(&self) -> Option<&str> {
        match &self.location {
            FileLocation::File(path) if !path.starts_with('/') => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            FileLocation::Inline(_) => write!(f, "{} bytes inline", self.size),
            FileLocation::File(path) => f.write_str(path),
        }
    }
}

/// A snapshot of keyed state for one range of key groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedHandle {
    /// Name of the backend that wrote it and can read it.
    pub backend: String,
    /// First and last key group, both included.
    pub key_groups: (u16, u16),
    /// What kind of handle this is, in the backend's words (such as `full`, `incremental`).
    pub kind: String,
    /// The files it consists of, in the backend's order.
    pub files: Vec<FileRef>,
    /// The backend's own description; opaque to the engine.
    #[serde(with = "super::bytes")]
    pub payload: Vec<u8>,
    /// Bytes of state it stands for, whoever wrote them.
    pub state_bytes: u64,
    /// Bytes that were written for this checkpoint alone (less than `state_bytes` when it is incremental).
    pub new_bytes: u64,
}

/// Everything one subtask of one operator contributes to a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubtaskSnapshot {
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name, for people.
    pub operator_name: String,
    /// Index of the subtask, below the operator's parallelism.
    pub subtask: u32,
    /// Descriptions of the keyed states registered so far. In stored metadata they are in [`OperatorMetadata`](super::OperatorMetadata) and this is empty.
    pub states: Vec<StateDescription>,
    /// Keyed state, one handle a range.
    pub keyed: Vec<KeyedHandle>,
    /// Operator state.
    pub operator_state: Vec<OperatorStateSnapshot>,
    /// The subtask has processed all its input. In acknowledgements only sources say so; in stored metadata also what is behind sources that all have.
    pub finished: bool,
    /// Duration of the part that held the worker up, in milliseconds.
    pub sync_ms: f64,
    /// Duration of the part beside the worker, in milliseconds.
    pub async_ms: f64,
    /// Time between the first and the last input that reached the barrier, in milliseconds.
    pub alignment_ms: f64,
}

impl SubtaskSnapshot {
    /// A snapshot without any state.
    pub fn empty(operator: OperatorId, operator_name: impl Into<String>, subtask: u32) -> Self {
        Self {
            operator,
            operator_name: operator_name.into(),
            subtask,
            states: Vec::new(),
            keyed: Vec::new(),
            operator_state: Vec::new(),
            finished: false,
            sync_ms: 0.0,
            async_ms: 0.0,
            alignment_ms: 0.0,
        }
    }

    /// All files, those that ride inline included.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let keyed = self.keyed.iter().flat_map(|handle| &handle.files);
        keyed.chain(self.operator_state.iter().map(|state| &state.elements))
    }

    /// The same, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut FileRef> {
        let keyed = self.keyed.iter_mut().flat_map(|handle| &mut handle.files);
        keyed.chain(self.operator_state.iter_mut().map(|state| &mut state.elements))
    }

    /// Number of state bytes that travel inside the acknowledgement.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        let files: u64 = self.files().map(FileRef::inline_bytes).sum();
        let payloads: u64 = self.keyed.iter().map(|handle| handle.payload.len() as u64).sum();
        let offsets: u64 = self
            .operator_state
            .iter()
            .map(|state| state.offsets.bytes())
            .sum();
        files + payloads + offsets
    }

    /// Bytes of state that the snapshot stands for.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.keyed.iter().map(|handle| handle.state_bytes).sum::<u64>() + self.operator_state_bytes()
    }

    /// Bytes that were written for this checkpoint.
    #[must_use]
    pub fn new_bytes(&self) -> u64 {
        self.keyed.iter().map(|handle| handle.new_bytes).sum::<u64>() + self.operator_state_bytes()
    }

    fn operator_state_bytes(&self) -> u64 {
        self.operator_state.iter().map(|state| state.elements.size).sum()
    }
}

/// Why a subtask declined a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeclineKind {
    /// Storage refused bytes: disk full, permission, failed fsync. Counted against the tolerable failures.
    Storage,
    /// A state is larger than its storage takes. Counted.
    StateTooLarge,
    /// The backend or the operator failed to write its snapshot. Counted.
    SnapshotFailed,
    /// The subtask is not running yet. Not counted.
    NotReady,
    /// The subtask is on its way out. Not counted.
    Closing,
    /// The coordinator had aborted the checkpoint before. Not counted.
    Aborted,
    /// State that the snapshot needs is damaged. Counted.
    Damaged,
}

impl DeclineKind {
    /// Whether a checkpoint declined for this reason counts against `execution.checkpointing.tolerable-failed-checkpoints`.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(
            self,
            Self::Storage | Self::StateTooLarge | Self::SnapshotFailed | Self::Damaged
        )
    }

    /// The kind that a failure of writing a snapshot is declined with.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Storage => Self::Storage,
            ErrorKind::StateTooLarge => Self::StateTooLarge,
            ErrorKind::Cancelled => Self::Aborted,
            ErrorKind::Damaged => Self::Damaged,
            _ => Self::SnapshotFailed,
        }
    }

    /// The kind of error that the job fails with when this was one decline too many.
    #[must_use]
    pub fn error_kind(self) -> ErrorKind {
        match self {
            Self::StateTooLarge => ErrorKind::StateTooLarge,
            Self::Storage => ErrorKind::Storage,
            Self::Damaged => ErrorKind::Damaged,
            _ => ErrorKind::State,
        }
    }
}

/// The answer of one subtask to one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ack {
    /// The snapshot is written and durable.
    Snapshot(SubtaskSnapshot),
    /// There will be no snapshot, so the whole checkpoint is given up.
    Decline {
        /// The operator that declines.
        operator: OperatorId,
        /// The operator's name, for people.
        operator_name: String,
        /// The subtask that declines.
        subtask: u32,
        /// Why, as a sentence.
        reason: String,
        /// Why, as a kind.
        kind: DeclineKind,
    },
}

/// An [`Ack`] with the checkpoint that it answers: what travels to worker 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AckMessage {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The answer.
    pub ack: Ack,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Redistribution;
    use crate::codec::CodecId;

    #[test]
    fn only_a_relative_path_is_owned() {
        let at = |location| FileRef {
            location,
            ..FileRef::inline(vec![1])
        };
        assert_eq!(
            at(FileLocation::File("shared/x".into())).owned_path(),
            Some("shared/x")
        );
        assert_eq!(at(FileLocation::File("/other/x".into())).owned_path(), None);
        assert_eq!(at(FileLocation::Inline(vec![1])).owned_path(), None);
    }

    #[test]
    fn inline_bytes_count_files_payloads_and_operator_state() {
        let mut snapshot = SubtaskSnapshot::empty(OperatorId::new("a"), "A", 0);
        snapshot.keyed.push(KeyedHandle {
            backend: "memory".into(),
            key_groups: (0, 127),
            kind: "full".into(),
            files: vec![
                FileRef::inline(vec![0; 10]),
                FileRef {
                    location: FileLocation::File("chk-1/x".into()),
                    size: 1 << 30,
                    crc32: 0,
                    shared: false,
                },
            ],
            payload: vec![0; 5],
            state_bytes: 1000,
            new_bytes: 100,
        });
        snapshot.operator_state.push(OperatorStateSnapshot::inline(
            "offsets",
            Redistribution::Split,
            CodecId::of::<u64>(),
            [vec![0; 3], vec![0; 4]],
        ));
        // With two offsets of 8 bytes.
        assert_eq!(snapshot.inline_bytes(), 38);
        assert_eq!(snapshot.state_bytes(), 1007);
        assert_eq!(snapshot.new_bytes(), 107);
    }
}
