//! What the plan does with records without knowing their type: one object for each type that flows over an edge.

use crate::api::Data;
use crate::runtime::chain_task::{ChainTask, TaskPorts};
use crate::runtime::inputs::{OneInput, TwoInputs};
use crate::runtime::port::{PortStage, Prepare};
use crate::runtime::shape::{EdgeShape, InputEdge, OperatorShape};
use crate::runtime::stage::{CoStage, Next, Stage};
use crate::runtime::stages::{Side, TypedSide};
use crate::runtime::task::TaskContext;
use crate::runtime::time::Time;
use crate::{Error, ErrorKind, Result};
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

/// A task as timely schedules it: takes the frontiers of its inputs, tells whether it must stay.
pub(crate) type Schedule = Box<dyn FnMut(&[MutableAntichain<Time>]) -> bool>;

/// A stage of some type: a `Box<dyn Stage<T>>`.
pub(crate) type AnyStage = Box<dyn Any>;

/// Inputs of some type, each with its number: `Box<dyn InputEdge<T>>`.
pub(crate) type AnyInputs = Vec<(usize, Box<dyn Any>)>;

/// The two ends of an edge between tasks.
pub(crate) struct Connected {
    /// The last stage of the chain upstream.
    pub(crate) stage: AnyStage,
    /// The input downstream: its number, and a `Box<dyn InputEdge<T>>`.
    pub(crate) input: (usize, Box<dyn Any>),
}

/// Operations on records of one type.
pub(crate) trait TypeOps: Send + Sync {
    /// The stages behind an output, as a `Next<T>`.
    fn next(&self, stages: Vec<AnyStage>) -> Result<Box<dyn Any>>;

    /// The stages behind a side output.
    fn side(&self, name: &str, stages: Vec<AnyStage>) -> Result<Box<dyn Side>>;

    /// Connects two tasks. `prepare` is a `Box<Prepare<T>>` where the edge needs one.
    fn connect<'scope>(
        &self,
        from: &mut OperatorShape<'scope>,
        to: &mut OperatorShape<'scope>,
        edge: EdgeShape,
        prepare: Option<Box<dyn Any>>,
    ) -> Result<Connected>;

    /// The task of a chain that begins with `stage`.
    fn chain_task(
        &self,
        task: TaskContext,
        stage: AnyStage,
        inputs: AnyInputs,
        upstream: &[u32],
        ports: TaskPorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Result<Schedule>;
}

/// The operations on records of type `T`.
pub(crate) fn type_ops<T: Data>() -> Arc<dyn TypeOps> {
    Arc::new(Typed::<T>(PhantomData))
}

struct Typed<T>(PhantomData<fn() -> T>);

fn expect<V: 'static>(any: Box<dyn Any>) -> Result<V> {
    any.downcast::<V>().map(|value| *value).map_err(|_| {
        Error::new(
            ErrorKind::Bug,
            format!(
                "an edge of the plan does not carry what it should: {}",
                std::any::type_name::<V>()
            ),
        )
    })
}

fn stages<T: Data>(stages: Vec<AnyStage>) -> Result<Next<T>> {
    let stages = stages
        .into_iter()
        .map(expect::<Box<dyn Stage<T>>>)
        .collect::<Result<Vec<_>>>()?;
    Ok(Next::new(stages))
}

fn edges<T: Data>(inputs: AnyInputs) -> Result<Vec<(usize, Box<dyn InputEdge<T>>)>> {
    inputs
        .into_iter()
        .map(|(number, input)| Ok((number, expect::<Box<dyn InputEdge<T>>>(input)?)))
        .collect()
}

/// What the plan does with the two inputs of an operator without knowing their types.
pub(crate) trait PairOps: Send + Sync {
    /// The task of a chain that begins with `stage`, a `Box<dyn CoStage<A, B>>`.
    fn chain_task(
        &self,
        task: TaskContext,
        stage: AnyStage,
        inputs: [AnyInputs; 2],
        upstream: &[u32],
        ports: TaskPorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Result<Schedule>;
}

/// The operations on inputs of records of type `A` and of type `B`.
pub(crate) fn pair_ops<A: Data, B: Data>() -> Arc<dyn PairOps> {
    Arc::new(Typed::<(A, B)>(PhantomData))
}

impl<A: Data, B: Data> PairOps for Typed<(A, B)> {
    fn chain_task(
        &self,
        task: TaskContext,
        stage: AnyStage,
        inputs: [AnyInputs; 2],
        upstream: &[u32],
        ports: TaskPorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Result<Schedule> {
        let stage = expect::<Box<dyn CoStage<A, B>>>(stage)?;
        let [first, second] = inputs;
        let inputs = TwoInputs::new(stage, edges::<A>(first)?, edges::<B>(second)?);
        let mut task = ChainTask::new(task, inputs, upstream, ports, capabilities);
        Ok(Box::new(move |frontiers| task.schedule(frontiers)))
    }
}

impl<T: Data> TypeOps for Typed<T> {
    fn next(&self, behind: Vec<AnyStage>) -> Result<Box<dyn Any>> {
        Ok(Box::new(stages::<T>(behind)?))
    }

    fn side(&self, name: &str, behind: Vec<AnyStage>) -> Result<Box<dyn Side>> {
        Ok(Box::new(TypedSide {
            name: name.to_owned(),
            next: stages::<T>(behind)?,
        }))
    }

    fn connect<'scope>(
        &self,
        from: &mut OperatorShape<'scope>,
        to: &mut OperatorShape<'scope>,
        edge: EdgeShape,
        prepare: Option<Box<dyn Any>>,
    ) -> Result<Connected> {
        let prepare = prepare.map(expect::<Prepare<T>>).transpose()?;
        let (output, (number, input)) = from.connect::<T>(to, edge);
        let stage: Box<dyn Stage<T>> = Box::new(PortStage::new(output, edge.rule, edge.parallelism, prepare));
        Ok(Connected {
            stage: Box::new(stage),
            input: (number, Box::new(input)),
        })
    }

    fn chain_task(
        &self,
        task: TaskContext,
        stage: AnyStage,
        inputs: AnyInputs,
        upstream: &[u32],
        ports: TaskPorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Result<Schedule> {
        let stage = expect::<Box<dyn Stage<T>>>(stage)?;
        let inputs = edges::<T>(inputs)?;
        let inputs = OneInput::new(stage, inputs);
        let mut task = ChainTask::new(task, inputs, upstream, ports, capabilities);
        Ok(Box::new(move |frontiers| task.schedule(frontiers)))
    }
}
