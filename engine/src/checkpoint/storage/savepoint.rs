//! Savepoints: a folder for each, with everything in it and nothing that is named from elsewhere.
//!
//! Always files, whatever keeps the checkpoints: a savepoint outlives its job.

use super::durable::{self, create_dirs, storage_error, sync_dir};
use super::file::FileStorageOptions;
use super::file_input::{open_file, open_inline};
use super::file_link;
use super::file_stream::{FileStream, FileStreamOptions};
use super::{CheckpointPaths, CheckpointStorage, Scope, SnapshotInput, SnapshotStream, StreamHint};
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::{CheckpointId, FileLocation, FileRef, JobId};
use crate::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Makes the folder of a new savepoint of `job` below `target`, which is made if it is missing. Nothing that is there is touched.
///
/// # Errors
/// [`ErrorKind::Storage`] when it cannot be made, [`ErrorKind::Configuration`] when its path is not UTF-8, and when `target` is in the folder of another snapshot, with which the
/// savepoint would be deleted.
pub(crate) fn create_savepoint_folder(target: &Path, job: &JobId) -> Result<String> {
    /// As many as Flink tries.
    const TRIES: u32 = 10;
    let refuse =
        |error: Error| error.context(format!("no savepoint can be written to '{}'", target.display()));
    if let Some(snapshot) = snapshot_around(target) {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "no savepoint can be written to '{}': '{}' is the folder of a checkpoint or savepoint, and what is in it would be deleted with it; choose a folder outside of it",
                target.display(),
                snapshot.display()
            ),
        ));
    }
    create_dirs(target).map_err(refuse)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let folder = target.join(CheckpointPaths::savepoint_name(job));
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => continue,
            Err(error) => return Err(refuse(storage_error("create the folder", &folder, error))),
        }
        let ready = sync_dir(target).and_then(|()| {
            folder
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::new(ErrorKind::Configuration, "the path of a savepoint must be UTF-8"))
        });
        return ready.map_err(|error| {
            // It is empty, and nobody was told of it.
            let _ = fs::remove_dir(&folder);
            refuse(error)
        });
    }
}

/// The folder of a snapshot that `target` is, or is in; also one of a checkpoint that is being written.
fn snapshot_around(target: &Path) -> Option<&Path> {
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let is_checkpoint = |folder: &Path| {
        name(folder).is_some_and(|name| CheckpointPaths::parse_checkpoint_name(&name).is_some())
            && folder
                .parent()
                .and_then(name)
                .is_some_and(|job| JobId::parse(&job).is_ok())
    };
    target
        .ancestors()
        .find(|folder| folder.join(CheckpointPaths::METADATA).is_file() || is_checkpoint(folder))
}

/// Publishes the metadata of the savepoint in `folder`, which exists from then on.
///
/// # Errors
/// [`ErrorKind::Storage`]; nothing is visible then.
pub(crate) fn publish_savepoint(folder: &Path, bytes: &[u8]) -> Result<()> {
    let path = folder.join(CheckpointPaths::METADATA);
    durable::publish(&path, bytes).map_err(|failed| {
        if failed.maybe_visible {
            // Nobody was told of it, so taking it back is safe.
            let _ = durable::remove_file(&path);
        }
        failed.error
    })
}

/// Deletes a savepoint with its folder, the metadata first: what is half deleted must not look like one. A missing one is fine.
///
/// # Errors
/// [`ErrorKind::Storage`] when something is there and cannot be deleted.
pub(crate) fn discard_savepoint(folder: &Path) -> Result<()> {
    durable::remove_file(&folder.join(CheckpointPaths::METADATA))?;
    durable::remove_dir_all(folder)
}

/// Deletes the savepoints of `job` in `target` that were never complete, as a kill leaves them, unless somebody is at one. To be called by whoever leads the job, so that nobody
/// is writing. Best effort: nobody takes what is left for a savepoint.
pub(crate) fn discard_unfinished_savepoints(target: &Path, job: &JobId) {
    let mine = CheckpointPaths::savepoint_prefix(job);
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let (folder, name) = (entry.path(), entry.file_name());
        let is_mine = name.to_str().is_some_and(|name| name.starts_with(&mine));
        if !is_mine || folder.join(CheckpointPaths::METADATA).exists() {
            continue;
        }
        let Ok(_hold) = SnapshotHold::exclusive(&folder) else {
            continue;
        };
        match durable::remove_dir_all(&folder) {
            Ok(()) => {
                tracing::info!(folder = %folder.display(), "a savepoint that was not complete when its job was killed is deleted");
            }
            Err(error) => tracing::warn!(%error, "a savepoint that was never complete is left"),
        }
    }
}

/// What the subtasks of a job write one savepoint to. All files are in its folder, by paths that start there, and none is shared.
#[derive(Debug)]
pub struct SavepointStorage {
    folder: PathBuf,
    options: FileStorageOptions,
}

impl SavepointStorage {
    /// The storage of the savepoint in `folder`, which exists: if it is missing, the savepoint was given up, and a late stream must fail instead of
    /// bringing it back.
    pub fn new(folder: impl Into<PathBuf>, options: FileStorageOptions) -> Self {
        Self {
            folder: folder.into(),
            options,
        }
    }
}

impl CheckpointStorage for SavepointStorage {
    fn name(&self) -> &'static str {
        "savepoint"
    }

    fn probe(&self) -> Result<()> {
        Ok(())
    }

    fn open_stream(
        &self,
        _id: CheckpointId,
        _scope: Scope,
        _hint: &StreamHint,
    ) -> Result<Box<dyn SnapshotStream>> {
        Ok(Box::new(FileStream::new(FileStreamOptions {
            folder: self.folder.clone(),
            prefix: String::new(),
            shared: false,
            inline_threshold: self.options.inline_threshold,
            buffer: self.options.write_buffer,
        })))
    }

    fn link(&self, _id: CheckpointId, _scope: Scope, path: &Path, crc32: u32) -> Result<Option<FileRef>> {
        let linked = file_link::link(path, &self.folder, self.options.inline_threshold)?;
        Ok(linked.map(|linked| FileRef {
            location: FileLocation::File(linked.name),
            size: linked.size,
            crc32,
            shared: false,
        }))
    }

    fn open_input(&self, file: &FileRef) -> Result<Box<dyn SnapshotInput>> {
        match &file.location {
            FileLocation::Inline(bytes) => Ok(open_inline(bytes, file)),
            FileLocation::File(path) => open_file(&self.folder.join(path), file),
        }
    }

    fn local_path(&self, file: &FileRef) -> Option<PathBuf> {
        match &file.location {
            FileLocation::Inline(_) => None,
            FileLocation::File(path) => Some(self.folder.join(path)),
        }
    }

    fn ack_bytes_max(&self) -> u64 {
        self.options.ack_bytes_max
    }

    fn publish_metadata(&self, _id: CheckpointId, bytes: &[u8]) -> Result<Option<PathBuf>> {
        publish_savepoint(&self.folder, bytes)?;
        Ok(Some(self.folder.join(CheckpointPaths::METADATA)))
    }

    fn discard_checkpoint(&self, _id: CheckpointId) -> Result<()> {
        discard_savepoint(&self.folder)
    }

    fn discard_file(&self, path: &str) -> Result<()> {
        durable::remove_file(&self.folder.join(path))
    }

    /// What is in a savepoint's folder is the savepoint's.
    fn delete_orphans(
        &self,
        _retained: &[CheckpointId],
        _next_id: CheckpointId,
        _shared: &HashSet<String>,
        _still_leads: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn remove_empty_folders(&self) -> Result<()> {
        durable::remove_dir_if_empty(&self.folder)
    }

    fn job_folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobId {
        JobId::parse("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn write(storage: &SavepointStorage, bytes: &[u8]) -> Result<FileRef> {
        let hint = StreamHint::default();
        let mut stream = storage.open_stream(CheckpointId(3), Scope::Shared, &hint)?;
        stream.write(bytes)?;
        stream.finish()
    }

    #[test]
    fn folders_are_named_by_the_job_and_are_never_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b");
        let first = create_savepoint_folder(&target, &job()).unwrap();
        let second = create_savepoint_folder(&target, &job()).unwrap();
        assert_ne!(first, second);
        for folder in [&first, &second] {
            let name = Path::new(folder).strip_prefix(&target).unwrap().to_str().unwrap();
            assert!(name.starts_with("savepoint-012345-"), "{name}");
            assert_eq!(name.len(), "savepoint-012345-".len() + 12);
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_target_that_is_a_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        fs::write(&target, "").unwrap();
        let error = create_savepoint_folder(&target, &job()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
    }

    #[test]
    fn all_files_are_in_the_folder_under_relative_names_and_none_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let options = FileStorageOptions {
            inline_threshold: 4,
            ..FileStorageOptions::default()
        };
        let storage = SavepointStorage::new(dir.path(), options.clone());
        let small = write(&storage, b"tiny").unwrap();
        assert_eq!(small.inline_bytes(), 4);
        let file = write(&storage, b"larger").unwrap();
        assert!(!file.shared);
        let name = file.owned_path().unwrap();
        assert!(!name.contains('/') && dir.path().join(name).is_file(), "{name}");
        // Wherever the folder is.
        let moved = tempfile::tempdir().unwrap();
        fs::rename(dir.path().join(name), moved.path().join(name)).unwrap();
        let there = SavepointStorage::new(moved.path(), options);
        assert_eq!(super::super::read_all(&there, &file).unwrap(), b"larger");
    }

    #[test]
    fn no_savepoint_goes_into_another_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let savepoint = create_savepoint_folder(dir.path(), &job()).unwrap();
        publish_savepoint(Path::new(&savepoint), b"metadata").unwrap();
        // It has no metadata yet.
        let checkpoint = dir.path().join(job().as_str()).join("chk-7");
        create_dirs(&checkpoint).unwrap();
        for around in [Path::new(&savepoint), &checkpoint] {
            for target in [around.to_owned(), around.join("a/b")] {
                let error = create_savepoint_folder(&target, &job()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Configuration);
                for path in [&target, around] {
                    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
                }
            }
            assert!(!around.join("a").exists());
        }
        // A name alone says nothing.
        create_savepoint_folder(&dir.path().join("chk-7"), &job()).unwrap();
        create_savepoint_folder(&dir.path().join(job().as_str()), &job()).unwrap();
    }

    #[test]
    fn what_a_kill_left_of_savepoints_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let other = JobId::parse("ffffffffffffffffffffffffffffffff").unwrap();
        let [complete, held, killed, of_another] = [job(), job(), job(), other]
            .map(|job| PathBuf::from(create_savepoint_folder(dir.path(), &job).unwrap()));
        for folder in [&complete, &held, &killed, &of_another] {
            fs::write(folder.join("state"), "state").unwrap();
        }
        publish_savepoint(&complete, b"metadata").unwrap();
        let _hold = SnapshotHold::waiting(&held, create_dirs).unwrap();
        discard_unfinished_savepoints(dir.path(), &job());
        assert!(complete.exists() && held.exists() && of_another.exists() && !killed.exists());
        discard_unfinished_savepoints(&dir.path().join("none"), &job());
    }

    #[test]
    fn a_late_stream_does_not_bring_the_folder_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("savepoint");
        fs::create_dir(&folder).unwrap();
        let options = FileStorageOptions {
            inline_threshold: 0,
            ..FileStorageOptions::default()
        };
        let storage = SavepointStorage::new(&folder, options);
        write(&storage, b"state").unwrap();
        publish_savepoint(&folder, b"metadata").unwrap();
        discard_savepoint(&folder).unwrap();
        assert!(!folder.exists());
        assert_eq!(write(&storage, b"late").unwrap_err().kind(), ErrorKind::Storage);
        assert!(!folder.exists());
        discard_savepoint(&folder).unwrap();
    }
}
