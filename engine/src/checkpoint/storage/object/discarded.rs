//! Which checkpoints were discarded, for streams that end late.

use crate::checkpoint::CheckpointId;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How many are remembered: far more than can have streams that still run.
const REMEMBERED_MAX: usize = 1024;

/// The newest checkpoints that were discarded.
///
/// Whoever discards inserts first and deletes what he finds then; whoever makes an object looks here when it is there. One of the two deletes it.
#[derive(Debug, Default)]
pub(super) struct Discarded(Mutex<BTreeSet<CheckpointId>>);

impl Discarded {
    pub(super) fn insert(&self, id: CheckpointId) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(id);
        if ids.len() > REMEMBERED_MAX {
            ids.pop_first();
        }
    }

    pub(super) fn contains(&self, id: CheckpointId) -> bool {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.contains(&id)
    }
}
