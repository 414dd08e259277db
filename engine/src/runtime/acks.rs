//! The output of a task for its reports, and the capabilities that hold a checkpoint open until the task has answered.

use super::report::Report;
use super::time::{Time, epoch_start};
use crate::checkpoint::{Ack, AckMessage, CheckpointId};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;

/// The report output of a task.
pub(crate) struct AckPort {
    output: Output<Time, Vec<Report>>,
    /// Held at the task's epoch, until its input has ended.
    capability: Option<Capability<Time>>,
    /// Held for each checkpoint whose snapshot is being written.
    open: Vec<(CheckpointId, Capability<Time>)>,
}

impl AckPort {
    pub(crate) fn new(output: Output<Time, Vec<Report>>) -> Self {
        Self {
            output,
            capability: None,
            open: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, capability: Capability<Time>) {
        self.capability = Some(capability);
    }

    /// Holds checkpoint `id` open until [`answer`](Self::answer).
    pub(crate) fn hold(&mut self, id: CheckpointId) {
        if let Some(capability) = &mut self.capability {
            let time = epoch_start(id.0);
            if *capability.time() < time {
                capability.downgrade(&time);
            }
            self.open.push((id, capability.clone()));
        }
    }

    /// Answers checkpoint `id` and lets go of it.
    pub(crate) fn answer(&mut self, id: CheckpointId, acks: Vec<Ack>) {
        if let Some(index) = self.open.iter().position(|(open, _)| *open == id) {
            let (_, capability) = self.open.swap_remove(index);
            let mut reports = acks
                .into_iter()
                .map(|ack| Report::Ack(AckMessage { checkpoint: id, ack }))
                .collect();
            self.output.give(&capability, &mut reports);
            drop(self.output.activate());
        }
    }

    /// Reports something that belongs to no checkpoint.
    pub(crate) fn report(&mut self, report: Report) {
        if let Some(capability) = &self.capability {
            self.output.give(capability, &mut vec![report]);
            drop(self.output.activate());
        }
    }

    /// The task has entered `epoch`.
    pub(crate) fn enter(&mut self, epoch: u64) {
        if let Some(capability) = &mut self.capability
            && *capability.time() < epoch_start(epoch)
        {
            capability.downgrade(&epoch_start(epoch));
        }
    }

    /// The task takes no snapshot any more.
    pub(crate) fn close(&mut self) {
        self.capability = None;
    }

    /// Whether a snapshot is being written.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}
