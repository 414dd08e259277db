//! Functions of two inputs without a key, as a stage.

use super::function::{FunctionLogic, FunctionStage, Moment};
use crate::Result;
use crate::api::{
    BroadcastProcessFunction, CoProcessFunction, Collector, Data, FunctionContext, ReadOnlyContext,
};
use crate::runtime::batch::Batch;
use crate::runtime::stage::CoStage;
use crate::runtime::task::TaskContext;
use crate::state::operator::ErasedDescriptor;
use crate::state::{FunctionInitializationContext, FunctionSnapshotContext, OperatorStates};
use std::marker::PhantomData;
use std::sync::Arc;

/// A function of two inputs.
pub(crate) trait CoLogic<A, B, U>: FunctionLogic<U> {
    /// Takes a record of the first input.
    fn first(
        &mut self,
        record: A,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()>;

    /// Takes a record of the second input.
    fn second(
        &mut self,
        record: B,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()>;
}

impl<A: Data, B: Data, U: Data, L: CoLogic<A, B, U>> CoStage<A, B> for FunctionStage<U, L> {
    fn first(&mut self, batch: &mut Batch<A>, task: &TaskContext) -> Result<()> {
        self.each(batch, task, L::first)
    }

    fn second(&mut self, batch: &mut Batch<B>, task: &TaskContext) -> Result<()> {
        self.each(batch, task, L::second)
    }
}

/// Calls one closure for each input.
pub(crate) struct CoElements<A, B, F, G> {
    first: F,
    second: G,
    records: PhantomData<fn(A, B)>,
}

impl<A, B, F, G> CoElements<A, B, F, G> {
    pub(crate) fn new(first: F, second: G) -> Self {
        Self {
            first,
            second,
            records: PhantomData,
        }
    }
}

impl<A, B, U, F, G> FunctionLogic<U> for CoElements<A, B, F, G>
where
    A: Data,
    B: Data,
    F: 'static,
    G: 'static,
{
    const HAS_STATE: bool = false;

    fn initialize_state(&mut self, _: &mut FunctionInitializationContext<'_>) -> Result<()> {
        Ok(())
    }

    fn snapshot_state(&mut self, _: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        Ok(())
    }

    fn end_input(&mut self, _: &mut FunctionContext<'_>, _: &mut Collector<U>) -> Result<()> {
        Ok(())
    }
}

impl<A, B, U, F, G> CoLogic<A, B, U> for CoElements<A, B, F, G>
where
    A: Data,
    B: Data,
    F: FnMut(A, &mut Collector<U>) + 'static,
    G: FnMut(B, &mut Collector<U>) + 'static,
{
    #[inline]
    fn first(&mut self, record: A, _: Moment, _: &mut OperatorStates, out: &mut Collector<U>) -> Result<()> {
        (self.first)(record, out);
        Ok(())
    }

    #[inline]
    fn second(&mut self, record: B, _: Moment, _: &mut OperatorStates, out: &mut Collector<U>) -> Result<()> {
        (self.second)(record, out);
        Ok(())
    }
}

/// Calls a [`CoProcessFunction`].
pub(crate) struct CoProcess<A, B, F> {
    function: F,
    records: PhantomData<fn(A, B)>,
}

impl<A, B, F> CoProcess<A, B, F> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            records: PhantomData,
        }
    }
}

impl<A: Data, B: Data, U: Data, F: CoProcessFunction<A, B, U>> FunctionLogic<U> for CoProcess<A, B, F> {
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

impl<A: Data, B: Data, U: Data, F: CoProcessFunction<A, B, U>> CoLogic<A, B, U> for CoProcess<A, B, F> {
    #[inline]
    fn first(
        &mut self,
        record: A,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()> {
        self.function
            .process_element1(record, &mut FunctionContext::new(states, moment), out)
    }

    #[inline]
    fn second(
        &mut self,
        record: B,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()> {
        self.function
            .process_element2(record, &mut FunctionContext::new(states, moment), out)
    }
}

/// Calls a [`BroadcastProcessFunction`].
pub(crate) struct BroadcastProcess<A, B, F> {
    function: F,
    descriptors: Arc<[ErasedDescriptor]>,
    records: PhantomData<fn(A, B)>,
}

impl<A, B, F> BroadcastProcess<A, B, F> {
    pub(crate) fn new(function: F, descriptors: Arc<[ErasedDescriptor]>) -> Self {
        Self {
            function,
            descriptors,
            records: PhantomData,
        }
    }
}

impl<A, B, U, F> FunctionLogic<U> for BroadcastProcess<A, B, F>
where
    A: Data,
    B: Data,
    U: Data,
    F: BroadcastProcessFunction<A, B, U>,
{
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        ErasedDescriptor::register_all(&self.descriptors, context)?;
        self.function.initialize_state(context)
    }

    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        self.function.snapshot_state(context)
    }

    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<U>) -> Result<()> {
        let (broadcast, lists, moment) = context.parts();
        self.function
            .end_input(&mut ReadOnlyContext::new(broadcast, lists, moment), out)
    }
}

impl<A, B, U, F> CoLogic<A, B, U> for BroadcastProcess<A, B, F>
where
    A: Data,
    B: Data,
    U: Data,
    F: BroadcastProcessFunction<A, B, U>,
{
    #[inline]
    fn first(
        &mut self,
        record: A,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()> {
        let mut context = ReadOnlyContext::new(&states.broadcast, &mut states.lists, moment);
        self.function.process_element(record, &mut context, out)
    }

    fn second(
        &mut self,
        record: B,
        moment: Moment,
        states: &mut OperatorStates,
        out: &mut Collector<U>,
    ) -> Result<()> {
        let mut context = FunctionContext::new(states, moment);
        self.function.process_broadcast_element(record, &mut context, out)
    }
}
