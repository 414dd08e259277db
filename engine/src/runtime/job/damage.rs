//! What a job does when a checkpoint turns out to be damaged: try once more, end with the way out in the message, or go back to an older one.
//!
//! Which of these is decided by [`DamageLog::judge`] alone; the rest reads files and finds words.

use super::prepare::StorageSetup;
use crate::checkpoint::ha::HaSettings;
use crate::checkpoint::restore;
use crate::checkpoint::storage::{CheckpointPaths, CheckpointStorage};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::checkpoint::{CheckpointId, CheckpointMetadata, FileLocation};
use crate::config::OnDamage;
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::path::Path;

/// A report of damage, and what a look at the files has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding<'a> {
    /// The checkpoint that a restart would begin from.
    pub(super) checkpoint: Option<CheckpointId>,
    /// What was reported.
    pub(super) text: &'a str,
    /// It was reported before any record of the attempt was processed, in words that may also stand for a state that does not fit the program.
    pub(super) at_start: bool,
    /// What a look at the files of the checkpoint has shown.
    pub(super) files: Files,
}

/// How the files of a checkpoint are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// All have the bytes that were written.
    Whole,
    /// One is missing, or has other bytes.
    Damaged,
    /// One could not be read this time.
    Unreadable,
}

impl Files {
    /// What [`verify`] came to.
    pub(super) fn of(verified: &Result<()>) -> Self {
        match verified {
            Ok(()) => Self::Whole,
            Err(error) if error.kind() == ErrorKind::Damaged => Self::Damaged,
            Err(_) => Self::Unreadable,
        }
    }
}

/// What follows from a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The checkpoint is whole: it is something else, which no restart changes.
    RefuseJob,
    /// A read may have failed, or what was damaged is not part of the checkpoint.
    RestartFromIt,
    /// The checkpoint cannot be relied on.
    GiveItUp,
}

/// The reports of damage in a job so far.
#[derive(Debug, Default)]
pub(super) struct DamageLog(Vec<(Option<CheckpointId>, String)>);

impl DamageLog {
    /// Whether to restart from the checkpoint. A checkpoint that looks whole gets one more try, and so does each report that was not heard before.
    pub(super) fn judge(&mut self, finding: &Finding<'_>) -> Verdict {
        match finding.files {
            Files::Damaged => return Verdict::GiveItUp,
            Files::Whole if finding.at_start => return Verdict::RefuseJob,
            Files::Whole | Files::Unreadable => {}
        }
        let is_known = self
            .0
            .iter()
            .any(|(checkpoint, text)| *checkpoint == finding.checkpoint || *text == finding.text);
        if is_known {
            return Verdict::GiveItUp;
        }
        self.0.push((finding.checkpoint, finding.text.to_owned()));
        Verdict::RestartFromIt
    }
}

/// Reads every file of a checkpoint, but for those that only another storage could know of.
pub(super) fn verify(
    setup: &StorageSetup,
    storage: &dyn CheckpointStorage,
    checkpoint: &CompletedCheckpoint,
) -> Result<()> {
    if is_of_this_storage(setup, checkpoint) {
        restore::verify_bytes(storage, &checkpoint.metadata)
    } else {
        Ok(())
    }
}

/// Has copies of the files of a checkpoint on this machine forgotten: if one of them is what is damaged, the next attempt fetches it anew.
pub(super) fn drop_local_copies(storage: &dyn CheckpointStorage, metadata: &CheckpointMetadata) {
    for file in metadata.subtasks().flat_map(|subtask| subtask.files()) {
        storage.drop_local_copy(file);
    }
}

/// Looks whether every file of a checkpoint is there and as long as it should be.
pub(super) fn verify_lengths(
    setup: &StorageSetup,
    storage: &dyn CheckpointStorage,
    checkpoint: &CompletedCheckpoint,
) -> Result<()> {
    if is_of_this_storage(setup, checkpoint) {
        restore::verify_files(storage, &checkpoint.metadata)
    } else {
        Ok(())
    }
}

fn is_of_this_storage(setup: &StorageSetup, checkpoint: &CompletedCheckpoint) -> bool {
    let mut files = checkpoint.metadata.subtasks().flat_map(|subtask| subtask.files());
    setup.keeps_files()
        || files.all(|file| match &file.location {
            FileLocation::Inline(_) => true,
            FileLocation::File(path) => path.starts_with('/'),
        })
}

/// The folder of a checkpoint, as `--from-savepoint` takes it.
fn place(storage: &dyn CheckpointStorage, checkpoint: &CompletedCheckpoint) -> String {
    let path = checkpoint.path.as_deref().map(Path::new);
    let own = storage
        .job_folder()
        .map(|folder| folder.join(CheckpointPaths::checkpoint_name(checkpoint.id())))
        .filter(|folder| folder.join(CheckpointPaths::METADATA).exists());
    let given = || {
        path.map(|path| match path.file_name() {
            Some(name) if name == CheckpointPaths::METADATA => path.parent().unwrap_or(path).to_owned(),
            _ => path.to_owned(),
        })
    };
    own.or_else(given)
        .map_or_else(|| "in memory".to_owned(), |path| format!("'{}'", path.display()))
}

/// The error that a job ends with when the latest of `kept` (the checkpoints that it could restart from, oldest first) is damaged.
pub(super) fn way_out(
    cause: &Error,
    kept: &[CompletedCheckpoint],
    storage: &dyn CheckpointStorage,
    ha: &HaSettings,
    on_damage: OnDamage,
) -> Error {
    let Some((damaged, older)) = kept.split_last() else {
        let text = format!("state of the job is damaged, and there is no checkpoint to go back to: {cause}");
        return Error::new(cause.kind(), text);
    };
    let mut text = format!(
        "checkpoint {} ({}) is damaged: {cause}",
        damaged.id(),
        place(storage, damaged)
    );
    let is_own = !older.is_empty();
    // With high availability a job of this name goes on from its own checkpoints, whatever it is told.
    let elsewhere = match ha {
        HaSettings::Filesystem { .. } => {
            "or start as a new job, with another `high-availability.cluster-id`, from another snapshot with `--from-savepoint PATH` or from the beginning"
        }
        _ => "or start from another snapshot with `--from-savepoint PATH`, or from the beginning",
    };
    let older = if is_own {
        older
            .iter()
            .rev()
            .map(|older| Older::own(storage, older))
            .collect()
    } else {
        let path = damaged.path.as_deref().map(Path::new);
        let beside = path.map(restore::older_than).unwrap_or_default();
        let beside = beside.iter().map(|path| Older::beside(storage, path));
        beside.collect::<Vec<_>>()
    };
    if older.is_empty() {
        text.push_str(&format!(
            ". No older checkpoint is kept: restore the file from a copy, {elsewhere}"
        ));
        return Error::new(cause.kind(), text);
    }
    let places: Vec<String> = older.iter().map(Older::to_string).collect();
    let places = places.join(", ");
    if on_damage == OnDamage::Previous {
        text.push_str(&format!(
            ". No older checkpoint that is kept is whole ({places}), so there is none to go back to \
             (execution.state-recovery.on-damage: previous)"
        ));
        return Error::new(cause.kind(), text);
    }
    let Some(first) = older.iter().find(|older| older.is_whole) else {
        text.push_str(&format!(
            ". The older checkpoints that are kept are not whole either: {places}. Restore the files from a copy, {elsewhere}"
        ));
        return Error::new(cause.kind(), text);
    };
    let command = match ha {
        HaSettings::Filesystem { .. } if is_own => {
            "-D execution.state-recovery.on-damage=previous".to_owned()
        }
        _ => format!("--from-savepoint {}", first.place),
    };
    text.push_str(&format!(
        ". The job does not go back by itself, since sinks may have committed what checkpoint {} covers, and would commit it again. Older checkpoints that are kept: \
         {places}. To go back all the same, start the program again with `{command}`",
        damaged.id()
    ));
    Error::new(cause.kind(), text)
}

/// An older checkpoint that may be a way out.
struct Older {
    place: String,
    /// Every byte of it is as it was written. Increments share files, so damage is often not in one checkpoint alone.
    is_whole: bool,
}

impl Older {
    /// One that the job keeps.
    fn own(storage: &dyn CheckpointStorage, checkpoint: &CompletedCheckpoint) -> Self {
        Self {
            place: place(storage, checkpoint),
            is_whole: restore::verify_bytes(storage, &checkpoint.metadata).is_ok(),
        }
    }

    /// One in a folder beside the damaged one.
    fn beside(storage: &dyn CheckpointStorage, path: &Path) -> Self {
        let verified = restore::load(path).and_then(|older| restore::verify_bytes(storage, &older.metadata));
        Self {
            place: format!("'{}'", path.display()),
            is_whole: verified.is_ok(),
        }
    }
}

impl fmt::Display for Older {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let damaged = if self.is_whole { "" } else { " (damaged too)" };
        write!(f, "{}{damaged}", self.place)
    }
}

/// Reads the snapshot that the job is to start from. With [`OnDamage::Previous`], a checkpoint that cannot be read is passed over for the next older one beside it;
/// returns how often that was done (0 or 1).
///
/// # Errors
/// [`ErrorKind::Restore`], with the older checkpoints beside it.
pub(super) fn load_initial(path: &Path, on_damage: OnDamage) -> Result<(CompletedCheckpoint, u64)> {
    let error = match restore::load(path) {
        Ok(initial) => return Ok((initial, 0)),
        Err(error) => error,
    };
    let beside = if path.exists() {
        restore::older_than(path)
    } else {
        Vec::new()
    };
    if on_damage == OnDamage::Previous {
        for older in &beside {
            match restore::load(older) {
                Ok(initial) => {
                    tracing::warn!(
                        "'{}' is damaged, the job starts from '{}' instead (execution.state-recovery.on-damage: previous); what was committed after that may \
                         be committed again: {error}",
                        path.display(),
                        older.display()
                    );
                    return Ok((initial, 1));
                }
                Err(error) => tracing::warn!("an older checkpoint is damaged too: {error}"),
            }
        }
    }
    let Some(first) = beside.first() else {
        return Err(error);
    };
    let places: Vec<_> = beside
        .iter()
        .map(|path| format!("'{}'", path.display()))
        .collect();
    let what = if on_damage == OnDamage::Previous {
        "none of the older checkpoints beside it can be read".to_owned()
    } else {
        format!(
            "older checkpoints are beside it, and the newest of them is restored with `--from-savepoint '{}'`",
            first.display()
        )
    };
    Err(Error::new(
        ErrorKind::Restore,
        format!("{error}; {what}: {}", places.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(checkpoint: u64, text: &str) -> Finding<'_> {
        Finding {
            checkpoint: (checkpoint > 0).then_some(CheckpointId(checkpoint)),
            text,
            at_start: false,
            files: Files::Whole,
        }
    }

    #[test]
    fn a_checkpoint_that_looks_whole_gets_one_more_try_and_no_second_one() {
        let mut log = DamageLog::default();
        assert_eq!(log.judge(&finding(0, "block 7")), Verdict::RestartFromIt);
        assert_eq!(log.judge(&finding(3, "block 8")), Verdict::RestartFromIt);
        assert_eq!(log.judge(&finding(3, "block 9")), Verdict::GiveItUp);
        // A newer checkpoint with the old damage.
        assert_eq!(log.judge(&finding(4, "block 7")), Verdict::GiveItUp);
        assert_eq!(log.judge(&finding(5, "block 10")), Verdict::RestartFromIt);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_tried_once_more() {
        let mut log = DamageLog::default();
        let finding = Finding {
            files: Files::Unreadable,
            at_start: true,
            ..finding(3, "no answer")
        };
        assert_eq!(log.judge(&finding), Verdict::RestartFromIt);
        assert_eq!(log.judge(&finding), Verdict::GiveItUp);
    }

    #[test]
    fn a_checkpoint_with_a_damaged_file_gets_none() {
        for at_start in [true, false] {
            let finding = Finding {
                files: Files::Damaged,
                at_start,
                ..finding(3, "block 7")
            };
            assert_eq!(DamageLog::default().judge(&finding), Verdict::GiveItUp);
        }
    }

    #[test]
    fn what_a_whole_checkpoint_is_refused_for_is_no_damage() {
        let finding = Finding {
            at_start: true,
            ..finding(3, "state 'a' is of another kind")
        };
        assert_eq!(DamageLog::default().judge(&finding), Verdict::RefuseJob);
    }
}
