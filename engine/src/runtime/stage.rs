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
/// 1. [`open`](StageControl::open) comes first, once; it opens the stages behind too, before anything reaches them.
/// 2. [`batch`](Self::batch) consumes all records and leaves the batch empty, its memory in place. The mark of a batch is the task's
///    business, stages do not look at it.
/// 3. Watermarks rise; `WATERMARK_MAX` comes once, when all input has ended, and nothing but snapshots and notifications follows it.
/// 4. Every control call is passed on to the stages behind; a snapshot visits the stages in the order of the chain.
pub(crate) trait Stage<T>: StageControl {
    /// Takes a batch.
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()>;
}

/// The first operator of a chain with two inputs. As [`Stage`], but nothing is in front of it.
pub(crate) trait CoStage<A, B>: StageControl {
    /// Takes a batch of the first input.
    fn first(&mut self, batch: &mut Batch<A>, task: &TaskContext) -> Result<()>;

    /// Takes a batch of the second input.
    fn second(&mut self, batch: &mut Batch<B>, task: &TaskContext) -> Result<()>;
}

/// What of a stage does not depend on the type of its records. A call that a stage has no business with goes to the stages behind.
pub(crate) trait StageControl: 'static {
    /// The stages behind.
    fn behind(&mut self) -> Option<&mut dyn StageControl>;

    /// Prepares for records: opens state, restores.
    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.behind().map_or(Ok(()), |behind| behind.open(task))
    }

    /// Takes a watermark.
    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        self.behind()
            .map_or(Ok(()), |behind| behind.watermark(watermark, task))
    }

    /// Learns that the input has become idle, or active again.
    fn idle(&mut self, idle: bool, task: &TaskContext) -> Result<()> {
        self.behind().map_or(Ok(()), |behind| behind.idle(idle, task))
    }

    /// Processing time has come to a moment that some stage asked for by [`TaskContext::wake_at`].
    fn processing_time(&mut self, now: TimestampMs, task: &TaskContext) -> Result<()> {
        self.behind()
            .map_or(Ok(()), |behind| behind.processing_time(now, task))
    }

    /// The synchronous part of a snapshot.
    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        self.behind()
            .map_or(Ok(()), |behind| behind.snapshot(snapshot, task))
    }

    /// A checkpoint is complete.
    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.behind().map_or(Ok(()), |behind| behind.complete(id, task))
    }

    /// A checkpoint will never be complete.
    fn aborted(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.behind().map_or(Ok(()), |behind| behind.aborted(id, task))
    }

    /// Looks after work that runs elsewhere. Whether some is still under way: the task must not end before it has.
    fn poll(&mut self, task: &TaskContext) -> Result<bool> {
        self.behind().map_or(Ok(false), |behind| behind.poll(task))
    }
}

/// The stages that read one output of a stage: none, one, or several that each see every batch.
pub(crate) struct Next<T> {
    stages: Vec<Box<dyn Stage<T>>>,
    /// The copy that all but the last of several stages get.
    copy: Batch<T>,
}

impl<T: Data> Next<T> {
    /// Hands batches to every one of `stages`.
    pub(crate) fn new(stages: Vec<Box<dyn Stage<T>>>) -> Self {
        Self {
            stages,
            copy: Batch::default(),
        }
    }
}

impl<T: Data> Stage<T> for Next<T> {
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
}

impl<T: Data> StageControl for Next<T> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        None
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.stages.iter_mut().try_for_each(|stage| stage.open(task))
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.watermark(watermark, task))
    }

    fn idle(&mut self, idle: bool, task: &TaskContext) -> Result<()> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.idle(idle, task))
    }

    fn processing_time(&mut self, now: TimestampMs, task: &TaskContext) -> Result<()> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.processing_time(now, task))
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.snapshot(snapshot, task))
    }

    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.complete(id, task))
    }

    fn aborted(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.stages
            .iter_mut()
            .try_for_each(|stage| stage.aborted(id, task))
    }

    fn poll(&mut self, task: &TaskContext) -> Result<bool> {
        let mut busy = false;
        for stage in &mut self.stages {
            busy |= stage.poll(task)?;
        }
        Ok(busy)
    }
}
