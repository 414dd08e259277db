//! Functions without a key that may have operator state, as a stage.

use super::operator_state::{
    PlannedStates, Planning, failed_to_open, open_operator_state, write_operator_state,
};
use super::outputs::Outputs;
use crate::Result;
use crate::api::{
    Collector, Data, FunctionContext, ProcessFunction, TimestampMs, WATERMARK_MAX, WATERMARK_MIN,
};
use crate::runtime::batch::Batch;
use crate::runtime::snapshot::{OperatorName, SnapshotContext};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::TaskContext;
use crate::state::{FunctionInitializationContext, FunctionSnapshotContext, OperatorStates};
use std::marker::PhantomData;
use std::time::Instant;

/// When something happens to a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The event time of the record, if it has one.
    pub(crate) timestamp: Option<TimestampMs>,
    /// The watermark.
    pub(crate) watermark: TimestampMs,
}

/// What a function does apart from taking records; the [`FunctionStage`] around it keeps its state.
pub(crate) trait FunctionLogic<U>: 'static {
    /// Whether it may have state in checkpoints.
    const HAS_STATE: bool = true;

    /// Asks for the states.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()>;

    /// The states are about to be written.
    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()>;

    /// Nothing comes any more.
    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<U>) -> Result<()>;
}

/// Has a function ask for its states with nothing in them, to find out what would become of those that are stored.
pub(crate) fn plan_function<U, L: FunctionLogic<U>>(
    mut logic: L,
    planning: &Planning<'_>,
) -> Result<PlannedStates> {
    Ok(PlannedStates {
        keyed: Vec::new(),
        operator: Some(planning.operator_states(|context| logic.initialize_state(context))?),
    })
}

/// A function of one input.
pub(crate) trait ElementLogic<T, U>: FunctionLogic<U> {
    /// Takes a record.
    fn element(
        &mut self,
        record: T,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()>;
}

/// A function with its operator state.
pub(crate) struct FunctionStage<U, L> {
    name: OperatorName,
    logic: L,
    states: OperatorStates,
    watermark: TimestampMs,
    /// The checkpoint that was restored has what the function did at the end of its input.
    had_ended: bool,
    outputs: Outputs<U>,
}

impl<U: Data, L: FunctionLogic<U>> FunctionStage<U, L> {
    pub(crate) fn new(name: OperatorName, logic: L, outputs: Outputs<U>) -> Self {
        Self {
            name,
            logic,
            states: OperatorStates::default(),
            watermark: WATERMARK_MIN,
            had_ended: false,
            outputs,
        }
    }

    /// Has `call` take every record of a batch. Compiled for the function, so that there is no dynamic call a record.
    pub(crate) fn each<T>(
        &mut self,
        batch: &mut Batch<T>,
        task: &TaskContext,
        mut call: impl FnMut(&mut L, T, Moment, &mut OperatorStates, &mut Collector<U>) -> Result<()>,
    ) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        let Self {
            logic,
            states,
            watermark,
            outputs,
            ..
        } = self;
        let is_stamped = !batch.timestamps.is_empty();
        for (index, record) in batch.records.drain(..).enumerate() {
            let timestamp = if is_stamped {
                batch.timestamps.get(index).copied()
            } else {
                None
            };
            outputs.collector.timestamp = timestamp;
            let moment = Moment {
                timestamp,
                watermark: *watermark,
            };
            call(logic, record, moment, states, &mut outputs.collector)?;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        batch.clear();
        outputs.flush(task)
    }
}

impl<T: Data, U: Data, L: ElementLogic<T, U>> Stage<T> for FunctionStage<U, L> {
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        self.each(batch, task, L::element)
    }
}

impl<U: Data, L: FunctionLogic<U>> StageControl for FunctionStage<U, L> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        Some(&mut self.outputs)
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.outputs.open(task)?;
        if !L::HAS_STATE {
            return Ok(());
        }
        self.had_ended = task.job.had_finished(&self.name.id);
        let _entered = task.enter(&self.name.name);
        self.states = open_operator_state(&self.name, task, |context| self.logic.initialize_state(context))
            .map_err(failed_to_open)?;
        Ok(())
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        self.watermark = watermark;
        if watermark == WATERMARK_MAX && !self.had_ended {
            let _entered = task.enter(&self.name.name);
            let moment = Moment {
                timestamp: None,
                watermark,
            };
            self.outputs.collector.timestamp = None;
            let mut context = FunctionContext::new(&mut self.states, moment);
            self.logic.end_input(&mut context, &mut self.outputs.collector)?;
            self.outputs.flush(task)?;
        }
        self.outputs.watermark(watermark, task)
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        if !L::HAS_STATE {
            return self.outputs.snapshot(snapshot, task);
        }
        let started = Instant::now();
        let part = self.name.snapshot(task);
        if snapshot.writes_state() {
            let _entered = task.enter(&self.name.name);
            self.logic.snapshot_state(&mut FunctionSnapshotContext {
                states: &mut self.states,
                checkpoint: snapshot.id,
            })?;
            let states = self.states.encode()?;
            let upload = Box::new(move |run: &_, part: &mut _| write_operator_state(states, run, part));
            snapshot.add(part, started, Some(upload));
        } else {
            snapshot.add(part, started, None);
        }
        self.outputs.snapshot(snapshot, task)
    }
}

/// Calls a [`ProcessFunction`].
pub(crate) struct Process<T, F> {
    function: F,
    record: PhantomData<fn(T)>,
}

impl<T, F> Process<T, F> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            record: PhantomData,
        }
    }
}

impl<T: Data, U: Data, F: ProcessFunction<T, U>> FunctionLogic<U> for Process<T, F> {
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.function.initialize_state(context)
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        self.function.snapshot_state(context)
    }

    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<U>) -> Result<()> {
        self.function.end_input(context, out)
    }
}

impl<T: Data, U: Data, F: ProcessFunction<T, U>> ElementLogic<T, U> for Process<T, F> {
    #[inline]
    fn element(
        &mut self,
        record: T,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()> {
        self.function
            .process_element(record, &mut FunctionContext::new(states, moment), out)
    }
}
