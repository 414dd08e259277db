//! The task of a chain that reads from other tasks: alignment, snapshots, watermarks, notifications.

use super::channels::Channels;
use super::inputs::{ChainInputs, Stash};
use super::outlets::{OutletShape, Outlets};
use super::snapshot::SnapshotContext;
use super::task::TaskContext;
use super::time::{Time, epoch_of, least};
use crate::Result;
use crate::checkpoint::{CheckpointId, CheckpointingMode, Command, SnapshotOptions};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

/// Hands out the commands that have arrived at an operator.
pub(crate) type CommandInput = Box<dyn FnMut(&mut dyn FnMut(Command))>;

/// The parts of a task that its timely operator was built with.
pub(crate) struct TaskPorts {
    /// The outputs.
    pub(crate) outlets: OutletShape,
    /// The commands.
    pub(crate) commands: CommandInput,
    /// The number of the command input.
    pub(crate) command_input: usize,
}

/// A chain that reads from other tasks.
pub(crate) struct ChainTask<I: ChainInputs> {
    task: Rc<TaskContext>,
    inputs: I,
    /// The numbers of the inputs.
    numbers: Vec<usize>,
    channels: Channels,
    outlets: Outlets,
    commands: CommandInput,
    command_input: usize,
    opened: bool,
    /// The epoch whose records are processed.
    epoch: u64,
    /// Under exactly-once, batches of later epochs.
    stash: Stash<I::Batch>,
    /// Checkpoints whose barrier has not come.
    triggers: BTreeMap<u64, SnapshotOptions>,
    input_ended: bool,
    /// The savepoint that the job is to stop with: nothing happens here after it, unless it is given up.
    halted: Option<CheckpointId>,
}

impl<I: ChainInputs> ChainTask<I> {
    /// A task; `capabilities` are those that timely gave to its outputs, `upstream` the number of upstream subtasks of each input.
    pub(crate) fn new(
        task: TaskContext,
        inputs: I,
        upstream: &[u32],
        ports: TaskPorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Self {
        let (outlets, _) = Outlets::start(ports.outlets, capabilities, &task);
        task.activate();
        Self {
            epoch: task.job.first_epoch,
            channels: Channels::new(upstream),
            outlets,
            numbers: inputs.numbers(),
            inputs,
            commands: ports.commands,
            command_input: ports.command_input,
            opened: false,
            stash: Stash::new(),
            triggers: BTreeMap::new(),
            input_ended: false,
            halted: None,
            task: Rc::new(task),
        }
    }

    /// Does what there is to do; whether the task must stay although its input may have ended.
    pub(crate) fn schedule(&mut self, frontiers: &[MutableAntichain<Time>]) -> bool {
        if !self.task.has_subtask() {
            (self.commands)(&mut |_| {});
            return false;
        }
        let task = Rc::clone(&self.task);
        task.run(|| self.step(frontiers))
    }

    fn step(&mut self, frontiers: &[MutableAntichain<Time>]) -> Result<bool> {
        if !self.opened {
            self.inputs.chain().open(&self.task)?;
            self.opened = true;
        }
        self.take_commands()?;
        self.take_input()?;
        let data = self
            .numbers
            .iter()
            .filter_map(|number| frontier_at(frontiers, *number))
            .min();
        let control = frontier_at(frontiers, self.command_input);
        if !self.input_ended {
            self.pass_barriers(data, control)?;
        }
        self.outlets.answer()?;
        if self.halted.is_none()
            && let Some(now) = self.task.take_due()
        {
            self.inputs.chain().processing_time(now, &self.task)?;
        }
        let busy = self.inputs.chain().poll(&self.task)?;
        self.outlets.flush();
        // Follows the input's frontier within the epoch.
        if let Some(time) = data
            && epoch_of(time) == self.epoch
            && !self.input_ended
        {
            self.outlets.downgrade(time);
        }
        Ok(busy || self.outlets.is_writing())
    }

    fn take_commands(&mut self) -> Result<()> {
        let Self {
            commands,
            triggers,
            outlets,
            inputs,
            task,
            epoch,
            halted,
            ..
        } = self;
        let mut result = Ok(());
        commands(&mut |command| {
            if result.is_err() {
                return;
            }
            match command {
                Command::Trigger { id, options, .. } if id.0 >= *epoch => {
                    triggers.insert(id.0, options);
                }
                Command::Complete { id } => result = inputs.chain().complete(id, task),
                Command::Abort { id, .. } => {
                    triggers.remove(&id.0);
                    if *halted == Some(id) {
                        *halted = None;
                    }
                    outlets.cancel(id);
                    result = inputs.chain().aborted(id, task);
                }
                Command::Trigger { .. } | Command::AdvanceEpoch { .. } | Command::Stop => {}
            }
        });
        result
    }

    fn take_input(&mut self) -> Result<()> {
        let is_aligned = self.task.job.mode == CheckpointingMode::ExactlyOnce;
        let aligned_to = is_aligned.then_some(self.epoch);
        self.inputs
            .take(aligned_to, &mut self.stash, &mut self.channels, &self.task)
    }

    /// Takes the snapshots whose barriers have come: those of epochs that both the data and the commands have left.
    fn pass_barriers(&mut self, data: Option<Time>, control: Option<Time>) -> Result<()> {
        let left = |frontier: Option<Time>| frontier.map_or(u64::MAX, epoch_of);
        let target = left(data).min(left(control));
        while let Some((id, options)) = self.take_trigger(target) {
            self.release_stash(id)?;
            self.snapshot(CheckpointId(id), options)?;
            self.enter(id + 1);
        }
        if target == u64::MAX {
            self.release_stash(target)?;
            self.end();
        } else {
            self.enter(target);
            // Before anything of the same epoch that comes in later, or the order within a channel would be lost.
            self.release_stash(self.epoch)?;
        }
        Ok(())
    }

    /// The first checkpoint below `target` whose barrier has not come.
    fn take_trigger(&mut self, target: u64) -> Option<(u64, SnapshotOptions)> {
        let first = self
            .triggers
            .first_entry()
            .filter(|first| *first.key() < target)?;
        Some(first.remove_entry())
    }

    /// Processes what was held back of epochs up to and including `epoch`.
    fn release_stash(&mut self, epoch: u64) -> Result<()> {
        let mut index = 0;
        while let Some((input, batch)) = self.stash.release(epoch, &mut index) {
            self.inputs
                .process(input, batch, &mut self.channels, &self.task)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, id: CheckpointId, options: SnapshotOptions) -> Result<()> {
        let alignment_ms = self.stash.take_alignment_ms();
        self.outlets.send_barrier(id);
        if options.kind.stop().is_some() {
            self.halted = Some(id);
        }
        let mut snapshot = SnapshotContext::new(id, options, alignment_ms);
        self.inputs.chain().snapshot(&mut snapshot, &self.task)?;
        self.outlets.upload(snapshot, &self.task);
        Ok(())
    }

    fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.outlets.enter(epoch);
        }
    }

    /// Nothing comes in any more.
    fn end(&mut self) {
        self.input_ended = true;
        self.outlets.close();
    }
}

fn frontier_at(frontiers: &[MutableAntichain<Time>], number: usize) -> Option<Time> {
    frontiers
        .get(number)
        .and_then(|frontier| least(frontier.frontier()))
}
