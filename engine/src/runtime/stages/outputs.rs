//! The outputs of a stage: the collector that its function writes to, and what reads from it.

use crate::Result;
use crate::api::{Collector, Data, SideBuffer, TimestampMs};
use crate::checkpoint::CheckpointId;
use crate::runtime::batch::Batch;
use crate::runtime::snapshot::SnapshotContext;
use crate::runtime::stage::{Next, Stage, StageControl};
use crate::runtime::task::TaskContext;

/// The main output and the side outputs of a stage.
pub(crate) struct Outputs<T> {
    pub(crate) collector: Collector<T>,
    next: Next<T>,
    sides: Vec<Box<dyn Side>>,
}

/// A side output and what reads it.
pub(crate) trait Side: StageControl {
    /// The tag's name.
    fn name(&self) -> &str;
    /// A buffer for the collector.
    fn buffer(&self) -> Box<dyn SideBuffer>;
    /// Hands on what is in such a buffer.
    fn send(&mut self, buffer: &mut dyn SideBuffer, task: &TaskContext) -> Result<()>;
}

/// A side output of records of one type.
pub(crate) struct TypedSide<T> {
    pub(crate) name: String,
    pub(crate) next: Next<T>,
}

impl<T: Data> Outputs<T> {
    pub(crate) fn new(next: Next<T>, sides: Vec<Box<dyn Side>>) -> Self {
        let mut collector = Collector::new();
        collector.sides = sides
            .iter()
            .map(|side| (side.name().to_owned(), side.buffer()))
            .collect();
        Self {
            collector,
            next,
            sides,
        }
    }

    /// Hands on what was collected.
    #[inline]
    pub(crate) fn flush(&mut self, task: &TaskContext) -> Result<()> {
        let records = self.collector.batch.records.len();
        self.next.batch(&mut self.collector.batch, task)?;
        // Where the batch left with its memory, there will be as many records again: in one piece, not by doubling.
        if self.collector.batch.records.capacity() == 0 {
            self.collector.batch.records.reserve(records);
        }
        for (side, (_, buffer)) in self.sides.iter_mut().zip(&mut self.collector.sides) {
            side.send(buffer.as_mut(), task)?;
        }
        Ok(())
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn StageControl) -> Result<()>) -> Result<()> {
        call(&mut self.next)?;
        for side in &mut self.sides {
            call(&mut **side)?;
        }
        Ok(())
    }
}

impl<T: Data> Side for TypedSide<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn buffer(&self) -> Box<dyn SideBuffer> {
        Box::new(Batch::<T>::default())
    }

    fn send(&mut self, buffer: &mut dyn SideBuffer, task: &TaskContext) -> Result<()> {
        match buffer.as_any().downcast_mut::<Batch<T>>() {
            Some(batch) => self.next.batch(batch, task),
            None => Ok(()),
        }
    }
}

impl<T: Data> StageControl for TypedSide<T> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        Some(&mut self.next)
    }
}

impl<T: Data> StageControl for Outputs<T> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        None
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.open(task))
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.watermark(watermark, task))
    }

    fn idle(&mut self, idle: bool, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.idle(idle, task))
    }

    fn processing_time(&mut self, now: TimestampMs, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.processing_time(now, task))
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.snapshot(snapshot, task))
    }

    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.complete(id, task))
    }

    fn aborted(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.each(|stage| stage.aborted(id, task))
    }

    fn poll(&mut self, task: &TaskContext) -> Result<bool> {
        let mut busy = false;
        self.each(|stage| {
            busy |= stage.poll(task)?;
            Ok(())
        })?;
        Ok(busy)
    }
}
