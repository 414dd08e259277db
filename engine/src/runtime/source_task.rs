//! The task of a source with the chain behind it: draws barriers, keeps within its window, records its positions.

use super::batch::{BATCH_RECORDS, Batch};
use super::chain_task::CommandInput;
use super::flow::Flow;
use super::metrics::JobMetrics;
use super::outlets::{OutletShape, Outlets};
use super::rate::Throttle;
use super::report::Report;
use super::snapshot::{OperatorName, SnapshotContext};
use super::stage::{Next, Stage, StageControl};
use super::stages::Planning;
use super::task::TaskContext;
use super::time::{Time, epoch_of, epoch_start, least, tick_of};
use crate::api::{
    ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader, SourceWaker, WATERMARK_MAX,
};
use crate::checkpoint::{
    CheckpointId, Command, OperatorStateSnapshot, Redistribution, SnapshotOptions, StopMode,
};
use crate::codec::CodecId;
use crate::state::PlannedOperatorState;
use crate::{Result, codec};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

/// The name under which a source's splits are stored.
const SPLITS: &str = "splits";
/// How often a source with records in flight tells its tick to the others.
const TICK_SYNC: Duration = Duration::from_millis(2);
/// A source asks for a new epoch when it has used this many ticks of the 2^32.
const TICKS_MAX: u64 = 1 << 31;

/// Hands out the ticks that have arrived.
pub(crate) type TickInput = Box<dyn FnMut(&mut dyn FnMut(Time))>;

/// How the sources of a job keep in step, where there are several subtasks of sources.
///
/// The frontier at the sinks is the least over all sources, so one that emits little would make the others wait for its ticks. Whoever
/// waits therefore tells its tick, and the others catch up at once; an idle source costs nothing while nobody waits.
pub(crate) struct TickSync {
    /// Hands out the times that have arrived.
    pub(crate) input: TickInput,
    /// Tells a time to every source.
    pub(crate) output: Output<Time, Vec<Time>>,
    /// The number of the output.
    pub(crate) number: usize,
}

/// The parts of a source task that its timely operator was built with.
pub(crate) struct SourcePorts {
    /// The outputs.
    pub(crate) outlets: OutletShape,
    /// The commands.
    pub(crate) commands: CommandInput,
    /// The numbers of the inputs whose frontiers tell what the ends of all chains have processed.
    pub(crate) progress_inputs: Vec<usize>,
    /// Present where the job has several subtasks of sources.
    pub(crate) ticks: Option<TickSync>,
}

/// A source with the chain behind it.
pub(crate) struct SourceTask<S: Source> {
    task: Rc<TaskContext>,
    source: Arc<S>,
    name: OperatorName,
    reader: Option<S::Reader>,
    chain: Next<S::Record>,
    output: SourceOutput<S::Record>,
    batch: Batch<S::Record>,
    outlets: Outlets,
    commands: CommandInput,
    progress_inputs: Vec<usize>,
    /// Emptied as long as the dataflow stands, also where there is no subtask or it has stopped: a message that nobody takes would keep
    /// the dataflow from its end.
    tick_input: Option<TickInput>,
    tick_output: Option<(Output<Time, Vec<Time>>, Capability<Time>)>,
    /// The tick that was told last, and when.
    told: (Time, Instant),
    flow: Flow,
    throttle: Option<Throttle>,
    epoch: u64,
    tick: u64,
    opened: bool,
    idle: bool,
    finished: bool,
    asked_for_epoch: bool,
    /// The savepoint that the job is to stop with: nothing is read after it, unless it is given up.
    halted: Option<CheckpointId>,
    stopped: bool,
    splits_codec: CodecId,
}

impl<S: Source> SourceTask<S> {
    /// A task that reads `source`, at most `rate` records a second over all subtasks.
    pub(crate) fn new(
        task: TaskContext,
        source: Arc<S>,
        name: OperatorName,
        chain: Next<S::Record>,
        rate: Option<f64>,
        ports: SourcePorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Self {
        let (outlets, others) = Outlets::start(ports.outlets, capabilities, &task);
        let (tick_input, tick_output) = match ports.ticks {
            Some(TickSync {
                input,
                output,
                number,
            }) => {
                let capability = others.into_iter().find(|(index, _)| *index == number);
                (
                    Some(input),
                    capability.map(|(_, capability)| (output, capability)),
                )
            }
            None => (None, None),
        };
        task.activate();
        let now = Instant::now();
        let throttle = rate.map(|rate| Throttle::new(rate / f64::from(task.parallelism.max(1)), now));
        Self {
            flow: Flow::new(task.job.in_flight_target, task.job.turns),
            epoch: task.job.first_epoch,
            reader: None,
            output: SourceOutput::default(),
            batch: Batch::default(),
            outlets,
            commands: ports.commands,
            progress_inputs: ports.progress_inputs,
            tick_input,
            tick_output,
            told: (0, now),
            tick: 0,
            opened: false,
            idle: false,
            finished: false,
            asked_for_epoch: false,
            halted: None,
            stopped: false,
            splits_codec: CodecId::of::<S::Split>(),
            task: Rc::new(task),
            source,
            name,
            chain,
            throttle,
        }
    }

    /// What would become of the positions that are stored.
    pub(crate) fn planned_splits(planning: &Planning<'_>) -> PlannedOperatorState {
        planning.own_state(SPLITS, Redistribution::Split, &CodecId::of::<S::Split>())
    }

    /// Does what there is to do; whether the task must stay.
    pub(crate) fn schedule(&mut self, frontiers: &[MutableAntichain<Time>]) -> bool {
        if !self.task.has_subtask() {
            (self.commands)(&mut |_| {});
            if let Some(input) = &mut self.tick_input {
                input(&mut |_| {});
            }
            return false;
        }
        let task = Rc::clone(&self.task);
        task.run(|| self.step(frontiers))
    }

    fn step(&mut self, frontiers: &[MutableAntichain<Time>]) -> Result<bool> {
        if !self.opened {
            self.open()?;
        }
        let mut arrived = Vec::new();
        (self.commands)(&mut |command| arrived.push(command));
        for command in arrived {
            self.command(command)?;
        }
        self.catch_up();
        let now = Instant::now();
        let passed = self.progress_inputs.iter().filter_map(|number| {
            frontiers
                .get(*number)
                .and_then(|frontier| least(frontier.frontier()))
        });
        self.flow.passed(passed.min(), now);
        let is_halted = self.halted.is_some();
        if !self.finished && !self.stopped && !is_halted {
            self.read(now)?;
        }
        self.outlets.answer()?;
        if !is_halted && let Some(now) = self.task.take_due() {
            self.chain.processing_time(now, &self.task)?;
        }
        let busy = self.chain.poll(&self.task)?;
        self.outlets.flush();
        Ok(busy || self.outlets.is_writing())
    }

    fn open(&mut self) -> Result<()> {
        self.opened = true;
        self.outlets.enter(self.epoch);
        self.chain.open(&self.task)?;
        let task = &self.task;
        let _entered = task.enter(&self.name.name);
        // There are splits for the sources that the checkpoint does not know, and for all if there is none.
        let splits: Vec<S::Split> = match task.job.splits.get(&self.name.id) {
            None => match task.job.restored_share(&self.name.id, task.subtask) {
                Some(share) => {
                    let restored: Vec<S::Split> = task.job.elements(&share, SPLITS)?;
                    let name = &self.name.name;
                    self.source
                        .check_restored(&restored)
                        .map_err(|error| error.context(format_args!("source '{name}' cannot go on")))?;
                    restored
                }
                None => Vec::new(),
            },
            Some(all) => {
                let step = task.parallelism.max(1) as usize;
                let own = all.iter().skip(task.subtask as usize).step_by(step);
                own.map(|split| codec::decode(split)).collect::<Result<_, _>>()?
            }
        };
        let waker = task.waker();
        let context = ReaderContext {
            subtask: task.subtask,
            parallelism: task.parallelism,
            waker: SourceWaker::new(move || waker.wake()),
        };
        self.reader = Some(self.source.reader(context, splits)?);
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Trigger { id, options, .. } if id.0 >= self.epoch && !self.stopped => {
                self.snapshot(id, options)
            }
            Command::AdvanceEpoch { to } => {
                self.enter(to);
                Ok(())
            }
            Command::Complete { id } => self.chain.complete(id, &self.task),
            Command::Abort { id, .. } => {
                if self.halted == Some(id) {
                    self.halted = None;
                }
                self.outlets.cancel(id);
                self.chain.aborted(id, &self.task)
            }
            Command::Trigger { .. } => Ok(()),
            Command::Stop => {
                self.stopped = true;
                self.outlets.close();
                self.tick_output = None;
                Ok(())
            }
        }
    }

    /// The barrier: records the position, and goes on in the next epoch.
    fn snapshot(&mut self, id: CheckpointId, options: SnapshotOptions) -> Result<()> {
        if let Some(stop) = options.kind.stop() {
            self.halted = Some(id);
            // Before the barrier, so that what the timers emit is in the savepoint.
            if stop == StopMode::Drain && !self.finished {
                self.set_idle(false)?;
                self.chain.watermark(WATERMARK_MAX, &self.task)?;
            }
        }
        self.outlets.send_barrier(id);
        let mut snapshot = SnapshotContext::new(id, options, 0.0);
        let started = Instant::now();
        let mut part = self.name.snapshot(&self.task);
        part.finished = self.finished;
        if snapshot.writes_state() {
            let _entered = self.task.enter(&self.name.name);
            let splits = self
                .reader
                .as_mut()
                .map_or_else(|| Ok(Vec::new()), SourceReader::snapshot)?;
            let items = splits.iter().map(codec::to_vec).collect::<Result<Vec<_>, _>>()?;
            part.operator_state.push(OperatorStateSnapshot::inline(
                SPLITS,
                Redistribution::Split,
                self.splits_codec.clone(),
                items,
            ));
        }
        snapshot.add(part, started, None);
        self.chain.snapshot(&mut snapshot, &self.task)?;
        self.outlets.upload(snapshot, &self.task);
        self.enter(id.0 + 1);
        Ok(())
    }

    fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.tick = 0;
            self.asked_for_epoch = false;
            self.outlets.enter(epoch);
        }
    }

    fn time(&self) -> Time {
        epoch_start(self.epoch) + self.tick
    }

    /// Follows the ticks of other sources.
    fn catch_up(&mut self) {
        let mut furthest = self.time();
        if let Some(input) = &mut self.tick_input {
            let epoch = self.epoch;
            input(&mut |time| {
                if epoch_of(time) == epoch {
                    furthest = furthest.max(time);
                }
            });
        }
        if furthest > self.time() {
            self.tick = tick_of(furthest);
            self.outlets.downgrade(self.time());
        }
    }

    /// Tells the others that this source waits for them.
    fn tell_tick(&mut self, now: Instant) {
        let time = self.time();
        if let Some((output, capability)) = &mut self.tick_output
            && self.told.0 < time
        {
            output.give(&*capability, &mut vec![time]);
            drop(output.activate());
            self.told = (time, now);
        }
    }

    fn read(&mut self, now: Instant) -> Result<()> {
        let window = self.flow.available();
        if window == 0 {
            // Scheduled again when the frontier at the sinks moves.
            self.tell_tick(now);
            return Ok(());
        }
        let mut most = window.min(self.flow.quantum(now));
        if let Some(throttle) = &mut self.throttle {
            match throttle.available(now) {
                Ok(records) => most = most.min(records),
                Err(wait) => {
                    self.task.activate_after(wait);
                    return Ok(());
                }
            }
        }
        let sent_before = self.outlets.sent();
        let mut emitted = 0;
        let status = loop {
            let asked = (most - emitted).min(BATCH_RECORDS as u64);
            let status = self.poll(asked)?;
            let records = self.emit(now)?;
            emitted += records;
            if status != ReaderStatus::More || records == 0 || emitted >= most {
                break status;
            }
        };
        self.flow.led_to(emitted, self.outlets.sent() - sent_before);
        self.end_round(emitted, now);
        match status {
            ReaderStatus::More => {
                self.flow.goes_on(emitted, now);
                self.task.activate();
            }
            ReaderStatus::Idle => {}
            ReaderStatus::IdleFor(wait) => self.task.activate_after(wait),
            ReaderStatus::Finished => self.finish()?,
        }
        if std::mem::take(&mut self.output.is_idle) && status != ReaderStatus::Finished {
            self.set_idle(true)?;
        }
        Ok(())
    }

    fn poll(&mut self, most: u64) -> Result<ReaderStatus> {
        let _entered = self.task.enter(&self.name.name);
        match &mut self.reader {
            Some(reader) => reader.poll(usize::try_from(most).unwrap_or(BATCH_RECORDS), &mut self.output),
            None => Ok(ReaderStatus::Idle),
        }
    }

    /// Hands on what the reader has emitted, and returns how many records it was.
    fn emit(&mut self, now: Instant) -> Result<u64> {
        let records = self.output.records.len();
        if records > 0 {
            self.set_idle(false)?;
            std::mem::swap(&mut self.batch.records, &mut self.output.records);
            std::mem::swap(&mut self.batch.timestamps, &mut self.output.timestamps);
            self.flow.sent(self.time(), records as u64, now);
            if let Some(throttle) = &mut self.throttle {
                throttle.emitted(records as u64);
            }
            JobMetrics::add(&self.task.job.metrics.source_records, records);
            self.chain.batch(&mut self.batch, &self.task)?;
            self.batch.clear();
        }
        if let Some(watermark) = self.output.watermark.take() {
            self.chain.watermark(watermark, &self.task)?;
        }
        Ok(records as u64)
    }

    /// Begins the next tick if anything was emitted in this one.
    fn end_round(&mut self, emitted: u64, now: Instant) {
        if emitted > 0 {
            self.outlets.flush();
            self.tick += 1;
            self.outlets.downgrade(self.time());
            if self.tick > TICKS_MAX && !self.asked_for_epoch {
                self.asked_for_epoch = true;
                self.outlets.report(Report::NeedsEpoch { epoch: self.epoch });
            }
            if now.saturating_duration_since(self.told.1) >= TICK_SYNC && self.flow.is_in_flight() {
                self.tell_tick(now);
            }
        }
    }

    fn set_idle(&mut self, idle: bool) -> Result<()> {
        if std::mem::replace(&mut self.idle, idle) != idle {
            self.chain.idle(idle, &self.task)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.finished = true;
        self.set_idle(false)?;
        self.chain.watermark(WATERMARK_MAX, &self.task)?;
        self.outlets.report(Report::SourceFinished {
            operator: self.name.id.clone(),
            subtask: self.task.subtask,
        });
        Ok(())
    }
}
