//! Dealing the state of a snapshot out to the subtasks of a job.

use super::redistribute;
use crate::checkpoint::{
    CheckpointMetadata, KeyedHandle, OperatorId, OperatorMetadata, OperatorStateShare, StateDescription,
};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::KeyGroupRange;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// An operator of the job that is to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorPlan {
    /// Who owns the state.
    pub id: OperatorId,
    /// The operator's name, for people.
    pub name: String,
    /// Number of subtasks, from 1 to `max_parallelism`.
    pub parallelism: u32,
    /// Number of key groups, from 1 to 32768.
    pub max_parallelism: u32,
    /// The user asked for this maximum; it was not derived from the parallelism.
    pub max_parallelism_is_set: bool,
    /// The sources whose records come to it, itself for a source.
    pub sources: Vec<OperatorId>,
}

/// What one subtask starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskRestore {
    /// The handles whose key groups meet those of the subtask; a handle may hold more groups than the subtask owns.
    pub keyed: Vec<KeyedHandle>,
    /// Its share of the operator state.
    pub operator_state: Vec<OperatorStateShare>,
}

/// What one operator starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorRestore {
    /// The number of key groups to run with: the snapshot's.
    pub max_parallelism: u32,
    /// The states as they were registered.
    pub states: Vec<StateDescription>,
    /// One entry a subtask.
    pub subtasks: Vec<SubtaskRestore>,
    /// Every subtask had processed all its input.
    pub finished: bool,
}

/// What a job starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RestorePlan {
    operators: HashMap<OperatorId, OperatorRestore>,
}

impl RestorePlan {
    /// What the operator starts with; none for an operator that the snapshot does not know.
    #[must_use]
    pub fn operator(&self, id: &OperatorId) -> Option<&OperatorRestore> {
        self.operators.get(id)
    }

    /// What a subtask starts with; none for an operator that the snapshot does not know.
    #[must_use]
    pub fn subtask(&self, id: &OperatorId, subtask: u32) -> Option<&SubtaskRestore> {
        self.operator(id)?.subtasks.get(usize::try_from(subtask).ok()?)
    }
}

/// Deals the state of a snapshot out to the operators of a job.
///
/// The rules are Flink's (`StateAssignmentOperation`): the parallelism may change up to the snapshot's maximum; an operator whose maximum was derived adopts the
/// snapshot's; operators that the snapshot does not know start empty; an operator of the snapshot that the job does not have is an error if it has state, unless
/// `ignore_unclaimed` is set. An operator that had processed all its input cannot read from a source that had not: its timers at the end of event time have fired, and its
/// last windows are closed.
///
/// # Errors
/// [`ErrorKind::Restore`], naming every operator that does not fit and why.
pub fn assign(
    metadata: &CheckpointMetadata,
    job: &[OperatorPlan],
    ignore_unclaimed: bool,
) -> Result<RestorePlan> {
    if !ignore_unclaimed {
        refuse_unclaimed(metadata, job)?;
    }
    let mut operators = HashMap::new();
    for plan in job {
        let Some(stored) = metadata.operator(&plan.id) else {
            continue;
        };
        refuse_unfinished_input(metadata, stored, plan)?;
        let max_parallelism = max_parallelism(metadata, stored, plan)?;
        let mut operator_state = redistribute::operator_state(stored, plan.parallelism).into_iter();
        let mut subtasks = Vec::new();
        for index in 0..plan.parallelism {
            let Some(range) = KeyGroupRange::of_subtask(index, plan.parallelism, max_parallelism) else {
                return Err(Error::new(
                    ErrorKind::Restore,
                    format!(
                        "operator '{}' (uid '{}') cannot be restored with parallelism {} and {max_parallelism} key groups",
                        plan.name, plan.id, plan.parallelism
                    ),
                ));
            };
            subtasks.push(SubtaskRestore {
                keyed: keyed_handles(stored, range),
                operator_state: operator_state.next().unwrap_or_default(),
            });
        }
        let restore = OperatorRestore {
            max_parallelism,
            states: stored.states.clone(),
            subtasks,
            finished: stored.is_finished(),
        };
        operators.insert(plan.id.clone(), restore);
    }
    if ignore_unclaimed && operators.is_empty() && !metadata.operators.is_empty() {
        tracing::warn!(
            "none of the state of {} {} of job '{}' is restored: this job has no operator with the uid of one there",
            if metadata.is_savepoint {
                "savepoint"
            } else {
                "checkpoint"
            },
            metadata.id,
            metadata.job_name
        );
    }
    Ok(RestorePlan { operators })
}

fn refuse_unclaimed(metadata: &CheckpointMetadata, job: &[OperatorPlan]) -> Result<()> {
    let unclaimed: Vec<_> = metadata
        .operators
        .iter()
        .filter(|stored| stored.has_state() && !job.iter().any(|plan| plan.id == stored.id))
        .map(|stored| format!("'{}' (uid '{}')", stored.name, stored.id))
        .collect();
    if unclaimed.is_empty() {
        return Ok(());
    }
    let known: Vec<_> = job.iter().map(|plan| format!("'{}'", plan.id)).collect();
    Err(Error::new(
        ErrorKind::Restore,
        format!(
            "checkpoint {} of job '{}' has state of operators that this job does not have: {}; the job's operators are {}. Give the operators the uids that they had, or set \
             `execution.state-recovery.ignore-unclaimed-state: true` (`--allow-non-restored-state`) to leave that state behind",
            metadata.id,
            metadata.job_name,
            unclaimed.join(", "),
            known.join(", ")
        ),
    ))
}

fn refuse_unfinished_input(
    metadata: &CheckpointMetadata,
    stored: &OperatorMetadata,
    plan: &OperatorPlan,
) -> Result<()> {
    if !stored.is_finished() {
        return Ok(());
    }
    let mut unfinished = Vec::new();
    for source in &plan.sources {
        match metadata.operator(source) {
            None => unfinished.push(format!("'{source}', which is new")),
            Some(known) if !known.is_finished() => {
                unfinished.push(format!("'{source}', which had more to read"));
            }
            Some(_) => {}
        }
    }
    if unfinished.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Restore,
        format!(
            "operator '{}' (uid '{}') had processed all its input in checkpoint {} of job '{}', and cannot go on with more: it now reads from the source {}. Give the sources the \
             uids that they had; or give the operator a new uid, so that it begins empty, and leave its state behind (`--allow-non-restored-state`)",
            plan.name,
            plan.id,
            metadata.id,
            metadata.job_name,
            unfinished.join(", and from ")
        ),
    ))
}

fn max_parallelism(
    metadata: &CheckpointMetadata,
    stored: &OperatorMetadata,
    plan: &OperatorPlan,
) -> Result<u32> {
    let refuse = |what: String| {
        Err(Error::new(
            ErrorKind::Restore,
            format!(
                "operator '{}' (uid '{}') cannot be restored from checkpoint {}: {what}",
                plan.name, plan.id, metadata.id
            ),
        ))
    };
    if !stored.has_state() {
        return Ok(plan.max_parallelism);
    }
    let max = stored.max_parallelism;
    if plan.max_parallelism_is_set && plan.max_parallelism != max {
        return refuse(format!(
            "its state has {max} key groups, but the maximal parallelism is set to {}; set it to {max}",
            plan.max_parallelism
        ));
    }
    if plan.parallelism > max {
        return refuse(format!(
            "its state has {max} key groups, too few for a parallelism of {}",
            plan.parallelism
        ));
    }
    Ok(max)
}

fn keyed_handles(stored: &OperatorMetadata, range: KeyGroupRange) -> Vec<KeyedHandle> {
    let meets = |(first, last)| {
        KeyGroupRange::new(first, last).is_some_and(|stored| stored.intersection(&range).is_some())
    };
    stored
        .subtasks
        .iter()
        .flat_map(|subtask| &subtask.keyed)
        .filter(|handle| meets(handle.key_groups))
        .cloned()
        .collect()
}
