//! Functions that are called record by record, and timer by timer, as what a keyed stage does.

use super::keyed::{KeySelector, KeyedBatch, KeyedLogic};
use super::outputs::Outputs;
use crate::Result;
use crate::api::{Collector, Data, KeyedProcessFunction, ProcessContext, Timer, TimestampMs};
use crate::codec::{TypeShape, shape_of};
use crate::runtime::batch::Batch;
use crate::runtime::task::TaskContext;
use crate::state::{
    DueTimer, FunctionInitializationContext, FunctionSnapshotContext, KeyedContext, StateRegistry,
    TimerDomain,
};
use std::marker::PhantomData;

/// Makes the key of a timer the current one, calls `call`, and ends the batch that consists of it.
pub(super) fn at_key(
    due: &DueTimer,
    context: &mut KeyedContext,
    call: impl FnOnce(&mut KeyedContext) -> Result<()>,
) -> Result<()> {
    context.keys.push_encoded(&due.key);
    context.select(0);
    call(context)?;
    context.end_batch()
}

/// Calls a [`KeyedProcessFunction`]. Compiled for the function, so that there is no dynamic call a record.
pub(crate) struct PerRecord<K, S, F> {
    select: S,
    function: F,
    key: PhantomData<fn(K)>,
}

impl<K, S, F> PerRecord<K, S, F> {
    pub(crate) fn new(select: S, function: F) -> Self {
        Self {
            select,
            function,
            key: PhantomData,
        }
    }
}

impl<T, K, U, S, F> KeyedLogic<T, U> for PerRecord<K, S, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: KeyedProcessFunction<K, T, U>,
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

impl<T, K, U, S, F> KeyedBatch<T, U> for PerRecord<K, S, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: KeyedProcessFunction<K, T, U>,
{
    fn batch(
        &mut self,
        batch: &mut Batch<T>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        let Self { select, function, .. } = self;
        each_record(
            &*select,
            batch,
            context,
            outputs,
            task,
            |record, timestamp, context, out| {
                function.process_element(record, &mut ProcessContext::new(context, timestamp), out)
            },
        )
    }
}

/// Has `call` take every record of a batch, its key being the current one.
#[inline]
pub(super) fn each_record<T: Data, K: Data, U: Data>(
    select: impl Fn(&T) -> K,
    batch: &mut Batch<T>,
    context: &mut KeyedContext,
    outputs: &mut Outputs<U>,
    task: &TaskContext,
    mut call: impl FnMut(T, Option<TimestampMs>, &mut KeyedContext, &mut Collector<U>) -> Result<()>,
) -> Result<()> {
    context.keys.set(&batch.records, select, &mut batch.hashes)?;
    let is_stamped = !batch.timestamps.is_empty();
    outputs.collector.timestamp = None;
    for (index, record) in batch.records.drain(..).enumerate() {
        context.select(index);
        let timestamp = if is_stamped {
            batch.timestamps.get(index).copied()
        } else {
            None
        };
        if is_stamped {
            outputs.collector.timestamp = timestamp;
        }
        call(record, timestamp, context, &mut outputs.collector)?;
        if outputs.collector.is_full() {
            outputs.flush(task)?;
        }
    }
    context.end_batch()
}
