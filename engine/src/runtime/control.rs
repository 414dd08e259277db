//! Where commands enter the dataflow and where reports leave it: two operators of worker 0.

use super::report::Report;
use super::task::Waker;
use super::time::{Time, epoch_of, epoch_start, least};
use crate::checkpoint::{Ack, CheckpointId, Command};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::{Scope, Stream};

/// The way for commands into a running dataflow, from any thread.
pub(crate) struct CommandInlet {
    sender: mpsc::Sender<Command>,
    receiver: Mutex<Option<mpsc::Receiver<Command>>>,
    waker: OnceLock<Waker>,
}

impl CommandInlet {
    pub(crate) fn new() -> Arc<Self> {
        let (sender, receiver) = mpsc::channel();
        Arc::new(Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            waker: OnceLock::new(),
        })
    }

    /// Sends a command to every task.
    pub(crate) fn send(&self, command: Command) {
        // The receiver lives as long as the dataflow; what comes after its end has nobody to reach.
        let _ = self.sender.send(command);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}

/// The operator that broadcasts commands. `inlet` is that of the attempt, on worker 0 of the first process.
pub(crate) fn commands<'scope>(
    scope: Scope<'scope, Time>,
    inlet: Option<&Arc<CommandInlet>>,
    epoch: u64,
) -> Stream<'scope, Time, Vec<Command>> {
    let mut builder = OperatorBuilder::new("Commands".to_owned(), scope);
    let info = builder.operator_info();
    let (output, stream) = builder.new_output::<Vec<Command>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Command>>>::from(output);
    let receiver = inlet.filter(|_| scope.index() == 0).and_then(|inlet| {
        inlet
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    });
    if receiver.is_some()
        && let Some(inlet) = inlet
    {
        // Set once: an inlet serves one attempt.
        let _ = inlet.waker.set(Waker::new(
            scope.worker().sync_activator_for(info.address.to_vec()),
        ));
        // Whatever was sent before the waker was there is waiting.
        scope.activator_for(info.address).activate();
    }
    builder.build(move |mut capabilities| {
        let mut capability = receiver.as_ref().and_then(|_| capabilities.pop());
        capabilities.clear();
        if let Some(capability) = &mut capability {
            capability.downgrade(&epoch_start(epoch));
        }
        move |_| {
            let Some(receiver) = &receiver else { return };
            while let Some(held) = &mut capability
                && let Ok(command) = receiver.try_recv()
            {
                let next = match &command {
                    Command::Trigger { id, .. } => Some(epoch_start(id.0 + 1)),
                    Command::AdvanceEpoch { to } => Some(epoch_start(*to)),
                    _ => None,
                };
                let is_stop = command == Command::Stop;
                output.activate().session(&*held).give(command);
                if let Some(next) = next
                    && *held.time() < next
                {
                    held.downgrade(&next);
                }
                if is_stop {
                    capability = None;
                }
            }
        }
    });
    stream.broadcast()
}

/// What the collector tells: everything of a checkpoint at once, when the frontier says that nothing more can come.
pub(crate) enum Collected {
    /// All answers to a checkpoint.
    Acks(CheckpointId, Vec<Ack>),
    /// A decline, as soon as it came.
    EarlyDecline(CheckpointId, Ack),
    /// A source subtask has emitted everything.
    SourceFinished(crate::checkpoint::OperatorId, u32),
    /// A source has used up most of its ticks.
    NeedsEpoch(u64),
}

/// The operator that collects the reports of all tasks at worker 0 and hands them to `tell`.
pub(crate) fn collect<'scope>(
    scope: Scope<'scope, Time>,
    reports: Vec<Stream<'scope, Time, Vec<Report>>>,
    commands: Stream<'scope, Time, Vec<Command>>,
    tell: Arc<dyn Fn(Collected) + Send + Sync>,
) {
    let mut builder = OperatorBuilder::new("Acknowledgements".to_owned(), scope);
    let mut inputs: Vec<_> = reports
        .into_iter()
        .map(|stream| builder.new_input(stream, Exchange::new(|_: &Report| 0)))
        .collect();
    let mut commands = builder.new_input(commands, Pipeline);
    let is_collector = scope.index() == 0;
    builder.build(move |_| {
        let mut acks: BTreeMap<CheckpointId, Vec<Ack>> = BTreeMap::new();
        move |frontiers| {
            // Every checkpoint that was triggered is answered, also if no task had anything to say.
            commands.for_each(|_, commands| {
                for command in commands.drain(..) {
                    if let Command::Trigger { id, .. } = command {
                        acks.entry(id).or_default();
                    }
                }
            });
            for input in &mut inputs {
                input.for_each(|_, reports| {
                    for report in reports.drain(..) {
                        match report {
                            Report::Ack(message) => {
                                if matches!(message.ack, Ack::Decline { .. }) {
                                    tell(Collected::EarlyDecline(message.checkpoint, message.ack.clone()));
                                }
                                acks.entry(message.checkpoint).or_default().push(message.ack);
                            }
                            Report::SourceFinished { operator, subtask } => {
                                tell(Collected::SourceFinished(operator, subtask));
                            }
                            Report::NeedsEpoch { epoch } => tell(Collected::NeedsEpoch(epoch)),
                        }
                    }
                });
            }
            if !is_collector {
                acks.clear();
                return;
            }
            let left = frontiers
                .iter()
                .map(|frontier| least(frontier.frontier()).map_or(u64::MAX, epoch_of))
                .min()
                .unwrap_or(u64::MAX);
            while let Some(entry) = acks.first_entry()
                && entry.key().0 < left
            {
                let (id, acks) = entry.remove_entry();
                tell(Collected::Acks(id, acks));
            }
        }
    });
}
