//! Streams: what is read, transformed and written.

use super::collector::{Collector, OutputTag};
use super::data::{Data, TimestampMs};
use super::environment::SharedPlan;
use super::function::KeyedProcessFunction;
use super::keyed::KeyedStream;
use super::nodes::{ElementNode, ProcessNode, SinkNode, TwoPhaseNode, WatermarkNode};
use super::process_function::ProcessFunction;
use super::sink::{Sink, TwoPhaseCommitSink};
use crate::Result;
use crate::runtime::plan::{EdgePlan, EdgeRule, Node, NodeKind, OperatorNode, type_ops};
use crate::runtime::stages::WatermarkStrategy;
use std::marker::PhantomData;
use std::sync::Arc;

/// A stream of records of type `T`: the output of an operator, or the union of several.
///
/// A stream is a description; nothing runs before [`execute`](super::StreamExecutionEnvironment::execute). Cloning it gives a second reader of the
/// same records. [`name`](Self::name), [`uid`](Self::uid), [`set_parallelism`](Self::set_parallelism) and
/// [`set_max_parallelism`](Self::set_max_parallelism) speak of the operator that the stream comes from.
pub struct DataStream<T> {
    pub(crate) plan: SharedPlan,
    pub(crate) from: Vec<Upstream>,
    rule: EdgeRule,
    record: PhantomData<fn() -> T>,
}

/// An output of a node.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) node: usize,
    pub(crate) tag: Option<String>,
}

impl<T> Clone for DataStream<T> {
    fn clone(&self) -> Self {
        Self {
            plan: SharedPlan::clone(&self.plan),
            from: self.from.clone(),
            rule: self.rule.clone(),
            record: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for DataStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataStream")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl<T: Data> DataStream<T> {
    pub(crate) fn of_node(plan: SharedPlan, node: usize) -> Self {
        Self {
            plan,
            from: vec![Upstream { node, tag: None }],
            rule: EdgeRule::Forward,
            record: PhantomData,
        }
    }

    /// The edges of an operator that reads this stream by `rule`.
    pub(crate) fn edges(&self, rule: &EdgeRule) -> Vec<EdgePlan> {
        let edge = |from: &Upstream| EdgePlan {
            from: from.node,
            tag: from.tag.clone(),
            rule: rule.clone(),
            types: type_ops::<T>(),
            is_second: false,
        };
        self.from.iter().map(edge).collect()
    }

    /// How the records go to whatever operator comes next.
    pub(super) fn rule(&self) -> EdgeRule {
        self.rule.clone()
    }

    /// Adds an operator that reads this stream.
    pub(crate) fn operator<U: Data>(
        &self,
        name: &str,
        rule: &EdgeRule,
        has_state: bool,
        operator: impl OperatorNode + 'static,
    ) -> DataStream<U> {
        let parallelism = match self.from.as_slice() {
            // An operator that is passed records on takes the parallelism of the one before, as in Flink.
            [from] if matches!(rule, EdgeRule::Forward) => self
                .plan
                .borrow()
                .nodes
                .get(from.node)
                .and_then(|node| node.parallelism),
            _ => None,
        };
        let node = self.plan.borrow_mut().add(Node {
            name: name.to_owned(),
            uid: None,
            parallelism,
            max_parallelism: None,
            inputs: self.edges(rule),
            kind: NodeKind::Operator(Arc::new(operator)),
            has_state,
        });
        DataStream::of_node(SharedPlan::clone(&self.plan), node)
    }

    fn element<U: Data>(
        &self,
        name: &str,
        function: impl FnMut(T, &mut Collector<U>) -> Result<()> + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.operator(name, &self.rule, false, ElementNode::<T, U, _>::new(function))
    }

    /// Turns each record into another one.
    pub fn map<U: Data>(
        &self,
        mut function: impl FnMut(T) -> U + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.element("Map", move |record, out| {
            out.collect(function(record));
            Ok(())
        })
    }

    /// Turns each record into another one, or fails the attempt.
    pub fn try_map<U: Data>(
        &self,
        mut function: impl FnMut(T) -> Result<U> + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.element("Map", move |record, out| {
            out.collect(function(record)?);
            Ok(())
        })
    }

    /// Keeps the records for which `predicate` is true.
    pub fn filter(
        &self,
        mut predicate: impl FnMut(&T) -> bool + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.element("Filter", move |record, out| {
            if predicate(&record) {
                out.collect(record);
            }
            Ok(())
        })
    }

    /// Turns each record into any number of others.
    pub fn flat_map<U: Data>(
        &self,
        mut function: impl FnMut(T, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.element("FlatMap", move |record, out| {
            function(record, out);
            Ok(())
        })
    }

    /// Turns each record into any number of others, also to side outputs, or fails the attempt.
    pub fn try_flat_map<U: Data>(
        &self,
        function: impl FnMut(T, &mut Collector<U>) -> Result<()> + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.element("FlatMap", function)
    }

    /// Calls a function that may keep operator state.
    pub fn process<U: Data, F: ProcessFunction<T, U>>(&self, function: F) -> DataStream<U> {
        self.operator("Process", &self.rule, true, ProcessNode::<T, U, F>::new(function))
    }

    /// The records that the operator of this stream emits to the side output `tag`.
    #[must_use]
    pub fn side_output<U: Data>(&self, tag: &OutputTag<U>) -> DataStream<U> {
        let side = |from: &Upstream| Upstream {
            node: from.node,
            tag: Some(tag.name.clone()),
        };
        DataStream {
            plan: SharedPlan::clone(&self.plan),
            from: self.from.iter().map(side).collect(),
            rule: EdgeRule::Forward,
            record: PhantomData,
        }
    }

    /// Gives each record its event time, and has watermarks follow from them.
    pub fn assign_timestamps_and_watermarks(
        &self,
        strategy: WatermarkStrategy,
        timestamp: impl FnMut(&T) -> TimestampMs + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let node = WatermarkNode::<T, _>::new(strategy, timestamp);
        self.operator("Timestamps/Watermarks", &self.rule, false, node)
    }

    /// The records of this stream and of `other`, in no order between them.
    #[must_use]
    pub fn union(&self, other: &DataStream<T>) -> DataStream<T> {
        let mut union = self.clone();
        union.from.extend(other.from.iter().cloned());
        union
    }

    /// Groups the records by key: records of one key meet in one subtask, where their state is.
    ///
    /// `select` must always tell the same key for the same record. Keys are compared by their encoded bytes.
    pub fn key_by<K: Data, S: Fn(&T) -> K + Clone + Send + Sync + 'static>(
        &self,
        select: S,
    ) -> KeyedStream<T, K, S> {
        KeyedStream::new(self.clone(), select)
    }

    /// Spreads the records evenly over the subtasks of the next operator.
    #[must_use]
    pub fn rebalance(&self) -> DataStream<T> {
        self.with_rule(EdgeRule::Rebalance)
    }

    /// Sends every record to every subtask of the next operator.
    #[must_use]
    pub fn broadcast(&self) -> DataStream<T> {
        self.with_rule(EdgeRule::Broadcast)
    }

    /// The stream, with what is next reading it by `rule`.
    pub(super) fn with_rule(&self, rule: EdgeRule) -> Self {
        Self { rule, ..self.clone() }
    }

    /// Writes the records to a sink without transactions.
    pub fn sink_to<S: Sink<Input = T>>(&self, sink: S) -> DataStreamSink {
        let stream = self.operator::<()>("Sink", &self.rule, true, SinkNode::new(sink));
        DataStreamSink { stream }
    }

    /// Writes the records to a sink whose results become visible exactly once.
    pub fn sink_to_2pc<S: TwoPhaseCommitSink<Input = T>>(&self, sink: S) -> DataStreamSink {
        let stream = self.operator::<()>("Sink", &self.rule, true, TwoPhaseNode::new(sink));
        DataStreamSink { stream }
    }

    /// Names the operator, for people.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.change(|node| node.name = name.to_owned());
        self
    }

    /// Sets what the operator's state is found by when the job is restored, also by a later version of the program. Unique within the job.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.change(|node| node.uid = Some(uid.to_owned()));
        self
    }

    /// Sets the number of subtasks of the operator.
    #[must_use]
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.change(|node| node.parallelism = Some(parallelism));
        self
    }

    /// Sets the number of key groups of the operator, the bound of its parallelism for the life of its state.
    #[must_use]
    pub fn set_max_parallelism(self, max_parallelism: u32) -> Self {
        self.change(|node| node.max_parallelism = Some(max_parallelism));
        self
    }

    /// Lets a source emit at most so many records a second over all its subtasks. Without effect on other operators.
    #[must_use]
    pub fn rate_limit(self, records_per_second: f64) -> Self {
        self.change(|node| {
            if let NodeKind::Source(_, rate) = &mut node.kind {
                *rate = Some(records_per_second);
            }
        });
        self
    }

    fn change(&self, change: impl FnOnce(&mut Node)) {
        if let [from] = self.from.as_slice()
            && let Some(node) = self.plan.borrow_mut().nodes.get_mut(from.node)
        {
            change(node);
        }
    }
}

/// The end of a stream.
#[derive(Clone, Debug)]
pub struct DataStreamSink {
    stream: DataStream<()>,
}

impl DataStreamSink {
    /// Names the sink, for people.
    pub fn name(self, name: &str) -> Self {
        Self {
            stream: self.stream.name(name),
        }
    }

    /// Sets what the sink's state is found by when the job is restored.
    pub fn uid(self, uid: &str) -> Self {
        Self {
            stream: self.stream.uid(uid),
        }
    }

    /// Sets the number of subtasks of the sink.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        Self {
            stream: self.stream.set_parallelism(parallelism),
        }
    }
}

/// Adds an operator that reads two streams, each by a rule of its own.
pub(super) fn connected_operator<A: Data, B: Data, U: Data>(
    (first, first_rule): (&DataStream<A>, EdgeRule),
    (second, second_rule): (&DataStream<B>, EdgeRule),
    name: &str,
    has_state: bool,
    operator: impl OperatorNode + 'static,
) -> DataStream<U> {
    let mut inputs = first.edges(&first_rule);
    inputs.extend(second.edges(&second_rule).into_iter().map(|edge| EdgePlan {
        is_second: true,
        ..edge
    }));
    let node = first.plan.borrow_mut().add(Node {
        name: name.to_owned(),
        uid: None,
        parallelism: None,
        max_parallelism: None,
        inputs,
        kind: NodeKind::Operator(Arc::new(operator)),
        has_state,
    });
    DataStream::of_node(SharedPlan::clone(&first.plan), node)
}

/// Where a keyed function is added: see [`KeyedStream`].
pub(crate) fn keyed_operator<T, K, U, S, F>(
    stream: &KeyedStream<T, K, S>,
    name: &str,
    function: F,
) -> DataStream<U>
where
    T: Data,
    K: Data,
    U: Data,
    S: Fn(&T) -> K + Clone + Send + Sync + 'static,
    F: KeyedProcessFunction<K, T, U>,
{
    let node = super::nodes::KeyedNode::<T, K, U, S, F>::new(stream.select.clone(), function);
    stream.stream.operator(name, &stream.rule(), true, node)
}
