//! Calls that break the contract: an error that says so, and no harm done.

use super::prelude::*;
use crate::{BackendError, Slot};

#[track_caller]
fn is_misuse<T>(call: &str, result: Result<T, BackendError>) {
    let Err(error) = result else {
        panic!("{call} went well, but it breaks the contract");
    };
    assert_eq!(error.kind(), BackendErrorKind::Misuse, "{call}: {error}");
}

pub(crate) fn a_key_group_of_another_subtask_is_refused(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::of(1, 4), &[]);
    let own = opened.range();
    for kind in ALL_KINDS {
        let state = opened.register(kind.name(), kind, 0);
        let fixed = opened.register("fixed", StateKind::Value, 8);
        for group in [0, own.first.0 - 1, own.last.0 + 1, 15, 16, u16::MAX] {
            let foreign = Address::of_group(group);
            let cell = foreign.cell();
            let mut entries = EntryBuffer::new();
            let keys = Keys::new([&foreign]);
            let object = opened.object();
            is_misuse("get", object.get(state, &cell).into_result());
            is_misuse("put", object.put(state, &cell, b"v"[..].into()).into_result());
            let eight = b"8 bytes."[..].into();
            is_misuse(
                "put of a fixed width",
                object.put(fixed, &cell, eight).into_result(),
            );
            is_misuse("delete", object.delete(state, &cell).into_result());
            let visit = object.visit(state, KeyGroup(group), &mut entries);
            is_misuse("visit", visit.into_result());
            if kind == StateKind::List {
                is_misuse(
                    "append",
                    object.append(state, &cell, b"v"[..].into()).into_result(),
                );
            }
            if kind.has_map_keys() {
                let scan = object.scan(state, &cell, b""[..].into(), 0, &mut entries);
                is_misuse("scan", scan.into_result());
                is_misuse("clear_map", object.clear_map(state, &cell).into_result());
            }
            object.prefetch(fixed, &keys.batch());
        }
        let address = Address::of_group(own.first.0);
        opened.put(state, &address, b"still works");
        assert_eq!(opened.get(state, &address).unwrap(), b"still works");
        assert_eq!(opened.count(fixed), 0);
    }
    opened.close();
}

pub(crate) fn a_state_that_was_never_registered_is_refused(suite: &Suite) {
    let mut opened = suite.fresh();
    let known = opened.register("value", StateKind::Value, 0);
    let address = Address::new("key");
    let cell = address.cell();
    let mut entries = EntryBuffer::new();
    for unknown in [StateId(1), StateId(u32::MAX)] {
        let object = opened.object();
        is_misuse("get", object.get(unknown, &cell).into_result());
        is_misuse("put", object.put(unknown, &cell, b"v"[..].into()).into_result());
        is_misuse("delete", object.delete(unknown, &cell).into_result());
        is_misuse(
            "append",
            object.append(unknown, &cell, b"v"[..].into()).into_result(),
        );
        let scan = object.scan(unknown, &cell, b""[..].into(), 0, &mut entries);
        is_misuse("scan", scan.into_result());
        is_misuse("clear_map", object.clear_map(unknown, &cell).into_result());
        let visit = object.visit(unknown, KeyGroup(0), &mut entries);
        is_misuse("visit", visit.into_result());
        is_misuse("len", object.count(unknown).into_result());
        object.prefetch(unknown, &Keys::new([&address]).batch());
    }
    opened.put(known, &address, b"v");
    opened.close();
}

pub(crate) fn an_operation_of_another_kind_is_refused_and_changes_nothing(suite: &Suite) {
    let mut opened = suite.fresh();
    let mut entries = EntryBuffer::new();
    for kind in ALL_KINDS {
        let state = opened.register(kind.name(), kind, 0);
        let address = Address::new("key").at(if kind.has_map_keys() { "x" } else { "" });
        let cell = address.cell();
        opened.put(state, &address, b"v");
        let object = opened.object();
        if kind != StateKind::List {
            is_misuse(
                "append",
                object.append(state, &cell, b"w"[..].into()).into_result(),
            );
        }
        if !kind.has_map_keys() {
            let scan = object.scan(state, &cell, b""[..].into(), 0, &mut entries);
            is_misuse("scan", scan.into_result());
            is_misuse("clear_map", object.clear_map(state, &cell).into_result());
        }
        assert_eq!(opened.get(state, &address).unwrap(), b"v");
    }
    assert!(entries.is_empty());
    opened.close();
}

pub(crate) fn a_value_of_another_width_is_refused_and_changes_nothing(suite: &Suite) {
    let mut opened = suite.fresh();
    let state = opened.register("fixed", StateKind::Value, 8);
    let address = Address::new("key");
    for value in [&b""[..], b"7 bytes", b"9 bytes!!"] {
        let put = opened.object().put(state, &address.cell(), value.into());
        is_misuse("put", put.into_result());
        assert_eq!((opened.get(state, &address), opened.count(state)), (None, 0));
    }
    opened.put(state, &address, b"8 bytes.");
    let put = opened.object().put(state, &address.cell(), b"short"[..].into());
    is_misuse("put", put.into_result());
    assert_eq!(opened.get(state, &address).unwrap(), b"8 bytes.");
    opened.close();
}

pub(crate) fn slots_are_refused_where_there_are_none(suite: &Suite) {
    let has_slots = suite.capabilities().slots;
    let mut opened = suite.restored(&suite.storage(), Shape::of(0, 2), &[]);
    let fixed = opened.register("fixed", StateKind::Value, 8);
    let varying = opened.register("varying", StateKind::Value, 0);
    let own = [Address::of_group(0), Address::of_group(1)];
    let keys = Keys::new(&own);
    let mut slots = [Slot::NULL; 3];
    if !has_slots {
        let object = opened.object();
        let result = object.slots(fixed, &keys.batch(), (&mut slots[..2]).into());
        assert_eq!(
            result.into_result().unwrap_err().kind(),
            BackendErrorKind::Unsupported
        );
        opened.close();
        return;
    }
    for len in [0, 1, 3] {
        let object = opened.object();
        let result = object.slots(fixed, &keys.batch(), (&mut slots[..len]).into());
        is_misuse("slots for fewer or more than the keys", result.into_result());
    }
    let foreign = Keys::new([&own[0], &Address::of_group(15)]);
    for (what, state, keys) in [
        ("slots of values of varying width", varying, &keys),
        ("slots of an unknown state", StateId(9), &keys),
        ("slots of another subtask's key group", fixed, &foreign),
    ] {
        let object = opened.object();
        let result = object.slots(state, &keys.batch(), (&mut slots[..2]).into());
        is_misuse(what, result.into_result());
    }
    assert_eq!(opened.count(fixed), 0, "what was refused left something");
    opened.update(fixed, &keys, 8, |_, value| *value = Some(vec![7; 8]));
    assert_eq!(opened.count(fixed), 2);
    opened.close();
}
