//! `filesystem` storage whose folder is remote: snapshots as objects of an object store.
//!
//! Any `object_store::ObjectStore` will do that keeps what it has acknowledged, shows an object whole or not at all, lists what it has written, and can
//! create an object only if there is none of that name. Names are those of [`CheckpointPaths`]; there are no folders, only common beginnings of names.
//!
//! Differences to files that the design has to answer:
//!
//! - An answer can be lost. A put that failed may have been done, and may even be done later. Snapshot objects have names that nobody else uses, so what is in doubt is deleted;
//!   metadata is created only if its name is free, and who finds it taken compares the bytes (`publish`).
//! - A stream may end after its checkpoint was discarded, and there is no folder that would be missing then. So a storage remembers what it discarded, and the stream looks when its object is
//!   there. In another process than the coordinator's it cannot know; its object goes with its late acknowledgement, or at the next start of the job
//!   ([`delete_orphans`](CheckpointStorage::delete_orphans)).
//! - A process that dies leaves parts of unfinished objects. They cannot be seen; stores have a rule to delete them after some days, which should be set.
//!
//! This storage has no local paths: [`CachedStorage`](super::CachedStorage) brings objects to this machine.

mod calls;
mod discarded;
mod input;
mod publish;
mod scheme;
mod stream;

pub use scheme::{RemoteLocation, memory_store};

use self::calls::{CALL_LIMIT, Calls};
use self::discarded::Discarded;
use self::publish::Holder;
use self::stream::{ObjectStream, ObjectStreamOptions};
use super::file::{FileStorageOptions, orphan_checkpoints};
use super::file_input::open_inline;
use super::{
    CheckpointPaths, CheckpointStorage, FileStorage, RemoteStorage, Scope, SnapshotInput, SnapshotStream,
    StreamHint,
};
use crate::checkpoint::{CheckpointId, FileLocation, FileRef, JobId};
use crate::{Error, ErrorKind, Result};
use futures_util::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_128;

/// Snapshots as objects. Its methods block: they are not to be called from the threads of the runtime that it was given.
#[derive(Debug)]
pub struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    store_address: String,
    root: ObjectPath,
    paths: CheckpointPaths,
    options: FileStorageOptions,
    calls: Calls,
    /// Checkpoints whose metadata somebody else may have published, with a hash of what we would have.
    contested: Mutex<HashMap<CheckpointId, u128>>,
    discarded: Arc<Discarded>,
}

impl ObjectStorage {
    /// Storage for one job in the folder `location`. Reaches for nothing. `runtime` carries out the calls; it needs its timer.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the inline threshold is above its bound.
    pub fn new(
        location: &RemoteLocation,
        job: &JobId,
        options: FileStorageOptions,
        runtime: Handle,
    ) -> Result<Self> {
        Self::with_store(location.open(), location, job, options, runtime)
    }

    /// The same, with a store that was made elsewhere; `location` gives the folder in it and its name in messages.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_store(
        store: Arc<dyn ObjectStore>,
        location: &RemoteLocation,
        job: &JobId,
        options: FileStorageOptions,
        runtime: Handle,
    ) -> Result<Self> {
        FileStorage::check_inline_threshold(&options)?;
        let root = Path::new("/").join(location.prefix().as_ref());
        Ok(Self {
            store,
            store_address: location.store_address(),
            root: location.prefix().clone(),
            paths: CheckpointPaths::new(&root, job, options.create_subdir),
            options,
            calls: Calls::new(runtime, CALL_LIMIT),
            contested: Mutex::default(),
            discarded: Arc::default(),
        })
    }

    /// The same, but a call without an answer is given up after `limit` instead of 4 minutes.
    #[must_use]
    pub fn with_call_limit(mut self, limit: Duration) -> Self {
        self.calls = Calls::new(self.calls.runtime().clone(), limit);
        self
    }

    /// The names in use, as paths that begin at the root of the store.
    #[must_use]
    pub fn paths(&self) -> &CheckpointPaths {
        &self.paths
    }

    /// The object of a file's path: below the job's folder, or from the root of the store if it is absolute.
    fn object(&self, path: &str) -> Result<ObjectPath> {
        object_path(&self.paths.resolve(path))
    }

    fn address(&self, path: &ObjectPath) -> String {
        format!("{}/{path}", self.store_address)
    }

    fn delete(&self, path: ObjectPath) -> Result<()> {
        let (store, of) = (Arc::clone(&self.store), path.clone());
        match self.calls.wait(async move { store.delete(&of).await }) {
            Err(error) if !error.is_not_found() => Err(error.into_error(
                ErrorKind::Storage,
                format_args!("delete '{}'", self.address(&path)),
            )),
            _ => Ok(()),
        }
    }

    /// Deletes every object whose path begins with `prefix`.
    fn delete_below(&self, prefix: ObjectPath) -> Result<()> {
        let (store, of) = (Arc::clone(&self.store), prefix.clone());
        let deleted = self.calls.wait(async move {
            let found = store.list(Some(&of)).map_ok(|object| object.location);
            let found = futures_util::StreamExt::boxed(found);
            // Somebody else may have deleted one in the meantime.
            let ignored = |error| match error {
                object_store::Error::NotFound { .. } => Ok(()),
                error => Err(error),
            };
            futures_util::StreamExt::map(store.delete_stream(found), |deleted| {
                deleted.map(drop).or_else(ignored)
            })
            .try_collect::<()>()
            .await
        });
        deleted.map_err(|error| {
            error.into_error(
                ErrorKind::Storage,
                format_args!("delete what is below '{}'", self.address(&prefix)),
            )
        })
    }

    /// Whether the metadata of `id` may be deleted as far as its publisher is concerned.
    fn may_discard(&self, id: CheckpointId, metadata: &ObjectPath) -> Result<bool> {
        let contested = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ours) = contested.get(&id).copied() else {
            return Ok(true);
        };
        drop(contested);
        let is_ours = |bytes: &[u8]| xxh3_128(bytes) == ours;
        let holder = publish::holder(&self.store, &self.calls, metadata, is_ours).map_err(|error| {
            let what = format!("find out who published '{}'", self.address(metadata));
            error.into_error(ErrorKind::Storage, what)
        })?;
        Ok(holder != Holder::SomebodyElse)
    }

    /// Names of the objects and of the common beginnings directly below `folder`.
    fn names_in(&self, folder: &Path) -> Result<Vec<String>> {
        let path = object_path(folder)?;
        let (store, of) = (Arc::clone(&self.store), path.clone());
        let list = self
            .calls
            .wait(async move { store.list_with_delimiter(Some(&of)).await })
            .map_err(|error| {
                error.into_error(ErrorKind::Storage, format_args!("list '{}'", self.address(&path)))
            })?;
        let objects = list.objects.into_iter().map(|object| object.location);
        Ok(objects
            .chain(list.common_prefixes)
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect())
    }
}

/// The object of a path that begins at the root of the store.
fn object_path(path: &Path) -> Result<ObjectPath> {
    ObjectPath::parse(path.to_string_lossy()).map_err(|error| {
        Error::new(
            ErrorKind::Restore,
            format!("'{}' is not the path of an object", path.display()),
        )
        .with_source(error)
    })
}

impl RemoteStorage for ObjectStorage {
    fn address_of(&self, path: &str) -> String {
        let path = self.paths.resolve(path);
        format!("{}{}", self.store_address, path.display())
    }
}

impl CheckpointStorage for ObjectStorage {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    /// Creates an object only if there is none, which the store must be able to do, and deletes it.
    fn probe(&self) -> Result<()> {
        let path = self
            .root
            .clone()
            .join(format!(".{}.tmp", CheckpointPaths::unique_name()));
        let (store, of) = (Arc::clone(&self.store), path.clone());
        let put = self.calls.wait(async move {
            let payload = PutPayload::from_static(b"probe");
            store.put_opts(&of, payload, PutMode::Create.into()).await
        });
        let name = self.address(&path);
        put.map_err(|error| error.into_error(ErrorKind::Storage, format_args!("write '{name}'")))
            .and_then(|_| self.delete(path))
            .map_err(|error| {
                Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "execution.checkpointing.dir: checkpoints cannot be written to '{}/{}'",
                        self.store_address, self.root
                    ),
                )
                .with_source(error)
            })
    }

    fn open_stream(
        &self,
        id: CheckpointId,
        scope: Scope,
        _hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>> {
        let folder = scope.folder_name(id);
        let name = format!("{folder}/{}", CheckpointPaths::unique_name());
        Ok(Box::new(ObjectStream::new(ObjectStreamOptions {
            store: Arc::clone(&self.store),
            calls: self.calls.clone(),
            path: self.object(&name)?,
            name,
            shared: scope == Scope::Shared,
            inline_threshold: self.options.inline_threshold,
            checkpoint: id,
            discarded: Arc::clone(&self.discarded),
        })))
    }

    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
        match &file.location {
            FileLocation::Inline(bytes) => Ok(open_inline(bytes, file)),
            FileLocation::File(path) => {
                let object = self.object(path)?;
                let name = self.address(&object);
                input::open(&self.store, &self.calls, object, name, file)
            }
        }
    }

    /// Nothing here is local.
    fn local_path(&self, _file: &FileRef) -> Option<PathBuf> {
        None
    }

    fn ack_bytes_max(&self) -> u64 {
        self.options.ack_bytes_max
    }

    fn publish_metadata(&self, id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>> {
        let path = object_path(&self.paths.metadata(id))?;
        publish::create(&self.store, &self.calls, &path, bytes).map_err(|failed| {
            if failed.contested {
                let mut contested = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
                contested.insert(id, xxh3_128(bytes));
            }
            failed.error
        })?;
        Ok(Some(PathBuf::from(self.address(&path))))
    }

    /// Leaves a checkpoint alone that another coordinator published under the same number.
    fn discard_checkpoint(&self, id: CheckpointId) -> Result<()> {
        let metadata = object_path(&self.paths.metadata(id))?;
        if !self.may_discard(id, &metadata)? {
            tracing::warn!(checkpoint = %id, "another coordinator has published this checkpoint: it is not deleted");
            return Ok(());
        }
        self.discarded.insert(id);
        // The metadata first: what is half deleted must not look like a checkpoint.
        self.delete(metadata)?;
        self.delete_below(object_path(&self.paths.checkpoint(id))?)
    }

    fn discard_file(&self, path: &str) -> Result<()> {
        self.delete(self.object(path)?)
    }

    fn delete_orphans(
        &self,
        retained: &[CheckpointId],
        next_id: CheckpointId,
        shared: &HashSet<String>,
        still_leads: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        if !self.options.create_subdir {
            return Ok(());
        }
        let checkpoints = orphan_checkpoints(self.names_in(self.paths.job())?, retained, next_id);
        let files = self.names_in(&self.paths.shared())?.into_iter();
        let files = files.map(|name| format!("{}/{name}", CheckpointPaths::SHARED));
        let files: Vec<_> = files.filter(|path| !shared.contains(path)).collect();
        if checkpoints.is_empty() && files.is_empty() {
            return Ok(());
        }
        still_leads()?;
        let mut result = Ok(());
        for id in checkpoints {
            result = self.discard_checkpoint(id).and(result);
        }
        for path in files {
            result = self.discard_file(&path).and(result);
        }
        result
    }

    /// There are no folders.
    fn remove_empty_folders(&self) -> Result<()> {
        Ok(())
    }

    fn job_folder(&self) -> Option<&Path> {
        None
    }
}

#[cfg(test)]
mod tests;
