//! Operator chains: the operators that run inside one timely operator, each handing its batches to the next by a plain call.
//!
//! A chain is cut where records change the subtask (an exchange), where streams are united, and where the parallelism changes. Inside of
//! it there is one dynamic call a batch and stage, and none a record.

use super::batch::Batch;
use super::snapshot::SnapshotContext;
use super::task::TaskContext;
use crate::Result;
use crate::api::{Data, TimestampMs};
use crate::checkpoint::CheckpointId;

/// One operator of a chain, as its predecessor sees it.
///
/// # Contract
/// 1. [`open`](Self::open) comes first, once; it opens the stages behind it too, before anything reaches them.
/// 2. [`batch`](Self::batch) consumes all records and leaves the batch empty, its memory in place. The mark of a batch is the task's
///    business, stages do not look at it.
/// 3. Watermarks rise; `WATERMARK_MAX` comes once, when all input has ended, and nothing but snapshots and notifications follows it.
/// 4. Every call but `batch` is passed on to the stages behind, `snapshot` in the order of the chain.
pub(crate) trait Stage<T>: 'static {
    /// Prepares for records: opens state, restores.
    fn open(&mut self, task: &TaskContext) -> Result<()>;

    /// Takes a batch.
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()>;

    /// Takes a watermark.
    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()>;

    /// Learns that the input has become idle, or active again.
    fn idle(&mut self, idle: bool, task: &TaskContext) -> Result<()>;

    /// Processing time has come to a moment that a stage asked for by [`TaskContext::wake_at`].
    fn processing_time(&mut self, now: TimestampMs, task: &TaskContext) -> Result<()>;

    /// The synchronous part of a snapshot.
    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()>;

    /// A checkpoint is complete.
    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()>;

    /// A checkpoint will never be complete.
    fn aborted(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()>;

    /// Looks after work that runs elsewhere. Whether some is still under way: the task must not end before it has.
    fn poll(&mut self, task: &TaskContext) -> Result<bool>;
}

/// What comes behind a stage: nothing, the next stage, or several that each see every batch.
pub(crate) struct Next<T> {
    stages: Vec<Box<dyn Stage<T>>>,
    /// The copy that all but the last of several stages get.
    copy: Batch<T>,
}

impl<T: Data> Next<T> {
    /// Hands batches to every one of `stages`.
    pub(crate) fn new(stages: Vec<Box<dyn Stage<T>>>) -> Self {
        Self { stages, copy: Batch::default() }
    }
}

impl<T: Data> Stage<T> for Next<T> {
    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.open(task))
    }

    #[inline]
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        if batch.records.is_empty() {
            return Ok(());
        }
        if let Some((last, others)) = self.stages.split_last_mut() {
            for stage in others {
                self.copy.clone_from(batch);
                stage.batch(&mut self.copy, task)?;
                self.copy.clear();
            }
            last.batch(batch, task)?;
        }
        batch.clear();
        Ok(())
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.watermark(watermark, task))
    }

    fn idle(&mut self, idle: bool, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.idle(idle, task))
    }

    fn processing_time(&mut self, now: TimestampMs, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.processing_time(now, task))
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.snapshot(snapshot, task))
    }

    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.complete(id, task))
    }

    fn aborted(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.aborted(id, task))
    }

    fn poll(&mut self, task: &TaskContext) -> Result<bool> {
        let mut busy = false;
        for stage in &mut self.stages {
            busy |= stage.poll(task)?;
        }
        Ok(busy)
    }
}
