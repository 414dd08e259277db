//! Completed checkpoints: how many are kept, and which files they still use.
//!
//! Pure bookkeeping: what is to be deleted is returned, and whoever asked deletes it. Add first, remove after: a checkpoint is only
//! dropped once a newer one is in the store, and the newest is never dropped.

mod registry;

pub use registry::{SharedFileRegistry, SharedFilesConflict};

use super::ha::{JobEnd, RecoveredCheckpoint};
use super::{CheckpointId, CheckpointMetadata, Retention};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// A checkpoint that a restart may begin from.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletedCheckpoint {
    /// What it consists of.
    pub metadata: Arc<CheckpointMetadata>,
    /// Where its metadata is; none for a snapshot kept in memory.
    pub path: Option<String>,
}

impl CompletedCheckpoint {
    /// The checkpoint.
    #[must_use]
    pub fn id(&self) -> CheckpointId {
        self.metadata.id
    }
}

impl From<RecoveredCheckpoint> for CompletedCheckpoint {
    fn from(recovered: RecoveredCheckpoint) -> Self {
        Self {
            path: Some(recovered.source.display().to_string()),
            metadata: recovered.metadata,
        }
    }
}

/// What the end of a job leaves that nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// The metadata file of the claimed snapshot, if that is there and can go.
    pub claimed: Option<String>,
    /// Checkpoints whose folders can go.
    pub checkpoints: Vec<CheckpointId>,
    /// Shared files that can go, by their paths below the job's folder.
    pub files: Vec<String>,
}

/// The completed checkpoints of a job, oldest first.
#[derive(Debug)]
pub struct CompletedStore {
    num_retained: usize,
    completed: VecDeque<CompletedCheckpoint>,
    /// What the job was started from, if that was a snapshot of somebody else; the restore point until the job has one of its own.
    initial: Option<CompletedCheckpoint>,
    /// The metadata of the snapshot of somebody else that this job owns now, until enough checkpoints of its own are kept.
    claimed: Option<String>,
    registry: SharedFileRegistry,
}

impl CompletedStore {
    /// A store that keeps the `num_retained` newest (at least 1). `recovered` are the job's own checkpoints found at start, `initial` is the foreign
    /// snapshot that it was started from.
    ///
    /// # Errors
    /// [`SharedFilesConflict`] when two recovered checkpoints disagree about a shared file.
    pub fn new(
        num_retained: usize,
        recovered: Vec<CompletedCheckpoint>,
        initial: Option<CompletedCheckpoint>,
    ) -> Result<Self, SharedFilesConflict> {
        let mut registry = SharedFileRegistry::default();
        for checkpoint in &recovered {
            registry.register(checkpoint.id(), checkpoint.metadata.subtasks())?;
        }
        Ok(Self {
            num_retained: num_retained.max(1),
            completed: recovered.into(),
            initial,
            claimed: None,
            registry,
        })
    }

    /// The snapshot with this metadata file, which the job was started from, is the job's now.
    #[must_use]
    pub fn claiming(mut self, metadata: Option<String>) -> Self {
        self.claimed = metadata;
        self
    }

    /// The claimed snapshot, by its metadata file, once the job keeps as many checkpoints of its own as it should. None of these refers to it, so it can go.
    pub fn take_claimed(&mut self) -> Option<String> {
        self.claimed
            .take_if(|_| self.completed.len() >= self.num_retained)
    }

    /// Whether the snapshot that the job was started from is still needed.
    #[must_use]
    pub fn needs_initial(&self) -> bool {
        self.initial.is_some() || self.claimed.is_some()
    }

    /// The checkpoint that a restart begins from.
    #[must_use]
    pub fn latest(&self) -> Option<&CompletedCheckpoint> {
        self.completed.back().or(self.initial.as_ref())
    }

    /// Whether `id` is a completed checkpoint of this job.
    #[must_use]
    pub fn contains(&self, id: CheckpointId) -> bool {
        self.completed.iter().any(|checkpoint| checkpoint.id() == id)
    }

    /// The oldest checkpoint of this job that is kept.
    #[must_use]
    pub fn oldest_own(&self) -> Option<CheckpointId> {
        self.completed.front().map(CompletedCheckpoint::id)
    }

    /// The newest checkpoint of this job itself.
    #[must_use]
    pub fn latest_own(&self) -> Option<CheckpointId> {
        self.completed.back().map(CompletedCheckpoint::id)
    }

    /// The checkpoints of this job that are kept, oldest first.
    #[must_use]
    pub fn retained(&self) -> Vec<CheckpointId> {
        self.completed.iter().map(CompletedCheckpoint::id).collect()
    }

    /// The files that checkpoints share.
    #[must_use]
    pub fn registry(&self) -> &SharedFileRegistry {
        &self.registry
    }

    /// The files that checkpoints share, to be changed.
    pub fn registry_mut(&mut self) -> &mut SharedFileRegistry {
        &mut self.registry
    }

    /// The checkpoints that will be kept once `id`, which is newer than all, is added; in rising order, `id` included.
    #[must_use]
    pub fn retained_with(&self, id: CheckpointId) -> Vec<CheckpointId> {
        let keep = self.num_retained - 1;
        let skip = self.completed.len().saturating_sub(keep);
        self.completed
            .iter()
            .skip(skip)
            .map(CompletedCheckpoint::id)
            .chain([id])
            .collect()
    }

    /// Adds the newest checkpoint and drops the oldest above the number to keep, which are returned. The files that became unused are to be asked for
    /// by [`take_unused_files`](Self::take_unused_files).
    pub fn add(&mut self, checkpoint: CompletedCheckpoint) -> Vec<CheckpointId> {
        self.completed.push_back(checkpoint);
        self.initial = None;
        let surplus = self.completed.len().saturating_sub(self.num_retained);
        self.completed
            .drain(..surplus)
            .map(|dropped| dropped.id())
            .collect()
    }

    /// Forgets and returns the shared files that neither a retained checkpoint needs nor anything else that has named a file since `others` (the lowest
    /// checkpoint that is needed though it is not retained, or the first number never used).
    pub fn take_unused_files(&mut self, others: CheckpointId) -> Vec<String> {
        let lowest = self.oldest_own().map_or(others, |oldest| oldest.min(others));
        self.registry.take_unused(lowest)
    }

    /// The paths of the shared files that are needed while no checkpoint is under way: those that a retained one names, and those that any has named since
    /// `left_behind`, the oldest one of which nobody knows whether it is complete.
    #[must_use]
    pub fn needed_files(&self, left_behind: Option<CheckpointId>) -> HashSet<String> {
        let mut needed = shared_files(self.completed.iter().map(|completed| &*completed.metadata));
        if let Some(id) = left_behind {
            needed.extend(self.registry.named_since(id).map(str::to_owned));
        }
        needed
    }

    /// Drops every checkpoint that is newer than `to`, which is kept; returns them. Shared files stay known by the newest checkpoint that named them, dropped or
    /// not, so they go when checkpoints of the new lineage are the only ones left.
    pub fn go_back(&mut self, to: CheckpointId) -> Vec<CheckpointId> {
        let kept = self
            .completed
            .iter()
            .take_while(|checkpoint| checkpoint.id() <= to)
            .count();
        self.completed.drain(kept..).map(|dropped| dropped.id()).collect()
    }

    /// The snapshot of somebody else that is restored as long as the job has no checkpoint of its own.
    #[must_use]
    pub fn initial(&self) -> Option<&CompletedCheckpoint> {
        self.initial.as_ref()
    }

    /// Replaces that snapshot.
    pub fn set_initial(&mut self, initial: CompletedCheckpoint) {
        self.initial = Some(initial);
        // Another one than that which was claimed, and the way to whatever is wrong with that.
        self.claimed = None;
    }

    /// The checkpoints of this job that are kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &CompletedCheckpoint> {
        self.completed.iter()
    }

    /// What can be deleted at the job's end; the store is empty then if that is everything.
    pub fn finish(&mut self, end: JobEnd, retention: Retention) -> Unused {
        if retention.keeps(end) {
            return Unused::default();
        }
        let checkpoints: Vec<_> = self.completed.drain(..).map(|dropped| dropped.id()).collect();
        // A job that did not get to a checkpoint of its own, nor to its end, leaves what somebody may want to start from.
        let can_go = end == JobEnd::Finished || checkpoints.len() >= self.num_retained;
        Unused {
            claimed: self.claimed.take_if(|_| can_go),
            checkpoints,
            files: self.registry.take_all(),
        }
    }
}

/// The paths of the shared files of a job that its checkpoints name.
pub fn shared_files<'a>(checkpoints: impl IntoIterator<Item = &'a CheckpointMetadata>) -> HashSet<String> {
    let subtasks = checkpoints.into_iter().flat_map(CheckpointMetadata::subtasks);
    let files = subtasks
        .flat_map(|subtask| subtask.files())
        .filter(|file| file.shared);
    files
        .filter_map(|file| file.owned_path().map(str::to_owned))
        .collect()
}

impl Retention {
    /// Whether completed checkpoints outlive a job that ended in this way.
    #[must_use]
    pub fn keeps(self, end: JobEnd) -> bool {
        match (self, end) {
            (Self::NoExternalized, _) | (_, JobEnd::Finished | JobEnd::Stopped) => false,
            (Self::DeleteOnCancellation | Self::RetainOnCancellation, JobEnd::Failed)
            | (Self::RetainOnCancellation, JobEnd::Cancelled) => true,
            (Self::DeleteOnCancellation, JobEnd::Cancelled) => false,
        }
    }
}

#[cfg(test)]
mod tests;
