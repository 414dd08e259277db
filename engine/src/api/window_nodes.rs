//! Windowed operators as nodes of a plan.

use super::collector::{Collector, OutputTag};
use super::data::Data;
use super::nodes::keyed_stage;
use super::windows::{TimeWindow, TumblingEventTimeWindows};
use crate::Result;
use crate::runtime::plan::types::AnyStage;
use crate::runtime::plan::{OperatorNode, StageBuild, TypeOps, type_ops};
use crate::runtime::stages::{KeySelector, PlannedStates, Planning, WindowFold, Windowing, plan_keyed};
use crate::state::AggregateFunction;
use std::marker::PhantomData;
use std::sync::Arc;

/// Folds records into one by a function of two.
pub(crate) struct Reduce<F>(pub(crate) F);

impl<T: Data, F: Fn(T, T) -> T + Send + Sync + 'static> WindowFold<T> for Reduce<F> {
    type Accumulator = T;
    type Output = T;

    #[inline]
    fn add(&self, before: Option<T>, record: T) -> T {
        match before {
            Some(before) => (self.0)(before, record),
            None => record,
        }
    }

    #[inline]
    fn result(&self, accumulator: T) -> T {
        accumulator
    }
}

/// Folds records by an aggregate function.
pub(crate) struct Aggregate<A>(pub(crate) A);

impl<T: Data, A: AggregateFunction<Input = T>> WindowFold<T> for Aggregate<A> {
    type Accumulator = A::Accumulator;
    type Output = A::Output;

    #[inline]
    fn add(&self, before: Option<A::Accumulator>, record: T) -> A::Accumulator {
        self.0.add(record, before.unwrap_or_else(|| self.0.create()))
    }

    #[inline]
    fn result(&self, accumulator: A::Accumulator) -> A::Output {
        self.0.result(&accumulator)
    }
}

pub(crate) struct WindowNode<T, K, U, S, A, F> {
    windows: TumblingEventTimeWindows,
    late: Option<OutputTag<T>>,
    select: S,
    fold: Arc<A>,
    emit: F,
    types: PhantomData<fn(T, K) -> U>,
}

impl<T, K, U, S, A, F> WindowNode<T, K, U, S, A, F> {
    pub(crate) fn new(
        windows: TumblingEventTimeWindows,
        late: Option<OutputTag<T>>,
        select: S,
        fold: A,
        emit: F,
    ) -> Self {
        Self {
            windows,
            late,
            select,
            fold: Arc::new(fold),
            emit,
            types: PhantomData,
        }
    }
}

impl<T: Data, K: Data, U, S: Clone, A: WindowFold<T>, F: Clone> WindowNode<T, K, U, S, A, F> {
    /// What one subtask does.
    fn logic(&self) -> Windowing<T, K, S, A, F> {
        Windowing::new(
            self.windows,
            self.late.clone(),
            self.select.clone(),
            Arc::clone(&self.fold),
            self.emit.clone(),
        )
    }
}

impl<T, K, U, S, A, F> OperatorNode for WindowNode<T, K, U, S, A, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    A: WindowFold<T>,
    F: FnMut(&K, TimeWindow, A::Output, &mut Collector<U>) + Clone + Send + Sync + 'static,
{
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<U>()
    }

    fn plan_states(&self, planning: &Planning<'_>) -> Result<PlannedStates> {
        plan_keyed::<T, U>(self.logic(), planning)
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        keyed_stage::<T, U>(self.logic(), build)
    }
}
