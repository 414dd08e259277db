//! The engine's part of a snapshot, small: files in memory, on request in a folder too.

use super::faults::{Attempt, Faults};
use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::snapshot::{FileRef, SnapshotHandle};
use crate::streams::{
    RestoreFiles, RestoreFilesApi, RestoreStream, RestoreStreamApi, SnapshotStream, SnapshotStreamApi,
    SnapshotStreams, SnapshotStreamsApi, StreamHint,
};
use abi_stable::std_types::{ROption, RResult, RSlice, RSliceMut, RStr, RString};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes that reads give, one after the other: a storage may give fewer than were asked for, and as few as one.
const READ_BYTES_MAX: [usize; 3] = [1021, 1, 65_521];

/// Files of this size and smaller are not linked, so that a backend meets both answers.
const LINKED_BYTES_MIN: u64 = 64;

/// Keeps the files of snapshots. A clone is the same storage.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, StoredFile>,
    files_made: u64,
    attempts_made: u64,
    open_streams: usize,
    completed: BTreeSet<u64>,
    /// What backends did that the contract forbids.
    complaints: Vec<String>,
}

#[derive(Clone, Debug)]
struct StoredFile {
    bytes: Vec<u8>,
    /// Whether it lies in the folder by a link to a file of the backend's, which could still change it.
    linked: bool,
    attempt: u64,
    checkpoint_id: u64,
    shared: bool,
}

impl Storage {
    /// A storage in memory; with a `folder`, which must exist, its files lie there too and have a local path.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            inner: Arc::new(Inner {
                folder,
                state: Mutex::default(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt to write the snapshot of a checkpoint, and its streams.
    pub(crate) fn attempt(&self, checkpoint_id: u64, faults: Faults) -> (Arc<Attempt>, SnapshotStreams) {
        let number = {
            let mut state = self.state();
            state.attempts_made += 1;
            state.attempts_made
        };
        let attempt = Arc::new(Attempt::new(number, checkpoint_id, faults));
        let streams = SnapshotStreams::new(Streams {
            storage: self.clone(),
            attempt: Arc::clone(&attempt),
        });
        (attempt, streams)
    }

    /// Opens the files of snapshots.
    #[must_use]
    pub fn files(&self) -> RestoreFiles {
        self.files_that_fail_at(None)
    }

    /// Opens the files of snapshots; the read with the number `fail_at`, counted over all files from 0, fails.
    #[must_use]
    pub fn files_that_fail_at(&self, fail_at: Option<u64>) -> RestoreFiles {
        RestoreFiles::new(Files {
            storage: self.clone(),
            reads: Arc::new(AtomicU64::new(0)),
            fail_at,
        })
    }

    /// Deletes what an attempt wrote, as the engine does when it failed.
    pub(super) fn delete_attempt(&self, attempt: &Attempt) {
        let mut state = self.state();
        state.files.retain(|token, file| {
            let stays = file.attempt != attempt.number;
            if !stays && let Some(folder) = &self.inner.folder {
                // A file that cannot be deleted does no harm here: its name is never used again.
                let _ = std::fs::remove_file(folder.join(token));
            }
            stays
        });
    }

    /// Deletes every file that none of `kept` names, as the engine does with the files of subsumed checkpoints.
    pub(super) fn keep_only(&self, kept: &[&SnapshotHandle]) {
        let named: BTreeSet<&str> = kept
            .iter()
            .flat_map(|handle| handle.files.iter())
            .map(|file| file.token.as_str())
            .collect();
        let mut state = self.state();
        state.files.retain(|token, _| named.contains(token.as_str()));
    }

    /// Remembers that a checkpoint is complete, so that its shared files may be used by later ones.
    pub(super) fn note_completed(&self, checkpoint_id: u64) {
        self.state().completed.insert(checkpoint_id);
    }

    /// Remembers that the checkpoints are complete from which something is restored.
    pub(super) fn note_restored(&self, handles: &[SnapshotHandle]) {
        let mut state = self.state();
        for file in handles.iter().flat_map(|handle| handle.files.iter()) {
            if let Some(checkpoint_id) = state
                .files
                .get(file.token.as_str())
                .map(|file| file.checkpoint_id)
            {
                state.completed.insert(checkpoint_id);
            }
        }
    }

    /// How many streams were opened and neither finished nor dropped.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.state().open_streams
    }

    /// How many files there are.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.state().files.len()
    }

    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, file: &FileRef) -> Vec<u8> {
        let state = self.state();
        let stored = state.files.get(file.token.as_str());
        stored.map_or_else(Vec::new, |stored| stored.bytes.clone())
    }

    /// Puts other bytes in the place of a file's.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn replace(&self, file: &FileRef, bytes: Vec<u8>) {
        let mut state = self.state();
        if let Some(folder) = &self.inner.folder {
            let path = folder.join(file.token.as_str());
            // A new file, not new content: a backend may still have the old one mapped.
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let stored = state.files.get_mut(file.token.as_str()).unwrap();
        stored.bytes = bytes;
        stored.linked = false;
    }

    /// Removes a file.
    ///
    /// # Panics
    /// When its folder does not have it.
    pub fn remove(&self, file: &FileRef) {
        self.state().files.remove(file.token.as_str());
        if let Some(folder) = &self.inner.folder {
            std::fs::remove_file(folder.join(file.token.as_str())).unwrap();
        }
    }

    /// Checks the handles of a snapshot against what was written for it. `may_share` is that of the request.
    #[track_caller]
    pub(super) fn check_handles(&self, attempt: &Attempt, may_share: bool, handles: &[SnapshotHandle]) {
        let state = self.state();
        assert_eq!(
            state.complaints,
            Vec::<String>::new(),
            "the backend used its streams wrongly"
        );
        let written: u64 = state
            .files
            .values()
            .filter(|file| file.attempt == attempt.number)
            .map(|file| file.bytes.len() as u64)
            .sum();
        let told: u64 = handles.iter().map(|handle| handle.new_bytes).sum();
        assert_eq!(
            told, written,
            "the handles' new_bytes differ from the bytes written for the snapshot"
        );
        for (token, file) in state.files.iter().filter(|(_, file)| file.linked) {
            let now = self
                .inner
                .folder
                .as_ref()
                .map(|folder| std::fs::read(folder.join(token)).unwrap());
            assert!(
                now.as_ref() == Some(&file.bytes),
                "the file {token} was changed after it had been linked into the storage"
            );
        }
        for handle in handles {
            assert!(!handle.format.is_empty(), "a handle has no format name");
            assert!(
                handle.payload.len() <= 64 << 10,
                "a handle's payload of {} bytes is too large for the metadata",
                handle.payload.len()
            );
            for file in &handle.files {
                let stored = state.files.get(file.token.as_str()).unwrap_or_else(|| {
                    panic!("a handle names the file {}, which was never finished", file.token)
                });
                assert_eq!(
                    (file.size, file.crc32),
                    (stored.bytes.len() as u64, crc32fast::hash(&stored.bytes)),
                    "the handle's size and checksum of the file {}",
                    file.token
                );
                if stored.attempt != attempt.number {
                    assert!(
                        may_share,
                        "a snapshot that must stand alone uses a file of an older one"
                    );
                    assert!(
                        stored.shared,
                        "a file of another snapshot is used that was not opened as shared"
                    );
                    assert!(
                        state.completed.contains(&stored.checkpoint_id),
                        "checkpoint {} uses a file of checkpoint {}, which was never completed",
                        attempt.checkpoint_id,
                        stored.checkpoint_id
                    );
                }
            }
        }
    }
}

/// The streams of one attempt.
struct Streams {
    storage: Storage,
    attempt: Arc<Attempt>,
}

impl SnapshotStreamsApi for Streams {
    fn open(&self, hint: StreamHint) -> RResult<SnapshotStream, BackendError> {
        self.try_open(hint).into()
    }

    fn is_cancelled(&self) -> bool {
        self.attempt.is_cancelled()
    }

    fn link(&self, path: RStr<'_>, hint: StreamHint, crc32: u32) -> RResult<ROption<FileRef>, BackendError> {
        self.try_link(path.as_str().as_ref(), &hint, crc32)
            .map(ROption::from)
            .into()
    }
}

impl Streams {
    fn try_open(&self, hint: StreamHint) -> BackendResult<SnapshotStream> {
        self.attempt.operation("open")?;
        if let (Some(max), ROption::RSome(expected)) =
            (self.attempt.faults.file_bytes_max, hint.expected_bytes)
            && expected > max
        {
            return Err(too_large(&hint.state, expected, max));
        }
        let mut state = self.storage.state();
        state.open_streams += 1;
        if hint.state.is_empty() {
            state
                .complaints
                .push("a stream was opened without the name of a state".to_owned());
        }
        Ok(SnapshotStream::new(Stream {
            storage: self.storage.clone(),
            attempt: Arc::clone(&self.attempt),
            hint,
            bytes: Vec::new(),
        }))
    }
}

impl Streams {
    /// Possible where files lie in a folder, and, as with small files of the engine's storages, not for every file.
    fn try_link(&self, path: &Path, hint: &StreamHint, crc32: u32) -> BackendResult<Option<FileRef>> {
        self.attempt.operation("link")?;
        let size = std::fs::symlink_metadata(path)?.len();
        if let Some(max) = self.attempt.faults.file_bytes_max
            && size > max
        {
            return Err(too_large(&hint.state, size, max));
        }
        let Some(folder) = &self.storage.inner.folder else {
            return Ok(None);
        };
        if size <= LINKED_BYTES_MIN {
            return Ok(None);
        }
        let mut state = self.storage.state();
        let token = format!("file-{}", state.files_made);
        state.files_made += 1;
        match std::fs::hard_link(path, folder.join(&token)) {
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => return Ok(None),
            linked => linked?,
        }
        let bytes = std::fs::read(path)?;
        self.attempt.note_bytes(bytes.len() as u64);
        Ok(Some(state.add(token, bytes, true, &self.attempt, hint, crc32)))
    }
}

impl State {
    /// Adds a file. `crc32` is what the backend says of a linked one; it is compared when handles name the file.
    fn add(
        &mut self,
        token: String,
        bytes: Vec<u8>,
        linked: bool,
        attempt: &Attempt,
        hint: &StreamHint,
        crc32: u32,
    ) -> FileRef {
        let file = FileRef {
            token: RString::from(token.as_str()),
            size: bytes.len() as u64,
            crc32,
            shared: hint.shared,
        };
        let stored = StoredFile {
            bytes,
            linked,
            attempt: attempt.number,
            checkpoint_id: attempt.checkpoint_id,
            shared: hint.shared,
        };
        self.files.insert(token, stored);
        file
    }
}

fn too_large(state: &str, bytes: u64, max: u64) -> BackendError {
    BackendError::new(
        BackendErrorKind::TooLarge,
        format!("state {state}: a file of {bytes} bytes, at most {max} are taken"),
    )
}

/// A file that is being written. Dropped, it is gone.
struct Stream {
    storage: Storage,
    attempt: Arc<Attempt>,
    hint: StreamHint,
    bytes: Vec<u8>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.storage.state().open_streams -= 1;
    }
}

impl SnapshotStreamApi for Stream {
    fn write(&mut self, bytes: RSlice<'_, u8>) -> RResult<(), BackendError> {
        self.try_write(bytes.as_slice()).into()
    }

    fn finish(&mut self) -> RResult<FileRef, BackendError> {
        self.try_finish().into()
    }
}

impl Stream {
    fn try_write(&mut self, bytes: &[u8]) -> BackendResult<()> {
        self.attempt.operation("write")?;
        self.attempt.note_bytes(bytes.len() as u64);
        let size = (self.bytes.len() + bytes.len()) as u64;
        if let Some(max) = self.attempt.faults.file_bytes_max
            && size > max
        {
            return Err(too_large(&self.hint.state, size, max));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn try_finish(&mut self) -> BackendResult<FileRef> {
        self.attempt.operation("finish")?;
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.storage.state();
        if let ROption::RSome(expected) = self.hint.expected_bytes
            && expected != bytes.len() as u64
        {
            let found = bytes.len();
            state.complaints.push(format!(
                "a stream was opened for exactly {expected} bytes and got {found}"
            ));
        }
        let token = format!("file-{}", state.files_made);
        state.files_made += 1;
        if let Some(folder) = &self.storage.inner.folder {
            std::fs::write(folder.join(&token), &bytes)?;
        }
        let crc32 = crc32fast::hash(&bytes);
        Ok(state.add(token, bytes, false, &self.attempt, &self.hint, crc32))
    }
}

/// The files as a restore sees them.
#[derive(Debug)]
struct Files {
    storage: Storage,
    reads: Arc<AtomicU64>,
    fail_at: Option<u64>,
}

impl RestoreFilesApi for Files {
    fn open(&self, file: &FileRef) -> RResult<RestoreStream, BackendError> {
        let state = self.storage.state();
        let Some(stored) = state.files.get(file.token.as_str()) else {
            return RResult::RErr(missing(file));
        };
        RResult::ROk(RestoreStream::new(Reader {
            bytes: stored.bytes.clone(),
            position: 0,
            reads: Arc::clone(&self.reads),
            fail_at: self.fail_at,
        }))
    }

    fn local_path(&self, file: &FileRef) -> RResult<ROption<RString>, BackendError> {
        let path = self.storage.inner.folder.as_ref().map(|folder| {
            let path = folder.join(file.token.as_str());
            RString::from(path.to_string_lossy().into_owned())
        });
        RResult::ROk(path.into())
    }
}

fn missing(file: &FileRef) -> BackendError {
    BackendError::new(
        BackendErrorKind::Io,
        format!("snapshot file {} is missing", file.token),
    )
}

struct Reader {
    bytes: Vec<u8>,
    position: usize,
    reads: Arc<AtomicU64>,
    fail_at: Option<u64>,
}

impl RestoreStreamApi for Reader {
    fn read(&mut self, mut buffer: RSliceMut<'_, u8>) -> RResult<usize, BackendError> {
        let number = self.reads.fetch_add(1, Ordering::SeqCst);
        if self.fail_at == Some(number) {
            return RResult::RErr(BackendError::new(
                BackendErrorKind::Io,
                format!("the suite made read {number} of the restore fail"),
            ));
        }
        let most = READ_BYTES_MAX[usize::try_from(number % 3).unwrap_or(0)];
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(most);
        buffer.as_mut_slice()[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        RResult::ROk(count)
    }
}
