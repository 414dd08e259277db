//! One value a key.

use super::context::KeyedContext;
use super::ttl::Expiry;
use crate::api::Data;
use crate::{Result, codec};
use millpond_backend_api::StateId;
use std::marker::PhantomData;

/// A state that holds one value for each key. A handle: cheap to copy, without the value.
///
/// Values of a fixed width (numbers, tuples, arrays and structs of such) are read and written in place.
pub struct ValueState<T> {
    pub(super) state: StateId,
    /// The slots of the state, where it has some.
    column: Option<usize>,
    /// If values expire.
    expiry: Option<Expiry>,
    value: PhantomData<fn() -> T>,
}

impl<T: Data> ValueState<T> {
    pub(crate) fn new(state: StateId, column: Option<usize>, expiry: Option<Expiry>) -> Self {
        Self {
            state,
            column,
            expiry,
            value: PhantomData,
        }
    }

    /// The state's number.
    pub(super) fn id(&self) -> StateId {
        self.state
    }

    /// The slots of the state, where values are in them as they are.
    pub(crate) fn slots(&self) -> Option<usize> {
        self.column.filter(|_| self.expiry.is_none())
    }

    /// The value of the current key; `None` if there is none.
    ///
    /// # Errors
    /// The backend's, and when the stored bytes are no `T`.
    #[inline]
    pub fn value(&self, context: &mut KeyedContext) -> Result<Option<T>> {
        let stored = match (self.column, self.expiry) {
            (Some(column), None) => return context.slot_get(column),
            (Some(column), Some(expiry)) => return context.slot_get_timed(column, expiry),
            (None, None) => context.get(self.state, &[])?,
            (None, Some(expiry)) => context.get_timed(self.state, &[], expiry)?,
        };
        match stored {
            Some(bytes) => Ok(Some(codec::decode(bytes)?)),
            None => Ok(None),
        }
    }

    /// Sets the value of the current key.
    ///
    /// # Errors
    /// The backend's, and when serde refuses the value.
    #[inline]
    pub fn update(&self, context: &mut KeyedContext, value: &T) -> Result<()> {
        match (self.column, self.expiry) {
            (Some(column), None) => context.slot_put(column, value),
            (Some(column), Some(_)) => context.slot_put_timed(column, value),
            (None, None) => context.put(self.state, &[], value),
            (None, Some(_)) => context.put_timed(self.state, &[], value),
        }
    }

    /// Sets the value of the current key to what `change` makes of it, and returns the new value: faster than
    /// [`value`](Self::value) and [`update`](Self::update) one after the other.
    ///
    /// # Errors
    /// As those of the two.
    #[inline]
    pub fn modify(&self, context: &mut KeyedContext, change: impl FnOnce(Option<T>) -> T) -> Result<T> {
        match (self.column, self.expiry) {
            (Some(column), None) => return context.slot_modify(column, change),
            (Some(column), Some(expiry)) => return context.slot_modify_timed(column, expiry, change),
            (None, _) => {}
        }
        let after = change(self.value(context)?);
        self.update(context, &after)?;
        Ok(after)
    }

    /// Removes the value of the current key.
    ///
    /// # Errors
    /// The backend's.
    pub fn clear(&self, context: &mut KeyedContext) -> Result<()> {
        if let Some(column) = self.column {
            return context.slot_clear(column);
        }
        context.delete(self.state, &[]).map(drop)
    }
}

impl<T> Clone for ValueState<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ValueState<T> {}

impl<T> std::fmt::Debug for ValueState<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ValueState").field(&self.state.0).finish()
    }
}
