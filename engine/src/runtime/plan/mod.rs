//! The job as the program describes it, and how it becomes a dataflow.
//!
//! A [`Plan`] is a list of nodes, each behind its inputs. Nodes know their types; the plan does not, and gets at them through [`types::TypeOps`].
//! [`lower`](lower::lower) cuts it into chains and builds one timely operator for each, the same on every worker.

pub(crate) mod lower;
pub(crate) mod node;
pub(crate) mod types;

pub(crate) use node::{EdgePlan, EdgeRule, Node, NodeKind, OperatorNode, Plan, SourceNode, StageBuild};
pub(crate) use types::{PairOps, TypeOps, pair_ops, type_ops};
