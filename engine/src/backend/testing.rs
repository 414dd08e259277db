//! A small state backend, and a storage in memory, for the tests of this folder.

mod model;

use super::adapter::{FileHint, SnapshotFile, SnapshotSink, SnapshotSource, StoredFile};
use crate::{Error, ErrorKind, Result};
pub(crate) use model::ModelFactory;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

impl ModelFactory {
    /// Stands in for the backend in memory.
    pub(crate) const MEMORY: Self = Self {
        name: "millpond::MemoryStateBackendFactory",
        short_names: &["jobmanager", "hashmap", "memory"],
        version: "1.2.3",
    };
}

/// A storage in memory with a limit, that can be told to fail.
#[derive(Clone, Default)]
pub(crate) struct MemoryStorage {
    pub(crate) files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub(crate) limit: Option<u64>,
    pub(crate) fault: Option<Fault>,
    /// Called at each write.
    pub(crate) on_write: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    DiskFull,
    FailedSync,
    Panic,
}

struct MemoryFile {
    storage: MemoryStorage,
    bytes: Vec<u8>,
}

impl SnapshotSink for MemoryStorage {
    fn open(&self, hint: &FileHint) -> Result<Box<dyn SnapshotFile>> {
        if let (Some(limit), Some(expected)) = (self.limit, hint.expected_bytes)
            && expected > limit
        {
            return Err(Error::new(
                ErrorKind::StateTooLarge,
                format!("state '{}' has {expected} bytes, more than {limit}", hint.state),
            ));
        }
        Ok(Box::new(MemoryFile {
            storage: self.clone(),
            bytes: Vec::new(),
        }))
    }

    /// Takes files of more than 4 bytes.
    fn link(&self, path: &Path, hint: &FileHint, crc32: u32) -> Result<Option<StoredFile>> {
        if self.fault == Some(Fault::Panic) {
            panic!("storage lost its mind");
        }
        let bytes = std::fs::read(path).map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot link '{}'", path.display())).with_source(error)
        })?;
        if bytes.len() <= 4 {
            return Ok(None);
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = StoredFile {
            token: format!("file-{}", files.len()),
            size: bytes.len() as u64,
            crc32,
            shared: hint.shared,
        };
        files.insert(stored.token.clone(), bytes);
        Ok(Some(stored))
    }
}

impl SnapshotFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(on_write) = &self.storage.on_write {
            on_write();
        }
        match self.storage.fault {
            Some(Fault::DiskFull) => Err(Error::new(ErrorKind::Storage, "no space left on device")),
            Some(Fault::Panic) => panic!("storage lost its mind"),
            _ => {
                self.bytes.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<StoredFile> {
        if self.storage.fault == Some(Fault::FailedSync) {
            return Err(Error::new(ErrorKind::Storage, "fsync failed"));
        }
        let mut files = self.storage.files.lock().unwrap_or_else(PoisonError::into_inner);
        let token = format!("file-{}", files.len());
        let stored = StoredFile {
            token: token.clone(),
            size: self.bytes.len() as u64,
            crc32: crc32fast::hash(&self.bytes),
            shared: false,
        };
        files.insert(token, self.bytes);
        Ok(stored)
    }
}

impl SnapshotSource for MemoryStorage {
    fn open(&self, file: &StoredFile) -> Result<Box<dyn Read + Send>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = files.get(&file.token).ok_or_else(|| {
            Error::new(
                ErrorKind::Restore,
                format!("there is no snapshot file {}", file.token),
            )
        })?;
        Ok(Box::new(std::io::Cursor::new(bytes.clone())))
    }

    fn local_path(&self, _: &StoredFile) -> Result<Option<PathBuf>> {
        Ok(None)
    }
}
