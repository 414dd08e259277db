//! What a snapshot holds, and what notifications do.

use super::prelude::*;

pub(crate) fn a_snapshot_of_nothing_is_legal_and_restores(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let nothing = opened.snapshot(&storage);
    for kind in ALL_KINDS {
        opened.register(kind.name(), kind, 0);
    }
    let registered = opened.snapshot(&storage);
    let cleared = {
        let state = opened.register("value", StateKind::Value, 0);
        opened.put(state, &Address::new("key"), b"v");
        opened.delete(state, &Address::new("key"));
        opened.snapshot(&storage)
    };
    opened.close();
    for handles in [nothing, registered, cleared] {
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        for kind in ALL_KINDS {
            let state = restored.register(kind.name(), kind, 0);
            assert_eq!(restored.count(state), 0);
            restored.put(state, &Address::new("key"), b"works");
        }
        restored.close();
    }
}

pub(crate) fn a_restored_state_that_nobody_registers_stays_for_two_snapshots(suite: &Suite) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 60, 50);
    let mut handles = opened.snapshot(&storage);
    opened.close();
    for generation in 2..4 {
        let mut restored = suite
            .restored(&storage, Shape::ALONE, &handles)
            .counting_from(generation);
        // Only the first state is used.
        let first = restored.register_as(&model.states[0].descriptor);
        let address = Address::new(generation.to_be_bytes());
        restored.put(first, &address, b"new");
        model.states[0].cells.insert(address, b"new".to_vec());
        handles = restored.snapshot(&storage);
        restored.close();
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn a_snapshot_taken_right_after_a_restore_is_whole(suite: &Suite) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 60, 50);
    let mut handles = opened.snapshot(&storage);
    opened.close();
    for (checkpoint, may_share) in [(2, true), (3, false), (4, true)] {
        let mut restored = suite
            .restored(&storage, Shape::ALONE, &handles)
            .counting_from(checkpoint);
        handles = restored.begin_snapshot_that(may_share).write(&storage);
        restored.close();
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn a_chain_of_restores_and_rescales_keeps_every_change(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut whole = one_state_of_each_kind();
    let mut handles = Vec::new();
    let mut checkpoint = 1;
    for parallelism in [1, 1, 2, 3, 3, 1, 2, 1] {
        let mut next_whole = one_state_of_each_kind();
        let mut next_handles = Vec::new();
        for shape in Shape::all(parallelism) {
            let mut opened = suite
                .restored(&storage, shape, &handles)
                .counting_from(checkpoint);
            let mut model = whole.within(shape.range());
            let ids = whole.check_restored(&mut opened);
            let mut last = Vec::new();
            for _ in 0..3 {
                fill_own(&mut opened, &mut model, &ids, &mut random, 15);
                unset_some(&mut opened, &mut model, &ids, &mut random);
                let snapshot = opened.begin_snapshot();
                let id = snapshot.checkpoint_id();
                last = snapshot.write(&storage);
                opened.notify(&storage, id, CheckpointEvent::Completed);
            }
            opened.close();
            next_handles.extend(last);
            for (next, part) in next_whole.states.iter_mut().zip(model.states) {
                next.cells.extend(part.cells);
            }
        }
        checkpoint += 3;
        (whole, handles) = (next_whole, next_handles);
        // One checkpoint is retained.
        storage.keep_only(&handles.iter().collect::<Vec<_>>());
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    whole.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn a_snapshot_that_must_stand_alone_restores_without_any_other_file(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    for round in 0..3 {
        fill(&mut opened, &mut model, &ids, &mut random, 20 * (round + 1), 50);
        let snapshot = opened.begin_snapshot();
        let id = snapshot.checkpoint_id();
        snapshot.write(&storage);
        opened.notify(&storage, id, CheckpointEvent::Completed);
    }
    let handles = opened.begin_snapshot_that(false).write(&storage);
    opened.close();
    storage.keep_only(&handles.iter().collect::<Vec<_>>());
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn the_synchronous_part_writes_nothing_and_a_dropped_writer_leaves_nothing(suite: &Suite) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 60, 50);
    drop(opened.begin_snapshot());
    assert_eq!((storage.open_streams(), storage.file_count()), (0, 0));
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 70, 50);
    model.check(&mut opened, &ids);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn notifications_may_come_in_any_order_late_twice_or_never(suite: &Suite) {
    use CheckpointEvent::{Aborted, Completed, Subsumed};
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    // What is told after each of ten snapshots; of checkpoints that were never asked for, too.
    let told: [&[(u64, CheckpointEvent)]; 10] = [
        &[],
        &[(2, Completed), (1, Subsumed)],
        &[(3, Aborted), (77, Aborted)],
        &[],
        &[(5, Completed), (4, Aborted), (2, Subsumed)],
        &[(6, Aborted), (5, Completed)],
        &[],
        &[(8, Completed), (7, Completed), (5, Subsumed)],
        &[(7, Subsumed), (7, Subsumed), (1, Completed)],
        &[(10, Completed)],
    ];
    let mut kept = Vec::new();
    for events in told {
        fill(&mut opened, &mut model, &ids, &mut random, 25, 30);
        unset_some(&mut opened, &mut model, &ids, &mut random);
        let handles = opened.snapshot(&storage);
        kept.push((opened.next_checkpoint() - 1, model.clone(), handles));
        for (id, event) in events {
            opened.notify(&storage, *id, *event);
            if matches!(event, Aborted | Subsumed) {
                // The engine deletes its files, but for those that another one uses.
                kept.retain(|(other, _, _)| other != id);
                let named: Vec<&SnapshotHandle> = kept.iter().flat_map(|(_, _, handles)| handles).collect();
                storage.keep_only(&named);
            }
        }
        model.check(&mut opened, &ids);
    }
    opened.close();
    assert!(kept.len() >= 2, "the scenario keeps some checkpoints");
    for (_, model, handles) in kept {
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        model.check_restored(&mut restored);
        restored.close();
    }
}

#[track_caller]
fn unset_some(opened: &mut Opened, model: &mut Model, ids: &[StateId], random: &mut Random) {
    for state in 0..model.states.len() {
        let cells: Vec<Address> = model.states[state].cells.keys().cloned().collect();
        for address in cells {
            if random.one_in(4) {
                unset(opened, model, ids, state, &address);
            }
        }
    }
}

pub(crate) fn figures_have_names_in_snake_case(suite: &Suite) {
    let mut opened = suite.fresh();
    let figures = opened.object().metrics().into_result().unwrap();
    for figure in figures {
        assert!(
            figure
                .0
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'),
            "the figure {} is not in snake case",
            figure.0
        );
    }
    opened.close();
}

pub(crate) fn the_factory_has_names_that_can_be_found(suite: &Suite) {
    let factory = suite.factory();
    let name = factory.name();
    assert!(name.contains("::"), "{name} is not of the form vendor::Name");
    assert!(!factory.version().is_empty(), "the version is empty");
    for short in factory.short_names() {
        assert!(
            !short.is_empty()
                && !short
                    .chars()
                    .any(|letter| letter.is_uppercase() || letter.is_whitespace()),
            "the short name {short:?} is empty or not in lower case"
        );
    }
    assert_eq!(name, suite.factory().name(), "the name changes");
}
