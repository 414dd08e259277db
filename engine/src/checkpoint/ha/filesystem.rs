//! `filesystem`: a killed program resumes by itself when it is started again.
//!
//! `FORMAT.md` beside this file has the layout and tells why a crash at any point is safe.

use super::lock::JobLock;
use super::pointer::Pointer;
use super::{HaSession, JobEnd, PublishError, RecoveredCheckpoint};
use crate::checkpoint::storage::durable::{self, PublishFailed, create_dirs};
use crate::checkpoint::{CheckpointId, CheckpointMetadata, JobId, Lineage, metadata};
use crate::config::OnDamage;
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK: &str = "lock";
const POINTER: &str = "pointer";
const CHECKPOINTS: &str = "checkpoints";
const CHECKPOINT_PREFIX: &str = "completedCheckpoint-";

/// A hold on a job whose pointer and checkpoint metadata are files.
#[derive(Debug)]
pub struct FilesystemHa {
    folder: PathBuf,
    pointer: Pointer,
    recovered: Vec<RecoveredCheckpoint>,
    unreadable: Vec<CheckpointId>,
    _lock: JobLock,
}

impl FilesystemHa {
    /// Takes hold of job `job_name` of cluster `cluster_id` under `storage_dir`, an absolute path. A checkpoint that cannot be read is an error.
    ///
    /// # Errors
    /// As [`open_or_go_back`](Self::open_or_go_back) with [`OnDamage::Fail`].
    pub fn open(storage_dir: &Path, cluster_id: &str, job_name: &str) -> Result<Self> {
        Self::open_or_go_back(storage_dir, cluster_id, job_name, OnDamage::Fail)
    }

    /// The same, where `on_damage` says what becomes of checkpoints that cannot be read: with [`OnDamage::Previous`] they are left out, as long as there is one
    /// that can be.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when another program holds the job (named), or the folder cannot be used; [`ErrorKind::Restore`] when the pointer or
    /// a checkpoint that it names is missing or damaged. Nothing is skipped unasked: a sink may have committed what the damaged checkpoint says.
    pub fn open_or_go_back(
        storage_dir: &Path,
        cluster_id: &str,
        job_name: &str,
        on_damage: OnDamage,
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
        let lock = JobLock::take(&folder.join(LOCK), job_name).map_err(unusable)?;
        let mut pointer = read_pointer(&folder)?;
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
        let bytes = pointer.encode().map_err(|error| PublishFailed {
            error,
            maybe_visible: false,
        })?;
        durable::publish(&self.folder.join(POINTER), &bytes)?;
        self.pointer = pointer;
        Ok(())
    }

    /// Deletes checkpoint files that the pointer does not name. Best effort: nobody reads them.
    fn delete_unnamed(&self) {
        let folder = self.folder.join(CHECKPOINTS);
        let Ok(entries) = fs::read_dir(&folder) else {
            return;
        };
        for entry in entries.flatten() {
            let named = entry
                .file_name()
                .to_str()
                .and_then(parse_checkpoint_name)
                .is_some_and(|id| self.pointer.retained.contains(&id));
            if !named && let Err(error) = durable::remove_file(&entry.path()) {
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

    fn finish(&mut self, end: JobEnd) -> Result<()> {
        let pointer = Pointer {
            retained: Vec::new(),
            end: Some(end),
            ..self.pointer.clone()
        };
        self.publish_pointer(pointer).map_err(|failed| failed.error)?;
        self.delete_unnamed();
        Ok(())
    }
}

/// As Flink: 19 digits, so that names sort like numbers.
fn checkpoint_name(id: CheckpointId) -> String {
    format!("{CHECKPOINT_PREFIX}{:019}", id.0)
}

fn parse_checkpoint_name(name: &str) -> Option<CheckpointId> {
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

pub(super) fn read_pointer(folder: &Path) -> Result<Pointer> {
    let path = folder.join(POINTER);
    match fs::read(&path) {
        Ok(bytes) => Pointer::decode(&bytes, &path).map_err(|error| with_way_out(error, folder)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let checkpoints = folder.join(CHECKPOINTS);
            let orphan = fs::read_dir(&checkpoints)
                .ok()
                .into_iter()
                .flatten()
                .flatten()
                .find(|entry| {
                    entry
                        .file_name()
                        .to_str()
                        .and_then(parse_checkpoint_name)
                        .is_some()
                });
            match orphan {
                None => Ok(Pointer::new()),
                // The pointer is always written before the first checkpoint, so somebody has deleted it.
                Some(orphan) => Err(with_way_out(
                    Error::new(
                        ErrorKind::Restore,
                        format!(
                            "the high-availability pointer '{}' is missing, but there are checkpoints, such as '{}'",
                            path.display(),
                            orphan.path().display()
                        ),
                    ),
                    folder,
                )),
            }
        }
        Err(error) => Err(with_way_out(
            Error::new(
                ErrorKind::Restore,
                format!("cannot read the high-availability pointer '{}'", path.display()),
            )
            .with_source(error),
            folder,
        )),
    }
}

/// Reads the checkpoints that the pointer names; returns those that can be read and the ids of the others, which are an error unless `on_damage` says otherwise.
fn recover_all(
    folder: &Path,
    pointer: &Pointer,
    on_damage: OnDamage,
) -> Result<(Vec<RecoveredCheckpoint>, Vec<CheckpointId>)> {
    let mut recovered = Vec::new();
    let mut unreadable = Vec::new();
    for id in &pointer.retained {
        match recover(folder, *id, &pointer.job_id) {
            Ok(checkpoint) => recovered.push(checkpoint),
            Err(error) => unreadable.push((*id, error)),
        }
    }
    let Some((_, first)) = unreadable.first() else {
        return Ok((recovered, Vec::new()));
    };
    let Some(newest) = recovered.last() else {
        let what = format!("{first}. No other checkpoint of the job can be read");
        return Err(with_way_out(Error::new(first.kind(), what), folder));
    };
    let newest = newest.metadata.id;
    if on_damage == OnDamage::Fail {
        let what = format!(
            "{first}. Checkpoint {newest} can be read: `-D execution.state-recovery.on-damage=previous` goes on from it"
        );
        return Err(with_way_out(Error::new(first.kind(), what), folder));
    }
    for (id, error) in &unreadable {
        tracing::warn!(
            "checkpoint {id} is damaged and given up, the job goes on from checkpoint {newest} \
             (execution.state-recovery.on-damage: previous); what was committed later may be committed again: {error}"
        );
    }
    Ok((recovered, unreadable.into_iter().map(|(id, _)| id).collect()))
}

fn recover(folder: &Path, id: CheckpointId, job_id: &JobId) -> Result<RecoveredCheckpoint> {
    let path = folder.join(CHECKPOINTS).join(checkpoint_name(id));
    let checked = |metadata: CheckpointMetadata| {
        if metadata.id == id && metadata.job_id == *job_id {
            return Ok(metadata);
        }
        Err(Error::new(
            ErrorKind::Restore,
            format!(
                "'{}' is checkpoint {} of job {}, expected checkpoint {id} of job {job_id}",
                path.display(),
                metadata.id,
                metadata.job_id
            ),
        ))
    };
    let metadata = metadata::read_file(&path).and_then(checked)?;
    Ok(RecoveredCheckpoint {
        metadata: Arc::new(metadata),
        source: path,
    })
}

/// Going back to an older checkpoint is the operator's decision, since a sink may have committed the newer one.
fn with_way_out(error: Error, folder: &Path) -> Error {
    let text = format!(
        "{error}. The job is not started, because going on from an older checkpoint could repeat what was committed already. To do so all the same, or to start \
         from the beginning, move the folder '{}' away and start the job again, with `--from-savepoint PATH` of a checkpoint that is whole if there is one",
        folder.display()
    );
    Error::new(error.kind(), text)
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
