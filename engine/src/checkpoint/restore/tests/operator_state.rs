//! Operator state at every change of the parallelism from 1..8 to 1..8.

use super::*;
use crate::checkpoint::OperatorStateShare;
use std::collections::BTreeSet;

/// How many elements each old subtask has: many, one, none, and all in one place.
fn amounts(parallelism: u64) -> Vec<Vec<u64>> {
    vec![
        (0..parallelism).map(|subtask| 10 + 3 * subtask).collect(),
        vec![1; usize::try_from(parallelism).unwrap()],
        (0..parallelism).map(|subtask| subtask % 2).collect(),
        (0..parallelism)
            .map(|subtask| if subtask + 1 == parallelism { 41 } else { 0 })
            .collect(),
        vec![0; usize::try_from(parallelism).unwrap()],
    ]
}

/// The states `a`, `b` and `c` of the same kind, with such elements as `a 2.5`: of subtask 2, the sixth.
fn states(amounts: &[u64], redistribution: Redistribution) -> OperatorMetadata {
    let parallelism = u32::try_from(amounts.len()).unwrap();
    let mut stored = operator("op", parallelism, 128, &[]);
    for (subtask, count) in stored.subtasks.iter_mut().zip(amounts) {
        subtask.operator_state.clear();
        for name in ["a", "b", "c"] {
            let from = if redistribution == Redistribution::Broadcast {
                0
            } else {
                subtask.subtask
            };
            subtask.operator_state.push(OperatorStateSnapshot::inline(
                name,
                redistribution,
                CodecId::of::<String>(),
                (0..*count).map(|index| format!("{name} {from}.{index}").into_bytes()),
            ));
        }
    }
    stored
}

fn elements(share: &OperatorStateShare) -> Vec<String> {
    let storage = JobManagerStorage::new(1024, 1024);
    let mut elements = Vec::new();
    let read = share.read(&storage, &mut |element| {
        elements.push(String::from_utf8(element.to_vec()).unwrap());
        Ok(())
    });
    read.unwrap();
    elements
}

/// By state, by new subtask.
fn dealt(stored: OperatorMetadata, parallelism: u32) -> Vec<Vec<Vec<String>>> {
    let plan = assign(
        &snapshot(vec![stored]),
        &[plan("op", parallelism, 128, false)],
        false,
    )
    .unwrap();
    let subtasks = &plan.operator(&OperatorId::new("op")).unwrap().subtasks;
    assert_eq!(subtasks.len(), usize::try_from(parallelism).unwrap());
    (0..3)
        .map(|state| {
            let of_state = subtasks.iter().map(|subtask| {
                let share = &subtask.operator_state[state];
                assert_eq!(share.name, ["a", "b", "c"][state]);
                let elements = elements(share);
                assert_eq!(share.len(), elements.len() as u64);
                elements
            });
            of_state.collect()
        })
        .collect()
}

fn each_change(
    redistribution: Redistribution,
    check: impl Fn(&[u64], &[Vec<Vec<String>>], &[Vec<Vec<String>>]),
) {
    for old in 1..=8 {
        for amounts in amounts(old) {
            let before = dealt(
                states(&amounts, redistribution),
                u32::try_from(amounts.len()).unwrap(),
            );
            for new in 1..=8 {
                check(&amounts, &before, &dealt(states(&amounts, redistribution), new));
            }
        }
    }
}

#[test]
fn each_element_of_a_list_goes_to_one_subtask_and_all_get_as_many() {
    each_change(Redistribution::Split, |amounts, _, after| {
        let (old, new) = (amounts.len(), after[0].len());
        for (state, name) in after.iter().zip(["a", "b", "c"]) {
            let all: Vec<String> = amounts
                .iter()
                .enumerate()
                .flat_map(|(from, count)| (0..*count).map(move |index| format!("{name} {from}.{index}")))
                .collect();
            let mut found: Vec<_> = state.iter().flatten().cloned().collect();
            assert_eq!(found.len(), all.len(), "{amounts:?} -> {new}");
            let whole: BTreeSet<_> = found.iter().cloned().collect();
            assert_eq!(whole, all.iter().cloned().collect(), "{amounts:?} -> {new}");
            if old == new {
                found.clear();
                found.extend(state.iter().flatten().cloned());
                assert_eq!(found, all, "each its own, in order");
                continue;
            }
            let sizes: Vec<_> = state.iter().map(Vec::len).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(most - least <= 1, "{amounts:?} -> {new}: {sizes:?}");
        }
    });
}

#[test]
fn odd_elements_of_several_lists_do_not_meet_in_one_subtask() {
    // One element a state: as Flink, the second state begins where the first one ended.
    let after = dealt(states(&[1], Redistribution::Split), 3);
    assert_eq!(after[0], [vec!["a 0.0".to_owned()], vec![], vec![]]);
    assert_eq!(after[1], [vec![], vec!["b 0.0".to_owned()], vec![]]);
    assert_eq!(after[2], [vec![], vec![], vec!["c 0.0".to_owned()]]);
}

#[test]
fn every_subtask_gets_all_elements_of_a_union_list() {
    each_change(Redistribution::Union, |amounts, before, after| {
        for (state, old) in after.iter().zip(before) {
            for subtask in state {
                assert_eq!(subtask, &old[0], "{amounts:?} -> {}", state.len());
                let all = usize::try_from(amounts.iter().sum::<u64>()).unwrap();
                assert_eq!(subtask.len(), all);
            }
        }
    });
}

#[test]
fn every_subtask_gets_one_copy_of_a_broadcast_state() {
    each_change(Redistribution::Broadcast, |amounts, _, after| {
        for state in after {
            for (index, subtask) in state.iter().enumerate() {
                let copied = usize::try_from(amounts[index % amounts.len()]).unwrap();
                assert_eq!(subtask.len(), copied, "{amounts:?} -> {}", state.len());
            }
        }
    });
}

#[test]
fn a_subtask_opens_only_files_that_have_elements_for_it() {
    for (old, new) in [(8, 3), (3, 8), (7, 2), (2, 5)] {
        let amounts: Vec<u64> = vec![12; old];
        let plan = assign(
            &snapshot(vec![states(&amounts, Redistribution::Split)]),
            &[plan("op", new, 128, false)],
            false,
        )
        .unwrap();
        for subtask in &plan.operator(&OperatorId::new("op")).unwrap().subtasks {
            for share in &subtask.operator_state {
                let most = old.div_ceil(new as usize) + 1;
                assert!(
                    share.runs.len() <= most,
                    "{old} -> {new}: {} files",
                    share.runs.len()
                );
                assert!(share.runs.iter().all(|run| !run.range.is_empty()));
            }
        }
    }
}
