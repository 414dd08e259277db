//! `filesystem` storage: files on a local or mounted file system, durable by fsync.

use super::durable::{self, create_dirs};
use super::file_input::{open_file, open_inline};
use super::file_link;
use super::file_stream::{FileStream, FileStreamOptions};
use super::{CheckpointPaths, CheckpointStorage, Scope, SnapshotInput, SnapshotStream, StreamHint};
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::metadata;
use crate::checkpoint::store::shared_files;
use crate::checkpoint::{CheckpointId, CheckpointSettings, FileLocation, FileRef, JobId};
use crate::{Error, ErrorKind, Result};
use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Settings of [`FileStorage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStorageOptions {
    /// Streams up to this size make no file; at most [`FileStorage::INLINE_THRESHOLD_MAX`].
    pub inline_threshold: usize,
    /// Bytes are written in runs of at least this many.
    pub write_buffer: usize,
    /// Whether the job gets a folder of its own below the root.
    pub create_subdir: bool,
    /// The most bytes of state that one acknowledgement may carry inline.
    pub ack_bytes_max: u64,
}

impl From<&CheckpointSettings> for FileStorageOptions {
    fn from(settings: &CheckpointSettings) -> Self {
        Self {
            inline_threshold: settings.inline_threshold,
            write_buffer: settings.write_buffer,
            create_subdir: settings.create_subdir,
            ack_bytes_max: settings.ack_bytes_max,
        }
    }
}

impl Default for FileStorageOptions {
    fn default() -> Self {
        Self::from(&CheckpointSettings::default())
    }
}

/// Snapshots as files. See [`CheckpointPaths`] for the layout.
#[derive(Debug)]
pub struct FileStorage {
    root: PathBuf,
    paths: CheckpointPaths,
    options: FileStorageOptions,
    /// Folders made lately. A folder in here is not made again: if it is missing, its checkpoint was discarded, and a late stream must fail
    /// instead of bringing it back.
    made: Mutex<VecDeque<PathBuf>>,
    /// Tells a sweep that somebody writes to the job's folder; from the first file on.
    hold: OnceLock<Option<SnapshotHold>>,
}

impl FileStorage {
    /// The largest inline threshold.
    pub const INLINE_THRESHOLD_MAX: usize = 1 << 20;
    const MADE_MAX: usize = 16;

    /// Storage for one job under `root`, an absolute path (see [`parse_location`](super::parse_location)). Touches no file.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when the root is relative or the inline threshold above its bound.
    pub fn new(root: impl Into<PathBuf>, job: &JobId, options: FileStorageOptions) -> Result<Self> {
        let root = root.into();
        if !root.is_absolute() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "execution.checkpointing.dir: '{}' is not an absolute path",
                    root.display()
                ),
            ));
        }
        Self::check_inline_threshold(&options)?;
        Ok(Self {
            paths: CheckpointPaths::new(&root, job, options.create_subdir),
            root,
            options,
            made: Mutex::default(),
            hold: OnceLock::new(),
        })
    }

    pub(super) fn check_inline_threshold(options: &FileStorageOptions) -> Result<()> {
        if options.inline_threshold <= Self::INLINE_THRESHOLD_MAX {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "execution.checkpointing.data-inline-threshold: {} bytes are more than the {} bytes allowed",
                options.inline_threshold,
                Self::INLINE_THRESHOLD_MAX
            ),
        ))
    }

    /// The file names in use.
    #[must_use]
    pub fn paths(&self) -> &CheckpointPaths {
        &self.paths
    }

    /// The folder for files of checkpoint `id`, which exists, and its name below the job's.
    fn folder(&self, id: CheckpointId, scope: Scope) -> Result<(PathBuf, String)> {
        let name = scope.folder_name(id);
        let folder = self.paths.job().join(&name);
        self.make_folder(&folder)?;
        Ok((folder, name))
    }

    /// Before anything is in it that a sweep could take for an orphan.
    fn hold_job_folder(&self) -> Result<()> {
        if self.hold.get().is_none() {
            let hold = SnapshotHold::waiting(self.paths.job(), create_dirs)?;
            self.hold.get_or_init(|| hold);
        }
        Ok(())
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.iter().any(|known| known == folder) {
            return Ok(());
        }
        self.hold_job_folder()?;
        create_dirs(folder)?;
        if made.len() == Self::MADE_MAX {
            made.pop_front();
        }
        made.push_back(folder.to_owned());
        Ok(())
    }
}

impl CheckpointStorage for FileStorage {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn probe(&self) -> Result<()> {
        probe_folder(&self.root)
    }

    fn open_stream(
        &self,
        id: CheckpointId,
        scope: Scope,
        _hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>> {
        let (folder, folder_name) = self.folder(id, scope)?;
        Ok(Box::new(FileStream::new(FileStreamOptions {
            folder,
            prefix: format!("{folder_name}/"),
            shared: scope == Scope::Shared,
            inline_threshold: self.options.inline_threshold,
            buffer: self.options.write_buffer,
        })))
    }

    fn link(&self, id: CheckpointId, scope: Scope, path: &Path, crc32: u32) -> Result<Option<FileRef>> {
        let (folder, folder_name) = self.folder(id, scope)?;
        let linked = file_link::link(path, &folder, self.options.inline_threshold)?;
        Ok(linked.map(|linked| FileRef {
            location: FileLocation::File(format!("{folder_name}/{}", linked.name)),
            size: linked.size,
            crc32,
            shared: scope == Scope::Shared,
        }))
    }

    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
        match &file.location {
            FileLocation::Inline(bytes) => Ok(open_inline(bytes, file)),
            FileLocation::File(path) => open_file(&self.paths.resolve(path), file),
        }
    }

    fn local_path(&self, file: &FileRef) -> Option<PathBuf> {
        match &file.location {
            FileLocation::Inline(_) => None,
            FileLocation::File(path) => Some(self.paths.resolve(path)),
        }
    }

    fn ack_bytes_max(&self) -> u64 {
        self.options.ack_bytes_max
    }

    fn publish_metadata(&self, id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>> {
        // The first stream may have come from another process, or every stream may have stayed inline.
        self.hold_job_folder()?;
        create_dirs(&self.paths.checkpoint(id))?;
        publish_metadata_file(&self.paths, id, bytes).map(Some)
    }

    fn discard_checkpoint(&self, id: CheckpointId) -> Result<()> {
        discard_checkpoint_folder(&self.paths, id)
    }

    fn discard_file(&self, path: &str) -> Result<()> {
        durable::remove_file(&self.paths.resolve(path))
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
        delete_orphan_files(&self.paths, retained, next_id, shared, still_leads)
    }

    fn remove_empty_folders(&self) -> Result<()> {
        remove_empty_job_folders(&self.paths, &self.root)
    }

    fn job_folder(&self) -> Option<&Path> {
        Some(self.paths.job())
    }
}

/// Writes and removes a file in a folder, which is made if it is missing.
pub(super) fn probe_folder(root: &Path) -> Result<()> {
    let try_it = || -> Result<()> {
        create_dirs(root)?;
        let path = CheckpointPaths::temporary(&root.join(CheckpointPaths::unique_name()));
        let written =
            File::create_new(&path).and_then(|mut file| file.write_all(b"probe").and(file.sync_all()));
        let removed = durable::remove_file(&path);
        written.map_err(|error| durable::storage_error("write", &path, error))?;
        removed
    };
    try_it().map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!(
                "execution.checkpointing.dir: checkpoints cannot be written to '{}'",
                root.display()
            ),
        )
        .with_source(error)
    })
}

/// Publishes metadata in the existing folder of checkpoint `id`.
pub(super) fn publish_metadata_file(
    paths: &CheckpointPaths,
    id: CheckpointId,
    bytes: &[u8],
) -> Result<PathBuf> {
    let path = paths.metadata(id);
    durable::publish(&path, bytes).map_err(|failed| {
        if failed.maybe_visible {
            // Nothing names it yet, so taking it back is safe.
            let _ = durable::remove_file(&path);
        }
        failed.error
    })?;
    Ok(path)
}

/// Deletes the metadata first: what is half deleted must not look like a checkpoint.
pub(super) fn discard_checkpoint_folder(paths: &CheckpointPaths, id: CheckpointId) -> Result<()> {
    durable::remove_file(&paths.metadata(id))?;
    durable::remove_dir_all(&paths.checkpoint(id))
}

/// Deletes folders and shared files that nobody names; goes on after an error and returns the last.
pub(super) fn delete_orphan_files(
    paths: &CheckpointPaths,
    retained: &[CheckpointId],
    next_id: CheckpointId,
    shared: &HashSet<String>,
    still_leads: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let mut checkpoints = orphan_checkpoints(names_in(paths.job())?, retained, next_id);
    let mut needed = HashSet::new();
    checkpoints.retain(|id| match in_use_by_others(&paths.metadata(*id)) {
        Some(named) => {
            needed.extend(named);
            false
        }
        None => true,
    });
    let mut files = names_in(&paths.shared())?;
    files.retain(|name| {
        let path = format!("{}/{name}", CheckpointPaths::SHARED);
        !shared.contains(&path) && !needed.contains(&path)
    });
    if checkpoints.is_empty() && files.is_empty() {
        return Ok(());
    }
    still_leads()?;
    let mut result = Ok(());
    for id in checkpoints {
        result = discard_checkpoint_folder(paths, id).and(result);
    }
    for name in files {
        result = durable::remove_file(&paths.shared().join(name)).and(result);
    }
    result
}

/// The shared files of a checkpoint that another program needs, as the lock on its metadata says: one that was started from it and has none of its own yet. None if nobody does.
pub(crate) fn in_use_by_others(file: &Path) -> Option<HashSet<String>> {
    if !file.exists() || SnapshotHold::exclusive(file).is_ok() {
        return None;
    }
    // Damaged metadata names nothing that anybody could restore.
    Some(metadata::read_file(file).map_or_else(|_| HashSet::new(), |metadata| shared_files([&metadata])))
}

/// The checkpoints among the names in a job's folder that nobody knows of.
pub(super) fn orphan_checkpoints(
    names: Vec<String>,
    retained: &[CheckpointId],
    next_id: CheckpointId,
) -> Vec<CheckpointId> {
    let ids = names
        .iter()
        .filter_map(|name| CheckpointPaths::parse_checkpoint_name(name));
    ids.filter(|id| *id < next_id && !retained.contains(id)).collect()
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(durable::storage_error("list the folder", folder, error)),
    };
    // All our names are ASCII; others are not ours.
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

/// Deletes `shared`, `taskowned` and the job's folder where they are empty; never the root.
pub(super) fn remove_empty_job_folders(paths: &CheckpointPaths, root: &Path) -> Result<()> {
    durable::remove_dir_if_empty(&paths.shared())?;
    durable::remove_dir_if_empty(&paths.task_owned())?;
    if paths.job() != root {
        durable::remove_dir_if_empty(paths.job())?;
    }
    Ok(())
}
