//! Dealing operator state out to another number of subtasks.

use crate::checkpoint::{OperatorMetadata, OperatorStateSnapshot, Redistribution};
use std::collections::BTreeSet;

/// The operator state of each of `parallelism` subtasks, sorted by name. A state that a subtask gets nothing of is there with no items, so that it
/// is known to have existed.
pub(super) fn operator_state(
    operator: &OperatorMetadata,
    parallelism: u32,
) -> Vec<Vec<OperatorStateSnapshot>> {
    let names: BTreeSet<_> = operator
        .subtasks
        .iter()
        .flat_map(|subtask| &subtask.operator_state)
        .map(|state| (state.name.as_str(), rank(state.redistribution)))
        .collect();
    let mut result: Vec<Vec<OperatorStateSnapshot>> = (0..parallelism).map(|_| Vec::new()).collect();
    for (name, kind) in names {
        // What each old subtask had, in order of index.
        let old: Vec<&[Vec<u8>]> = operator
            .subtasks
            .iter()
            .map(|subtask| {
                subtask
                    .operator_state
                    .iter()
                    .find(|state| state.name == name && rank(state.redistribution) == kind)
                    .map_or(&[] as &[_], |state| &state.items)
            })
            .collect();
        let (redistribution, items) = match kind {
            SPLIT => (Redistribution::Split, split(&old, result.len())),
            UNION => {
                let all: Vec<_> = old.concat();
                (Redistribution::Union, vec![all; result.len()])
            }
            _ => (Redistribution::Broadcast, broadcast(&old, result.len())),
        };
        for (subtask, items) in result.iter_mut().zip(items) {
            subtask.push(OperatorStateSnapshot {
                name: name.to_owned(),
                redistribution,
                items,
            });
        }
    }
    result
}

const SPLIT: u8 = 0;
const UNION: u8 = 1;
const BROADCAST: u8 = 2;

fn rank(redistribution: Redistribution) -> u8 {
    match redistribution {
        Redistribution::Split => SPLIT,
        Redistribution::Union => UNION,
        Redistribution::Broadcast => BROADCAST,
    }
}

/// Round-robin over all; untouched where the parallelism is.
fn split(old: &[&[Vec<u8>]], parallelism: usize) -> Vec<Vec<Vec<u8>>> {
    if old.len() == parallelism {
        return old.iter().map(|items| items.to_vec()).collect();
    }
    let mut new: Vec<Vec<Vec<u8>>> = vec![Vec::new(); parallelism];
    for (index, item) in old.iter().copied().flatten().enumerate() {
        if let Some(subtask) = index
            .checked_rem(parallelism)
            .and_then(|index| new.get_mut(index))
        {
            subtask.push(item.clone());
        }
    }
    new
}

/// Each its own; surplus subtasks copy.
fn broadcast(old: &[&[Vec<u8>]], parallelism: usize) -> Vec<Vec<Vec<u8>>> {
    (0..parallelism)
        .map(|index| {
            let copy = index.checked_rem(old.len()).and_then(|index| old.get(index));
            copy.map(|items| items.to_vec()).unwrap_or_default()
        })
        .collect()
}
