//! The end of a chain: where its batches leave the timely operator over an edge to another one.

use super::batch::{Batch, Mark};
use super::partition::Partitioning;
use super::pool::BatchPool;
use super::stage::{Stage, StageControl};
use super::task::TaskContext;
use super::time::Time;
use crate::Result;
use crate::api::{Data, TimestampMs, WATERMARK_MIN};
use std::cell::RefCell;
use std::rc::Rc;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;

/// Computes what an edge needs to know of each record before it is spread: the hashes of keys, a batch at a time.
pub(crate) type Prepare<T> = Box<dyn FnMut(&mut Batch<T>) -> Result<()>>;

/// The last stage of a chain on one outgoing edge.
pub(crate) struct PortStage<T: Data> {
    output: Rc<RefCell<PortOutput<T>>>,
    prepare: Option<Prepare<T>>,
    rule: Partitioning,
    /// The parallelism of the operator at the other end.
    parallelism: u32,
    watermark: TimestampMs,
    idle: bool,
}

impl<T: Data> PortStage<T> {
    /// A stage that sends to `parallelism` subtasks by `rule`.
    pub(crate) fn new(
        output: Rc<RefCell<PortOutput<T>>>,
        rule: Partitioning,
        parallelism: u32,
        prepare: Option<Prepare<T>>,
    ) -> Self {
        Self {
            output,
            prepare,
            rule,
            parallelism,
            watermark: WATERMARK_MIN,
            idle: false,
        }
    }

    fn send_mark(&mut self, task: &TaskContext) {
        let mark = Mark {
            from: task.subtask,
            watermark: self.watermark,
            idle: self.idle,
            targets: self.rule.mark_targets(self.parallelism),
        };
        self.output.borrow_mut().send_mark(mark);
    }
}

impl<T: Data> Stage<T> for PortStage<T> {
    fn batch(&mut self, batch: &mut Batch<T>, _task: &TaskContext) -> Result<()> {
        if let Some(prepare) = &mut self.prepare {
            prepare(batch)?;
        } else {
            batch.hashes.clear();
        }
        batch.copies = self.rule.copies(self.parallelism);
        self.output.borrow_mut().send(batch);
        Ok(())
    }
}

impl<T: Data> StageControl for PortStage<T> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        None
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        self.watermark = watermark;
        self.send_mark(task);
        Ok(())
    }

    fn idle(&mut self, idle: bool, task: &TaskContext) -> Result<()> {
        if self.idle != idle {
            self.idle = idle;
            self.send_mark(task);
        }
        Ok(())
    }
}

/// An output of a timely operator with the capability to send on it.
pub(crate) struct PortOutput<T: Data> {
    output: Output<Time, Batch<T>>,
    capability: Option<Capability<Time>>,
    /// Whether something was sent since the last flush.
    dirty: bool,
    /// How many records were sent.
    sent: u64,
    /// Where the next batch gets its memory from.
    pool: BatchPool<T>,
}

impl<T: Data> PortOutput<T> {
    /// An output that cannot send yet.
    pub(crate) fn new(output: Output<Time, Batch<T>>, pool: BatchPool<T>) -> Self {
        Self {
            output,
            capability: None,
            dirty: false,
            sent: 0,
            pool,
        }
    }

    fn send_mark(&mut self, mark: Mark) {
        if let Some(capability) = &self.capability {
            self.output.give(capability, &mut Batch::of_mark(mark));
            self.dirty = true;
        }
    }

    /// Sends a batch. What is left in its place is empty.
    fn send(&mut self, batch: &mut Batch<T>) {
        // Without a capability the task has ended, and nobody is left to receive.
        if let Some(capability) = &self.capability {
            self.sent += batch.records.len() as u64;
            self.output.give(capability, batch);
            self.dirty = true;
        }
        batch.clear();
        // An exchange copies the records and leaves the memory.
        if batch.records.capacity() == 0 {
            *batch = self.pool.take();
        }
    }
}

/// What a task does with its outputs, whatever their type.
pub(crate) trait Port {
    /// Gives the port the capability to send.
    fn start(&mut self, capability: Capability<Time>);
    /// Sends nothing below `time` any more.
    fn downgrade(&mut self, time: Time);
    /// Pushes out what the exchange holds back.
    fn flush(&mut self);
    /// How many records were sent since the start.
    fn sent(&self) -> u64;
    /// Sends nothing any more.
    fn close(&mut self);
}

impl<T: Data> Port for PortOutput<T> {
    fn start(&mut self, capability: Capability<Time>) {
        self.capability = Some(capability);
    }

    fn downgrade(&mut self, time: Time) {
        if let Some(capability) = &mut self.capability
            && *capability.time() < time
        {
            capability.downgrade(&time);
        }
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.dirty) {
            // The session flushes as it is dropped.
            drop(self.output.activate());
        }
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn close(&mut self) {
        self.capability = None;
    }
}
