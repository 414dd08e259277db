//! The operators of the API as nodes of a plan: they know the types, and make a stage for each subtask.

use super::Collector;
use super::data::{Data, TimestampMs};
use super::function::KeyedProcessFunction;
use super::process_function::ProcessFunction;
use super::sink::{Sink, TwoPhaseCommitSink};
use super::source::Source;
use crate::runtime::plan::types::{AnyStage, Schedule};
use crate::runtime::plan::{OperatorNode, PairOps, SourceNode, StageBuild, TypeOps, pair_ops, type_ops};
use crate::runtime::stages::{
    CoLogic, ElementStage, FunctionStage, KeySelector, KeyedBatch, KeyedPair, KeyedStage, Outputs, PerRecord,
    PlannedStates, Planning, Process, SinkStage, TwoPhaseStage, WatermarkStage, WatermarkStrategy,
    plan_function, plan_keyed,
};
use crate::runtime::{CoStage, Next, OperatorName, SourcePorts, SourceTask, Stage, TaskContext, Time};
use crate::{Error, ErrorKind, Result, codec};
use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use timely::dataflow::operators::Capability;

fn next<T: Data>(next: Box<dyn Any>) -> Result<Next<T>> {
    next.downcast::<Next<T>>().map(|next| *next).map_err(|_| {
        Error::new(
            ErrorKind::Bug,
            "the plan has put stages of another type behind an operator".to_owned(),
        )
    })
}

pub(super) fn outputs<T: Data>(build: StageBuild) -> Result<(OperatorName, u32, Outputs<T>)> {
    Ok((
        build.name,
        build.max_parallelism,
        Outputs::new(next(build.main)?, build.sides),
    ))
}

pub(super) fn any<T: Data>(stage: impl Stage<T>) -> AnyStage {
    let stage: Box<dyn Stage<T>> = Box::new(stage);
    Box::new(stage)
}

fn any_pair<A: Data, B: Data>(stage: impl CoStage<A, B>) -> AnyStage {
    let stage: Box<dyn CoStage<A, B>> = Box::new(stage);
    Box::new(stage)
}

pub(crate) struct SourceDescription<S>(Arc<S>);

impl<S: Source> SourceDescription<S> {
    pub(crate) fn new(source: S) -> Self {
        Self(Arc::new(source))
    }
}

impl<S: Source> SourceNode for SourceDescription<S> {
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<S::Record>()
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<Vec<u8>>> {
        self.0
            .splits(parallelism)?
            .iter()
            .map(|split| Ok(codec::to_vec(split)?))
            .collect()
    }

    fn plan_states(&self, planning: &Planning<'_>) -> PlannedStates {
        PlannedStates {
            keyed: Vec::new(),
            operator: Some(vec![SourceTask::<S>::planned_splits(planning)]),
        }
    }

    fn task(
        &self,
        task: TaskContext,
        name: OperatorName,
        behind: Box<dyn Any>,
        rate: Option<f64>,
        ports: SourcePorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Result<Schedule> {
        let source = Arc::clone(&self.0);
        let mut task = SourceTask::new(task, source, name, next(behind)?, rate, ports, capabilities);
        Ok(Box::new(move |frontiers| task.schedule(frontiers)))
    }
}

pub(crate) struct ElementNode<T, U, F> {
    function: F,
    types: PhantomData<fn(T) -> U>,
}

impl<T: Data, U: Data, F: FnMut(T, &mut Collector<U>) -> Result<()> + Clone + Send + Sync + 'static>
    ElementNode<T, U, F>
{
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            types: PhantomData,
        }
    }
}

impl<T: Data, U: Data, F: FnMut(T, &mut Collector<U>) -> Result<()> + Clone + Send + Sync + 'static>
    OperatorNode for ElementNode<T, U, F>
{
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<U>()
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        let (name, _, outputs) = outputs::<U>(build)?;
        Ok(any::<T>(ElementStage::new(
            Rc::clone(&name.name),
            self.function.clone(),
            outputs,
        )))
    }
}

pub(crate) struct ProcessNode<T, U, F> {
    function: F,
    types: PhantomData<fn(T) -> U>,
}

impl<T: Data, U: Data, F: ProcessFunction<T, U>> ProcessNode<T, U, F> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            types: PhantomData,
        }
    }
}

impl<T: Data, U: Data, F: ProcessFunction<T, U>> OperatorNode for ProcessNode<T, U, F> {
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<U>()
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        let (name, _, outputs) = outputs::<U>(build)?;
        let logic = Process::<T, F>::new(self.function.clone());
        Ok(any::<T>(FunctionStage::new(name, logic, outputs)))
    }

    fn plan_states(&self, planning: &Planning<'_>) -> Result<PlannedStates> {
        plan_function::<U, _>(Process::<T, F>::new(self.function.clone()), planning)
    }
}

pub(crate) struct WatermarkNode<T, F> {
    strategy: WatermarkStrategy,
    timestamp: F,
    record: PhantomData<fn(T)>,
}

impl<T: Data, F: FnMut(&T) -> TimestampMs + Clone + Send + Sync + 'static> WatermarkNode<T, F> {
    pub(crate) fn new(strategy: WatermarkStrategy, timestamp: F) -> Self {
        Self {
            strategy,
            timestamp,
            record: PhantomData,
        }
    }
}

impl<T: Data, F: FnMut(&T) -> TimestampMs + Clone + Send + Sync + 'static> OperatorNode
    for WatermarkNode<T, F>
{
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<T>()
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        let (name, _, outputs) = outputs::<T>(build)?;
        Ok(any::<T>(WatermarkStage::new(
            name.name,
            self.timestamp.clone(),
            self.strategy,
            outputs,
        )))
    }
}

pub(crate) struct KeyedNode<T, K, U, S, F> {
    select: S,
    function: F,
    types: PhantomData<fn(T, K) -> U>,
}

impl<T: Data, K: Data, U: Data, S: KeySelector<T, K>, F: KeyedProcessFunction<K, T, U>>
    KeyedNode<T, K, U, S, F>
{
    pub(crate) fn new(select: S, function: F) -> Self {
        Self {
            select,
            function,
            types: PhantomData,
        }
    }

    /// What one subtask does.
    fn logic(&self) -> PerRecord<K, S, F> {
        PerRecord::new(self.select.clone(), self.function.clone())
    }
}

impl<T: Data, K: Data, U: Data, S: KeySelector<T, K>, F: KeyedProcessFunction<K, T, U>> OperatorNode
    for KeyedNode<T, K, U, S, F>
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

/// The stage of a keyed operator of one input that does `logic`.
pub(super) fn keyed_stage<T: Data, U: Data>(
    logic: impl KeyedBatch<T, U>,
    build: StageBuild,
) -> Result<AnyStage> {
    let (name, max_parallelism, outputs) = outputs::<U>(build)?;
    Ok(any::<T>(KeyedStage::<T, U, _>::new(
        name,
        max_parallelism,
        logic,
        outputs,
    )))
}

/// An operator of two inputs; `M` makes what one subtask does.
pub(crate) struct PairNode<A, B, U, L, M> {
    logic: M,
    types: PhantomData<fn(A, B, L) -> U>,
}

impl<A, B, U, L: CoLogic<A, B, U>, M: Fn() -> L + Send + Sync> PairNode<A, B, U, L, M> {
    pub(super) fn new(logic: M) -> Self {
        Self {
            logic,
            types: PhantomData,
        }
    }
}

impl<A: Data, B: Data, U: Data, L: CoLogic<A, B, U>, M: Fn() -> L + Send + Sync> OperatorNode
    for PairNode<A, B, U, L, M>
{
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<U>()
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        let (name, _, outputs) = outputs::<U>(build)?;
        Ok(any_pair::<A, B>(FunctionStage::new(
            name,
            (self.logic)(),
            outputs,
        )))
    }

    fn plan_states(&self, planning: &Planning<'_>) -> Result<PlannedStates> {
        plan_function::<U, _>((self.logic)(), planning)
    }

    fn pair(&self) -> Option<Arc<dyn PairOps>> {
        Some(pair_ops::<A, B>())
    }
}

/// A keyed operator of two inputs; `M` makes what one subtask does.
pub(crate) struct KeyedPairNode<A, B, U, L, M> {
    logic: M,
    types: PhantomData<fn(A, B, L) -> U>,
}

impl<A, B, U, L: KeyedPair<A, B, U>, M: Fn() -> L + Send + Sync> KeyedPairNode<A, B, U, L, M> {
    pub(super) fn new(logic: M) -> Self {
        Self {
            logic,
            types: PhantomData,
        }
    }
}

impl<A: Data, B: Data, U: Data, L: KeyedPair<A, B, U>, M: Fn() -> L + Send + Sync> OperatorNode
    for KeyedPairNode<A, B, U, L, M>
{
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<U>()
    }

    fn plan_states(&self, planning: &Planning<'_>) -> Result<PlannedStates> {
        plan_keyed::<(A, B), U>((self.logic)(), planning)
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        let (name, max_parallelism, outputs) = outputs::<U>(build)?;
        let logic = (self.logic)();
        Ok(any_pair::<A, B>(KeyedStage::<(A, B), U, _>::new(
            name,
            max_parallelism,
            logic,
            outputs,
        )))
    }

    fn pair(&self) -> Option<Arc<dyn PairOps>> {
        Some(pair_ops::<A, B>())
    }
}

pub(crate) struct SinkNode<S>(Arc<S>);

impl<S: Sink> SinkNode<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self(Arc::new(sink))
    }
}

impl<S: Sink> OperatorNode for SinkNode<S> {
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<()>()
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        Ok(any::<S::Input>(SinkStage::new(Arc::clone(&self.0), build.name)))
    }
}

pub(crate) struct TwoPhaseNode<S>(Arc<S>);

impl<S: TwoPhaseCommitSink> TwoPhaseNode<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self(Arc::new(sink))
    }
}

impl<S: TwoPhaseCommitSink> OperatorNode for TwoPhaseNode<S> {
    fn output(&self) -> Arc<dyn TypeOps> {
        type_ops::<()>()
    }

    fn stage(&self, build: StageBuild) -> Result<AnyStage> {
        Ok(any::<S::Input>(TwoPhaseStage::new(
            Arc::clone(&self.0),
            build.name,
        )))
    }

    fn plan_states(&self, planning: &Planning<'_>) -> Result<PlannedStates> {
        Ok(PlannedStates {
            keyed: Vec::new(),
            operator: Some(TwoPhaseStage::<S>::planned_states(planning)),
        })
    }

    fn check_fresh_start(&self) -> Result<()> {
        self.0.check_fresh_start()
    }
}
