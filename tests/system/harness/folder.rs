//! A job's folder of checkpoints, compared with all metadata in it.

use millpond_engine::checkpoint::storage::CheckpointPaths;
use millpond_engine::checkpoint::{CheckpointMetadata, FileLocation, FileRef, KeyedHandle, metadata};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is in the folder of one job's checkpoints. To be read while the job does not run.
#[derive(Debug)]
pub(crate) struct JobFolder {
    /// The complete checkpoints, oldest first.
    pub(crate) checkpoints: Vec<CheckpointMetadata>,
    /// What a checkpoint names and is not there as it was written, in words.
    pub(crate) broken: Vec<String>,
    /// Files that no checkpoint names.
    pub(crate) orphans: Vec<PathBuf>,
}

impl JobFolder {
    /// Reads all metadata in the folder `job`, and every byte of what it names.
    pub(crate) fn read(job: &Path) -> Self {
        let mut named: BTreeMap<PathBuf, FileRef> = BTreeMap::new();
        let mut found = BTreeSet::new();
        let mut checkpoints = Vec::new();
        let mut broken = Vec::new();
        for file in files_below(job) {
            if !file.ends_with(CheckpointPaths::METADATA) {
                found.insert(file);
                continue;
            }
            match metadata::read_file(&file) {
                Ok(metadata) => {
                    let folder = CheckpointPaths::checkpoint_name(metadata.id);
                    assert!(file.parent().unwrap().ends_with(&folder), "{}", file.display());
                    checkpoints.push(metadata);
                }
                Err(error) => broken.push(error.to_string()),
            }
        }
        checkpoints.sort_by_key(|metadata| metadata.id);
        for metadata in &checkpoints {
            for file in metadata.subtasks().flat_map(|subtask| subtask.files()) {
                if let FileLocation::File(path) = &file.location {
                    let path = job.join(path);
                    let known = named.entry(path).or_insert_with(|| file.clone());
                    if (known.size, known.crc32) != (file.size, file.crc32) {
                        broken.push(format!("{}: {file} is named as another file before", metadata.id));
                    }
                }
            }
        }
        broken.extend(named.iter().filter_map(|(path, file)| fault_of(path, file)));
        let orphans = found
            .into_iter()
            .filter(|path| !named.contains_key(path))
            .collect();
        Self {
            checkpoints,
            broken,
            orphans,
        }
    }

    /// That everything that a checkpoint names is there, byte for byte: what must be so at any moment, also after a kill.
    #[track_caller]
    pub(crate) fn assert_whole(&self, what: &str) {
        assert!(self.broken.is_empty(), "{what}: {:#?}", self.broken);
    }

    /// That there is nothing else: what must be so when the job has ended by itself.
    #[track_caller]
    pub(crate) fn assert_exact(&self, what: &str) {
        self.assert_whole(what);
        assert!(
            self.orphans.is_empty(),
            "{what}: nobody names {:#?}",
            self.orphans
        );
    }

    /// Bytes of state that the latest checkpoint stands for.
    pub(crate) fn state_bytes(&self) -> u64 {
        self.checkpoints.last().map_or(0, CheckpointMetadata::state_bytes)
    }

    /// How many files the longest chain of all retained checkpoints has.
    pub(crate) fn longest_chain(&self) -> usize {
        self.checkpoints.iter().map(longest_chain).max().unwrap_or(0)
    }
}

/// The bytes of the first file of each chain of a checkpoint.
pub(crate) fn base_bytes(checkpoint: &CheckpointMetadata) -> u64 {
    handles(checkpoint)
        .filter_map(|handle| Some(handle.files.first()?.size))
        .sum()
}

/// How many files the longest chain of a checkpoint has.
pub(crate) fn longest_chain(checkpoint: &CheckpointMetadata) -> usize {
    handles(checkpoint)
        .map(|handle| handle.files.len())
        .max()
        .unwrap_or(0)
}

fn handles(checkpoint: &CheckpointMetadata) -> impl Iterator<Item = &KeyedHandle> {
    checkpoint.subtasks().flat_map(|subtask| &subtask.keyed)
}

/// What is wrong with a file, if anything.
fn fault_of(path: &Path, file: &FileRef) -> Option<String> {
    let name = path.display();
    match fs::read(path) {
        Err(error) => Some(format!("{name}: {error}")),
        Ok(bytes) if bytes.len() as u64 != file.size => {
            Some(format!("{name}: {} bytes instead of {}", bytes.len(), file.size))
        }
        Ok(bytes) => {
            let found = crc32fast::hash(&bytes);
            (found != file.crc32).then(|| format!("{name}: CRC32 {found:08x} instead of {:08x}", file.crc32))
        }
    }
}

/// The folders of all jobs below the folder of checkpoints.
pub(crate) fn job_folders(checkpoints: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkpoints).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// The bytes of all files below a folder, in which a job may be at work.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let sizes = files_below(folder)
        .into_iter()
        .filter_map(|file| fs::metadata(file).ok());
    sizes.map(|metadata| metadata.len()).sum()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
