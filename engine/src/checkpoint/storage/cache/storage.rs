//! A remote storage with the cache before it.

use super::entry::{Pin, Temporary};
use super::key::Key;
use super::{CacheSettings, LocalCache};
use crate::checkpoint::storage::file_input::{VerifiedInput, open_file};
use crate::checkpoint::storage::{
    CheckpointPaths, CheckpointStorage, RemoteStorage, Scope, SnapshotInput, SnapshotStream, StreamHint,
};
use crate::checkpoint::{CheckpointId, FileLocation, FileRef};
use crate::{Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes copied at a time.
const COPY_BYTES: usize = 256 * 1024;

/// Remote storage whose files can be mapped, and restored from local copies; everything else is the remote storage's.
///
/// What [`local_path`](CheckpointStorage::local_path) has brought here stays in use until this is dropped, at the end of an attempt. Then it stays in the folder within its
/// bounds if local backup or recovery is on, else it is deleted.
///
/// A local copy is a help and never a condition: one that cannot be written, or turns out to be damaged, is a warning, and the remote file serves.
#[derive(Debug)]
pub struct CachedStorage {
    remote: Arc<dyn RemoteStorage>,
    cache: Arc<LocalCache>,
    backup: bool,
    from_local: bool,
    /// Bytes of a stream that are held back before a local file is made, since it may stay inline.
    inline_threshold: usize,
    pins: Mutex<HashMap<Key, Pin>>,
}

impl CachedStorage {
    /// Puts a cache before `remote`, whose streams stay inline up to `inline_threshold` bytes.
    ///
    /// # Errors
    /// As [`LocalCache::open`].
    pub fn new(
        remote: Arc<dyn RemoteStorage>,
        settings: &CacheSettings,
        inline_threshold: usize,
    ) -> Result<Self> {
        Ok(Self {
            remote,
            cache: Arc::new(LocalCache::open(&settings.folder, settings.bytes_max)?),
            backup: settings.backup,
            from_local: settings.from_local,
            inline_threshold,
            pins: Mutex::default(),
        })
    }

    fn key(&self, file: &FileRef) -> Option<Key> {
        match &file.location {
            FileLocation::Inline(_) => None,
            FileLocation::File(path) => Some(Key::new(&self.remote.address_of(path), file.size, file.crc32)),
        }
    }

    /// Where the file is if it is one of somebody else on this machine: of a savepoint that the job was started from, which the remote storage does not have.
    fn file_of_others(file: &FileRef) -> Option<&Path> {
        match &file.location {
            FileLocation::File(path) => {
                Some(Path::new(path)).filter(|path| path.is_absolute() && path.is_file())
            }
            FileLocation::Inline(_) => None,
        }
    }

    fn bring(&self, key: &Key, file: &FileRef) -> Result<PathBuf> {
        let pins = || self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pin) = pins().get(key)
            && pin.is_valid(key.size)
        {
            return Ok(pin.path().to_owned());
        }
        if !self.from_local {
            // A copy that is there already would have to be fetched, which costs more than to read it. With local recovery it is mapped as it is, so that
            // a restore does not take longer with more state; there, damage is for who reads it to notice.
            drop(self.whole_copy(key, file));
        }
        let pin = self.cache.fetch(key, |copy| self.download(file, copy))?;
        let path = pin.path().to_owned();
        pins().insert(*key, pin);
        Ok(path)
    }

    /// Copies the remote file, verified.
    fn download(&self, file: &FileRef, copy: &mut Temporary) -> Result<()> {
        let mut input = self.remote.open_input(file)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let n = input.read(&mut buffer)?;
            match buffer.get(..n) {
                Some([]) => return Ok(()),
                Some(bytes) => copy.write_all(bytes).map_err(|error| {
                    Error::new(
                        ErrorKind::Storage,
                        format!("cannot keep a local copy of '{file}'"),
                    )
                    .with_source(error)
                })?,
                None => {
                    return Err(Error::new(
                        ErrorKind::Bug,
                        "a snapshot input returned more bytes than it was asked for",
                    ));
                }
            }
        }
    }

    /// The local copy, if there is one and it is whole, which takes reading it; a damaged one is deleted.
    fn whole_copy(&self, key: &Key, file: &FileRef) -> Option<Pin> {
        let pin = self.cache.get(key).unwrap_or_else(|error| {
            tracing::warn!(%file, %error, "the local copy of a snapshot file cannot be used");
            None
        })?;
        let found = checksum(&pin);
        if !matches!(found, Ok(found) if found == key.crc32) {
            tracing::warn!(%file, copy = %pin.path().display(), expected = key.crc32, ?found, "the local copy of a snapshot file is damaged; the remote file serves");
            self.cache.remove(key);
            return None;
        }
        Some(pin)
    }

    /// The local copy to read from, checked before: a reader could not change over to the remote file in the middle.
    fn local_input(&self, file: &FileRef) -> Option<Box<dyn SnapshotInput>> {
        let pin = self.whole_copy(&self.key(file)?, file)?;
        let name = pin.path().to_owned();
        Some(Box::new(VerifiedInput::new(pin, name, file)))
    }
}

/// The CRC-32 of a file from its beginning, where it stands again afterwards.
fn checksum(pin: &Pin) -> std::io::Result<u32> {
    let mut file = pin.file();
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => crc.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    file.rewind()?;
    Ok(crc.finalize())
}

impl Drop for CachedStorage {
    fn drop(&mut self) {
        let pins = std::mem::take(self.pins.get_mut().unwrap_or_else(PoisonError::into_inner));
        for (_, pin) in pins {
            let path = pin.path().to_owned();
            drop(pin);
            if !self.backup && !self.from_local {
                self.cache.remove_unused(&path);
            }
        }
        self.cache.trim(0);
    }
}

impl CheckpointStorage for CachedStorage {
    fn name(&self) -> &'static str {
        self.remote.name()
    }

    fn probe(&self) -> Result<()> {
        self.remote.probe()
    }

    fn open_stream(
        &self,
        id: CheckpointId,
        scope: Scope,
        hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>> {
        let remote = self.remote.open_stream(id, scope, hint)?;
        if !self.backup {
            return Ok(remote);
        }
        Ok(Box::new(BackupStream {
            remote,
            storage: Arc::clone(&self.remote),
            cache: Arc::clone(&self.cache),
            inline_threshold: self.inline_threshold,
            copy: LocalCopy::Held(Vec::new()),
        }))
    }

    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
        if let Some(path) = Self::file_of_others(file) {
            return open_file(path, file);
        }
        let local = if self.from_local {
            self.local_input(file)
        } else {
            None
        };
        local.map_or_else(|| self.remote.open_input(file), Ok)
    }

    fn local_path(&self, file: &FileRef) -> Option<PathBuf> {
        if let Some(path) = Self::file_of_others(file) {
            return Some(path.to_owned());
        }
        let key = self.key(file)?;
        self.bring(&key, file)
            .inspect_err(|error| {
                tracing::warn!(%file, %error, "a snapshot file could not be brought to this machine");
            })
            .ok()
    }

    fn drop_local_copy(&self, file: &FileRef) {
        if Self::file_of_others(file).is_none()
            && let Some(key) = self.key(file)
        {
            self.cache.remove(&key);
            let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
            pins.remove(&key);
        }
    }

    fn ack_bytes_max(&self) -> u64 {
        self.remote.ack_bytes_max()
    }

    fn publish_metadata(&self, id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>> {
        self.remote.publish_metadata(id, bytes)
    }

    fn discard_checkpoint(&self, id: CheckpointId) -> Result<()> {
        let folder = self.remote.address_of(&CheckpointPaths::checkpoint_name(id));
        self.cache.remove_beginning(&Key::beginning_of_folder(&folder));
        self.remote.discard_checkpoint(id)
    }

    fn discard_file(&self, path: &str) -> Result<()> {
        let address = self.remote.address_of(path);
        self.cache.remove_beginning(&Key::beginning_of_file(&address));
        self.remote.discard_file(path)
    }

    fn delete_orphans(
        &self,
        retained: &[CheckpointId],
        next_id: CheckpointId,
        shared: &HashSet<String>,
        still_leads: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        // Copies of what is deleted are not used any more, and so the first to be evicted.
        self.remote.delete_orphans(retained, next_id, shared, still_leads)
    }

    fn remove_empty_folders(&self) -> Result<()> {
        self.remote.remove_empty_folders()
    }

    fn job_folder(&self) -> Option<&Path> {
        self.remote.job_folder()
    }
}

/// The local side of a [`BackupStream`].
#[derive(Debug)]
enum LocalCopy {
    /// So few bytes that they may stay inline.
    Held(Vec<u8>),
    Written(Temporary),
    /// It failed, which is no failure of the stream.
    GivenUp,
}

/// Writes to the remote storage, and to a local copy for as long as that works.
struct BackupStream {
    remote: Box<dyn SnapshotStream>,
    storage: Arc<dyn RemoteStorage>,
    cache: Arc<LocalCache>,
    inline_threshold: usize,
    copy: LocalCopy,
}

impl BackupStream {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let write = |copy: &mut Temporary, bytes: &[u8]| {
            copy.write_all(bytes)
                .map_err(|error| Error::new(ErrorKind::Storage, "cannot write").with_source(error))
        };
        match &mut self.copy {
            LocalCopy::GivenUp => Ok(()),
            LocalCopy::Written(_) if self.remote.written() > self.cache.bytes_max => {
                self.copy = LocalCopy::GivenUp;
                Ok(())
            }
            LocalCopy::Written(copy) => write(copy, bytes),
            LocalCopy::Held(held) if held.len() + bytes.len() <= self.inline_threshold => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            LocalCopy::Held(held) => {
                let mut copy = self.cache.temporary()?;
                write(&mut copy, held)?;
                write(&mut copy, bytes)?;
                self.copy = LocalCopy::Written(copy);
                Ok(())
            }
        }
    }
}

impl SnapshotStream for BackupStream {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.remote.write(bytes)?;
        if let Err(error) = self.append(bytes) {
            tracing::warn!(%error, "no local copy of a snapshot file is kept");
            self.copy = LocalCopy::GivenUp;
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        self.remote.written()
    }

    fn finish(self: Box<Self>) -> Result<FileRef> {
        let file = self.remote.finish()?;
        let FileLocation::File(path) = &file.location else {
            return Ok(file);
        };
        let key = Key::new(&self.storage.address_of(path), file.size, file.crc32);
        let kept = match self.copy {
            LocalCopy::Written(copy) => self.cache.insert(&key, copy),
            LocalCopy::Held(_) | LocalCopy::GivenUp => Ok(()),
        };
        if let Err(error) = kept {
            tracing::warn!(%file, %error, "no local copy of a snapshot file is kept");
        }
        Ok(file)
    }
}
