//! What the adapter needs from checkpoint storage: places to write snapshot files to, and to read them from.

use crate::Result;
use millpond_backend_api::{FileRef, KeyGroupRange, SnapshotHandle};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is known about a file before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHint {
    /// The state that will be in the file, or its largest one; named in errors about size.
    pub state: String,
    /// The bytes that will follow, where they are known. A storage with a limit refuses here, before anything is serialised.
    pub expected_bytes: Option<u64>,
    /// Whether snapshots of later checkpoints may refer to the file.
    pub shared: bool,
}

/// A finished file of a snapshot, as a backend keeps it and gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The storage's name for the file. Opaque to backends, which keep the tokens of shared files from checkpoint to checkpoint.
    pub token: String,
    /// Length in bytes.
    pub size: u64,
    /// CRC32 (IEEE) of the whole file.
    pub crc32: u32,
    /// Whether later snapshots may refer to it.
    pub shared: bool,
}

/// Where the files of one subtask's snapshot go.
///
/// # Contract
/// 1. Called from any thread, also from several at once.
/// 2. What is opened and not finished leaves nothing behind.
pub trait SnapshotSink: Send + Sync + 'static {
    /// Opens a new file.
    ///
    /// # Errors
    /// [`ErrorKind::StateTooLarge`](crate::ErrorKind::StateTooLarge) when the hint announces more than the storage takes, else
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage).
    fn open(&self, hint: &FileHint) -> Result<Box<dyn SnapshotFile>>;

    /// Takes the file at `path` over without copying it, durable as a finished one. `crc32` is that of its bytes, which nobody changes from now on. None where it
    /// must be copied.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage); nothing is left then.
    fn link(&self, path: &Path, hint: &FileHint, crc32: u32) -> Result<Option<StoredFile>>;
}

/// A file that is being written. Dropped without [`finish`](Self::finish), it is deleted.
pub trait SnapshotFile: Send + 'static {
    /// Appends bytes. After an error the file takes nothing more and cannot be finished.
    ///
    /// # Errors
    /// As [`SnapshotSink::open`].
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the file durable and names it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage); the file is gone then.
    fn finish(self: Box<Self>) -> Result<StoredFile>;
}

/// Where the files of the snapshot that is being restored are read from.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Opens a file at its start. An [`std::io::Error`] of the reader may carry a [`crate::Error`], whose kind is kept.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`](crate::ErrorKind::Restore) when the file is missing or has another size than `file` says.
    fn open(&self, file: &StoredFile) -> Result<Box<dyn Read + Send>>;

    /// Where the file lies on this machine, if it does.
    ///
    /// # Errors
    /// The storage's.
    fn local_path(&self, file: &StoredFile) -> Result<Option<PathBuf>>;
}

/// A part of a subtask's keyed snapshot: the state of some key groups, as it goes into the metadata and comes back at restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedSnapshot {
    /// The key groups whose state this is.
    pub key_groups: KeyGroupRange,
    /// The backend's format and its version.
    pub format: String,
    /// The files, in the backend's order.
    pub files: Vec<StoredFile>,
    /// The backend's own description of the files.
    pub payload: Vec<u8>,
    /// Bytes of the whole state that it restores.
    pub state_bytes: u64,
    /// Bytes that were written for this snapshot alone.
    pub new_bytes: u64,
}

impl From<&FileRef> for StoredFile {
    fn from(file: &FileRef) -> Self {
        Self {
            token: file.token.to_string(),
            size: file.size,
            crc32: file.crc32,
            shared: file.shared,
        }
    }
}

impl From<StoredFile> for FileRef {
    fn from(file: StoredFile) -> Self {
        Self {
            token: file.token.into(),
            size: file.size,
            crc32: file.crc32,
            shared: file.shared,
        }
    }
}

impl From<SnapshotHandle> for KeyedSnapshot {
    fn from(handle: SnapshotHandle) -> Self {
        Self {
            key_groups: handle.key_groups,
            format: handle.format.into_string(),
            files: handle.files.iter().map(StoredFile::from).collect(),
            payload: handle.payload.into_vec(),
            state_bytes: handle.state_bytes,
            new_bytes: handle.new_bytes,
        }
    }
}

impl From<KeyedSnapshot> for SnapshotHandle {
    fn from(snapshot: KeyedSnapshot) -> Self {
        Self {
            key_groups: snapshot.key_groups,
            format: snapshot.format.into(),
            files: snapshot.files.into_iter().map(FileRef::from).collect(),
            payload: snapshot.payload.into(),
            state_bytes: snapshot.state_bytes,
            new_bytes: snapshot.new_bytes,
        }
    }
}
