//! Which shared files are still in use.
//!
//! As Flink's `SharedStateRegistryImpl`: no reference counts, but the newest checkpoint that named a file. A file goes when that checkpoint is older than
//! every checkpoint that is needed. Files of a checkpoint that was given up, or was answered too late, are registered too, so that they are found and deleted.
//!
//! Which checkpoints are needed is for the caller to say: those that are retained, and for each one under way those that were retained when it was triggered,
//! since its subtasks may build on any of these, and nobody hears of it before they answer.

use crate::checkpoint::{CheckpointId, SubtaskSnapshot};
use std::collections::HashMap;
use std::fmt;

/// Two checkpoints name the same file, but not the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFilesConflict {
    /// The file, below the job's folder.
    pub path: String,
    /// Size and CRC that are known.
    pub known: (u64, u32),
    /// Size and CRC that were named now.
    pub named: (u64, u32),
    /// By which checkpoint.
    pub by: CheckpointId,
}

impl fmt::Display for SharedFilesConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((known_size, known_crc), (size, crc)) = (self.known, self.named);
        write!(
            f,
            "checkpoint {} names shared file '{}' with {size} bytes and checksum {crc:#010x}, expected {known_size} bytes and {known_crc:#010x}",
            self.by, self.path
        )
    }
}

#[derive(Debug)]
struct Entry {
    size: u64,
    crc32: u32,
    last_used: CheckpointId,
}

/// The shared files of a job, with the newest checkpoint that named each.
#[derive(Debug, Default)]
pub struct SharedFileRegistry {
    files: HashMap<String, Entry>,
    /// No file that is known was named last by a checkpoint below this one.
    swept_below: Option<CheckpointId>,
}

impl SharedFileRegistry {
    /// Notes the shared files that these snapshots of checkpoint `id` name. Files of other jobs are left out: they are not ours to delete.
    ///
    /// # Errors
    /// [`SharedFilesConflict`] at the first file that is known with other bytes; those before it are noted.
    pub fn register<'a>(
        &mut self,
        id: CheckpointId,
        snapshots: impl IntoIterator<Item = &'a SubtaskSnapshot>,
    ) -> Result<(), SharedFilesConflict> {
        let files = snapshots.into_iter().flat_map(SubtaskSnapshot::files);
        for file in files.filter(|file| file.shared) {
            let Some(path) = file.owned_path() else { continue };
            let entry = self.files.entry(path.to_owned()).or_insert(Entry {
                size: file.size,
                crc32: file.crc32,
                last_used: id,
            });
            if (entry.size, entry.crc32) != (file.size, file.crc32) {
                return Err(SharedFilesConflict {
                    path: path.to_owned(),
                    known: (entry.size, entry.crc32),
                    named: (file.size, file.crc32),
                    by: id,
                });
            }
            entry.last_used = entry.last_used.max(id);
            self.swept_below = self.swept_below.min(Some(entry.last_used));
        }
        Ok(())
    }

    /// The paths of the files that a checkpoint from `id` on has named.
    pub(super) fn named_since(&self, id: CheckpointId) -> impl Iterator<Item = &str> {
        let files = self.files.iter().filter(move |(_, entry)| entry.last_used >= id);
        files.map(|(path, _)| path.as_str())
    }

    /// The paths of all files that are known.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Forgets and returns the files that no checkpoint from `lowest_needed` on has named, sorted. Costs nothing where nothing can have changed.
    pub fn take_unused(&mut self, lowest_needed: CheckpointId) -> Vec<String> {
        if Some(lowest_needed) <= self.swept_below {
            return Vec::new();
        }
        self.swept_below = Some(lowest_needed);
        self.take(|entry| entry.last_used < lowest_needed)
    }

    /// Forgets and returns all files, sorted.
    pub fn take_all(&mut self) -> Vec<String> {
        self.take(|_| true)
    }

    fn take(&mut self, unused: impl Fn(&Entry) -> bool) -> Vec<String> {
        let mut taken: Vec<_> = self
            .files
            .extract_if(|_, entry| unused(entry))
            .map(|(path, _)| path)
            .collect();
        taken.sort_unstable();
        taken
    }
}
