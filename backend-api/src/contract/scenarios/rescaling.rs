//! Snapshots restored into other key-group ranges than they were taken from.

use super::prelude::*;

pub(crate) fn one_subtask_restores_into_the_same_range(suite: &Suite) {
    rescale(suite, 1, 1);
    rescale(suite, 3, 3);
}

pub(crate) fn few_subtasks_restore_into_many(suite: &Suite) {
    rescale(suite, 1, 2);
    rescale(suite, 2, 4);
    rescale(suite, 1, 16);
}

pub(crate) fn many_subtasks_restore_into_few(suite: &Suite) {
    rescale(suite, 4, 2);
    rescale(suite, 16, 1);
}

pub(crate) fn ranges_that_cut_across_each_other_restore(suite: &Suite) {
    rescale(suite, 3, 5);
    rescale(suite, 5, 3);
    rescale(suite, 7, 2);
}

/// Fills `before` subtasks, restores their snapshots into `after`, and requires that these hold all of it, each cell once; then the same
/// again from what these wrote.
fn rescale(suite: &Suite, before: u32, after: u32) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut whole = one_state_of_each_kind();
    let mut handles = Vec::new();
    for shape in Shape::all(before) {
        let mut opened = suite.restored(&storage, shape, &[]);
        let mut model = one_state_of_each_kind();
        let ids = model.register(&mut opened);
        fill_own(&mut opened, &mut model, &ids, &mut random, 120);
        handles.extend(opened.snapshot(&storage));
        opened.close();
        for (state, part) in whole.states.iter_mut().zip(model.states) {
            state.cells.extend(part.cells);
        }
    }
    for (parallelism, checkpoint) in [(after, 2), (before, 3)] {
        let mut next_handles = Vec::new();
        let mut cells = 0;
        for shape in Shape::all(parallelism) {
            let mut restored = suite
                .restored(&storage, shape, &handles)
                .counting_from(checkpoint);
            let ids = whole.check_restored(&mut restored);
            cells += ids.iter().map(|id| restored.count(*id)).sum::<u64>();
            next_handles.extend(restored.snapshot(&storage));
            restored.close();
        }
        let expected: usize = whole.states.iter().map(|state| state.cells.len()).sum();
        assert_eq!(cells, expected as u64, "cells over all subtasks");
        handles = next_handles;
    }
}

pub(crate) fn groups_outside_the_range_are_left_out(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("value", StateKind::Value, 0);
    for key in 0..100_u8 {
        opened.put(state, &Address::new([key]), b"v");
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    let shape = Shape::of(1, 4);
    let mut restored = suite.restored(&storage, shape, &handles);
    let state = restored.register("value", StateKind::Value, 0);
    let own = (0..100_u8)
        .filter(|key| shape.range().contains(KeyGroup(Address::new([*key]).group)))
        .count();
    assert_eq!(restored.count(state), own as u64);
    let handles = restored.counting_from(2).snapshot(&storage);
    // What was left out does not come back with the next snapshot.
    let mut whole = suite.restored(&storage, Shape::ALONE, &handles);
    let state = whole.register("value", StateKind::Value, 0);
    assert_eq!(whole.count(state), own as u64);
    whole.close();
}

pub(crate) fn the_highest_number_of_key_groups_works(suite: &Suite) {
    let storage = suite.storage();
    let groups = crate::MAX_PARALLELISM_LIMIT;
    let shape = |subtask, parallelism| Shape {
        subtask,
        parallelism,
        max_parallelism: groups,
    };
    let mut opened = suite.restored(&storage, shape(0, 1), &[]);
    let state = opened.register("value", StateKind::Value, 0);
    let timers = opened.register("timers", StateKind::SortedMap, 0);
    for key in 0..200_u8 {
        opened.put(state, &Address::among(groups, [key]), &[key]);
    }
    for group in [0, 1, 16_383, 16_384, 32_767] {
        opened.put(timers, &Address::of_group(group).at("at"), b"");
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut found = 0;
    for subtask in 0..2 {
        let mut restored = suite.restored(&storage, shape(subtask, 2), &handles);
        let state = restored.register("value", StateKind::Value, 0);
        let timers = restored.register("timers", StateKind::SortedMap, 0);
        found += restored.count(state) + restored.count(timers);
        restored.close();
    }
    assert_eq!(found, 205);
}
