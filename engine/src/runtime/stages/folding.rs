//! Built-in folds that emit their result after each record, as what a keyed stage does.
//!
//! Where values have slots, a batch is one loop over records, slots and results, without what a function of a user may do between two records: ask for other states,
//! set timers, emit nothing or more than one.

use super::keyed::{KeySelector, KeyedBatch, KeyedLogic};
use super::outputs::Outputs;
use super::per_record::each_record;
use crate::Result;
use crate::api::Data;
use crate::codec::{TypeShape, shape_of};
use crate::runtime::batch::{BATCH_RECORDS, Batch};
use crate::runtime::task::TaskContext;
use crate::state::{DueTimer, KeyedContext, RunningFold, StateRegistry, TimerDomain, ValueState};
use std::marker::PhantomData;

/// Folds the records of each key into the state `name`.
pub(crate) struct Folding<K, S, F, A> {
    select: S,
    fold: F,
    name: &'static str,
    folded: Option<ValueState<A>>,
    key: PhantomData<fn() -> K>,
}

impl<K, S, F, A> Folding<K, S, F, A> {
    pub(crate) fn new(name: &'static str, select: S, fold: F) -> Self {
        Self {
            select,
            fold,
            name,
            folded: None,
            key: PhantomData,
        }
    }
}

impl<T, K, U, S, F> KeyedLogic<T, U> for Folding<K, S, F, F::Accumulator>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: RunningFold<T, U> + 'static,
{
    fn key_shape(&self) -> TypeShape {
        shape_of::<K>()
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        self.folded = Some(states.value_state(self.name)?);
        Ok(())
    }

    fn timer(
        &mut self,
        _: TimerDomain,
        _: &DueTimer,
        _: &mut KeyedContext,
        _: &mut Outputs<U>,
        _: &TaskContext,
    ) -> Result<()> {
        Ok(())
    }
}

impl<T, K, U, S, F> KeyedBatch<T, U> for Folding<K, S, F, F::Accumulator>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: RunningFold<T, U> + 'static,
{
    fn batch(
        &mut self,
        batch: &mut Batch<T>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        let Self {
            select, fold, folded, ..
        } = self;
        let Some(state) = *folded else { return Ok(()) };
        let Some(column) = state.slots() else {
            return each_record(
                &*select,
                batch,
                context,
                outputs,
                task,
                |record, _, context, out| {
                    let before = state.value(context)?;
                    let result = fold.fold(before, record, |after| state.update(context, after))?;
                    out.collect(result);
                    Ok(())
                },
            );
        };
        context.keys.set(&batch.records, &*select, &mut batch.hashes)?;
        let mut at = 0;
        let mut records = batch.records.drain(..);
        while records.len() > 0 {
            context.select(at);
            let results = &mut outputs.collector.batch;
            let room = BATCH_RECORDS.saturating_sub(results.records.len()).max(1);
            let taken = room.min(records.len());
            context.slot_fold(column, records.by_ref().take(taken), fold, &mut results.records)?;
            let timestamps = batch.timestamps.get(at..at + taken);
            results
                .timestamps
                .extend_from_slice(timestamps.unwrap_or_default());
            at += taken;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        drop(records);
        context.end_batch()
    }
}
