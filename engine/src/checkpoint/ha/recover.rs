//! What a job left: its pointer and the checkpoints that this names, or the way out if they cannot be read.

use super::RecoveredCheckpoint;
use super::filesystem::{CHECKPOINTS, checkpoint_name, parse_checkpoint_name};
use super::pointer::Pointer;
use super::term::newest_pointer;
use crate::checkpoint::{CheckpointId, CheckpointMetadata, JobId, metadata};
use crate::config::OnDamage;
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many numbers of checkpoints and attempts are left out where nobody knows which were used last: more than any job uses between two checkpoints.
const NUMBERS_LEFT_OUT: u64 = 1 << 20;

/// What holds for the job in `folder`.
pub(super) fn read_pointer(folder: &Path) -> Result<Pointer> {
    let Some(path) = newest_pointer(folder)? else {
        let Some((_, orphan)) = checkpoints_in(folder).pop() else {
            return Ok(Pointer::new());
        };
        // The pointer is always written before the first checkpoint, so somebody has deleted it.
        let what = format!(
            "the high-availability pointer in '{}' is missing, but there are checkpoints, such as '{}'",
            folder.display(),
            orphan.display()
        );
        return Err(with_way_out(Error::new(ErrorKind::Restore, what), folder));
    };
    let bytes = fs::read(&path).map_err(|error| {
        let what = format!("cannot read the high-availability pointer '{}'", path.display());
        with_way_out(Error::new(ErrorKind::Restore, what).with_source(error), folder)
    })?;
    Pointer::decode(&bytes, &path).map_err(|error| with_way_out(error, folder))
}

/// The same; where the pointer is missing or damaged and `on_damage` allows it, one that names the newest checkpoint whose metadata is whole.
///
/// That checkpoint may be one that the pointer did not name yet. Then nobody was told that it is complete, and to go on from it commits what was prepared for it.
pub(super) fn read_or_rebuild_pointer(folder: &Path, on_damage: OnDamage) -> Result<Pointer> {
    let error = match read_pointer(folder) {
        Err(error) if error.kind() == ErrorKind::Restore => error,
        result => return result,
    };
    let mut whole: Vec<_> = checkpoints_in(folder)
        .into_iter()
        .filter_map(|(id, path)| metadata::read_file(&path).ok().filter(|found| found.id == id))
        .collect();
    let Some(metadata) = whole.pop() else {
        return Err(error);
    };
    let id = metadata.id;
    if on_damage == OnDamage::Fail {
        let what = format!(
            "{error}. Or `-D execution.state-recovery.on-damage=previous` goes on from checkpoint {id}, the newest that can be read"
        );
        return Err(Error::new(error.kind(), what));
    }
    tracing::warn!(
        "the high-availability pointer cannot be read, and the job goes on from checkpoint {id}, the newest whose metadata can be \
         (execution.state-recovery.on-damage: previous); what was committed later may be committed again: {error}"
    );
    Ok(Pointer {
        attempt: metadata.attempt.saturating_add(NUMBERS_LEFT_OUT),
        next_id: CheckpointId(id.0.saturating_add(NUMBERS_LEFT_OUT)),
        retained: {
            let older = whole.iter().filter(|older| older.job_id == metadata.job_id);
            older.map(|older| older.id).chain([id]).collect()
        },
        end: None,
        lineage: metadata.lineage.branch(id),
        job_id: metadata.job_id,
    })
}

/// The files of checkpoints, by rising number.
fn checkpoints_in(folder: &Path) -> Vec<(CheckpointId, PathBuf)> {
    let entries = fs::read_dir(folder.join(CHECKPOINTS))
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((parse_checkpoint_name(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort_unstable();
    found
}

/// Reads the checkpoints that the pointer names; returns those that can be read and the ids of the others, which are an error unless `on_damage` says otherwise.
pub(super) fn recover_all(
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
