//! High availability: finding a job and its latest checkpoint again after the program was killed.
//!
//! A job is known by its name. Opening it gives a [`HaSession`], of which there is at most one at a time, and which says
//! under which job id to go on and which checkpoints there are. Two kinds exist: `none` (nothing is remembered) and `filesystem`.

mod filesystem;
mod lock;
mod none;
mod pointer;
mod recover;
mod term;

pub use filesystem::FilesystemHa;
pub use none::NoHa;

use super::{CheckpointId, CheckpointMetadata, JobId, Lineage};
use crate::config::OnDamage;
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// `high-availability.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HaSettings {
    /// `none`: a killed program starts from the beginning.
    #[default]
    None,
    /// `filesystem`: pointers and checkpoint metadata in a folder.
    Filesystem {
        /// `high-availability.storageDir`.
        storage_dir: PathBuf,
        /// `high-availability.cluster-id`; separates programs that share a storage folder. `/default` in Flink.
        cluster_id: String,
        /// `high-availability.filesystem.take-over`: go on with the job although another program holds it.
        take_over: bool,
    },
}

impl HaSettings {
    /// Whether to go on with the job although another program holds it.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        matches!(self, Self::Filesystem { take_over: true, .. })
    }
}

/// Takes hold of a job. `on_damage` says what becomes of a checkpoint of it that cannot be read.
///
/// # Errors
/// [`crate::ErrorKind::Configuration`] when another program holds the job or the storage folder cannot be used, [`crate::ErrorKind::Restore`] when what
/// was stored is damaged.
pub fn open(settings: &HaSettings, job_name: &str, on_damage: OnDamage) -> Result<Box<dyn HaSession>> {
    Ok(match settings {
        HaSettings::None => Box::new(NoHa::new()),
        HaSettings::Filesystem {
            storage_dir,
            cluster_id,
            take_over,
        } => Box::new(FilesystemHa::open_or_go_back(
            storage_dir,
            cluster_id,
            job_name,
            on_damage,
            *take_over,
        )?),
    })
}

/// What high availability knows of a job, as far as it can be found out without taking hold of it.
#[derive(Debug)]
pub(crate) struct Known {
    /// Why the job could not be started now: another program runs it.
    pub(crate) held: Option<Error>,
    /// It has processed all its input, and is not run again.
    pub(crate) has_finished: bool,
    /// What it would go on from, whatever it is told to start from.
    pub(crate) latest: Option<RecoveredCheckpoint>,
}

/// Looks what a start of the job would find. Nothing is written, and nothing is made.
///
/// # Errors
/// As [`open`], but that the job may be held.
pub(crate) fn look(settings: &HaSettings, job_name: &str, on_damage: OnDamage) -> Result<Option<Known>> {
    let HaSettings::Filesystem {
        storage_dir,
        cluster_id,
        take_over,
    } = settings
    else {
        return Ok(None);
    };
    let folder = filesystem::job_folder(storage_dir, cluster_id, job_name);
    if !folder.exists() {
        return Ok(None);
    }
    let held = lock::refuse_if_held(&folder.join(filesystem::LOCK), job_name)
        .err()
        .filter(|_| !take_over);
    let pointer = recover::read_or_rebuild_pointer(&folder, on_damage)?;
    let latest = match pointer.end {
        None => recover::recover_all(&folder, &pointer, on_damage)?.0.pop(),
        Some(_) => None,
    };
    Ok(Some(Known {
        held,
        has_finished: pointer.end == Some(JobEnd::Finished),
        latest,
    }))
}

/// Refuses a snapshot that a job would resume from, as far as these settings tell: the run of the job that took it has not ended, and its pointer names it.
///
/// # Errors
/// [`ErrorKind::Restore`] when it is one, or the pointer cannot be read.
pub fn refuse_if_named(settings: &HaSettings, metadata: &CheckpointMetadata) -> Result<()> {
    let HaSettings::Filesystem {
        storage_dir,
        cluster_id,
        ..
    } = settings
    else {
        return Ok(());
    };
    let folder = filesystem::job_folder(storage_dir, cluster_id, &metadata.job_name);
    let pointer = recover::read_pointer(&folder)?;
    if pointer.job_id == metadata.job_id && pointer.end.is_none() && pointer.retained.contains(&metadata.id) {
        return Err(Error::new(
            ErrorKind::Restore,
            format!(
                "checkpoint {} of job '{}' is in use: the job resumes from it when it is started again, as '{}' says",
                metadata.id,
                metadata.job_name,
                folder.display()
            ),
        ));
    }
    Ok(())
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// All input was processed and committed.
    Finished,
    /// The restart strategy gave up.
    Failed,
    /// The user asked for it.
    Cancelled,
    /// The user asked for a savepoint and the end with it.
    Stopped,
}

/// A completed checkpoint that was found again.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredCheckpoint {
    /// What it consists of. Relative paths start at the job's checkpoint folder.
    pub metadata: Arc<CheckpointMetadata>,
    /// The file it was read from, for messages.
    pub source: PathBuf,
}

/// Why something could not be published.
#[derive(Debug)]
pub struct PublishError {
    /// What happened.
    pub error: Error,
    /// Nobody knows whether it is visible: the bytes must be kept. [`HaSession::begin_attempt`] settles it.
    pub unknown_outcome: bool,
}

/// One program's hold on one job. No other program gets one for the same job until this is dropped, unless it takes the job over: then everything that writes
/// fails here with [`ErrorKind::Fenced`], and nothing that was written counts.
pub trait HaSession: fmt::Debug + Send {
    /// The run to go on with.
    fn job_id(&self) -> &JobId;

    /// The checkpoints found at start, in rising order.
    fn recovered(&self) -> &[RecoveredCheckpoint];

    /// The checkpoints that should have been found and could not be read; they and those newer than them are left out, for good as soon as an attempt begins.
    fn unreadable(&self) -> &[CheckpointId];

    /// The line of checkpoints that the job's next one is on.
    fn lineage(&self) -> &Lineage;

    /// Has the job begin a line of its own, before its first attempt: it starts from a snapshot of somebody else. Recorded when the attempt begins.
    fn set_lineage(&mut self, lineage: Lineage);

    /// The first checkpoint number that nobody has used.
    fn next_id(&self) -> CheckpointId;

    /// That this program still leads the job.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Fenced`] when another one has taken it over.
    fn check(&self) -> Result<()>;

    /// The job has processed all its input already, and must not run again. (A job that failed for good, was cancelled or was stopped may: as a new run.)
    fn finished(&self) -> bool;

    /// Raises the attempt counter durably and returns it: at least `at_least`, and higher than all before. Also publishes anew which checkpoints
    /// are retained, which settles a publication whose outcome was unknown.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the counter cannot be stored; the attempt must not start then.
    fn begin_attempt(&mut self, at_least: u64) -> Result<u64>;

    /// Records that numbers below `next_id` may have been used.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    fn reserve_ids(&mut self, next_id: CheckpointId) -> Result<()>;

    /// Publishes checkpoint `id` with its encoded metadata; afterwards exactly `retained` are named. First the bytes, then the pointer; then the
    /// bytes of those no longer named are deleted.
    ///
    /// # Errors
    /// See [`PublishError`]; what was named before still is, unless the outcome is unknown.
    fn publish(
        &mut self,
        id: CheckpointId,
        metadata: &[u8],
        retained: &[CheckpointId],
        next_id: CheckpointId,
    ) -> Result<(), PublishError>;

    /// Names exactly `retained` from now on, which were all named before: the newer ones are damaged, or build on one that is. What follows is on the line `lineage`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; then nobody knows which are named, and the call is to be repeated.
    fn go_back(&mut self, retained: &[CheckpointId], lineage: Lineage) -> Result<()>;

    /// The run before this one, if it has ended and kept none of its checkpoints: it may have been killed before they were all deleted.
    fn ended(&self) -> Option<&JobId>;

    /// Records how the job ended, and which of its checkpoints outlive it; none is gone on from any more.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    fn finish(&mut self, end: JobEnd, kept: &[CheckpointId]) -> Result<()>;
}
