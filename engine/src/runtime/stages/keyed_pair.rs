//! Functions of two inputs with keyed state and timers in common, as what a keyed stage does.

use super::keyed::{KeySelector, KeyedLogic, KeyedStage};
use super::outputs::Outputs;
use super::per_record::{at_key, each_record};
use crate::Result;
use crate::api::{
    Collector, Data, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedCoProcessFunction,
    KeyedReadOnlyContext, ProcessContext, Timer,
};
use crate::codec::{TypeShape, shape_of};
use crate::runtime::batch::Batch;
use crate::runtime::stage::CoStage;
use crate::runtime::task::TaskContext;
use crate::state::operator::ErasedDescriptor;
use crate::state::{
    BroadcastStates, DueTimer, FunctionInitializationContext, FunctionSnapshotContext, KeyedContext,
    StateRegistry, TimerDomain,
};
use std::marker::PhantomData;
use std::sync::Arc;

/// What a keyed operator with two inputs does with their records.
pub(crate) trait KeyedPair<A, B, U>: KeyedLogic<(A, B), U> {
    /// Takes the records of a batch of the first input.
    fn first(
        &mut self,
        batch: &mut Batch<A>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()>;

    /// Takes the records of a batch of the second input.
    fn second(
        &mut self,
        batch: &mut Batch<B>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()>;
}

impl<A: Data, B: Data, U: Data, L: KeyedPair<A, B, U>> CoStage<A, B> for KeyedStage<(A, B), U, L> {
    fn first(&mut self, batch: &mut Batch<A>, task: &TaskContext) -> Result<()> {
        self.take(batch, task, L::first)
    }

    fn second(&mut self, batch: &mut Batch<B>, task: &TaskContext) -> Result<()> {
        self.take(batch, task, L::second)
    }
}

/// Calls a [`KeyedCoProcessFunction`]. Compiled for the function, so that there is no dynamic call a record.
pub(crate) struct CoPerRecord<A, B, K, S, R, F> {
    first: S,
    second: R,
    function: F,
    types: PhantomData<fn(A, B, K)>,
}

impl<A, B, K, S, R, F> CoPerRecord<A, B, K, S, R, F> {
    pub(crate) fn new(first: S, second: R, function: F) -> Self {
        Self {
            first,
            second,
            function,
            types: PhantomData,
        }
    }
}

impl<A, B, K, U, S, R, F> KeyedLogic<(A, B), U> for CoPerRecord<A, B, K, S, R, F>
where
    A: Data,
    B: Data,
    K: Data,
    U: Data,
    S: KeySelector<A, K>,
    R: KeySelector<B, K>,
    F: KeyedCoProcessFunction<K, A, B, U>,
{
    fn key_shape(&self) -> TypeShape {
        shape_of::<K>()
    }

    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        self.function.initialize_state(context)
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        self.function.snapshot_state(context)
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.function.open(states)
    }

    fn timer(
        &mut self,
        domain: TimerDomain,
        due: &DueTimer,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        _: &TaskContext,
    ) -> Result<()> {
        at_key(due, context, |context| {
            let timer = Timer {
                timestamp: due.time,
                domain,
            };
            let mut process = ProcessContext::new(context, Some(due.time));
            self.function
                .on_timer(timer, &mut process, &mut outputs.collector)
        })
    }
}

impl<A, B, K, U, S, R, F> KeyedPair<A, B, U> for CoPerRecord<A, B, K, S, R, F>
where
    A: Data,
    B: Data,
    K: Data,
    U: Data,
    S: KeySelector<A, K>,
    R: KeySelector<B, K>,
    F: KeyedCoProcessFunction<K, A, B, U>,
{
    fn first(
        &mut self,
        batch: &mut Batch<A>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        let Self { first, function, .. } = self;
        each_record(
            &*first,
            batch,
            context,
            outputs,
            task,
            |record, timestamp, context, out| {
                function.process_element1(record, &mut ProcessContext::new(context, timestamp), out)
            },
        )
    }

    fn second(
        &mut self,
        batch: &mut Batch<B>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        let Self { second, function, .. } = self;
        each_record(
            &*second,
            batch,
            context,
            outputs,
            task,
            |record, timestamp, context, out| {
                function.process_element2(record, &mut ProcessContext::new(context, timestamp), out)
            },
        )
    }
}

/// Calls a [`KeyedBroadcastProcessFunction`].
pub(crate) struct BroadcastPerRecord<A, B, K, S, F> {
    select: S,
    function: F,
    descriptors: Arc<[ErasedDescriptor]>,
    types: PhantomData<fn(A, B, K)>,
}

impl<A, B, K, S, F> BroadcastPerRecord<A, B, K, S, F> {
    pub(crate) fn new(select: S, function: F, descriptors: Arc<[ErasedDescriptor]>) -> Self {
        Self {
            select,
            function,
            descriptors,
            types: PhantomData,
        }
    }
}

/// Calls `call` with the broadcast states taken out of the context: they can be read beside keyed state, and not be changed.
fn read_only(
    context: &mut KeyedContext,
    call: impl FnOnce(&mut KeyedContext, &BroadcastStates) -> Result<()>,
) -> Result<()> {
    let broadcast = std::mem::take(&mut context.operator.broadcast);
    let result = call(context, &broadcast);
    context.operator.broadcast = broadcast;
    result
}

impl<A, B, K, U, S, F> KeyedLogic<(A, B), U> for BroadcastPerRecord<A, B, K, S, F>
where
    A: Data,
    B: Data,
    K: Data,
    U: Data,
    S: KeySelector<A, K>,
    F: KeyedBroadcastProcessFunction<K, A, B, U>,
{
    fn key_shape(&self) -> TypeShape {
        shape_of::<K>()
    }

    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        ErasedDescriptor::register_all(&self.descriptors, context)?;
        self.function.initialize_state(context)
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        self.function.snapshot_state(context)
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.function.open(states)
    }

    fn timer(
        &mut self,
        domain: TimerDomain,
        due: &DueTimer,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        _: &TaskContext,
    ) -> Result<()> {
        let timer = Timer {
            timestamp: due.time,
            domain,
        };
        read_only(context, |context, broadcast| {
            at_key(due, context, |context| {
                let mut process = KeyedReadOnlyContext::new(context, broadcast, Some(due.time));
                self.function
                    .on_timer(timer, &mut process, &mut outputs.collector)
            })
        })
    }
}

impl<A, B, K, U, S, F> KeyedPair<A, B, U> for BroadcastPerRecord<A, B, K, S, F>
where
    A: Data,
    B: Data,
    K: Data,
    U: Data,
    S: KeySelector<A, K>,
    F: KeyedBroadcastProcessFunction<K, A, B, U>,
{
    fn first(
        &mut self,
        batch: &mut Batch<A>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        let Self { select, function, .. } = self;
        read_only(context, |context, broadcast| {
            let call = |record, timestamp, context: &mut _, out: &mut Collector<U>| {
                let mut process = KeyedReadOnlyContext::new(context, broadcast, timestamp);
                function.process_element(record, &mut process, out)
            };
            each_record(&*select, batch, context, outputs, task, call)
        })
    }

    fn second(
        &mut self,
        batch: &mut Batch<B>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        for (index, record) in batch.records.drain(..).enumerate() {
            let timestamp = batch.timestamps.get(index).copied();
            outputs.collector.timestamp = timestamp;
            let mut process = KeyedBroadcastContext::new(context, timestamp);
            self.function
                .process_broadcast_element(record, &mut process, &mut outputs.collector)?;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        Ok(())
    }
}
