//! Snapshots that are written while the state goes on, and several at once.

use super::prelude::*;

fn held_at(operation: u64) -> (Gate, Faults) {
    let gate = Gate::new();
    let faults = Faults {
        hold_at: Some((operation, gate.clone())),
        ..Faults::default()
    };
    (gate, faults)
}

pub(crate) fn what_is_written_after_the_synchronous_part_is_not_in_the_snapshot(suite: &Suite) {
    // Held before anything is opened, and in the middle.
    for operation in [0, 1] {
        let storage = suite.storage();
        let mut random = suite.random();
        let mut model = one_state_of_each_kind();
        let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
        let ids = model.register(&mut opened);
        fill(&mut opened, &mut model, &ids, &mut random, 200, 100);
        let frozen = model.clone();
        let snapshot = opened.begin_snapshot();
        // Before the writer runs, and while it does.
        fill(&mut opened, &mut model, &ids, &mut random, 20, 100);
        let (gate, faults) = held_at(operation);
        let handles = std::thread::scope(|scope| {
            let writer = scope.spawn(|| snapshot.write_with(&storage, faults).result.unwrap());
            gate.wait_until_reached();
            for state in 0..model.states.len() {
                let cells: Vec<Address> = model.states[state].cells.keys().cloned().collect();
                for (number, address) in cells.into_iter().enumerate() {
                    if number % 3 == 0 {
                        unset(&mut opened, &mut model, &ids, state, &address);
                    } else {
                        set(&mut opened, &mut model, &ids, state, address, b"8 later.");
                    }
                }
            }
            fill(&mut opened, &mut model, &ids, &mut random, 300, 100);
            gate.release();
            writer.join().unwrap()
        });
        model.check(&mut opened, &ids);
        opened.close();
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        frozen.check_restored(&mut restored);
        restored.close();
    }
}

pub(crate) fn a_table_that_grows_and_shrinks_under_pending_snapshots_is_snapshotted_as_it_was(suite: &Suite) {
    let storage = suite.storage();
    let mut model = Model::new([
        StateDescriptor::new("counts", StateKind::Value, 8),
        StateDescriptor::new("words", StateKind::Value, 0),
    ]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    let address = |key: u32| Address::new(key.to_be_bytes());
    let mut pending = vec![(model.clone(), opened.begin_snapshot())];
    for (from, to) in [(0, 3_000), (3_000, 20_000)] {
        for key in from..to {
            set(
                &mut opened,
                &mut model,
                &ids,
                0,
                address(key),
                &u64::from(key).to_le_bytes(),
            );
            set(
                &mut opened,
                &mut model,
                &ids,
                1,
                address(key),
                &key.to_le_bytes()[..1 + key as usize % 4],
            );
        }
        pending.push((model.clone(), opened.begin_snapshot()));
    }
    for key in (0..20_000).filter(|key| key % 10 != 0) {
        unset(&mut opened, &mut model, &ids, 0, &address(key));
        unset(&mut opened, &mut model, &ids, 1, &address(key));
    }
    pending.push((model.clone(), opened.begin_snapshot()));
    for key in 0..2_000 {
        set(&mut opened, &mut model, &ids, 0, address(key), b"8 again.");
        set(
            &mut opened,
            &mut model,
            &ids,
            1,
            address(key),
            b"longer than it was before",
        );
    }
    model.check(&mut opened, &ids);
    for (model, snapshot) in pending {
        let handles = snapshot.write(&storage);
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        model.check_restored(&mut restored);
        restored.close();
    }
    opened.close();
}

pub(crate) fn a_second_snapshot_completes_while_the_first_is_held(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut random, 50, 100);
    let first_model = model.clone();
    let first = opened.begin_snapshot();
    let (gate, faults) = held_at(1);
    let (first, second) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| first.write_with(&storage, faults).result.unwrap());
        gate.wait_until_reached();
        fill(&mut opened, &mut model, &ids, &mut random, 80, 100);
        let second = opened.snapshot(&storage);
        opened.notify(&storage, 2, CheckpointEvent::Completed);
        fill(&mut opened, &mut Model::clone(&model), &ids, &mut random, 90, 100);
        gate.release();
        (writer.join().unwrap(), second)
    });
    opened.close();
    for (model, handles) in [(first_model, first), (model, second)] {
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        model.check_restored(&mut restored);
        restored.close();
    }
}

pub(crate) fn several_snapshots_are_written_at_once_and_each_is_of_its_own_moment(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    let taken = std::thread::scope(|scope| {
        let mut running = Vec::new();
        for round in 0..6 {
            fill(&mut opened, &mut model, &ids, &mut random, 30 + round * 10, 60);
            let snapshot = opened.begin_snapshot();
            let storage = &storage;
            running.push((model.clone(), scope.spawn(move || snapshot.write(storage))));
        }
        let join =
            |(model, writer): (Model, std::thread::ScopedJoinHandle<'_, _>)| (model, writer.join().unwrap());
        running.into_iter().map(join).collect::<Vec<_>>()
    });
    model.check(&mut opened, &ids);
    opened.close();
    for (model, handles) in taken {
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        model.check_restored(&mut restored);
        restored.close();
    }
}

pub(crate) fn a_writer_outlives_its_keyed_state_or_fails_clean(suite: &Suite) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let folder = suite.new_folder("outlived");
    let mut opened = suite
        .try_restored(storage.files(), Shape::ALONE, &[], &folder)
        .unwrap();
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 50, 100);
    let snapshot = opened.begin_snapshot();
    drop(opened);
    let written = snapshot.write_with(&storage, Faults::default());
    assert!(
        !folder.exists(),
        "the local folder is still there after keyed state and writer are gone"
    );
    match written.result {
        Ok(handles) => {
            let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
            model.check_restored(&mut restored);
            restored.close();
        }
        Err(error) => assert_ne!(error.kind(), BackendErrorKind::Panicked, "{error}"),
    }
}

pub(crate) fn two_subtasks_of_one_backend_do_not_see_each_other(suite: &Suite) {
    let storage = suite.storage();
    let mut subtasks: Vec<Opened> = Shape::all(2)
        .map(|shape| suite.restored(&storage, shape, &[]))
        .collect();
    for opened in &mut subtasks {
        let state = opened.register("timers", StateKind::SortedMap, 0);
        let group = opened.range().first.0;
        opened.put(state, &Address::of_group(group).at("at"), b"");
        assert_eq!(opened.count(state), 1);
    }
    for opened in subtasks {
        opened.close();
    }
}
