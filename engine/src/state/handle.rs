//! What all handles to keyed state have in common.

use super::{AggregateFunction, AggregatingState, ListState, MapState, ReducingState, ValueState};
use crate::api::Data;
use millpond_backend_api::StateId;

/// A handle to keyed state of any kind, as
/// [`KeyedBroadcastContext::apply_to_keyed_state`](crate::api::KeyedBroadcastContext::apply_to_keyed_state) takes it.
pub trait KeyedStateHandle: sealed::HasState {}

pub(crate) mod sealed {
    use super::StateId;

    pub trait HasState {
        fn state(&self) -> StateId;
    }
}

impl<T: Data> KeyedStateHandle for ValueState<T> {}
impl<T: Data> KeyedStateHandle for ListState<T> {}
impl<K: Data, V: Data> KeyedStateHandle for MapState<K, V> {}
impl<T: Data> KeyedStateHandle for ReducingState<T> {}
impl<A: AggregateFunction> KeyedStateHandle for AggregatingState<A> {}

impl<T: Data> sealed::HasState for ValueState<T> {
    fn state(&self) -> StateId {
        self.state
    }
}

impl<T: Data> sealed::HasState for ListState<T> {
    fn state(&self) -> StateId {
        self.state
    }
}

impl<K: Data, V: Data> sealed::HasState for MapState<K, V> {
    fn state(&self) -> StateId {
        self.state
    }
}

impl<T: Data> sealed::HasState for ReducingState<T> {
    fn state(&self) -> StateId {
        self.value.state
    }
}

impl<A: AggregateFunction> sealed::HasState for AggregatingState<A> {
    fn state(&self) -> StateId {
        self.accumulator.state
    }
}
