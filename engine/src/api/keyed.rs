//! Streams grouped by key.

use super::data::Data;
use super::fold_nodes::{Count, FoldNode, Reduce};
use super::function::KeyedProcessFunction;
use super::stream::{DataStream, keyed_operator};
use super::windows::{TumblingEventTimeWindows, WindowedStream};
use crate::runtime::plan::EdgeRule;
use crate::runtime::stages::hash_keys;
use crate::state::RunningFold;
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

/// A stream whose records of one key meet in one subtask. Made by [`DataStream::key_by`].
#[derive(Clone)]
pub struct KeyedStream<T, K, S> {
    pub(crate) stream: DataStream<T>,
    pub(crate) select: S,
    key: PhantomData<fn() -> K>,
}

impl<T, K, S> std::fmt::Debug for KeyedStream<T, K, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedStream")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl<T: Data, K: Data, S: Fn(&T) -> K + Clone + Send + Sync + 'static> KeyedStream<T, K, S> {
    pub(crate) fn new(stream: DataStream<T>, select: S) -> Self {
        Self {
            stream,
            select,
            key: PhantomData,
        }
    }

    pub(crate) fn rule(&self) -> EdgeRule {
        let select = self.select.clone();
        EdgeRule::Keyed(Arc::new(move || {
            Box::new(hash_keys::<T, K>(select.clone())) as Box<dyn Any>
        }))
    }

    /// The stream for operators without keyed state: what follows it gets all records of a key in one subtask, as in Flink, where a keyed stream is a
    /// stream.
    ///
    /// ```
    /// use millpond_engine::api::StreamExecutionEnvironment;
    /// use millpond_engine::connectors::{sinks::CollectSink, sources::SequenceSource};
    ///
    /// let env = StreamExecutionEnvironment::new();
    /// let sink = CollectSink::new();
    /// let results = sink.results();
    /// env.from_source(SequenceSource::new(0..4), "numbers")
    ///     .key_by(|number| number % 2)
    ///     .as_stream()
    ///     .map(|number| number * 10)
    ///     .sink_to_2pc(sink);
    /// env.execute("by key")?;
    /// let mut sent = results.snapshot();
    /// sent.sort_unstable();
    /// assert_eq!(sent, [0, 10, 20, 30]);
    /// # Ok::<(), millpond_engine::Error>(())
    /// ```
    #[must_use]
    pub fn as_stream(&self) -> DataStream<T> {
        self.stream.with_rule(self.rule())
    }

    /// Calls a function with state and timers of its own for each key.
    pub fn process<U: Data, F: KeyedProcessFunction<K, T, U>>(&self, function: F) -> DataStream<U> {
        keyed_operator(self, "KeyedProcess", function)
    }

    /// Groups the records of each key into windows of event time, each of which emits one result when it is over.
    pub fn window(&self, windows: TumblingEventTimeWindows) -> WindowedStream<T, K, S> {
        WindowedStream::new(self.clone(), windows)
    }

    /// Folds the records of each key into one and emits the result after each record; the first one is emitted as it is.
    pub fn reduce(&self, reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.fold("Reduce", "reduced", Reduce(reduce))
    }

    /// Emits the number of records of each key so far, with the key, after each record.
    pub fn count(&self) -> DataStream<(K, u64)> {
        self.fold("Count", "count", Count::new(self.select.clone()))
    }

    /// Adds a fold whose state is found by `state`.
    fn fold<U: Data, F: RunningFold<T, U> + Clone + Send + Sync + 'static>(
        &self,
        name: &str,
        state: &'static str,
        fold: F,
    ) -> DataStream<U> {
        let node = FoldNode::<T, K, U, S, F>::new(state, self.select.clone(), fold);
        self.stream.operator(name, &self.rule(), true, node)
    }
}
