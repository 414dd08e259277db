//! Two streams of different types that one operator reads.

use super::broadcast_function::{BroadcastProcessFunction, KeyedBroadcastProcessFunction};
use super::co_function::{CoProcessFunction, KeyedCoProcessFunction};
use super::collector::Collector;
use super::data::Data;
use super::keyed::KeyedStream;
use super::nodes::{KeyedPairNode, PairNode};
use super::stream::{DataStream, connected_operator};
use crate::runtime::plan::EdgeRule;
use crate::runtime::stages::{BroadcastPerRecord, BroadcastProcess, CoElements, CoPerRecord, CoProcess};
use crate::state::operator::{BroadcastStateDescriptor, ErasedDescriptor};
use std::fmt;
use std::sync::Arc;

/// A stream that a stream of kind `S` can be connected with, by [`DataStream::connect`] and [`KeyedStream::connect`].
pub trait Connect<S> {
    /// The two together.
    type Connected;

    /// Connects `first` with this one as the second.
    fn connect_to(&self, first: &S) -> Self::Connected;
}

/// Two streams without keys, to be read by one operator.
#[derive(Clone, Debug)]
pub struct ConnectedStreams<A, B> {
    first: DataStream<A>,
    second: DataStream<B>,
}

impl<A: Data, B: Data> Connect<DataStream<A>> for DataStream<B> {
    type Connected = ConnectedStreams<A, B>;

    fn connect_to(&self, first: &DataStream<A>) -> Self::Connected {
        ConnectedStreams {
            first: first.clone(),
            second: self.clone(),
        }
    }
}

impl<A: Data, B: Data> ConnectedStreams<A, B> {
    /// Turns each record of either stream into one of a common type.
    pub fn map<U: Data>(
        &self,
        mut first: impl FnMut(A) -> U + Clone + Send + Sync + 'static,
        mut second: impl FnMut(B) -> U + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.elements(
            "CoMap",
            move |record, out| out.collect(first(record)),
            move |record, out| out.collect(second(record)),
        )
    }

    /// Turns each record of either stream into any number of others of a common type.
    pub fn flat_map<U: Data>(
        &self,
        first: impl FnMut(A, &mut Collector<U>) + Clone + Send + Sync + 'static,
        second: impl FnMut(B, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.elements("CoFlatMap", first, second)
    }

    fn elements<U: Data>(
        &self,
        name: &str,
        first: impl FnMut(A, &mut Collector<U>) + Clone + Send + Sync + 'static,
        second: impl FnMut(B, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        let node = PairNode::<A, B, U, _, _>::new(move || CoElements::new(first.clone(), second.clone()));
        self.operator(name, false, node)
    }

    /// Calls a function that may keep operator state.
    pub fn process<U: Data, F: CoProcessFunction<A, B, U>>(&self, function: F) -> DataStream<U> {
        let node = PairNode::<A, B, U, _, _>::new(move || CoProcess::<A, B, F>::new(function.clone()));
        self.operator("CoProcess", true, node)
    }

    /// Groups both streams by key: records of one key meet in one subtask, whichever stream they are of.
    pub fn key_by<K, S, R>(&self, first: S, second: R) -> KeyedConnectedStreams<A, B, K, S, R>
    where
        K: Data,
        S: Fn(&A) -> K + Clone + Send + Sync + 'static,
        R: Fn(&B) -> K + Clone + Send + Sync + 'static,
    {
        KeyedConnectedStreams {
            first: self.first.key_by(first),
            second: self.second.key_by(second),
        }
    }

    fn operator<U: Data>(
        &self,
        name: &str,
        has_state: bool,
        node: impl crate::runtime::plan::OperatorNode + 'static,
    ) -> DataStream<U> {
        let first = (&self.first, self.first.rule());
        connected_operator(first, (&self.second, self.second.rule()), name, has_state, node)
    }
}

/// Two streams with keys of one type, to be read by one operator that has state and timers for each key.
#[derive(Clone, Debug)]
pub struct KeyedConnectedStreams<A, B, K, S, R> {
    first: KeyedStream<A, K, S>,
    second: KeyedStream<B, K, R>,
}

impl<A, B, K, S, R> Connect<KeyedStream<A, K, S>> for KeyedStream<B, K, R>
where
    A: Data,
    B: Data,
    K: Data,
    S: Fn(&A) -> K + Clone + Send + Sync + 'static,
    R: Fn(&B) -> K + Clone + Send + Sync + 'static,
{
    type Connected = KeyedConnectedStreams<A, B, K, S, R>;

    fn connect_to(&self, first: &KeyedStream<A, K, S>) -> Self::Connected {
        KeyedConnectedStreams {
            first: first.clone(),
            second: self.clone(),
        }
    }
}

impl<A, B, K, S, R> KeyedConnectedStreams<A, B, K, S, R>
where
    A: Data,
    B: Data,
    K: Data,
    S: Fn(&A) -> K + Clone + Send + Sync + 'static,
    R: Fn(&B) -> K + Clone + Send + Sync + 'static,
{
    /// Calls a function with state and timers of its own for each key, which both streams share.
    pub fn process<U: Data, F: KeyedCoProcessFunction<K, A, B, U>>(&self, function: F) -> DataStream<U> {
        let (first, second) = (self.first.select.clone(), self.second.select.clone());
        let node = KeyedPairNode::<A, B, U, _, _>::new(move || {
            CoPerRecord::<A, B, K, S, R, F>::new(first.clone(), second.clone(), function.clone())
        });
        connected_operator(
            (&self.first.stream, self.first.rule()),
            (&self.second.stream, self.second.rule()),
            "KeyedCoProcess",
            true,
            node,
        )
    }
}

/// A stream whose records go to every subtask of the operator that reads it, with the broadcast states that are made of them. Made by [`DataStream::broadcast_with`].
#[derive(Clone)]
pub struct BroadcastStream<T> {
    stream: DataStream<T>,
    descriptors: Arc<[ErasedDescriptor]>,
}

impl<T> fmt::Debug for BroadcastStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastStream")
            .field("stream", &self.stream)
            .field("states", &self.descriptors.len())
            .finish_non_exhaustive()
    }
}

impl<T: Data> DataStream<T> {
    /// Sends every record to every subtask of an operator that reads another stream as well, which keeps the broadcast states that `states` describes.
    ///
    /// ```
    /// # use millpond_engine::api::StreamExecutionEnvironment;
    /// use millpond_engine::state::MapStateDescriptor;
    ///
    /// # let env = StreamExecutionEnvironment::new();
    /// let limits = MapStateDescriptor::<String, u64>::new("limits");
    /// let seen = MapStateDescriptor::<u64, ()>::new("seen");
    /// let broadcast = env.from_sequence(0, 10).broadcast_with(&[&limits, &seen]);
    /// ```
    #[must_use]
    pub fn broadcast_with(&self, states: &[&dyn BroadcastStateDescriptor]) -> BroadcastStream<T> {
        BroadcastStream {
            stream: self.broadcast(),
            descriptors: states.iter().map(|state| ErasedDescriptor::of(*state)).collect(),
        }
    }

    /// Puts this stream and another one before one operator: a [`DataStream`] of any type, or a [`BroadcastStream`].
    pub fn connect<O: Connect<Self>>(&self, other: &O) -> O::Connected {
        other.connect_to(self)
    }
}

impl<T, K, S> KeyedStream<T, K, S> {
    /// Puts this stream and another one before one operator: a [`KeyedStream`] with keys of the same type, or a [`BroadcastStream`].
    pub fn connect<O: Connect<Self>>(&self, other: &O) -> O::Connected {
        other.connect_to(self)
    }
}

/// A stream without keys and a broadcast one, to be read by one operator.
#[derive(Clone, Debug)]
pub struct BroadcastConnectedStream<A, B> {
    first: DataStream<A>,
    broadcast: BroadcastStream<B>,
}

impl<A: Data, B: Data> Connect<DataStream<A>> for BroadcastStream<B> {
    type Connected = BroadcastConnectedStream<A, B>;

    fn connect_to(&self, first: &DataStream<A>) -> Self::Connected {
        BroadcastConnectedStream {
            first: first.clone(),
            broadcast: self.clone(),
        }
    }
}

impl<A: Data, B: Data> BroadcastConnectedStream<A, B> {
    /// Calls a function that changes the broadcast states with broadcast records and reads them with the others.
    pub fn process<U: Data, F: BroadcastProcessFunction<A, B, U>>(&self, function: F) -> DataStream<U> {
        let descriptors = Arc::clone(&self.broadcast.descriptors);
        let node = PairNode::<A, B, U, _, _>::new(move || {
            BroadcastProcess::<A, B, F>::new(function.clone(), Arc::clone(&descriptors))
        });
        connected_operator(
            (&self.first, self.first.rule()),
            (&self.broadcast.stream, EdgeRule::Broadcast),
            "BroadcastProcess",
            true,
            node,
        )
    }
}

/// A keyed stream and a broadcast one, to be read by one operator.
#[derive(Clone, Debug)]
pub struct KeyedBroadcastConnectedStream<A, B, K, S> {
    first: KeyedStream<A, K, S>,
    broadcast: BroadcastStream<B>,
}

impl<A, B, K, S> Connect<KeyedStream<A, K, S>> for BroadcastStream<B>
where
    A: Data,
    B: Data,
    K: Data,
    S: Fn(&A) -> K + Clone + Send + Sync + 'static,
{
    type Connected = KeyedBroadcastConnectedStream<A, B, K, S>;

    fn connect_to(&self, first: &KeyedStream<A, K, S>) -> Self::Connected {
        KeyedBroadcastConnectedStream {
            first: first.clone(),
            broadcast: self.clone(),
        }
    }
}

impl<A, B, K, S> KeyedBroadcastConnectedStream<A, B, K, S>
where
    A: Data,
    B: Data,
    K: Data,
    S: Fn(&A) -> K + Clone + Send + Sync + 'static,
{
    /// Calls a function that changes the broadcast states with broadcast records, and has state and timers of its own for each key of the others.
    pub fn process<U: Data, F: KeyedBroadcastProcessFunction<K, A, B, U>>(
        &self,
        function: F,
    ) -> DataStream<U> {
        let select = self.first.select.clone();
        let descriptors = Arc::clone(&self.broadcast.descriptors);
        let node = KeyedPairNode::<A, B, U, _, _>::new(move || {
            BroadcastPerRecord::<A, B, K, S, F>::new(
                select.clone(),
                function.clone(),
                Arc::clone(&descriptors),
            )
        });
        connected_operator(
            (&self.first.stream, self.first.rule()),
            (&self.broadcast.stream, EdgeRule::Broadcast),
            "KeyedBroadcastProcess",
            true,
            node,
        )
    }
}
