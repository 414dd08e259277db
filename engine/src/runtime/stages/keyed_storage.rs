//! The files of keyed snapshots: between the backend, which knows them by tokens, and the checkpoint storage.

use crate::Result;
use crate::backend::adapter::{
    FileHint, KeyedSnapshot, SnapshotFile, SnapshotSink, SnapshotSource, StoredFile,
};
use crate::checkpoint::storage::{CheckpointStorage, Scope, SnapshotInput, SnapshotStream, StreamHint};
use crate::checkpoint::{CheckpointId, FileLocation, FileRef, KeyedHandle};
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The prefix of the tokens of files that ride inline; a path never begins with it.
const INLINE: &str = "inline:";

/// Where a backend writes the files of one subtask's snapshot.
pub(crate) struct StorageSink {
    storage: Arc<dyn CheckpointStorage>,
    id: CheckpointId,
    operator: String,
    subtask: u32,
    /// The files that ride inline, by the number in their token.
    inline: Arc<Mutex<Vec<FileRef>>>,
}

impl StorageSink {
    pub(crate) fn new(
        storage: Arc<dyn CheckpointStorage>,
        id: CheckpointId,
        operator: String,
        subtask: u32,
    ) -> Self {
        Self {
            storage,
            id,
            operator,
            subtask,
            inline: Arc::default(),
        }
    }

    /// The handle that goes into the metadata for what the backend gave back.
    pub(crate) fn handle(&self, backend: &str, snapshot: KeyedSnapshot) -> KeyedHandle {
        let inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        let files = snapshot
            .files
            .into_iter()
            .map(|file| {
                let number = file
                    .token
                    .strip_prefix(INLINE)
                    .and_then(|number| number.parse::<usize>().ok());
                number
                    .and_then(|number| inline.get(number).cloned())
                    .unwrap_or(FileRef {
                        location: FileLocation::File(file.token),
                        size: file.size,
                        crc32: file.crc32,
                        shared: file.shared,
                    })
            })
            .collect();
        KeyedHandle {
            backend: backend.to_owned(),
            key_groups: (snapshot.key_groups.first.0, snapshot.key_groups.last.0),
            kind: snapshot.format,
            files,
            payload: snapshot.payload,
            state_bytes: snapshot.state_bytes,
            new_bytes: snapshot.new_bytes,
        }
    }
}

impl SnapshotSink for StorageSink {
    fn open(&self, hint: &FileHint) -> Result<Box<dyn SnapshotFile>> {
        let scope = if hint.shared {
            Scope::Shared
        } else {
            Scope::Exclusive
        };
        let hint = StreamHint {
            operator: self.operator.clone(),
            subtask: self.subtask,
            state: hint.state.clone(),
            expected_bytes: hint.expected_bytes,
        };
        let stream = self.storage.open_stream(self.id, scope, &hint)?;
        Ok(Box::new(StorageFile {
            stream,
            inline: Arc::clone(&self.inline),
        }))
    }
}

struct StorageFile {
    stream: Box<dyn SnapshotStream>,
    inline: Arc<Mutex<Vec<FileRef>>>,
}

impl SnapshotFile for StorageFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<StoredFile> {
        let file = self.stream.finish()?;
        let (size, crc32, shared) = (file.size, file.crc32, file.shared);
        let token = match &file.location {
            FileLocation::File(path) => path.clone(),
            FileLocation::Inline(_) => {
                let mut inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
                inline.push(file);
                format!("{INLINE}{}", inline.len() - 1)
            }
        };
        Ok(StoredFile {
            token,
            size,
            crc32,
            shared,
        })
    }
}

/// The files of the handles that a subtask restores.
pub(crate) struct StorageSource {
    storage: Arc<dyn CheckpointStorage>,
    inline: HashMap<String, FileRef>,
}

/// The handles as the backend takes them, and where their files are.
pub(crate) fn restore_handles(
    storage: &Arc<dyn CheckpointStorage>,
    handles: Vec<KeyedHandle>,
) -> (Vec<KeyedSnapshot>, StorageSource) {
    let mut inline = HashMap::new();
    let snapshots = handles
        .into_iter()
        .filter_map(|handle| {
            let key_groups =
                millpond_backend_api::KeyGroupRange::new(handle.key_groups.0, handle.key_groups.1)?;
            let files = handle
                .files
                .into_iter()
                .map(|file| {
                    let (size, crc32, shared) = (file.size, file.crc32, file.shared);
                    let token = match &file.location {
                        FileLocation::File(path) => path.clone(),
                        FileLocation::Inline(_) => {
                            let token = format!("{INLINE}{}", inline.len());
                            inline.insert(token.clone(), file);
                            token
                        }
                    };
                    StoredFile {
                        token,
                        size,
                        crc32,
                        shared,
                    }
                })
                .collect();
            Some(KeyedSnapshot {
                key_groups,
                format: handle.kind,
                files,
                payload: handle.payload,
                state_bytes: handle.state_bytes,
                new_bytes: handle.new_bytes,
            })
        })
        .collect();
    (
        snapshots,
        StorageSource {
            storage: Arc::clone(storage),
            inline,
        },
    )
}

impl StorageSource {
    fn file(&self, file: &StoredFile) -> FileRef {
        self.inline.get(&file.token).cloned().unwrap_or_else(|| FileRef {
            location: FileLocation::File(file.token.clone()),
            size: file.size,
            crc32: file.crc32,
            shared: file.shared,
        })
    }
}

impl SnapshotSource for StorageSource {
    fn open(&self, file: &StoredFile) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(InputReader(self.storage.open_input(&self.file(file))?)))
    }

    fn local_path(&self, file: &StoredFile) -> Result<Option<PathBuf>> {
        Ok(self.storage.local_path(&self.file(file)))
    }
}

/// A checked input as a reader; its errors are carried inside of `std`'s.
struct InputReader(Box<dyn SnapshotInput>);

impl Read for InputReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer).map_err(std::io::Error::other)
    }
}
