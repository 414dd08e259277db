//! The nodes of a plan.

use super::types::{AnyStage, PairOps, Schedule, TypeOps};
use crate::Result;
use crate::checkpoint::OperatorId;
use crate::runtime::snapshot::OperatorName;
use crate::runtime::source_task::SourcePorts;
use crate::runtime::stages::{PlannedStates, Planning, Side};
use crate::runtime::task::TaskContext;
use crate::runtime::time::Time;
use std::any::Any;
use std::sync::Arc;
use timely::dataflow::operators::Capability;

/// A job as the program describes it.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    /// Each node comes behind those that it reads.
    pub(crate) nodes: Vec<Node>,
}

/// An operator of the plan.
#[derive(Clone)]
pub(crate) struct Node {
    /// For people.
    pub(crate) name: String,
    /// What its state is found by, if the program gave it.
    pub(crate) uid: Option<String>,
    /// The number of subtasks, if the program gave it.
    pub(crate) parallelism: Option<u32>,
    /// The number of key groups, if the program gave it.
    pub(crate) max_parallelism: Option<u32>,
    /// What it reads; nothing for sources.
    pub(crate) inputs: Vec<EdgePlan>,
    /// What it is.
    pub(crate) kind: NodeKind,
    /// Whether it may have state in checkpoints.
    pub(crate) has_state: bool,
}

/// What a node is.
#[derive(Clone)]
pub(crate) enum NodeKind {
    /// A source, at most so many records a second over all subtasks.
    Source(Arc<dyn SourceNode>, Option<f64>),
    /// Anything that reads.
    Operator(Arc<dyn OperatorNode>),
}

/// An input of a node.
#[derive(Clone)]
pub(crate) struct EdgePlan {
    /// The node that is read.
    pub(crate) from: usize,
    /// Which side output of it; `None`: the main one.
    pub(crate) tag: Option<String>,
    /// How records find their subtask.
    pub(crate) rule: EdgeRule,
    /// The records.
    pub(crate) types: Arc<dyn TypeOps>,
    /// Whether it belongs to the second input of an operator that has two. Those of the first come before.
    pub(crate) is_second: bool,
}

/// How records find their subtask, before parallelism is known.
#[derive(Clone)]
pub(crate) enum EdgeRule {
    /// The same subtask where the parallelism is the same, else round robin.
    Forward,
    /// By key; makes a `Prepare<T>` that computes the hashes.
    Keyed(Arc<dyn Fn() -> Box<dyn Any> + Send + Sync>),
    /// Round robin.
    Rebalance,
    /// To every subtask.
    Broadcast,
}

/// What a stage is built from.
pub(crate) struct StageBuild {
    /// Who the operator is.
    pub(crate) name: OperatorName,
    /// The number of key groups.
    pub(crate) max_parallelism: u32,
    /// What reads the main output: a `Next<Out>`.
    pub(crate) main: Box<dyn Any>,
    /// What reads the side outputs.
    pub(crate) sides: Vec<Box<dyn Side>>,
}

/// An operator that reads. Shared by all workers and attempts.
pub(crate) trait OperatorNode: Send + Sync {
    /// The type of the main output.
    fn output(&self) -> Arc<dyn TypeOps>;
    /// The operator of one subtask.
    fn stage(&self, build: StageBuild) -> Result<AnyStage>;
    /// The types of its inputs, if it has two.
    fn pair(&self) -> Option<Arc<dyn PairOps>> {
        None
    }
    /// What would become of the states that it asks for.
    fn plan_states(&self, planning: &Planning<'_>) -> Result<PlannedStates> {
        let _ = planning;
        Ok(PlannedStates::default())
    }
    /// A check of sinks before a start that is no restore.
    fn check_fresh_start(&self) -> Result<()> {
        Ok(())
    }
}

/// A source. Shared by all workers and attempts.
pub(crate) trait SourceNode: Send + Sync {
    /// The type of the output.
    fn output(&self) -> Arc<dyn TypeOps>;
    /// The splits of a fresh start, encoded.
    fn splits(&self, parallelism: u32) -> Result<Vec<Vec<u8>>>;
    /// What would become of its position.
    fn plan_states(&self, planning: &Planning<'_>) -> PlannedStates;
    /// The task of one subtask; `next` is a `Next<Record>`.
    fn task(
        &self,
        task: TaskContext,
        name: OperatorName,
        next: Box<dyn Any>,
        rate: Option<f64>,
        ports: SourcePorts,
        capabilities: Vec<Capability<Time>>,
    ) -> Result<Schedule>;
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.nodes.iter().map(|node| &node.name))
            .finish()
    }
}

impl Plan {
    /// Adds a node and returns its number.
    pub(crate) fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The sources whose records come to a node, itself if it is one.
    pub(crate) fn sources_of(&self, node: usize) -> Vec<OperatorId> {
        let mut reaches = vec![false; node + 1];
        if let Some(itself) = reaches.last_mut() {
            *itself = true;
        }
        let mut sources = Vec::new();
        // Each node comes behind those that it reads.
        for (index, described) in self.nodes.iter().enumerate().take(node + 1).rev() {
            if !reaches.get(index).copied().unwrap_or(false) {
                continue;
            }
            if matches!(described.kind, NodeKind::Source(..)) {
                sources.push(OperatorId::new(self.uid(index)));
            }
            for input in &described.inputs {
                if let Some(read) = reaches.get_mut(input.from) {
                    *read = true;
                }
            }
        }
        sources.reverse();
        sources
    }

    /// The uid of a node: the program's, or one made from its place and name, which is stable as long as the program is.
    pub(crate) fn uid(&self, node: usize) -> String {
        self.nodes.get(node).map_or_else(String::new, |described| {
            described
                .uid
                .clone()
                .unwrap_or_else(|| format!("{node}-{}", described.name))
        })
    }
}
