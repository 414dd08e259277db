//! States that fold what is added to them: reducing and aggregating.

use super::ValueState;
use super::context::KeyedContext;
use crate::Result;
use crate::api::Data;
use millpond_backend_api::StateId;
use std::sync::Arc;

/// A state that folds what is added into one value of the same type, for each key.
#[derive(Clone)]
pub struct ReducingState<T> {
    pub(super) value: ValueState<T>,
    reduce: Arc<dyn Fn(T, T) -> T + Send + Sync>,
}

impl<T: Data> ReducingState<T> {
    pub(crate) fn new(value: ValueState<T>, reduce: Arc<dyn Fn(T, T) -> T + Send + Sync>) -> Self {
        Self { value, reduce }
    }

    /// The state's number.
    pub(super) fn id(&self) -> StateId {
        self.value.id()
    }

    /// Folds `value` in and returns the result; the first one is stored as it is.
    ///
    /// # Errors
    /// As those of [`ValueState`].
    #[inline]
    pub fn add(&self, context: &mut KeyedContext, value: T) -> Result<T> {
        self.value.modify(context, |before| match before {
            Some(before) => (self.reduce)(before, value),
            None => value,
        })
    }

    /// What has been folded so far; `None` if nothing was added.
    ///
    /// # Errors
    /// As those of [`ValueState`].
    pub fn get(&self, context: &mut KeyedContext) -> Result<Option<T>> {
        self.value.value(context)
    }

    /// Forgets what was added for the current key.
    ///
    /// # Errors
    /// As those of [`ValueState`].
    pub fn clear(&self, context: &mut KeyedContext) -> Result<()> {
        self.value.clear(context)
    }
}

impl<T> std::fmt::Debug for ReducingState<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReducingState").field(&self.value).finish()
    }
}

/// Folds values into an accumulator, and makes a result of it.
pub trait AggregateFunction: Send + Sync + 'static {
    /// What is added.
    type Input;
    /// What is stored.
    type Accumulator: Data;
    /// What is read.
    type Output;

    /// The accumulator before anything is added.
    fn create(&self) -> Self::Accumulator;
    /// The accumulator with `value` added.
    fn add(&self, value: Self::Input, accumulator: Self::Accumulator) -> Self::Accumulator;
    /// The result of an accumulator.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Output;
}

/// An aggregate function that can make one accumulator of two, as windows that merge need it.
pub trait MergingAggregateFunction: AggregateFunction {
    /// The accumulator of what was added to `left` or to `right`.
    fn merge(&self, left: Self::Accumulator, right: Self::Accumulator) -> Self::Accumulator;
}

/// A state that folds what is added into an accumulator, for each key.
pub struct AggregatingState<A: AggregateFunction> {
    pub(super) accumulator: ValueState<A::Accumulator>,
    function: Arc<A>,
}

impl<A: AggregateFunction> AggregatingState<A> {
    pub(crate) fn new(accumulator: ValueState<A::Accumulator>, function: Arc<A>) -> Self {
        Self {
            accumulator,
            function,
        }
    }

    /// The state's number.
    pub(super) fn id(&self) -> StateId {
        self.accumulator.id()
    }

    /// Removes the accumulator and gives it.
    pub(super) fn take(&self, context: &mut KeyedContext) -> Result<Option<A::Accumulator>> {
        let accumulator = self.accumulator.value(context)?;
        self.accumulator.clear(context)?;
        Ok(accumulator)
    }

    /// Folds `value` in.
    ///
    /// # Errors
    /// As those of [`ValueState`].
    pub fn add(&self, context: &mut KeyedContext, value: A::Input) -> Result<()> {
        let before = self
            .accumulator
            .value(context)?
            .unwrap_or_else(|| self.function.create());
        self.accumulator
            .update(context, &self.function.add(value, before))
    }

    /// The result; `None` if nothing was added.
    ///
    /// # Errors
    /// As those of [`ValueState`].
    pub fn get(&self, context: &mut KeyedContext) -> Result<Option<A::Output>> {
        Ok(self
            .accumulator
            .value(context)?
            .map(|accumulator| self.function.result(&accumulator)))
    }

    /// Forgets what was added for the current key.
    ///
    /// # Errors
    /// As those of [`ValueState`].
    pub fn clear(&self, context: &mut KeyedContext) -> Result<()> {
        self.accumulator.clear(context)
    }
}

impl<A: MergingAggregateFunction> AggregatingState<A> {
    /// Merges an accumulator into the one that is there.
    pub(super) fn merge_in(&self, context: &mut KeyedContext, accumulator: A::Accumulator) -> Result<()> {
        let merged = match self.accumulator.value(context)? {
            Some(before) => self.function.merge(before, accumulator),
            None => accumulator,
        };
        self.accumulator.update(context, &merged)
    }
}

impl<A: AggregateFunction> Clone for AggregatingState<A> {
    fn clone(&self) -> Self {
        Self {
            accumulator: self.accumulator,
            function: Arc::clone(&self.function),
        }
    }
}

impl<A: AggregateFunction> std::fmt::Debug for AggregatingState<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AggregatingState")
            .field(&self.accumulator)
            .finish()
    }
}
