//! `filesystem`: a killed program resumes by itself when it is started again.
//!
//! `FORMAT.md` beside this file has the layout and tells why a crash at any point is safe.

use super::lock::JobLock;
use super::pointer::Pointer;
use super::recover::{read_or_rebuild_pointer, recover_all};
use super::term::Term;
use super::{HaSession, JobEnd, PublishError, RecoveredCheckpoint};
use crate::checkpoint::storage::durable::{self, PublishFailed, create_dirs};
use crate::checkpoint::{CheckpointId, JobId, Lineage};
use crate::config::OnDamage;
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const LOCK: &str = "lock";
pub(super) const CHECKPOINTS: &str = "checkpoints";
const CHECKPOINT_PREFIX: &str = "completedCheckpoint-";

/// A hold on a job whose pointer and checkpoint metadata are files.
#[derive(Debug)]
pub struct FilesystemHa {
    folder: PathBuf,
    pointer: Pointer,
    recovered: Vec<RecoveredCheckpoint>,
    unreadable: Vec<CheckpointId>,
    ended: Option<JobId>,
    term: Term,
    _lock: JobLock,
}

impl FilesystemHa {
    /// Takes hold of job `job_name` of cluster `cluster_id` under `storage_dir`, an absolute path. A checkpoint that cannot be read is an error.
    ///
    /// # Errors
    /// As [`open_or_go_back`](Self::open_or_go_back) with [`OnDamage::Fail`].
    pub fn open(storage_dir: &Path, cluster_id: &str, job_name: &str) -> Result<Self> {
        Self::open_or_go_back(storage_dir, cluster_id, job_name, OnDamage::Fail, false)
    }

    /// The same, where `on_damage` says what becomes of checkpoints that cannot be read: with [`OnDamage::Previous`] they are left out, as long as there is one
    /// that can be. With `take_over`, a program that holds the job is none to wait for: it cannot write any more from then on.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when another program holds the job (named), or the folder cannot be used; [`ErrorKind::Restore`] when the pointer or
    /// a checkpoint that it names is missing or damaged. Nothing is skipped unasked: a sink may have committed what the damaged checkpoint says.
    pub fn open_or_go_back(
        storage_dir: &Path,
        cluster_id: &str,
        job_name: &str,
        on_damage: OnDamage,
        take_over: bool,
    ) -> Result<Self> {
        let folder = job_folder(storage_dir, cluster_id, job_name);
        let unusable = |error: Error| match error.kind() {
            ErrorKind::Storage => Error::new(
                ErrorKind::Configuration,
                format!(
                    "high-availability.storageDir: '{}' cannot be used",
                    storage_dir.display()
                ),
            )
            .with_source(error),
            _ => error,
        };
        create_dirs(&folder.join(CHECKPOINTS)).map_err(unusable)?;
        let lock = JobLock::take(&folder.join(LOCK), job_name, take_over).map_err(unusable)?;
        // Before the first look: whatever a former leader writes from now on does not count.
        let term = Term::claim(&folder).map_err(unusable)?;
        let mut pointer = read_or_rebuild_pointer(&folder, on_damage)?;
        let mut ended = None;
        match pointer.end {
            None | Some(JobEnd::Finished) => {}
            Some(end @ (JobEnd::Failed | JobEnd::Cancelled | JobEnd::Stopped)) => {
                if end == JobEnd::Stopped {
                    tracing::warn!(
                        job = job_name,
                        "the last run of the job was stopped with a savepoint; this is a new run, which goes on from there only if it is started with \
                         --from-savepoint and the path of that savepoint"
                    );
                } else {
                    tracing::info!(
                        job = job_name,
                        ?end,
                        "the last run of the job has ended; this is a new run"
                    );
                }
                ended = pointer.retained.is_empty().then(|| pointer.job_id.clone());
                pointer = Pointer {
                    attempt: pointer.attempt,
                    ..Pointer::new()
                };
            }
        }
        let (recovered, unreadable) = recover_all(&folder, &pointer, on_damage)?;
        if let (Some(passed_over), Some(latest)) = (unreadable.last(), recovered.last())
            && *passed_over > latest.metadata.id
        {
            pointer.lineage = latest.metadata.lineage.branch(latest.metadata.id);
        }
        pointer.retained = recovered.iter().map(|recovered| recovered.metadata.id).collect();
        let session = Self {
            folder,
            pointer,
            recovered,
            unreadable,
            ended,
            term,
            _lock: lock,
        };
        if session.unreadable.is_empty() {
            session.delete_unnamed();
        }
        Ok(session)
    }

    /// The folder that holds everything about the job.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes `pointer` what holds; only if that is certain it is also remembered.
    fn publish_pointer(&mut self, pointer: Pointer) -> Result<(), PublishFailed> {
        self.term.publish(&pointer)?;
        self.pointer = pointer;
        Ok(())
    }

    /// Deletes checkpoint files that the pointer does not name. Best effort: nobody reads them.
    fn delete_unnamed(&self) {
        let folder = self.folder.join(CHECKPOINTS);
        let Ok(entries) = fs::read_dir(&folder) else {
            return;
        };
        let is_named = |name: &std::ffi::OsStr| {
            let id = name.to_str().and_then(parse_checkpoint_name);
            // What outlives a job is in the folder of its checkpoints.
            id.is_some_and(|id| self.pointer.end.is_none() && self.pointer.retained.contains(&id))
        };
        let unnamed: Vec<_> = entries
            .flatten()
            .filter(|entry| !is_named(&entry.file_name()))
            .map(|entry| entry.path())
            .collect();
        // After the list: whoever takes the job over from now on writes files that are not in it.
        if unnamed.is_empty() || self.term.check().is_err() {
            return;
        }
        for path in unnamed {
            if let Err(error) = durable::remove_file(&path) {
                tracing::warn!(%error, "a checkpoint that the high-availability pointer does not name is left");
            }
        }
    }
}

impl HaSession for FilesystemHa {
    fn job_id(&self) -> &JobId {
        &self.pointer.job_id
    }

    fn recovered(&self) -> &[RecoveredCheckpoint] {
        &self.recovered
    }

    fn unreadable(&self) -> &[CheckpointId] {
        &self.unreadable
    }

    fn lineage(&self) -> &Lineage {
        &self.pointer.lineage
    }

    fn set_lineage(&mut self, lineage: Lineage) {
        self.pointer.lineage = lineage;
    }

    fn next_id(&self) -> CheckpointId {
        self.pointer.next_id
    }

    fn check(&self) -> Result<()> {
        self.term.check()
    }

    fn finished(&self) -> bool {
        self.pointer.end == Some(JobEnd::Finished)
    }

    fn begin_attempt(&mut self, at_least: u64) -> Result<u64> {
        let attempt = self.pointer.attempt.saturating_add(1).max(at_least);
        let pointer = Pointer {
            attempt,
            ..self.pointer.clone()
        };
        if let Err(failed) = self.publish_pointer(pointer) {
            // It may be on disk, so it must not be given out again.
            self.pointer.attempt = attempt;
            return Err(failed.error);
        }
        self.delete_unnamed();
        Ok(attempt)
    }

    fn reserve_ids(&mut self, next_id: CheckpointId) -> Result<()> {
        let pointer = Pointer {
            next_id: self.pointer.next_id.max(next_id),
            ..self.pointer.clone()
        };
        self.publish_pointer(pointer).map_err(|failed| failed.error)
    }

    fn publish(
        &mut self,
        id: CheckpointId,
        metadata: &[u8],
        retained: &[CheckpointId],
        next_id: CheckpointId,
    ) -> Result<(), PublishError> {
        let path = self.folder.join(CHECKPOINTS).join(checkpoint_name(id));
        let unnamed = |error| {
            // The pointer does not name it, so whether it is visible does not matter.
            let _ = durable::remove_file(&path);
            Err(PublishError {
                error,
                unknown_outcome: false,
            })
        };
        if let Err(failed) = durable::publish(&path, metadata) {
            return unnamed(failed.error);
        }
        let pointer = Pointer {
            retained: retained.to_vec(),
            next_id: self.pointer.next_id.max(next_id),
            ..self.pointer.clone()
        };
        match self.publish_pointer(pointer) {
            Ok(()) => {
                self.delete_unnamed();
                Ok(())
            }
            Err(failed) if failed.maybe_visible => Err(PublishError {
                error: failed.error,
                unknown_outcome: true,
            }),
            Err(failed) => unnamed(failed.error),
        }
    }

    fn go_back(&mut self, retained: &[CheckpointId], lineage: Lineage) -> Result<()> {
        let pointer = Pointer {
            retained: retained.to_vec(),
            lineage,
            ..self.pointer.clone()
        };
        self.publish_pointer(pointer).map_err(|failed| failed.error)?;
        self.delete_unnamed();
        Ok(())
    }

    fn ended(&self) -> Option<&JobId> {
        self.ended.as_ref()
    }

    fn finish(&mut self, end: JobEnd, kept: &[CheckpointId]) -> Result<()> {
        let pointer = Pointer {
            retained: kept.to_vec(),
            end: Some(end),
            ..self.pointer.clone()
        };
        self.publish_pointer(pointer).map_err(|failed| failed.error)?;
        self.delete_unnamed();
        Ok(())
    }
}

/// As Flink: 19 digits, so that names sort like numbers.
pub(super) fn checkpoint_name(id: CheckpointId) -> String {
    format!("{CHECKPOINT_PREFIX}{:019}", id.0)
}

pub(super) fn parse_checkpoint_name(name: &str) -> Option<CheckpointId> {
    let id = name
        .strip_prefix(CHECKPOINT_PREFIX)?
        .parse()
        .ok()
        .map(CheckpointId)?;
    (checkpoint_name(id) == name).then_some(id)
}

/// The folder of a job.
pub(super) fn job_folder(storage_dir: &Path, cluster_id: &str, job_name: &str) -> PathBuf {
    storage_dir
        .join(escape(cluster_id.trim_matches('/')))
        .join(escape(job_name))
}

/// A folder name for any text: letters, digits, `-`, `_` and inner dots stay, all else becomes `%` and two hexadecimal digits.
fn escape(text: &str) -> String {
    /// What a file name may have, less what a hash takes.
    const NAME_BYTES_MAX: usize = 200;
    let mut name = String::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if index > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.is_empty() {
        name.push('%');
    }
    if name.len() > NAME_BYTES_MAX {
        name.truncate(NAME_BYTES_MAX);
        name.push_str(&format!("%{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes())));
    }
    name
}

#[cfg(test)]
#[path = "filesystem_tests.rs"]
mod tests;
