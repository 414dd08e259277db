//! From the plan to the dataflow: chains, edges, control, and the tasks themselves.

use super::node::{EdgeRule, Node, NodeKind, Plan, StageBuild};
use super::types::{AnyStage, Schedule};
use crate::checkpoint::{Command, OperatorId};
use crate::cluster::AttemptControl;
use crate::runtime::acks::AckPort;
use crate::runtime::chain_task::{CommandInput, TaskPorts};
use crate::runtime::context::JobContext;
use crate::runtime::control::{Collected, CommandInlet, collect, commands};
use crate::runtime::outlets::OutletShape;
use crate::runtime::partition::Partitioning;
use crate::runtime::report::Report;
use crate::runtime::shape::{EdgeShape, OperatorShape};
use crate::runtime::snapshot::OperatorName;
use crate::runtime::source_task::{SourcePorts, TickSync};
use crate::runtime::task::TaskContext;
use crate::runtime::time::Time;
use crate::{Error, ErrorKind, Result};
use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::{Scope, Stream};

/// The plan with everything decided that does not depend on the worker.
pub(crate) struct LoweredPlan {
    pub(crate) plan: Plan,
    /// By node.
    pub(crate) parallelism: Vec<u32>,
    /// By node.
    pub(crate) max_parallelism: Vec<u32>,
    /// By node: the first node of the chain it is in.
    head: Vec<usize>,
}

impl LoweredPlan {
    /// Cuts the plan into chains. With `chaining` off, every operator has a task of its own.
    pub(crate) fn new(plan: Plan, parallelism: Vec<u32>, max_parallelism: Vec<u32>, chaining: bool) -> Self {
        let mut head: Vec<usize> = Vec::with_capacity(plan.nodes.len());
        for (index, node) in plan.nodes.iter().enumerate() {
            let chained = match node.inputs.as_slice() {
                [edge] if chaining && matches!(edge.rule, EdgeRule::Forward) => {
                    parallelism.get(edge.from) == parallelism.get(index)
                }
                _ => false,
            };
            let behind = node.inputs.first().and_then(|edge| head.get(edge.from).copied());
            head.push(if chained { behind.unwrap_or(index) } else { index });
        }
        Self {
            plan,
            parallelism,
            max_parallelism,
            head,
        }
    }

    fn head(&self, node: usize) -> usize {
        self.head.get(node).copied().unwrap_or(node)
    }

    /// The heads of all chains in order.
    fn tasks(&self) -> impl Iterator<Item = usize> + '_ {
        self.head
            .iter()
            .enumerate()
            .filter(|(node, head)| node == *head)
            .map(|(node, _)| node)
    }

    /// The names of a chain's operators.
    fn chain_name(&self, head: usize) -> String {
        let names = self
            .plan
            .nodes
            .iter()
            .enumerate()
            .filter(|(node, _)| self.head(*node) == head);
        names
            .map(|(_, node)| node.name.as_str())
            .collect::<Vec<_>>()
            .join(" -> ")
    }

    fn parallelism(&self, node: usize) -> u32 {
        self.parallelism.get(node).copied().unwrap_or(1)
    }

    /// How many subtasks sources have, all together.
    pub(crate) fn source_subtasks(&self) -> u32 {
        let is_source = |node: &Node| matches!(node.kind, NodeKind::Source(..));
        let sources = self
            .plan
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| is_source(node));
        sources.map(|(node, _)| self.parallelism(node)).sum()
    }

    /// The id of a node's state.
    pub(crate) fn operator_id(&self, node: usize) -> OperatorId {
        OperatorId::new(self.plan.uid(node))
    }
}

/// What a worker builds the dataflow with.
pub(crate) struct Wiring<'a> {
    pub(crate) job: &'a Arc<JobContext>,
    pub(crate) control: &'a AttemptControl,
    /// In the first process.
    pub(crate) inlet: Option<&'a Arc<CommandInlet>>,
    /// Hears of the reports, on worker 0.
    pub(crate) tell: Arc<dyn Fn(Collected) + Send + Sync>,
}

/// The edges that were connected: the stages at their upstream ends by (node, tag), the inputs by downstream task.
#[derive(Default)]
struct Edges {
    stages: HashMap<(usize, Option<String>), Vec<AnyStage>>,
    inputs: HashMap<usize, Vec<(usize, Box<dyn Any>)>>,
    upstream: HashMap<usize, Vec<u32>>,
}

/// Builds the dataflow on this worker.
pub(crate) fn lower(scope: Scope<'_, Time>, plan: &LoweredPlan, wiring: &Wiring<'_>) -> Result<()> {
    let commands = commands(scope, wiring.inlet, wiring.job.first_epoch);
    let mut shapes: HashMap<usize, OperatorShape<'_>> = plan
        .tasks()
        .map(|head| (head, OperatorShape::new(&plan.chain_name(head), scope)))
        .collect();
    let mut edges = connect_edges(scope, plan, &mut shapes)?;
    let mut control = connect_control(scope, plan, &mut shapes, &commands);
    let mut reports = Vec::new();
    for head in plan.tasks() {
        reports.extend(control.get_mut(&head).and_then(|control| control.reports.take()));
    }
    for head in plan.tasks() {
        let (Some(shape), Some(control)) = (shapes.remove(&head), control.remove(&head)) else {
            continue;
        };
        build_task(scope, plan, wiring, head, shape, control, &mut edges)?;
    }
    collect(scope, reports, commands, Arc::clone(&wiring.tell));
    Ok(())
}

fn connect_edges<'scope>(
    scope: Scope<'scope, Time>,
    plan: &LoweredPlan,
    shapes: &mut HashMap<usize, OperatorShape<'scope>>,
) -> Result<Edges> {
    let mut edges = Edges::default();
    for (index, node) in plan.plan.nodes.iter().enumerate() {
        if plan.head(index) != index {
            continue;
        }
        for edge in &node.inputs {
            let (from, to) = (plan.head(edge.from), index);
            let same = plan.parallelism(edge.from) == plan.parallelism(index);
            let max_parallelism = plan.max_parallelism.get(index).copied().unwrap_or(1);
            let (rule, prepare) = match &edge.rule {
                EdgeRule::Forward if same => (Partitioning::Forward, None),
                EdgeRule::Forward | EdgeRule::Rebalance => (Partitioning::Rebalance, None),
                EdgeRule::Broadcast => (Partitioning::Broadcast, None),
                // One subtask owns every key: nothing to decide, and hashes are computed where they are needed.
                EdgeRule::Keyed(_) if plan.parallelism(index) == 1 => (Partitioning::Rebalance, None),
                EdgeRule::Keyed(prepare) => (Partitioning::KeyGroups { max_parallelism }, Some(prepare())),
            };
            let edge_shape = EdgeShape {
                rule,
                subtask: scope.index(),
                parallelism: plan.parallelism(index),
            };
            let broken = || {
                Error::new(
                    ErrorKind::Bug,
                    format!("the plan has no task for node {from} or {to}"),
                )
            };
            let mut producer = shapes.remove(&from).ok_or_else(broken)?;
            let consumer = shapes.get_mut(&to).ok_or_else(broken)?;
            let connected = edge.types.connect(&mut producer, consumer, edge_shape, prepare)?;
            shapes.insert(from, producer);
            edges
                .stages
                .entry((edge.from, edge.tag.clone()))
                .or_default()
                .push(connected.stage);
            edges.inputs.entry(to).or_default().push(connected.input);
            let upstream = if rule == Partitioning::Forward {
                1
            } else {
                plan.parallelism(edge.from)
            };
            edges.upstream.entry(to).or_default().push(upstream);
        }
    }
    Ok(edges)
}

/// What a task has beside its data.
struct Control<'scope> {
    acks: (usize, AckPort),
    reports: Option<Stream<'scope, Time, Vec<Report>>>,
    done: Option<usize>,
    commands: CommandInput,
    command_input: usize,
    progress_inputs: Vec<usize>,
    ticks: Option<TickSync>,
}

fn connect_control<'scope>(
    scope: Scope<'scope, Time>,
    plan: &LoweredPlan,
    shapes: &mut HashMap<usize, OperatorShape<'scope>>,
    commands: &Stream<'scope, Time, Vec<Command>>,
) -> HashMap<usize, Control<'scope>> {
    let is_source = |head: usize| {
        matches!(
            plan.plan.nodes.get(head).map(|node| &node.kind),
            Some(NodeKind::Source(..))
        )
    };
    let mut control = HashMap::new();
    let mut ends = Vec::new();
    let mut tick_outputs = HashMap::new();
    let mut tick_streams = Vec::new();
    for head in plan.tasks() {
        let Some(shape) = shapes.get_mut(&head) else {
            continue;
        };
        let (ack_number, output, reports) = shape.output::<Vec<Report>>(true);
        let acks = (ack_number, AckPort::new(output));
        let done = shape.ports.is_empty().then(|| {
            let (number, _, stream) = shape.output::<Vec<()>>(true);
            ends.push(stream);
            number
        });
        if is_source(head) && plan.source_subtasks() > 1 {
            let (number, output, stream) = shape.output::<Vec<Time>>(false);
            tick_outputs.insert(head, (number, output));
            tick_streams.push(stream);
        }
        let (command_input, mut handle) = shape.input(commands.clone(), Pipeline, false);
        let commands: CommandInput = Box::new(move |take| {
            handle.for_each(|_, commands| commands.drain(..).for_each(&mut *take));
        });
        let progress_inputs = Vec::new();
        let reports = Some(reports);
        control.insert(
            head,
            Control {
                acks,
                reports,
                done,
                commands,
                command_input,
                progress_inputs,
                ticks: None,
            },
        );
    }
    let ticks = (!tick_streams.is_empty()).then(|| scope.concatenate(tick_streams).broadcast());
    for head in plan.tasks().filter(|head| is_source(*head)) {
        let (Some(shape), Some(control)) = (shapes.get_mut(&head), control.get_mut(&head)) else {
            continue;
        };
        for end in &ends {
            control
                .progress_inputs
                .push(shape.input(end.clone(), Pipeline, false).0);
        }
        if let (Some(ticks), Some((number, output))) = (&ticks, tick_outputs.remove(&head)) {
            let (_, mut handle) = shape.input(ticks.clone(), Pipeline, false);
            let input: Box<dyn FnMut(&mut dyn FnMut(Time))> = Box::new(move |take| {
                handle.for_each(|_, times| times.drain(..).for_each(&mut *take));
            });
            control.ticks = Some(TickSync {
                input,
                output,
                number,
            });
        }
    }
    control
}

fn build_task<'scope>(
    scope: Scope<'scope, Time>,
    plan: &LoweredPlan,
    wiring: &Wiring<'_>,
    head: usize,
    shape: OperatorShape<'scope>,
    control: Control<'scope>,
    edges: &mut Edges,
) -> Result<()> {
    let Some(node) = plan.plan.nodes.get(head) else {
        return Ok(());
    };
    let info = shape.builder.operator_info();
    let name = plan.chain_name(head);
    let task = TaskContext::new(
        &name,
        plan.parallelism(head),
        &scope,
        &info.address,
        wiring.job,
        wiring.control,
    );
    let outlets = OutletShape {
        ports: shape.ports,
        acks: control.acks,
        done: control.done,
    };
    let make: Box<dyn FnOnce(_) -> Result<Schedule>> = match &node.kind {
        NodeKind::Source(source, rate) => {
            let next = source.output().next(consumers(plan, head, None, edges)?)?;
            let operator = operator_name(plan, head, node);
            let ports = SourcePorts {
                outlets,
                commands: control.commands,
                progress_inputs: control.progress_inputs,
                ticks: control.ticks,
            };
            let (source, rate) = (Arc::clone(source), *rate);
            Box::new(move |capabilities| source.task(task, operator, next, rate, ports, capabilities))
        }
        NodeKind::Operator(operator) => {
            let stage = stage(plan, head, edges)?;
            let mut inputs = edges.inputs.remove(&head).unwrap_or_default();
            let upstream = edges.upstream.remove(&head).unwrap_or_default();
            let Some(first) = node.inputs.first() else {
                return Ok(());
            };
            let types = Arc::clone(&first.types);
            let pair = operator.pair();
            let second = node.inputs.iter().position(|edge| edge.is_second);
            let second = inputs.split_off(second.unwrap_or(inputs.len()));
            let ports = TaskPorts {
                outlets,
                commands: control.commands,
                command_input: control.command_input,
            };
            Box::new(move |capabilities| match pair {
                Some(pair) => pair.chain_task(task, stage, [inputs, second], &upstream, ports, capabilities),
                None => types.chain_task(task, stage, inputs, &upstream, ports, capabilities),
            })
        }
    };
    let mut failure = None;
    shape.builder.build_reschedule(|capabilities| {
        let mut schedule = match make(capabilities) {
            Ok(schedule) => schedule,
            Err(error) => {
                failure = Some(error);
                Box::new(|_: &[_]| false) as Schedule
            }
        };
        move |frontiers| schedule(frontiers)
    });
    failure.map_or(Ok(()), Err)
}

fn operator_name(plan: &LoweredPlan, index: usize, node: &Node) -> OperatorName {
    OperatorName {
        id: plan.operator_id(index),
        name: Rc::from(node.name.as_str()),
    }
}

/// The stages that read an output of a node: those in its chain, and the ends of edges to other tasks.
fn consumers(
    plan: &LoweredPlan,
    node: usize,
    tag: Option<&String>,
    edges: &mut Edges,
) -> Result<Vec<AnyStage>> {
    let mut stages = Vec::new();
    for (index, consumer) in plan.plan.nodes.iter().enumerate() {
        let reads = consumer
            .inputs
            .iter()
            .any(|edge| edge.from == node && edge.tag.as_ref() == tag);
        if reads && plan.head(index) != index {
            stages.push(stage(plan, index, edges)?);
        }
    }
    stages.extend(edges.stages.remove(&(node, tag.cloned())).unwrap_or_default());
    Ok(stages)
}

/// The stage of a node with everything that is chained behind it.
fn stage(plan: &LoweredPlan, index: usize, edges: &mut Edges) -> Result<AnyStage> {
    let broken = || Error::new(ErrorKind::Bug, format!("node {index} of the plan reads nothing"));
    let node = plan.plan.nodes.get(index).ok_or_else(broken)?;
    let NodeKind::Operator(operator) = &node.kind else {
        return Err(broken());
    };
    let main = operator.output().next(consumers(plan, index, None, edges)?)?;
    let mut sides = Vec::new();
    let mut seen: Vec<&String> = Vec::new();
    for edge in plan.plan.nodes.iter().flat_map(|consumer| &consumer.inputs) {
        if let (true, Some(tag)) = (edge.from == index, &edge.tag)
            && !seen.contains(&tag)
        {
            seen.push(tag);
            sides.push(edge.types.side(tag, consumers(plan, index, Some(tag), edges)?)?);
        }
    }
    let max_parallelism = plan.max_parallelism.get(index).copied().unwrap_or(1);
    operator.stage(StageBuild {
        name: operator_name(plan, index, node),
        max_parallelism,
        main,
        sides,
    })
}
