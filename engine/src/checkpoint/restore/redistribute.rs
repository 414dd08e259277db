//! Dealing operator state out to another number of subtasks, by what the metadata knows of it.

use crate::checkpoint::{
    ElementRun, OperatorMetadata, OperatorStateShare, OperatorStateSnapshot, Redistribution,
};
use std::collections::BTreeMap;

/// The operator state of each of `parallelism` subtasks, sorted by name. A state that a subtask gets nothing of is there without elements, so that it
/// is known to have existed.
pub(super) fn operator_state(operator: &OperatorMetadata, parallelism: u32) -> Vec<Vec<OperatorStateShare>> {
    // What each old subtask had of each state, in order of index.
    let mut states: BTreeMap<(&str, Redistribution), Vec<Option<&OperatorStateSnapshot>>> = BTreeMap::new();
    for (index, subtask) in operator.subtasks.iter().enumerate() {
        for state in &subtask.operator_state {
            let old = states.entry((&state.name, state.redistribution)).or_default();
            old.resize(operator.subtasks.len(), None);
            if let Some(place) = old.get_mut(index) {
                *place = Some(state);
            }
        }
    }
    let mut result: Vec<Vec<OperatorStateShare>> = (0..parallelism).map(|_| Vec::new()).collect();
    // The subtask that is given the first odd element: small states are not all to end up in the first subtasks.
    let mut first = 0;
    for ((name, redistribution), old) in states {
        let runs = match redistribution {
            Redistribution::Split => split(&old, result.len(), &mut first),
            Redistribution::Union => {
                let all: Vec<_> = old.iter().flatten().map(|state| whole(state)).collect();
                vec![all; result.len()]
            }
            Redistribution::Broadcast => broadcast(&old, result.len()),
        };
        let Some(some) = old.iter().flatten().next() else {
            continue;
        };
        for (subtask, runs) in result.iter_mut().zip(runs) {
            subtask.push(OperatorStateShare {
                name: name.to_owned(),
                redistribution,
                codec: some.codec.clone(),
                runs: runs.into_iter().filter(|run| !run.range.is_empty()).collect(),
            });
        }
    }
    result
}

fn whole(state: &OperatorStateSnapshot) -> ElementRun {
    ElementRun {
        elements: state.elements.clone(),
        offsets: state.offsets.clone(),
        range: 0..state.offsets.len(),
    }
}

/// As Flink's `RoundRobinOperatorStateRepartitioner`: each subtask the same number of elements, one behind the other, so that few files have to be opened by more
/// than one; those that are odd go to subtasks in turn, beginning with `first`, which moves on to the subtask behind them. Untouched where the parallelism is.
fn split(
    old: &[Option<&OperatorStateSnapshot>],
    parallelism: usize,
    first: &mut usize,
) -> Vec<Vec<ElementRun>> {
    if old.len() == parallelism {
        return old
            .iter()
            .map(|state| state.iter().map(|state| whole(state)).collect())
            .collect();
    }
    let mut new: Vec<Vec<ElementRun>> = vec![Vec::new(); parallelism];
    let mut rest = old.iter().flatten().map(|state| whole(state));
    let total = rest
        .clone()
        .fold(0_u64, |sum, run| sum.saturating_add(run.range.end));
    let subtasks = parallelism.max(1) as u64;
    let (share, odd) = (total / subtasks, total % subtasks);
    let mut current: Option<ElementRun> = None;
    for turn in 0..parallelism {
        let mut wanted = share + u64::from((turn as u64) < odd);
        let Some(subtask) = (turn + *first)
            .checked_rem(parallelism)
            .and_then(|index| new.get_mut(index))
        else {
            break;
        };
        while wanted > 0 {
            let Some(run) = current.as_mut().filter(|run| !run.range.is_empty()) else {
                current = rest.next();
                if current.is_none() {
                    break;
                }
                continue;
            };
            let taken = wanted.min(run.range.end - run.range.start);
            let middle = run.range.start + taken;
            subtask.push(ElementRun {
                range: run.range.start..middle,
                ..run.clone()
            });
            run.range.start = middle;
            wanted -= taken;
        }
    }
    *first = (*first + usize::try_from(odd).unwrap_or(0)) % parallelism.max(1);
    new
}

/// Each its own; surplus subtasks copy.
fn broadcast(old: &[Option<&OperatorStateSnapshot>], parallelism: usize) -> Vec<Vec<ElementRun>> {
    let copies: Vec<_> = old.iter().flatten().collect();
    (0..parallelism)
        .map(|index| {
            let own = old.get(index).and_then(Option::as_ref);
            let copy = own.or_else(|| copies.get(index.checked_rem(copies.len())?).copied());
            copy.into_iter().map(|state| whole(state)).collect()
        })
        .collect()
}
