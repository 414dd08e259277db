//! The outputs that every task has, with the capabilities to use them: data, reports, and where a chain ends, progress.

use super::acks::AckPort;
use super::port::Port;
use super::report::Report;
use super::snapshot::{SnapshotContext, Uploads};
use super::task::TaskContext;
use super::time::{Time, epoch_start};
use crate::Result;
use crate::checkpoint::CheckpointId;
use std::cell::RefCell;
use std::rc::Rc;
use timely::dataflow::operators::Capability;

/// The outputs of a task as its timely operator was built, each with its number.
pub(crate) struct OutletShape {
    /// The data outputs.
    pub(crate) ports: Vec<(usize, Rc<RefCell<dyn Port>>)>,
    /// The report output.
    pub(crate) acks: (usize, AckPort),
    /// The output that only shows progress, where the chain ends in the task.
    pub(crate) done: Option<usize>,
}

/// The outputs of a running task, and its snapshots on their way.
pub(crate) struct Outlets {
    ports: Vec<Rc<RefCell<dyn Port>>>,
    acks: AckPort,
    /// Held where the chain ends in the task, so that the frontier behind it tells what has been processed.
    done: Option<Capability<Time>>,
    uploads: Uploads,
}

impl Outlets {
    /// Gives each output its capability; returns those that belong to other outputs, by number. A worker beyond the parallelism has the
    /// operator, as every worker must, but no subtask: it gets nothing and lets go at once.
    pub(crate) fn start(
        shape: OutletShape,
        capabilities: Vec<Capability<Time>>,
        task: &TaskContext,
    ) -> (Self, Vec<(usize, Capability<Time>)>) {
        let OutletShape {
            ports,
            acks: (ack_number, mut acks),
            done: done_number,
        } = shape;
        let mut done = None;
        let mut others = Vec::new();
        if task.has_subtask() {
            for (number, capability) in capabilities.into_iter().enumerate() {
                if number == ack_number {
                    acks.start(capability);
                } else if done_number == Some(number) {
                    done = Some(capability);
                } else if let Some((_, port)) = ports.iter().find(|(index, _)| *index == number) {
                    port.borrow_mut().start(capability);
                } else {
                    others.push((number, capability));
                }
            }
        }
        let ports = ports.into_iter().map(|(_, port)| port).collect();
        (
            Self {
                ports,
                acks,
                done,
                uploads: Uploads::new(task),
            },
            others,
        )
    }

    /// Sends nothing below `time` any more.
    pub(crate) fn downgrade(&mut self, time: Time) {
        for port in &self.ports {
            port.borrow_mut().downgrade(time);
        }
        if let Some(done) = &mut self.done
            && *done.time() < time
        {
            done.downgrade(&time);
        }
    }

    /// Pushes out what exchanges hold back.
    pub(crate) fn flush(&self) {
        for port in &self.ports {
            port.borrow_mut().flush();
        }
    }

    /// How many records were sent since the start, over all outputs.
    pub(crate) fn sent(&self) -> u64 {
        self.ports.iter().map(|port| port.borrow().sent()).sum()
    }

    /// The task has entered `epoch`.
    pub(crate) fn enter(&mut self, epoch: u64) {
        self.acks.enter(epoch);
        self.downgrade(epoch_start(epoch));
    }

    /// Sends the barrier of checkpoint `id` on, and holds the checkpoint open until it is answered. The barrier goes before the snapshot is taken:
    /// downstream may begin while this task writes.
    pub(crate) fn send_barrier(&mut self, id: CheckpointId) {
        self.flush();
        for port in &self.ports {
            port.borrow_mut().downgrade(epoch_start(id.0 + 1));
        }
        self.acks.hold(id);
    }

    /// Has the slow part of a snapshot written, and the checkpoint answered when it is.
    pub(crate) fn upload(&mut self, snapshot: SnapshotContext, task: &TaskContext) {
        let id = snapshot.id;
        if !self.uploads.start(snapshot, task) {
            self.acks.answer(id, Vec::new());
        }
    }

    /// Has the snapshot of a checkpoint stop that was given up.
    pub(crate) fn cancel(&self, id: CheckpointId) {
        self.uploads.cancel(id);
    }

    /// Answers the checkpoints whose snapshots are written. Fails if the attempt has to end because of one.
    pub(crate) fn answer(&mut self) -> Result<()> {
        while let Some(uploaded) = self.uploads.take() {
            self.acks.answer(uploaded.id, uploaded.acks);
            if let Some(error) = uploaded.fatal {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reports something that belongs to no checkpoint.
    pub(crate) fn report(&mut self, report: Report) {
        self.acks.report(report);
    }

    /// Whether a snapshot is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.acks.is_open()
    }

    /// Sends nothing any more, but for the answers to snapshots that are being written.
    pub(crate) fn close(&mut self) {
        self.flush();
        for port in &self.ports {
            port.borrow_mut().close();
        }
        self.done = None;
        self.acks.close();
    }
}
