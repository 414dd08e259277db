//! `none`: nothing outlives the process.

use super::{HaSession, JobEnd, PublishError, RecoveredCheckpoint};
use crate::Result;
use crate::checkpoint::{CheckpointId, JobId, Lineage};

/// A session that remembers nothing but the attempt counter, in memory. Every start is a new run.
#[derive(Debug)]
pub struct NoHa {
    job_id: JobId,
    attempt: u64,
    lineage: Lineage,
}

impl NoHa {
    /// A new run under a new job id.
    #[must_use]
    pub fn new() -> Self {
        Self {
            job_id: JobId::random(),
            attempt: 0,
            lineage: Lineage::new(),
        }
    }
}

impl Default for NoHa {
    fn default() -> Self {
        Self::new()
    }
}

impl HaSession for NoHa {
    fn job_id(&self) -> &JobId {
        &self.job_id
    }

    fn recovered(&self) -> &[RecoveredCheckpoint] {
        &[]
    }

    fn unreadable(&self) -> &[CheckpointId] {
        &[]
    }

    fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    fn set_lineage(&mut self, lineage: Lineage) {
        self.lineage = lineage;
    }

    fn next_id(&self) -> CheckpointId {
        CheckpointId::FIRST
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn finished(&self) -> bool {
        false
    }

    fn begin_attempt(&mut self, at_least: u64) -> Result<u64> {
        self.attempt = self.attempt.saturating_add(1).max(at_least);
        Ok(self.attempt)
    }

    fn reserve_ids(&mut self, _next_id: CheckpointId) -> Result<()> {
        Ok(())
    }

    fn publish(
        &mut self,
        _id: CheckpointId,
        _metadata: &[u8],
        _retained: &[CheckpointId],
        _next_id: CheckpointId,
    ) -> Result<(), PublishError> {
        Ok(())
    }

    fn go_back(&mut self, _retained: &[CheckpointId], lineage: Lineage) -> Result<()> {
        self.lineage = lineage;
        Ok(())
    }

    fn ended(&self) -> Option<&JobId> {
        None
    }

    fn finish(&mut self, _end: JobEnd, _kept: &[CheckpointId]) -> Result<()> {
        Ok(())
    }
}
