//! Snapshots in the form that all backends share.

use super::damage::never_panics;
use super::faults::{Running, later, read_all};
use super::prelude::*;

/// A keyed state that was filled, in a storage of its own.
fn filled(suite: &Suite, storage: &Storage, random: &mut Random) -> (Opened, Model, Vec<StateId>) {
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, random, 150, 50);
    (opened, model, ids)
}

#[track_caller]
fn change_all(opened: &mut Opened, model: &mut Model, ids: &[StateId], random: &mut Random) {
    for (state, id) in model.states.iter_mut().zip(ids) {
        canonical::change(opened, state, *id, random);
    }
}

/// Changes so little that an incremental backend writes an increment: a new cell in each state, and one less.
#[track_caller]
fn change_a_little(opened: &mut Opened, model: &mut Model, ids: &[StateId], random: &mut Random, round: u32) {
    for state in 0..model.states.len() {
        let descriptor = &model.states[state].descriptor;
        let mut address = Address::new((1000 + round).to_be_bytes());
        if descriptor.kind.has_map_keys() {
            address = address.at("new");
        }
        let value = random.bytes(8);
        set(opened, model, ids, state, address, &value);
        let gone = model.states[state].cells.keys().nth(random.below(50)).cloned();
        unset(opened, model, ids, state, &gone.unwrap());
    }
}

/// Requires that `handles` restore to `model`, in each of these parallelisms.
#[track_caller]
fn restores_into(suite: &Suite, storage: &Storage, handles: &[SnapshotHandle], model: &Model, all: &[u32]) {
    for parallelism in all {
        let mut cells = 0;
        for shape in Shape::all(*parallelism) {
            let mut restored = suite.restored(storage, shape, handles);
            let ids = model.check_restored(&mut restored);
            cells += ids.iter().map(|id| restored.count(*id)).sum::<u64>();
            restored.close();
        }
        let expected: usize = model.states.iter().map(|state| state.cells.len()).sum();
        assert_eq!(cells, expected as u64, "cells over {parallelism} subtasks");
    }
}

pub(crate) fn every_kind_of_state_is_restored_into_any_ranges(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut whole = one_state_of_each_kind();
    let mut handles = Vec::new();
    for shape in Shape::all(2) {
        let mut model = one_state_of_each_kind();
        let mut opened = suite.restored(&storage, shape, &[]);
        let ids = model.register(&mut opened);
        fill_own(&mut opened, &mut model, &ids, &mut random, 100);
        handles.extend(opened.begin_canonical().write(&storage));
        model.check(&mut opened, &ids);
        opened.close();
        for (state, part) in whole.states.iter_mut().zip(model.states) {
            state.cells.extend(part.cells);
        }
    }
    canonical::check_written(&storage, &handles, &whole);
    restores_into(suite, &storage, &handles, &whole, &[2, 1, 3]);
}

pub(crate) fn what_any_backend_wrote_is_restored_into_any_ranges(suite: &Suite) {
    let storage = suite.storage();
    let model = canonical::sample(&mut suite.random());
    // Groups in one piece, and groups in many.
    for section_bytes in [u64::MAX, 700] {
        let one = canonical::write(&storage, Shape::ALONE.range(), &model, section_bytes);
        restores_into(suite, &storage, &one, &model, &[1, 2, 5]);
        let several = Shape::all(3).flat_map(|shape| {
            let range = shape.range();
            canonical::write(&storage, range, &model.within(range), section_bytes)
        });
        let several: Vec<SnapshotHandle> = several.collect();
        restores_into(suite, &storage, &several, &model, &[1, 2]);
    }
}

pub(crate) fn what_is_written_is_the_states_content_and_nothing_else(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let nothing = opened.begin_canonical().write(&storage);
    canonical::check_written(&storage, &nothing, &Model::default());
    let mut model = one_state_of_each_kind();
    let ids = model.register(&mut opened);
    let empty = opened.begin_canonical().write(&storage);
    canonical::check_written(&storage, &empty, &model);
    for round in 0..4 {
        fill(&mut opened, &mut model, &ids, &mut random, 30 + 20 * round, 50);
        change_all(&mut opened, &mut model, &ids, &mut random);
        let handles = opened.begin_canonical().write(&storage);
        canonical::check_written(&storage, &handles, &model);
    }
    for (state, id) in model.states.iter_mut().zip(&ids) {
        for address in std::mem::take(&mut state.cells).keys() {
            opened.delete(*id, address);
        }
    }
    let cleared = opened.begin_canonical().write(&storage);
    canonical::check_written(&storage, &cleared, &model);
    opened.close();
    restores_into(suite, &storage, &cleared, &model, &[1]);
}

pub(crate) fn what_lies_in_restored_files_is_written_too(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let (mut opened, mut model, ids) = filled(suite, &storage, &mut random);
    let first = opened.begin_snapshot();
    let id = first.checkpoint_id();
    first.write(&storage);
    opened.notify(&storage, id, CheckpointEvent::Completed);
    change_all(&mut opened, &mut model, &ids, &mut random);
    let handles = opened.snapshot(&storage);
    opened.close();
    // At once, after changes of some states, and after changes of all.
    for changed in [0, 2, 5] {
        let mut model = model.clone();
        let mut opened = suite.restored(&storage, Shape::ALONE, &handles).counting_from(10);
        let ids = model.register(&mut opened);
        for (state, id) in model.states.iter_mut().zip(&ids).take(changed) {
            canonical::change(&mut opened, state, *id, &mut random);
        }
        let written = opened.begin_canonical().write(&storage);
        canonical::check_written(&storage, &written, &model);
        model.check(&mut opened, &ids);
        opened.close();
    }
    // Nobody registers anything.
    let mut parts = Vec::new();
    for shape in Shape::all(3) {
        let mut opened = suite.restored(&storage, shape, &handles).counting_from(10);
        parts.extend(opened.begin_canonical().write(&storage));
        opened.close();
    }
    canonical::check_written(&storage, &parts, &model);
}

pub(crate) fn what_was_restored_is_in_every_later_snapshot(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = canonical::sample(&mut random);
    let savepoint = canonical::write(&storage, Shape::ALONE.range(), &model, 5000);
    let mut opened = suite
        .restored(&storage, Shape::ALONE, &savepoint)
        .counting_from(10);
    let ids = model.check_restored(&mut opened);
    for round in 0..4 {
        change_all(&mut opened, &mut model, &ids, &mut random);
        let pending = opened.begin_snapshot();
        let id = pending.checkpoint_id();
        let handles = pending.write(&storage);
        opened.notify(&storage, id, CheckpointEvent::Completed);
        // The savepoint is gone by now: it is its owner's.
        storage.keep_only(&handles.iter().collect::<Vec<_>>());
        restores_into(suite, &storage, &handles, &model, &[1 + round % 2]);
        model.check(&mut opened, &ids);
    }
    opened.close();
}

pub(crate) fn the_moment_is_that_of_the_call_although_the_worker_goes_on(suite: &Suite) {
    for operation in [0, 1] {
        let storage = suite.storage();
        let mut random = suite.random();
        let (mut opened, mut model, ids) = filled(suite, &storage, &mut random);
        let native = opened.begin_snapshot();
        change_all(&mut opened, &mut model, &ids, &mut random);
        let frozen = model.clone();
        let snapshot = opened.begin_canonical();
        // Before the writer runs, and while it does.
        fill(&mut opened, &mut model, &ids, &mut random, 70, 100);
        let after = opened.begin_snapshot();
        let after_model = model.clone();
        let gate = Gate::new();
        let faults = Faults {
            hold_at: Some((operation, gate.clone())),
            ..Faults::default()
        };
        let handles = std::thread::scope(|scope| {
            let writer = scope.spawn(|| snapshot.write_with(&storage, faults).result.unwrap());
            gate.wait_until_reached();
            change_all(&mut opened, &mut model, &ids, &mut random);
            // One that was taken later is written meanwhile, one that was taken before never is.
            let after = after.write(&storage);
            drop(native);
            fill(&mut opened, &mut model, &ids, &mut random, 90, 100);
            gate.release();
            restores_into(suite, &storage, &after, &after_model, &[1]);
            writer.join().unwrap()
        });
        canonical::check_written(&storage, &handles, &frozen);
        model.check(&mut opened, &ids);
        opened.close();
    }
}

pub(crate) fn native_snapshots_before_and_after_do_not_need_its_files(suite: &Suite) {
    // Whether anybody tells that the canonical ones are complete.
    for told in [true, false] {
        let storage = suite.storage();
        let mut random = suite.random();
        let (mut opened, mut model, ids) = filled(suite, &storage, &mut random);
        let mut canonical_ones = Vec::new();
        for round in 0..8 {
            change_a_little(&mut opened, &mut model, &ids, &mut random, round);
            let is_canonical = round % 3 == 2;
            let pending = if is_canonical {
                opened.begin_canonical()
            } else {
                opened.begin_snapshot()
            };
            let id = pending.checkpoint_id();
            let handles = pending.write(&storage);
            if told || !is_canonical {
                opened.notify(&storage, id, CheckpointEvent::Completed);
            }
            if is_canonical {
                canonical_ones.push((handles, model.clone()));
                continue;
            }
            // What is retained: this checkpoint, and for a while the savepoints.
            let savepoints = canonical_ones.iter().flat_map(|(handles, _)| handles);
            storage.keep_only(&handles.iter().chain(savepoints).collect::<Vec<_>>());
            restores_into(suite, &storage, &handles, &model, &[1]);
            for (handles, model) in canonical_ones.drain(..) {
                canonical::check_written(&storage, &handles, &model);
                restores_into(suite, &storage, &handles, &model, &[2]);
            }
        }
        model.check(&mut opened, &ids);
        opened.close();
    }
}

pub(crate) fn it_may_complete_before_an_older_native_one_that_others_then_build_on(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let (mut opened, mut model, ids) = filled(suite, &storage, &mut random);
    for round in 0..12 {
        change_a_little(&mut opened, &mut model, &ids, &mut random, 2 * round);
        let native = opened.begin_snapshot();
        let of_native = model.clone();
        change_a_little(&mut opened, &mut model, &ids, &mut random, 2 * round + 1);
        let savepoint = opened.begin_canonical();
        let of_savepoint = model.clone();
        let (native_id, savepoint_id) = (native.checkpoint_id(), savepoint.checkpoint_id());
        let savepoint = savepoint.write(&storage);
        opened.notify(&storage, savepoint_id, CheckpointEvent::Completed);
        canonical::check_written(&storage, &savepoint, &of_savepoint);
        let native = native.write(&storage);
        opened.notify(&storage, native_id, CheckpointEvent::Completed);
        // The savepoint is disposed of, and the native one before this one is subsumed.
        storage.keep_only(&native.iter().collect::<Vec<_>>());
        restores_into(suite, &storage, &native, &of_native, &[1]);
    }
    model.check(&mut opened, &ids);
    opened.close();
}

pub(crate) fn handles_of_both_forms_restore_together(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut whole = one_state_of_each_kind();
    let mut handles = Vec::new();
    for shape in Shape::all(4) {
        let mut model = one_state_of_each_kind();
        let mut opened = suite.restored(&storage, shape, &[]);
        let ids = model.register(&mut opened);
        fill_own(&mut opened, &mut model, &ids, &mut random, 120);
        handles.extend(if shape.subtask % 2 == 0 {
            opened.begin_canonical().write(&storage)
        } else {
            opened.snapshot(&storage)
        });
        opened.close();
        for (state, part) in whole.states.iter_mut().zip(model.states) {
            state.cells.extend(part.cells);
        }
    }
    restores_into(suite, &storage, &handles, &whole, &[4, 1, 3]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &handles).counting_from(2);
    let ids = whole.register(&mut opened);
    for _ in 0..2 {
        change_all(&mut opened, &mut whole, &ids, &mut random);
        let pending = opened.begin_snapshot();
        let id = pending.checkpoint_id();
        let native = pending.write(&storage);
        opened.notify(&storage, id, CheckpointEvent::Completed);
        restores_into(suite, &storage, &native, &whole, &[2]);
    }
    opened.close();
}

pub(crate) fn one_that_fails_or_is_cancelled_leaves_nothing_and_the_state_goes_on(suite: &Suite) {
    for cancel in [false, true] {
        let mut running = Running::new(suite);
        let mut operation = 0;
        loop {
            running.change();
            let before = running.storage.file_count();
            let faults = if cancel {
                Faults {
                    cancel_at: Some(operation),
                    ..Faults::default()
                }
            } else {
                Faults {
                    fail_at: Some(operation),
                    ..Faults::default()
                }
            };
            let written = running
                .opened
                .begin_canonical()
                .write_with(&running.storage, faults);
            let Err(error) = written.result else {
                assert!(cancel || !written.fault_was_reached, "a failure was hidden");
                break;
            };
            let expected = if cancel {
                BackendErrorKind::Cancelled
            } else {
                BackendErrorKind::Io
            };
            assert_eq!(error.kind(), expected, "{error}");
            assert_eq!(running.storage.file_count(), before, "a file was left");
            running.abort();
            running.check_next(suite);
            operation = later(operation);
        }
        assert!(operation >= 2, "a snapshot has at least an open and a finish");
        let handles = running.opened.begin_canonical().write(&running.storage);
        canonical::check_written(&running.storage, &handles, &running.model);
        running.opened.close();
    }
}

pub(crate) fn a_cancelled_one_stops_soon(suite: &Suite) {
    const VALUE_BYTES: usize = 64 << 10;
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("large", StateKind::Value, 0);
    for key in 0..200_u8 {
        opened.put(state, &Address::new([key]), &[key; VALUE_BYTES]);
    }
    let faults = Faults {
        cancel_at: Some(2),
        ..Faults::default()
    };
    let written = opened.begin_canonical().write_with(&storage, faults);
    let error = written
        .result
        .expect_err("a cancelled snapshot of 12 MiB was written to its end");
    assert_eq!(error.kind(), BackendErrorKind::Cancelled, "{error}");
    assert!(
        written.bytes_after_cancel <= 4 << 20,
        "{} bytes were written after the cancellation",
        written.bytes_after_cancel
    );
    opened.close();
}

pub(crate) fn damage_is_an_error_that_names_file_and_offset(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut random, 3, 8);
    let handles = opened.begin_canonical().write(&storage);
    opened.close();
    let file = handles[0].files[0].clone();
    let whole = storage.bytes(&file);
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << random.below(8);
        storage.replace(&file, damaged);
        let error = read_all(suite, storage.files(), &handles, &model)
            .expect_err("a canonical snapshot was restored although one of its bytes was changed");
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
        for part in [file.token.as_str(), "offset", "expected", "found"] {
            assert!(error.message().contains(part), "without {part:?}: {error}");
        }
    }
    storage.replace(&file, whole);
    for position in 0..handles[0].payload.len() {
        let mut damaged = handles.clone();
        damaged[0].payload[position] ^= 1 << random.below(8);
        let error = read_all(suite, storage.files(), &damaged, &model)
            .expect_err("a canonical snapshot was restored although its description was changed");
        assert_eq!(error.kind(), BackendErrorKind::Corrupted, "{error}");
    }
    read_all(suite, storage.files(), &handles, &model).unwrap();
}

pub(crate) fn cells_that_come_twice_never_make_a_panic(suite: &Suite) {
    let storage = suite.storage();
    let mut model = canonical::sample(&mut suite.random());
    for state in &mut model.states {
        state.cells.retain(|address, _| address.group < 4);
    }
    let once = canonical::write(&storage, Shape::ALONE.range(), &model, 1000);
    // The same once more, from a subtask that says that it had these groups too.
    let twice = canonical::write(&storage, Shape::of(0, 2).range(), &model, u64::MAX);
    never_panics(suite, &storage, &[&once[..], &twice[..]].concat());
    never_panics(suite, &storage, &[&twice[..], &twice[..]].concat());
    // And within one file.
    let again = canonical::write_doubled(&storage, Shape::ALONE.range(), &model);
    never_panics(suite, &storage, &again);
}
