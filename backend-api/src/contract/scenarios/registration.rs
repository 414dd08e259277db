//! How states are registered and described.

use super::prelude::*;

pub(crate) fn ids_count_up_and_the_same_name_gives_the_same_id(suite: &Suite) {
    let mut opened = suite.fresh();
    assert_eq!(opened.states(), []);
    let first = opened.register("a", StateKind::Value, 8);
    let second = opened.register("b", StateKind::Map, 0);
    assert_eq!((first, second), (StateId(0), StateId(1)));
    opened.put(first, &Address::new("key"), b"8 bytes.");
    assert_eq!(opened.register("a", StateKind::Value, 8), first);
    assert_eq!(opened.get(first, &Address::new("key")).unwrap(), b"8 bytes.");
    opened.close();
}

pub(crate) fn a_name_cannot_be_registered_with_another_kind_or_width(suite: &Suite) {
    let mut opened = suite.fresh();
    opened.register("state", StateKind::List, 0);
    opened.register("wide", StateKind::Value, 24);
    refuses(&mut opened, "state", StateKind::Map, 0, &["list", "map"]);
    refuses(&mut opened, "wide", StateKind::Value, 8, &["24", "8"]);
    refuses(&mut opened, "wide", StateKind::Value, 0, &["24"]);
    assert_eq!(opened.states().len(), 2, "what was refused is not registered");
    opened.close();
}

pub(crate) fn a_restored_state_cannot_be_registered_with_another_kind_or_width(suite: &Suite) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 40, 20);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    refuses(&mut restored, "value", StateKind::List, 0, &["value", "list"]);
    refuses(&mut restored, "list", StateKind::Value, 0, &["value", "list"]);
    refuses(
        &mut restored,
        "map",
        StateKind::SortedMap,
        0,
        &["map", "sorted map"],
    );
    refuses(
        &mut restored,
        "sorted map",
        StateKind::Value,
        0,
        &["sorted map", "value"],
    );
    refuses(&mut restored, "fixed", StateKind::Value, 16, &["8", "16"]);
    refuses(&mut restored, "value", StateKind::Value, 8, &["8"]);
    // None of it did any harm.
    model.check_restored(&mut restored);
    restored.close();
}

#[track_caller]
fn refuses(opened: &mut Opened, name: &str, kind: StateKind, width: u32, named: &[&str]) {
    let descriptor = StateDescriptor::new(name, kind, width);
    let error = opened
        .object()
        .register(&descriptor)
        .into_result()
        .expect_err("a state was registered as something else than it is");
    assert_eq!(error.kind(), BackendErrorKind::Incompatible, "{error}");
    for text in named {
        assert!(
            error.message().contains(text),
            "the error does not name {text}: {error}"
        );
    }
}

pub(crate) fn states_tells_the_codec_registered_last_else_the_restored_one(suite: &Suite) {
    let storage = suite.storage();
    let with_codec = |name: &str, codec: &str| StateDescriptor {
        codec: codec.as_bytes().to_vec().into(),
        ..StateDescriptor::new(name, StateKind::Value, 0)
    };
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    for name in ["a", "b"] {
        let state = opened.register_as(&with_codec(name, "first"));
        opened.put(state, &Address::new("key"), b"v");
    }
    assert_eq!(
        opened.states(),
        [with_codec("a", "first"), with_codec("b", "first")]
    );
    opened.register_as(&with_codec("a", "second"));
    let expected = [with_codec("a", "second"), with_codec("b", "first")];
    assert_eq!(opened.states(), expected);
    let handles = opened.snapshot(&storage);
    opened.close();

    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    assert_eq!(restored.states(), expected, "nobody has registered anything yet");
    restored.register_as(&with_codec("b", "third"));
    assert_eq!(
        restored.states(),
        [with_codec("a", "second"), with_codec("b", "third")]
    );
    restored.close();
}

pub(crate) fn states_registered_while_a_snapshot_is_written_are_not_in_it_and_work(suite: &Suite) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let mut ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 50, 100);
    let gate = Gate::new();
    let faults = Faults {
        hold_at: Some((0, gate.clone())),
        ..Faults::default()
    };
    let snapshot = opened.begin_snapshot();
    let frozen = model.clone();
    let early = Model::new([StateDescriptor::new("early", StateKind::Value, 0)]);
    ids.extend(early.register(&mut opened));
    model.states.extend(early.states);
    let last = model.states.len() - 1;
    set(&mut opened, &mut model, &ids, last, Address::new("key"), b"early");
    let handles = std::thread::scope(|scope| {
        let writer = scope.spawn(|| snapshot.write_with(&storage, faults).result.unwrap());
        gate.wait_until_reached();
        for number in 0..20 {
            let descriptor = StateDescriptor::new(format!("late {number}"), ALL_KINDS[number % 4], 0);
            ids.push(opened.register_as(&descriptor));
            let more = Model::new([descriptor]);
            model.states.extend(more.states);
            let state = model.states.len() - 1;
            set(&mut opened, &mut model, &ids, state, Address::new("key"), b"late");
        }
        gate.release();
        writer.join().unwrap()
    });
    model.check(&mut opened, &ids);
    let next = opened.snapshot(&storage);
    opened.close();
    for (model, handles) in [(frozen, handles), (model, next)] {
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        model.check_restored(&mut restored);
        restored.close();
    }
}

/// How the engine has a state migrate: nothing is rewritten in place.
pub(crate) fn a_subtask_is_open_twice_while_its_state_goes_from_one_to_the_other_at_another_width(
    suite: &Suite,
) {
    let storage = suite.storage();
    let mut model = one_state_of_each_kind();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    fill(&mut opened, &mut model, &ids, &mut suite.random(), 300, 200);
    let handles = opened.snapshot(&storage);
    opened.close();

    let mut old = suite.restored(&storage, Shape::ALONE, &handles);
    let mut new = suite.restored(&storage, Shape::ALONE, &[]).counting_from(1000);
    let mut wider = model.clone();
    for state in &mut wider.states {
        state.descriptor.codec = b"migrated".to_vec().into();
        if state.descriptor.value_width > 0 {
            state.descriptor.value_width += 3;
        }
        for value in state.cells.values_mut() {
            value.extend_from_slice(b"new");
        }
    }
    let (from, to) = (model.check_restored(&mut old), wider.register(&mut new));
    for (from, to) in from.iter().zip(&to) {
        for group in Shape::ALONE.range().iter() {
            for (address, mut value) in old.visit(*from, group) {
                value.extend_from_slice(b"new");
                new.put(*to, &address, &value);
            }
        }
    }
    wider.check(&mut new, &to);
    model.check(&mut old, &from);
    old.close();
    let migrated = new.snapshot(&storage);
    wider.check(&mut new, &to);
    new.close();
    // What was restored from is as it was, and what was written has nothing of it.
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
    let before: Vec<_> = handles.iter().flat_map(|handle| &handle.files).collect();
    let after = migrated.iter().flat_map(|handle| &handle.files);
    for file in after {
        assert!(
            !before.iter().any(|old| old.token == file.token),
            "file {} of the old state is in the new one",
            file.token
        );
    }
    let mut restored = suite.restored(&storage, Shape::ALONE, &migrated);
    wider.check_restored(&mut restored);
    restored.close();
}
