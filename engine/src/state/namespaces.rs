//! States with a second dimension beside the key, and merging along it.
//!
//! A [`Namespaced`] state holds for each key one value, list, map or fold for each namespace, such as a window. It is what windows that merge (sessions) are made of: where two of them turn
//! out to be one, what was added to either is [merged](Namespaced::merge).

use super::context::KeyedContext;
use super::descriptor::StateRegistry;
use super::{
    AggregateFunction, AggregatingState, ListState, MapState, MergingAggregateFunction, ReducingState,
    ValueState,
};
use crate::api::Data;
use crate::codec;
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::StateId;
use std::marker::PhantomData;

/// Registers states with namespaces of type `N`: see [`StateRegistry::with_namespaces`].
#[derive(Debug)]
pub struct NamespacedRegistry<'a, N> {
    states: StateRegistry<'a>,
    namespace: PhantomData<fn() -> N>,
}

/// A state of type `S` for each key and namespace.
///
/// ```
/// use millpond_engine::Result;
/// use millpond_engine::state::{KeyedContext, ListState, Namespaced, StateRegistry};
///
/// fn open(states: &mut StateRegistry<'_>) -> Result<Namespaced<i64, ListState<String>>> {
///     states.with_namespaces::<i64>().list_state("sessions")
/// }
///
/// /// An event has shown that the sessions that begin at 7 and at 9 are one.
/// fn join(sessions: &Namespaced<i64, ListState<String>>, context: &mut KeyedContext) -> Result<Vec<String>> {
///     sessions.at(context, &9)?.add(context, &"late".to_owned())?;
///     sessions.merge(context, &7, &[9])?;
///     sessions.at(context, &7)?.get(context)
/// }
/// ```
pub struct Namespaced<N, S> {
    id: StateId,
    state: S,
    namespace: PhantomData<fn() -> N>,
}

impl<'a, N: Data> NamespacedRegistry<'a, N> {
    pub(super) fn new(states: StateRegistry<'a>) -> Self {
        Self {
            states,
            namespace: PhantomData,
        }
    }

    fn wrap<S>(
        &mut self,
        register: impl FnOnce(&mut StateRegistry<'a>) -> Result<S>,
        id: impl FnOnce(&S) -> StateId,
    ) -> Result<Namespaced<N, S>> {
        let state = register(&mut self.states)?;
        let id = id(&state);
        self.states.context().add_namespaces(id);
        Ok(Namespaced {
            id,
            state,
            namespace: PhantomData,
        })
    }

    /// As [`StateRegistry::value_state`].
    ///
    /// # Errors
    /// As there, and when a state of this name is stored without namespaces or with others.
    pub fn value_state<T: Data>(&mut self, name: &str) -> Result<Namespaced<N, ValueState<T>>> {
        self.wrap(|states| states.value_state(name), ValueState::id)
    }

    /// As [`StateRegistry::list_state`].
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn list_state<T: Data>(&mut self, name: &str) -> Result<Namespaced<N, ListState<T>>> {
        self.wrap(|states| states.list_state(name), ListState::id)
    }

    /// As [`StateRegistry::map_state`].
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn map_state<K: Data, V: Data>(&mut self, name: &str) -> Result<Namespaced<N, MapState<K, V>>> {
        self.wrap(|states| states.map_state(name), MapState::id)
    }

    /// As [`StateRegistry::reducing_state`].
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn reducing_state<T: Data>(
        &mut self,
        name: &str,
        reduce: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> Result<Namespaced<N, ReducingState<T>>> {
        self.wrap(|states| states.reducing_state(name, reduce), ReducingState::id)
    }

    /// As [`StateRegistry::aggregating_state`].
    ///
    /// # Errors
    /// As [`value_state`](Self::value_state).
    pub fn aggregating_state<A: AggregateFunction>(
        &mut self,
        name: &str,
        function: A,
    ) -> Result<Namespaced<N, AggregatingState<A>>> {
        self.wrap(
            |states| states.aggregating_state(name, function),
            AggregatingState::id,
        )
    }
}

impl<N: Data, S> Namespaced<N, S> {
    /// The state in `namespace`, of the current key. It stays in that namespace until the next call for this state, also for later records.
    ///
    /// # Errors
    /// When serde refuses the namespace.
    pub fn at(&self, context: &mut KeyedContext, namespace: &N) -> Result<&S> {
        let Some(place) = context.namespace(self.id) else {
            return Err(Error::new(
                ErrorKind::State,
                "a state with namespaces is used in another operator than the one that has registered it",
            ));
        };
        place.clear();
        codec::encode_into(namespace, place)?;
        Ok(&self.state)
    }

    /// Takes what is in each of `sources` by `take`, and leaves them empty; the target is not taken.
    fn take_all<T>(
        &self,
        context: &mut KeyedContext,
        target: &N,
        sources: &[N],
        take: impl Fn(&S, &mut KeyedContext) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let target = codec::to_vec(target)?;
        let mut taken = Vec::new();
        for source in sources {
            let state = self.at(context, source)?;
            if context.namespace(self.id).is_some_and(|source| *source != target) {
                taken.extend(take(state, context)?);
            }
        }
        Ok(taken)
    }
}

impl<N: Data, T: Data> Namespaced<N, ListState<T>> {
    /// Appends the lists in `sources` to the one in `target`, in that order, and removes them. Sources without a list are nothing, and so is the target among them.
    ///
    /// # Errors
    /// The backend's.
    pub fn merge(&self, context: &mut KeyedContext, target: &N, sources: &[N]) -> Result<()> {
        let taken = self.take_all(context, target, sources, ListState::take_bytes)?;
        let list = self.at(context, target)?;
        taken
            .iter()
            .try_for_each(|bytes| list.append_bytes(context, bytes))
    }
}

impl<N: Data, T: Data> Namespaced<N, ReducingState<T>> {
    /// Folds what is in `sources` into what is in `target`, in that order, and removes it. Sources without anything are nothing, and so is the target among them.
    ///
    /// # Errors
    /// The backend's.
    pub fn merge(&self, context: &mut KeyedContext, target: &N, sources: &[N]) -> Result<()> {
        let taken = self.take_all(context, target, sources, |state, context| {
            let value = state.get(context)?;
            state.clear(context)?;
            Ok(value)
        })?;
        let state = self.at(context, target)?;
        taken
            .into_iter()
            .try_for_each(|value| state.add(context, value).map(drop))
    }
}

impl<N: Data, A: MergingAggregateFunction> Namespaced<N, AggregatingState<A>> {
    /// Merges the accumulators in `sources` into the one in `target`, in that order, and removes them. Sources without one are nothing, and so is the target among them.
    ///
    /// # Errors
    /// The backend's.
    pub fn merge(&self, context: &mut KeyedContext, target: &N, sources: &[N]) -> Result<()> {
        let taken = self.take_all(context, target, sources, AggregatingState::take)?;
        let state = self.at(context, target)?;
        taken
            .into_iter()
            .try_for_each(|accumulator| state.merge_in(context, accumulator))
    }
}

impl<N, S: Clone> Clone for Namespaced<N, S> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            state: self.state.clone(),
            namespace: PhantomData,
        }
    }
}

impl<N, S: Copy> Copy for Namespaced<N, S> {}

impl<N, S: std::fmt::Debug> std::fmt::Debug for Namespaced<N, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespaced").field(&self.state).finish()
    }
}
