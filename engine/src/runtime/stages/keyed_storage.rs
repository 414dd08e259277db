//! The files of keyed snapshots: between the backend, which knows them by tokens, and the checkpoint storage.
//!
//! A backend keeps tokens of shared files from checkpoint to checkpoint and over restores, so a token says all by itself where the bytes are: it is the
//! file's path, or the bytes themselves where they ride inline. No table has to outlive a snapshot, or to forget.

use crate::Result;
use crate::backend::adapter::{
    FileHint, KeyedSnapshot, SnapshotFile, SnapshotSink, SnapshotSource, StoredFile,
};
use crate::checkpoint::storage::{CheckpointStorage, Scope, SnapshotInput, SnapshotStream, StreamHint};
use crate::checkpoint::{CheckpointId, FileLocation, FileRef, KeyedHandle};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the token of a file that rides inline begins with, before its bytes as hexadecimal digits. A path never begins so.
const INLINE: &str = "inline:";

/// The name under which a backend keeps the file.
fn token(location: &FileLocation) -> String {
    match location {
        FileLocation::File(path) => path.clone(),
        FileLocation::Inline(bytes) => {
            let mut token = String::with_capacity(INLINE.len() + 2 * bytes.len());
            token.push_str(INLINE);
            for byte in bytes {
                for digit in [byte >> 4, byte & 15] {
                    token.extend(char::from_digit(u32::from(digit), 16));
                }
            }
            token
        }
    }
}

/// Where the file of a token is.
fn location(token: String) -> FileLocation {
    match token.strip_prefix(INLINE).and_then(bytes_of_digits) {
        Some(bytes) => FileLocation::Inline(bytes),
        None => FileLocation::File(token),
    }
}

fn bytes_of_digits(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

fn stored(file: &FileRef) -> StoredFile {
    StoredFile {
        token: token(&file.location),
        size: file.size,
        crc32: file.crc32,
        shared: file.shared,
    }
}

fn file_ref(file: StoredFile) -> FileRef {
    FileRef {
        location: location(file.token),
        size: file.size,
        crc32: file.crc32,
        shared: file.shared,
    }
}

/// The shared files that a task has written for one checkpoint. Exclusive ones go with the checkpoint's folder; these have to be deleted by name when nobody will
/// ever hear of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedFilesWritten(Arc<Mutex<Vec<String>>>);

impl SharedFilesWritten {
    fn add(&self, file: &FileRef) {
        if file.shared
            && let Some(path) = file.owned_path()
        {
            let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            paths.push(path.to_owned());
        }
    }

    /// Deletes them: the checkpoint that they were written for will not name them.
    pub(crate) fn delete(&self, storage: &dyn CheckpointStorage) {
        let paths = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for path in paths {
            if let Err(error) = storage.discard_file(&path) {
                tracing::warn!(file = %path, %error, "a file of a snapshot that came to nothing is left until the next attempt");
            }
        }
    }
}

/// Where a backend writes the files of one subtask's snapshot.
pub(crate) struct StorageSink {
    pub(crate) storage: Arc<dyn CheckpointStorage>,
    pub(crate) id: CheckpointId,
    /// The operator's name, for errors.
    pub(crate) operator: String,
    pub(crate) subtask: u32,
    /// Whether later checkpoints may name the files. Never those of a savepoint, whatever the backend asks for.
    pub(crate) may_share: bool,
    /// Takes note of the files.
    pub(crate) written: SharedFilesWritten,
}

/// The handle that goes into the metadata for what a backend gave back.
pub(crate) fn keyed_handle(backend: &str, snapshot: KeyedSnapshot) -> KeyedHandle {
    KeyedHandle {
        backend: backend.to_owned(),
        key_groups: (snapshot.key_groups.first.0, snapshot.key_groups.last.0),
        kind: snapshot.format,
        files: snapshot.files.into_iter().map(file_ref).collect(),
        payload: snapshot.payload,
        state_bytes: snapshot.state_bytes,
        new_bytes: snapshot.new_bytes,
    }
}

impl SnapshotSink for StorageSink {
    fn open(&self, hint: &FileHint) -> Result<Box<dyn SnapshotFile>> {
        let shared = hint.shared && self.may_share;
        let scope = self.scope(hint);
        let hint = StreamHint {
            operator: self.operator.clone(),
            subtask: self.subtask,
            state: hint.state.clone(),
            expected_bytes: hint.expected_bytes,
        };
        let stream = self.storage.open_stream(self.id, scope, &hint)?;
        Ok(Box::new(StorageFile {
            stream,
            shared,
            written: self.written.clone(),
        }))
    }

    fn link(&self, path: &Path, hint: &FileHint, crc32: u32) -> Result<Option<StoredFile>> {
        let linked = self.storage.link(self.id, self.scope(hint), path, crc32)?;
        Ok(linked.map(|file| {
            self.written.add(&file);
            stored(&file)
        }))
    }
}

impl StorageSink {
    fn scope(&self, hint: &FileHint) -> Scope {
        if hint.shared && self.may_share {
            Scope::Shared
        } else {
            Scope::Exclusive
        }
    }
}

struct StorageFile {
    stream: Box<dyn SnapshotStream>,
    shared: bool,
    written: SharedFilesWritten,
}

impl SnapshotFile for StorageFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<StoredFile> {
        let file = FileRef {
            // Bytes that ride inline can be named again as well, wherever the storage has put them.
            shared: self.shared,
            ..self.stream.finish()?
        };
        self.written.add(&file);
        Ok(stored(&file))
    }
}

/// Opens files for a subtask: those of the handles that it restores, and those that it has written itself since then.
pub(crate) struct StorageSource {
    storage: Arc<dyn CheckpointStorage>,
}

/// The handles as the backend takes them, and what opens their files.
pub(crate) fn restore_handles(
    storage: &Arc<dyn CheckpointStorage>,
    handles: Vec<KeyedHandle>,
) -> (Vec<KeyedSnapshot>, StorageSource) {
    let snapshots = handles
        .into_iter()
        .filter_map(|handle| {
            Some(KeyedSnapshot {
                key_groups: millpond_backend_api::KeyGroupRange::new(
                    handle.key_groups.0,
                    handle.key_groups.1,
                )?,
                format: handle.kind,
                files: handle.files.iter().map(stored).collect(),
                payload: handle.payload,
                state_bytes: handle.state_bytes,
                new_bytes: handle.new_bytes,
            })
        })
        .collect();
    let storage = Arc::clone(storage);
    (snapshots, StorageSource { storage })
}

impl SnapshotSource for StorageSource {
    fn open(&self, file: &StoredFile) -> Result<Box<dyn Read + Send>> {
        let input = self.storage.open_input(&file_ref(file.clone()))?;
        Ok(Box::new(InputReader(input)))
    }

    fn local_path(&self, file: &StoredFile) -> Result<Option<PathBuf>> {
        Ok(self.storage.local_path(&file_ref(file.clone())))
    }
}

/// A checked input as a reader; its errors are carried inside of `std`'s.
struct InputReader(Box<dyn SnapshotInput>);

impl Read for InputReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
#[path = "keyed_storage_tests.rs"]
mod tests;
