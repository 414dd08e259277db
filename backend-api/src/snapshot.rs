//! Snapshots: what is asked of a backend, what it gives back, and how their files are named.

use crate::error::BackendResult;
use crate::key_group::KeyGroupRange;
use crate::streams::{RestoreFiles, SnapshotStreams};
use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// In which form a snapshot is written.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SnapshotForm {
    /// The backend's own, which it writes and restores fastest. Checkpoints are written in it.
    #[default]
    Native = 0,
    /// The one that every backend reads: a savepoint in it is restored with whatever backend the job has then.
    Canonical = 1,
}

/// What the engine asks for when it takes a snapshot.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// The checkpoint that the snapshot is for; higher than that of any earlier request.
    pub checkpoint_id: u64,
    /// Whether files of earlier completed checkpoints may be used. `false` for savepoints and full checkpoints.
    pub may_share: bool,
    /// The form of the files. A canonical snapshot never shares.
    pub form: SnapshotForm,
}

/// A file of a snapshot, written through a [`SnapshotStream`](crate::SnapshotStream).
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// The engine's name for the file. Opaque to backends, which keep and give it back as it is.
    pub token: RString,
    /// The file's length in bytes.
    pub size: u64,
    /// The CRC32 (IEEE) of the whole file.
    pub crc32: u32,
    /// Whether later snapshots may refer to the file too.
    pub shared: bool,
}

/// A part of a snapshot: the state of a range of key groups, in files that the engine keeps and a description that only the backend
/// understands. A snapshot may have several, and none at all where there is no state.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHandle {
    /// The key groups whose state the handle has.
    pub key_groups: KeyGroupRange,
    /// The backend's format and its version, such as `millpond-pages/1`. A backend refuses the formats that it does not know by name.
    pub format: RString,
    /// The files.
    pub files: RVec<FileRef>,
    /// The backend's own description of the files: offsets, sections, anything. At most a few KiB; it travels in the metadata.
    pub payload: RVec<u8>,
    /// The bytes of the whole state that the handle restores.
    pub state_bytes: u64,
    /// The bytes that were written for this snapshot.
    pub new_bytes: u64,
}

/// The asynchronous part of a snapshot. Made by [`KeyedState::snapshot`](crate::KeyedState::snapshot) on the worker, run on any thread.
///
/// # Contract
/// 1. What it writes is the state at the moment at which it was made, whatever the keyed state does since then.
/// 2. It is run at most once. Dropped instead, it leaves nothing behind and frees what it held.
/// 3. It stops soon after its streams are [cancelled](SnapshotStreams::is_cancelled), with
///    [`BackendErrorKind::Cancelled`](crate::BackendErrorKind::Cancelled).
/// 4. Several writers of one keyed state may run at once and end in any order.
/// 5. It opens each stream with the exact size of what will follow, if it can know it, before it serialises anything.
pub trait SnapshotWriter: Send + 'static {
    /// Writes the snapshot through `streams` and returns its handles.
    ///
    /// # Errors
    /// Those of the streams, and the backend's own. The engine then deletes what was written.
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>>;
}

/// Everything that a backend needs to open the keyed state of one subtask.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct OpenKeyed {
    /// The job's name.
    pub job: RString,
    /// The operator's uid.
    pub operator: RString,
    /// The subtask, `0 .. parallelism`.
    pub subtask: u32,
    /// The operator's parallelism.
    pub parallelism: u32,
    /// The number of key groups of the operator.
    pub max_parallelism: u32,
    /// The key groups of this subtask.
    pub key_groups: KeyGroupRange,
    /// A folder for the working files of this subtask in this attempt; made by the backend if it needs it, removed by it on close.
    pub local_dir: RString,
    /// What to restore: every handle whose range meets `key_groups`; groups outside it are to be left out. Empty for a fresh start.
    pub restore: RVec<SnapshotHandle>,
    /// Opens the files of `restore`.
    pub files: RestoreFiles,
}
