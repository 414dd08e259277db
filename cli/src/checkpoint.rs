//! The checkpoint that an argument names.

use crate::{Failure, existing};
use millpond_engine::checkpoint::CheckpointMetadata;
use millpond_engine::checkpoint::metadata::read_file;
use millpond_engine::checkpoint::restore;
use millpond_engine::checkpoint::storage::{
    CheckpointPaths, FileStorage, FileStorageOptions, parse_location,
};
use std::path::{Path, PathBuf};

/// A checkpoint or savepoint on disk.
pub(crate) struct Checkpoint {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// What its `_metadata` says.
    pub(crate) metadata: CheckpointMetadata,
}

impl Checkpoint {
    /// Reads the metadata of the checkpoint at `location`: its folder, its `_metadata` file, or `<folder>/latest`.
    pub(crate) fn read(location: &str) -> Result<Self, Failure> {
        let path = parse_location("the path of the checkpoint", location).map_err(Failure::Arguments)?;
        let path = match path.ends_with("latest") && !path.exists() {
            true => restore::locate(&path).map_err(Failure::Arguments)?,
            false => existing(&path).map_err(Failure::Arguments)?,
        };
        let file = if path.is_dir() {
            existing(&path.join(CheckpointPaths::METADATA)).map_err(Failure::Arguments)?
        } else {
            path
        };
        let metadata = read_file(&file).map_err(Failure::NotWell)?;
        Ok(Self {
            folder: file.parent().map(Path::to_owned).unwrap_or_default(),
            metadata,
        })
    }

    /// A storage that opens the files of the checkpoint.
    pub(crate) fn storage(&self) -> Result<FileStorage, Failure> {
        let root = if self.metadata.is_savepoint {
            Some(self.folder.as_path())
        } else {
            self.folder.parent()
        };
        let options = FileStorageOptions {
            create_subdir: false,
            ..FileStorageOptions::default()
        };
        FileStorage::new(root.unwrap_or(&self.folder), &self.metadata.job_id, options)
            .map_err(Failure::Arguments)
    }
}
