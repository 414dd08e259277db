//! The streams that the engine lends to backends: where snapshots are written to and restored from.
//!
//! Implemented by the engine ([`SnapshotStreamsApi`] and friends), called by backends through the wrappers, which turn the ABI's types into
//! `std`'s. A backend never opens a checkpoint file by itself, so it works with every storage, and each byte is counted and
//! checksummed on its way.
#![expect(
    unsafe_code,
    non_local_definitions,
    reason = "abi_stable's macros expand to these"
)]

use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::snapshot::FileRef;
use abi_stable::StableAbi;
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RSliceMut, RStr, RString};
use std::path::{Path, PathBuf};

/// What a backend tells about a stream before it writes it.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct StreamHint {
    /// The state that will be in the stream, or its largest one; named in errors about size.
    pub state: RString,
    /// The bytes that will follow, if they can be known; storages with a limit refuse before anything is serialised.
    pub expected_bytes: ROption<u64>,
    /// Whether later snapshots may refer to the file (an incremental backend's base files).
    pub shared: bool,
}

/// What the engine implements to give out streams for one snapshot. Backends see [`SnapshotStreams`].
#[sabi_trait]
pub trait SnapshotStreamsApi: Send + Sync + 'static {
    /// Opens a new file.
    fn open(&self, hint: StreamHint) -> RResult<SnapshotStream, BackendError>;
    /// Whether the snapshot is no longer wanted.
    fn is_cancelled(&self) -> bool;
    /// Takes a file of this machine over as it is, by a hard link.
    #[sabi(last_prefix_field)]
    fn link(
        &self,
        _path: RStr<'_>,
        _hint: StreamHint,
        _crc32: u32,
    ) -> RResult<ROption<FileRef>, BackendError> {
        RResult::ROk(ROption::RNone)
    }
}

/// What the engine implements for one file of a snapshot. Backends see [`SnapshotStream`].
#[sabi_trait]
pub trait SnapshotStreamApi: Send + 'static {
    /// Appends bytes.
    fn write(&mut self, bytes: RSlice<'_, u8>) -> RResult<(), BackendError>;
    /// Makes the file durable and gives it its name.
    #[sabi(last_prefix_field)]
    fn finish(&mut self) -> RResult<FileRef, BackendError>;
}

/// What the engine implements to open the files of a snapshot. Backends see [`RestoreFiles`].
#[sabi_trait]
pub trait RestoreFilesApi: Send + Sync + Debug + 'static {
    /// Opens a file.
    fn open(&self, file: &FileRef) -> RResult<RestoreStream, BackendError>;
    /// The path of the file where it lies on this machine.
    #[sabi(last_prefix_field)]
    fn local_path(&self, file: &FileRef) -> RResult<ROption<RString>, BackendError>;
}

/// What the engine implements to read one file of a snapshot. Backends see [`RestoreStream`].
#[sabi_trait]
pub trait RestoreStreamApi: Send + 'static {
    /// Reads into `buffer` and returns how many bytes; 0 at the end.
    #[sabi(last_prefix_field)]
    fn read(&mut self, buffer: RSliceMut<'_, u8>) -> RResult<usize, BackendError>;
}

/// The streams of one snapshot, lent by the engine to a [`SnapshotWriter`](crate::SnapshotWriter).
#[repr(transparent)]
#[derive(StableAbi)]
pub struct SnapshotStreams(SnapshotStreamsApi_TO<RBox<()>>);

/// One file of a snapshot that is being written. Dropped without [`finish`](SnapshotStream::finish), the file is deleted.
#[repr(transparent)]
#[derive(StableAbi)]
pub struct SnapshotStream(SnapshotStreamApi_TO<RBox<()>>);

/// The files of the snapshot that is being restored.
#[repr(transparent)]
#[derive(StableAbi)]
pub struct RestoreFiles(RestoreFilesApi_TO<RBox<()>>);

/// One file of a snapshot that is being read, from its start.
#[repr(transparent)]
#[derive(StableAbi)]
pub struct RestoreStream(RestoreStreamApi_TO<RBox<()>>);

impl SnapshotStreams {
    /// Wraps the engine's implementation.
    pub fn new(streams: impl SnapshotStreamsApi) -> Self {
        Self(SnapshotStreamsApi_TO::from_value(streams, sabi_trait::TD_Opaque))
    }

    /// Opens a new file for the snapshot.
    ///
    /// # Errors
    /// The storage's, also when `hint` says that the file would be larger than it takes ([`BackendErrorKind::TooLarge`]).
    pub fn open(&self, hint: StreamHint) -> BackendResult<SnapshotStream> {
        self.0.open(hint).into_result()
    }

    /// Makes a file that the backend has on this machine a file of the snapshot, without copying it: the storage gives it a second name (a hard link) and
    /// makes bytes and name durable. `None` where that cannot be, and the backend writes the bytes to a stream of [`open`](Self::open) instead: remote storage or the
    /// coordinator's memory, another file system than the storage's, one without hard links, a file so small that it rides in the metadata
    /// (`execution.checkpointing.data-inline-threshold`), or a path that is not UTF-8. To ask costs one system call or two, so ask for each file.
    ///
    /// 1. `path` is a regular file, and complete. From now on nobody changes its bytes: it may be renamed or deleted, but not written, cut or appended to, and
    ///    nothing may be written over it other than by a new file that takes its name. The storage has the same bytes.
    /// 2. `crc32` is the CRC32 (IEEE) of all its bytes. The storage does not read them, so a wrong one shows when the snapshot is restored, as damage.
    /// 3. `hint` is as for a stream; `expected_bytes` is not needed.
    /// 4. The file counts with all its bytes in `new_bytes`, as if it had been written: that is what the storage keeps for this snapshot.
    ///
    /// # Errors
    /// [`BackendErrorKind::Cancelled`] as streams do, [`BackendErrorKind::Io`] when there is no such file or it cannot be made durable; nothing is left then.
    pub fn link(&self, path: &Path, hint: StreamHint, crc32: u32) -> BackendResult<Option<FileRef>> {
        let Some(path) = path.to_str() else {
            return Ok(None);
        };
        let linked = self.0.link(path.into(), hint, crc32).into_result()?;
        Ok(linked.into_option())
    }

    /// Whether the snapshot is no longer wanted: the writer should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// An error when the snapshot is no longer wanted, to be called between two pieces of work.
    ///
    /// # Errors
    /// [`BackendErrorKind::Cancelled`].
    pub fn check_cancelled(&self) -> BackendResult<()> {
        if self.is_cancelled() {
            return Err(BackendError::new(
                BackendErrorKind::Cancelled,
                "the snapshot was cancelled",
            ));
        }
        Ok(())
    }
}

impl SnapshotStream {
    /// Wraps the engine's implementation.
    pub fn new(stream: impl SnapshotStreamApi) -> Self {
        Self(SnapshotStreamApi_TO::from_value(stream, sabi_trait::TD_Opaque))
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The storage's. The stream is then of no use any more.
    pub fn write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        self.0.write(bytes.into()).into_result()
    }

    /// Makes the file durable, under its name. To be called once; the stream is then of no use any more.
    ///
    /// # Errors
    /// The storage's; the file is then gone.
    pub fn finish(mut self) -> BackendResult<FileRef> {
        self.0.finish().into_result()
    }
}

impl RestoreFiles {
    /// Wraps the engine's implementation.
    pub fn new(files: impl RestoreFilesApi) -> Self {
        Self(RestoreFilesApi_TO::from_value(files, sabi_trait::TD_Opaque))
    }

    /// Opens `file` for reading from its start.
    ///
    /// # Errors
    /// The storage's, when the file is missing or has another size than it should.
    pub fn open(&self, file: &FileRef) -> BackendResult<RestoreStream> {
        self.0.open(file).into_result()
    }

    /// Where `file` lies on this machine, for backends that map or link files. `None` if it is not a local file.
    ///
    /// Whoever has a hard link to it keeps the bytes, also when the checkpoint is deleted meanwhile. The bytes belong to the checkpoint all the same: they are
    /// read, and never written through any of their names. A link is possible within one file system only, so be ready to copy.
    ///
    /// # Errors
    /// The storage's.
    pub fn local_path(&self, file: &FileRef) -> BackendResult<Option<PathBuf>> {
        let path = self.0.local_path(file).into_result()?;
        Ok(path.into_option().map(|path| PathBuf::from(path.into_string())))
    }

    /// Reads the whole of `file` and checks it against its size and checksum.
    ///
    /// # Errors
    /// The storage's, and [`BackendErrorKind::Corrupted`] when size or checksum differ.
    pub fn read_all(&self, file: &FileRef) -> BackendResult<Vec<u8>> {
        const STEP_BYTES: usize = 256 << 10;
        let mut stream = self.open(file)?;
        let mut bytes = Vec::new();
        let mut step = vec![0; STEP_BYTES];
        // One byte too many tells as much as all of them.
        while bytes.len() as u64 <= file.size {
            let read = stream.read(&mut step)?;
            if read == 0 {
                break;
            }
            bytes.extend_from_slice(step.get(..read).unwrap_or_default());
        }
        let found = crc32fast::hash(&bytes);
        if bytes.len() as u64 != file.size || found != file.crc32 {
            return Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "snapshot file {}: expected {} bytes with CRC32 {:08x}, found {} bytes with {found:08x}",
                    file.token,
                    file.size,
                    file.crc32,
                    bytes.len()
                ),
            ));
        }
        Ok(bytes)
    }
}

impl RestoreStream {
    /// Wraps the engine's implementation.
    pub fn new(stream: impl RestoreStreamApi) -> Self {
        Self(RestoreStreamApi_TO::from_value(stream, sabi_trait::TD_Opaque))
    }

    /// Reads into `buffer` and returns how many bytes; 0 at the end, unless `buffer` is empty.
    ///
    /// # Errors
    /// The storage's.
    pub fn read(&mut self, buffer: &mut [u8]) -> BackendResult<usize> {
        self.0.read(buffer.into()).into_result()
    }
}

macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
opaque_debug!(SnapshotStreams, SnapshotStream, RestoreFiles, RestoreStream);
