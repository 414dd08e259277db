//! Built-in folds as nodes of a plan.

use super::data::Data;
use super::nodes::keyed_stage;
use crate::Result;
use crate::runtime::plan::types::AnyStage;
use crate::runtime::plan::{OperatorNode, StageBuild, TypeOps, type_ops};
use crate::runtime::stages::{Folding, KeySelector, PlannedStates, Planning, plan_keyed};
use crate::state::RunningFold;
use std::marker::PhantomData;
use std::sync::Arc;

/// Counts records; the result is the key with the count.
#[derive(Clone)]
pub(crate) struct Count<K, S> {
    select: S,
    key: PhantomData<fn() -> K>,
}

impl<K, S> Count<K, S> {
    pub(crate) fn new(select: S) -> Self {
        Self {
            select,
            key: PhantomData,
        }
    }
}

impl<T, K, S: Fn(&T) -> K> RunningFold<T, (K, u64)> for Count<K, S> {
    type Accumulator = u64;

    #[inline]
    fn fold<E>(
        &self,
        before: Option<u64>,
        record: T,
        store: impl FnOnce(&u64) -> Result<(), E>,
    ) -> Result<(K, u64), E> {
        let count = before.unwrap_or(0) + 1;
        store(&count)?;
        Ok(((self.select)(&record), count))
    }
}

/// Folds records by a function of two.
#[derive(Clone)]
pub(crate) struct Reduce<F>(pub(crate) F);

impl<T: Data, F: Fn(T, T) -> T> RunningFold<T, T> for Reduce<F> {
    type Accumulator = T;

    #[inline]
    fn fold<E>(&self, before: Option<T>, record: T, store: impl FnOnce(&T) -> Result<(), E>) -> Result<T, E> {
        let folded = match before {
            Some(before) => (self.0)(before, record),
            None => record,
        };
        store(&folded)?;
        Ok(folded)
    }
}

/// A fold that emits its result after each record. Its state is found by `state`.
pub(crate) struct FoldNode<T, K, U, S, F> {
    state: &'static str,
    select: S,
    fold: F,
    types: PhantomData<fn(T, K) -> U>,
}

impl<T: Data, K: Data, U: Data, S: KeySelector<T, K>, F: RunningFold<T, U> + Clone> FoldNode<T, K, U, S, F> {
    pub(crate) fn new(state: &'static str, select: S, fold: F) -> Self {
        Self {
            state,
            select,
            fold,
            types: PhantomData,
        }
    }

    /// What one subtask does.
    fn logic(&self) -> Folding<K, S, F, F::Accumulator> {
        Folding::new(self.state, self.select.clone(), self.fold.clone())
    }
}

impl<T, K, U, S, F> OperatorNode for FoldNode<T, K, U, S, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: RunningFold<T, U> + Clone + Send + Sync + 'static,
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
