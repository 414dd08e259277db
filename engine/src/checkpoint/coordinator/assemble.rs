//! From acknowledgements to metadata.

use super::{CheckpointFailure, OperatorInfo};
use crate::checkpoint::{Ack, OperatorId, OperatorMetadata, SubtaskSnapshot};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The decline to report, if there is one: the first that counts, else the first.
pub(super) fn first_decline(acks: &[Ack]) -> Option<CheckpointFailure> {
    let mut declines = acks.iter().filter_map(|ack| match ack {
        Ack::Snapshot(_) => None,
        Ack::Decline {
            operator_name,
            subtask,
            reason,
            kind,
            ..
        } => Some(CheckpointFailure::Declined {
            operator: operator_name.clone(),
            subtask: *subtask,
            reason: reason.clone(),
            kind: *kind,
        }),
    });
    let first = declines.next()?;
    if first.counts() {
        return Some(first);
    }
    Some(declines.find(CheckpointFailure::counts).unwrap_or(first))
}

/// The snapshots among the answers.
pub(super) fn snapshots(acks: &[Ack]) -> impl Iterator<Item = &SubtaskSnapshot> {
    acks.iter().filter_map(|ack| match ack {
        Ack::Snapshot(snapshot) => Some(snapshot),
        Ack::Decline { .. } => None,
    })
}

/// Sorts snapshots by operator and subtask. A duplicate is ignored.
///
/// # Errors
/// A sentence, when an operator is unknown or a subtask did not answer.
pub(super) fn operators(plan: &[OperatorInfo], acks: Vec<Ack>) -> Result<Vec<OperatorMetadata>, String> {
    let mut answered: BTreeMap<OperatorId, BTreeMap<u32, SubtaskSnapshot>> = BTreeMap::new();
    for ack in acks {
        if let Ack::Snapshot(snapshot) = ack {
            answered
                .entry(snapshot.operator.clone())
                .or_default()
                .entry(snapshot.subtask)
                .or_insert(snapshot);
        }
    }
    let mut operators = Vec::with_capacity(plan.len());
    for info in plan {
        let mut snapshots = answered.remove(&info.id).unwrap_or_default();
        let mut states = BTreeSet::new();
        let mut subtasks = Vec::with_capacity(snapshots.len());
        for index in 0..info.parallelism {
            let Some(mut snapshot) = snapshots.remove(&index) else {
                return Err(format!(
                    "subtask {index} of operator '{}' neither acknowledged nor declined",
                    info.name
                ));
            };
            states.extend(std::mem::take(&mut snapshot.states));
            subtasks.push(snapshot);
        }
        if let Some(surplus) = snapshots.keys().next() {
            return Err(format!(
                "subtask {surplus} of operator '{}' acknowledged, but its parallelism is {}",
                info.name, info.parallelism
            ));
        }
        operators.push(OperatorMetadata {
            id: info.id.clone(),
            name: info.name.clone(),
            parallelism: info.parallelism,
            max_parallelism: info.max_parallelism,
            states: states.into_iter().collect(),
            subtasks,
        });
    }
    if let Some(id) = answered.keys().next() {
        return Err(format!(
            "operator '{id}' acknowledged, but the job has no such operator"
        ));
    }
    operators.sort_by(|a, b| a.id.cmp(&b.id));
    mark_finished(&mut operators, plan);
    Ok(operators)
}

/// Only sources know when they have given everything. What is behind sources that all have, has processed all its input at the barrier.
fn mark_finished(operators: &mut [OperatorMetadata], plan: &[OperatorInfo]) {
    let finished: HashSet<OperatorId> = operators
        .iter()
        .filter(|operator| operator.is_finished())
        .map(|operator| operator.id.clone())
        .collect();
    for info in plan {
        let has_all_input =
            !info.sources.is_empty() && info.sources.iter().all(|source| finished.contains(source));
        let operator = operators.iter_mut().find(|operator| operator.id == info.id);
        if let Some(operator) = operator.filter(|_| has_all_input) {
            for subtask in &mut operator.subtasks {
                subtask.finished = true;
            }
        }
    }
}
