//! The locks by which other programs know what a job needs.

use crate::Result;
use crate::checkpoint::CheckpointId;
use crate::checkpoint::ha::RecoveredCheckpoint;
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::storage::{CheckpointPaths, CheckpointStorage};
use crate::checkpoint::store::CompletedCheckpoint;
use std::collections::HashMap;
use std::path::Path;

/// The locks of one job.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) own: HashMap<CheckpointId, SnapshotHold>,
    /// That on the snapshot that the job was started from.
    pub(super) initial: Option<SnapshotHold>,
}

impl Holds {
    /// Refuses to start from a snapshot that is another program's, or to claim one that another program needs.
    pub(super) fn new(
        storage: &dyn CheckpointStorage,
        recovered: &[RecoveredCheckpoint],
        initial: Option<&CompletedCheckpoint>,
        claimed: Option<&Path>,
    ) -> Result<Self> {
        let mut holds = Self::default();
        if let Some(folder) = storage.job_folder() {
            for id in recovered.iter().map(|recovered| recovered.metadata.id) {
                let checkpoint = folder.join(CheckpointPaths::checkpoint_name(id));
                holds.keep(id, &checkpoint.join(CheckpointPaths::METADATA));
            }
        }
        let needed = initial.filter(|_| recovered.is_empty());
        let needed = needed.and_then(|initial| initial.path.as_deref());
        holds.initial = match claimed {
            Some(claimed) => Some(SnapshotHold::exclusive(claimed)?),
            None => needed
                .map(|path| SnapshotHold::shared(Path::new(path)))
                .transpose()?,
        };
        Ok(holds)
    }

    /// A checkpoint of the job itself. Where it cannot be locked, as in remote storage, it is not.
    pub(super) fn keep(&mut self, id: CheckpointId, metadata: &Path) {
        if let Ok(hold) = SnapshotHold::shared(metadata) {
            self.own.insert(id, hold);
        }
    }
}
