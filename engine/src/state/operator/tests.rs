use super::*;
use crate::checkpoint::storage::{CheckpointStorage, JobManagerStorage};
use crate::checkpoint::{CheckpointId, ElementRun, OperatorStateShare, Redistribution};
use crate::{Error, ErrorKind};
use std::sync::Arc;

fn storage() -> Arc<dyn CheckpointStorage> {
    Arc::new(JobManagerStorage::new(1 << 20, 1 << 20))
}

/// What one subtask gets back when all states go through a checkpoint; `copies` for as many subtasks that wrote the same.
fn restored(states: &OperatorStates, copies: usize) -> OperatorStates {
    stored(states.encode().unwrap(), copies)
}

fn stored(states: Vec<EncodedState>, copies: usize) -> OperatorStates {
    let storage = storage();
    let shares = states.into_iter().map(|state| {
        let stored = state
            .write(storage.as_ref(), CheckpointId(1), "operator", 0)
            .unwrap();
        let run = ElementRun {
            range: 0..stored.offsets.len(),
            elements: stored.elements,
            offsets: stored.offsets,
        };
        OperatorStateShare {
            name: stored.name,
            redistribution: stored.redistribution,
            codec: stored.codec,
            runs: vec![run; copies],
        }
    });
    OperatorStates::restore(shares.collect(), storage)
}

#[test]
fn lists_and_maps_come_back_as_they_were() {
    let mut states = OperatorStates::default();
    let words = ListStateDescriptor::<String>::new("words");
    let numbers = ListStateDescriptor::<u64>::new("numbers");
    let rules = MapStateDescriptor::<(u8, String), Vec<u32>>::new("rules");
    let list = states.list_state(&words, Redistribution::Split).unwrap();
    let union = states.list_state(&numbers, Redistribution::Union).unwrap();
    let map = states.broadcast_state(&rules).unwrap();
    list.add(&mut states.lists, "one".into()).unwrap();
    list.add_all(&mut states.lists, ["".into(), "three".into()])
        .unwrap();
    union.update(&mut states.lists, vec![7, 8, 9]).unwrap();
    for key in [2, 1, 3] {
        let value = vec![u32::from(key); usize::from(key)];
        map.put(&mut states.broadcast, (key, "k".into()), value).unwrap();
    }
    map.remove(&mut states.broadcast, &(3, "k".into())).unwrap();

    let mut states = restored(&states, 1);
    // In another order than before.
    let map = states.broadcast_state(&rules).unwrap();
    let union = states.list_state(&numbers, Redistribution::Union).unwrap();
    let list = states.list_state(&words, Redistribution::Split).unwrap();
    assert_eq!(list.get(&states.lists).unwrap(), ["one", "", "three"]);
    assert_eq!(union.get(&states.lists).unwrap(), [7, 8, 9]);
    let entries: Vec<_> = map.entries(&states.broadcast).unwrap().iter().collect();
    assert_eq!(
        entries,
        [(&(1, "k".into()), &vec![1]), (&(2, "k".into()), &vec![2, 2])]
    );
    assert_eq!(list.take(&mut states.lists).unwrap().len(), 3);
    assert!(list.get(&states.lists).unwrap().is_empty());
    union.clear(&mut states.lists).unwrap();
    map.clear(&mut states.broadcast).unwrap();
    assert!(!map.contains(&states.broadcast, &(1, "k".into())).unwrap());
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "no '{part}' in: {error}");
    }
}

#[test]
fn a_name_has_one_kind_and_one_type() {
    let mut states = OperatorStates::default();
    let numbers = ListStateDescriptor::<u64>::new("numbers");
    let words = ListStateDescriptor::<String>::new("numbers");
    let map = MapStateDescriptor::<u64, u64>::new("numbers");
    let first = states.list_state(&numbers, Redistribution::Split).unwrap();
    let again = states.list_state(&numbers, Redistribution::Split).unwrap();
    first.add(&mut states.lists, 1).unwrap();
    assert_eq!(
        again.get(&states.lists).unwrap(),
        [1],
        "the same name is the same state"
    );
    refused(
        states.list_state(&numbers, Redistribution::Union),
        &["'numbers'", "as list and as union list"],
    );
    refused(
        states.broadcast_state(&map),
        &["'numbers'", "as list and as broadcast"],
    );
    refused(
        states.list_state(&words, Redistribution::Split),
        &["'numbers'", "two types, u64 and string"],
    );
    for name in ["", "_own"] {
        let reserved = ListStateDescriptor::<u64>::new(name);
        refused(
            states.list_state(&reserved, Redistribution::Split),
            &[name, "must not"],
        );
    }
}

#[test]
fn what_is_stored_keeps_its_kind_and_type() {
    let mut before = OperatorStates::default();
    let numbers = ListStateDescriptor::<u64>::new("numbers");
    before.list_state(&numbers, Redistribution::Union).unwrap();
    let rules = MapStateDescriptor::<u64, u64>::new("rules");
    before.broadcast_state(&rules).unwrap();
    // Also where there are no elements that could be misread.
    refused(
        restored(&before, 1).list_state(&numbers, Redistribution::Split),
        &["'numbers'", "stored as union list", "registered as list"],
    );
    refused(
        restored(&before, 1).list_state(
            &ListStateDescriptor::<String>::new("numbers"),
            Redistribution::Union,
        ),
        &["'numbers'", "stored is u64", "registered is string"],
    );
    refused(
        restored(&before, 1).broadcast_state(&MapStateDescriptor::<u64, String>::new("rules")),
        &["'rules'", "at `.1`", "stored is u64", "registered is string"],
    );
    refused(
        restored(&before, 1).broadcast_state(&MapStateDescriptor::<u64, u64>::new("numbers")),
        &["'numbers'", "stored as union list", "registered as broadcast"],
    );
}

#[test]
fn a_handle_of_other_states_is_an_error() {
    let (mut one, mut other) = (OperatorStates::default(), OperatorStates::default());
    let numbers = ListStateDescriptor::<u64>::new("numbers");
    let list = one.list_state(&numbers, Redistribution::Split).unwrap();
    refused(list.add(&mut other.lists, 1), &["another operator"]);
    other
        .list_state(
            &ListStateDescriptor::<String>::new("words"),
            Redistribution::Split,
        )
        .unwrap();
    refused(list.get(&other.lists), &["another operator"]);
}

#[test]
fn states_without_elements_come_back_without_any() {
    let mut states = OperatorStates::default();
    let list = ListStateDescriptor::<u64>::new("list");
    let emptied = ListStateDescriptor::<String>::new("emptied");
    let rules = MapStateDescriptor::<u8, u8>::new("rules");
    states.list_state(&list, Redistribution::Union).unwrap();
    let of_emptied = states.list_state(&emptied, Redistribution::Split).unwrap();
    of_emptied.add(&mut states.lists, "gone".into()).unwrap();
    of_emptied.clear(&mut states.lists).unwrap();
    states.broadcast_state(&rules).unwrap();

    for copies in [1, 3] {
        let mut states = restored(&states, copies);
        let of_list = states.list_state(&list, Redistribution::Union).unwrap();
        let of_emptied = states.list_state(&emptied, Redistribution::Split).unwrap();
        let of_rules = states.broadcast_state(&rules).unwrap();
        assert!(of_list.get(&states.lists).unwrap().is_empty());
        assert!(of_emptied.get(&states.lists).unwrap().is_empty());
        assert!(of_rules.entries(&states.broadcast).unwrap().is_empty());
        of_emptied.add(&mut states.lists, "new".into()).unwrap();
        assert_eq!(of_emptied.get(&states.lists).unwrap(), ["new"]);
    }
}

#[test]
fn what_nobody_asks_for_is_carried_on_and_not_multiplied() {
    let mut states = OperatorStates::default();
    let list = ListStateDescriptor::<u64>::new("list");
    let union = ListStateDescriptor::<u64>::new("union");
    let of_list = states.list_state(&list, Redistribution::Split).unwrap();
    let of_union = states.list_state(&union, Redistribution::Union).unwrap();
    of_list.update(&mut states.lists, vec![1, 2, 3]).unwrap();
    of_union.update(&mut states.lists, vec![4, 5, 6]).unwrap();

    let mut all_of_union = Vec::new();
    for subtask in 0..2 {
        // A version of the program that knows neither, and then one that does.
        let mut ignorant = restored(&states, 1);
        ignorant.initialized(subtask, 2).unwrap();
        let mut states = restored(&ignorant, 1);
        let of_list = states.list_state(&list, Redistribution::Split).unwrap();
        let of_union = states.list_state(&union, Redistribution::Union).unwrap();
        assert_eq!(of_list.get(&states.lists).unwrap(), [1, 2, 3]);
        all_of_union.extend_from_slice(of_union.get(&states.lists).unwrap());
    }
    all_of_union.sort_unstable();
    assert_eq!(all_of_union, [4, 5, 6]);
}

#[test]
fn states_without_elements_come_back_empty() {
    let mut states = OperatorStates::default();
    let list = ListStateDescriptor::<u64>::new("list");
    let units = ListStateDescriptor::<()>::new("units");
    let map = MapStateDescriptor::<u64, ()>::new("map");
    states.list_state(&list, Redistribution::Split).unwrap();
    let of_units = states.list_state(&units, Redistribution::Union).unwrap();
    states.broadcast_state(&map).unwrap();
    // Elements without bytes are elements.
    of_units.update(&mut states.lists, vec![(), (), ()]).unwrap();

    let mut states = restored(&states, 1);
    let of_list = states.list_state(&list, Redistribution::Split).unwrap();
    let of_units = states.list_state(&units, Redistribution::Union).unwrap();
    let of_map = states.broadcast_state(&map).unwrap();
    assert!(of_list.get(&states.lists).unwrap().is_empty());
    assert_eq!(of_units.get(&states.lists).unwrap().len(), 3);
    assert!(of_map.entries(&states.broadcast).unwrap().is_empty());
    assert!(
        restored(&OperatorStates::default(), 1)
            .encode()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_snapshot_has_what_was_there_when_it_was_taken() {
    let mut states = OperatorStates::default();
    let list = ListStateDescriptor::<String>::new("list");
    let map = MapStateDescriptor::<u64, u64>::new("map");
    let of_list = states.list_state(&list, Redistribution::Split).unwrap();
    let of_map = states.broadcast_state(&map).unwrap();
    of_list.add(&mut states.lists, "before".into()).unwrap();
    of_map.put(&mut states.broadcast, 1, 1).unwrap();
    let taken = states.encode().unwrap();
    of_list.update(&mut states.lists, vec!["behind".into()]).unwrap();
    of_map.put(&mut states.broadcast, 1, 2).unwrap();

    let mut states = stored(taken, 1);
    let of_list = states.list_state(&list, Redistribution::Split).unwrap();
    let of_map = states.broadcast_state(&map).unwrap();
    assert_eq!(of_list.get(&states.lists).unwrap(), ["before"]);
    assert_eq!(of_map.get(&states.broadcast, &1).unwrap(), Some(&1));
}

#[test]
fn elements_and_entries_migrate_by_their_names_and_by_functions_of_the_program() {
    let mut before = OperatorStates::default();
    let numbers = ListStateDescriptor::<u32>::new("numbers");
    let of_numbers = before.list_state(&numbers, Redistribution::Split).unwrap();
    of_numbers.update(&mut before.lists, vec![7, 8]).unwrap();
    let words = ListStateDescriptor::<u16>::new("words");
    let of_words = before.list_state(&words, Redistribution::Union).unwrap();
    of_words.update(&mut before.lists, vec![9]).unwrap();
    let rules = MapStateDescriptor::<u8, u8>::new("rules");
    let of_rules = before.broadcast_state(&rules).unwrap();
    of_rules.put(&mut before.broadcast, 1, 2).unwrap();

    let mut after = restored(&before, 1);
    let wide = ListStateDescriptor::<u64>::new("numbers");
    let of_wide = after.list_state(&wide, Redistribution::Split).unwrap();
    assert_eq!(of_wide.get(&after.lists).unwrap(), [7, 8]);
    let texts = ListStateDescriptor::<String>::new("words").with_migration(|word: u16| word.to_string());
    let of_texts = after.list_state(&texts, Redistribution::Union).unwrap();
    assert_eq!(of_texts.get(&after.lists).unwrap(), ["9"]);
    let texts = MapStateDescriptor::<String, u64>::new("rules")
        .with_migration(|key: u8, value: u8| (key.to_string(), u64::from(value) + 1));
    let of_texts = after.broadcast_state(&texts).unwrap();
    assert_eq!(of_texts.get(&after.broadcast, &"1".to_owned()).unwrap(), Some(&3));
    // From here on they are stored with their new types.
    let mut again = restored(&after, 1);
    let of_wide = again.list_state(&wide, Redistribution::Split).unwrap();
    assert_eq!(of_wide.get(&again.lists).unwrap(), [7, 8]);
    refused(
        again.list_state(&words, Redistribution::Union),
        &["'words'", "`string`", "`u16`", "with_migration"],
    );
}
