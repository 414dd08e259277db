//! Value states: one value a (key, namespace).

use super::prelude::*;

pub(crate) fn a_value_is_what_was_put_last_and_belongs_to_its_key(suite: &Suite) {
    let mut opened = suite.fresh();
    let state = opened.register("value", StateKind::Value, 0);
    let (one, two) = (Address::new("one"), Address::new("two"));
    assert_eq!(opened.get(state, &one), None);
    opened.put(state, &one, b"1");
    assert_eq!(opened.get(state, &two), None);
    opened.put(state, &two, b"2");
    opened.put(state, &one, b"one, longer than before");
    assert_eq!(opened.get(state, &one).unwrap(), b"one, longer than before");
    assert_eq!(opened.get(state, &two).unwrap(), b"2");
    opened.put(state, &one, b"");
    assert_eq!(opened.get(state, &one).unwrap(), b"", "an empty value is a value");
    opened.close();
}

pub(crate) fn two_generations_of_snapshots_restore_to_their_own_values(suite: &Suite) {
    let storage = suite.storage();
    let mut model = Model::new([
        StateDescriptor::new("words", StateKind::Value, 0),
        StateDescriptor::new("counts", StateKind::Value, 8),
    ]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    for key in 0..50_u64 {
        set(
            &mut opened,
            &mut model,
            &ids,
            0,
            Address::new(key.to_be_bytes()),
            b"old",
        );
        set(
            &mut opened,
            &mut model,
            &ids,
            1,
            Address::new(key.to_be_bytes()),
            &key.to_le_bytes(),
        );
    }
    let first = (model.clone(), opened.snapshot(&storage));
    for key in (0..80_u64).step_by(3) {
        set(
            &mut opened,
            &mut model,
            &ids,
            0,
            Address::new(key.to_be_bytes()),
            b"new",
        );
    }
    for key in (0..50_u64).step_by(7) {
        unset(&mut opened, &mut model, &ids, 1, &Address::new(key.to_be_bytes()));
    }
    let second = (model.clone(), opened.snapshot(&storage));
    model.check(&mut opened, &ids);
    opened.close();
    for (model, handles) in [first, second] {
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        model.check_restored(&mut restored);
        restored.close();
    }
}

pub(crate) fn a_deleted_value_is_absent_also_after_a_restore(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("value", StateKind::Value, 0);
    let fixed = opened.register("fixed", StateKind::Value, 4);
    let (stays, goes) = (Address::new("stays"), Address::new("goes"));
    for address in [&stays, &goes] {
        opened.put(state, address, b"v");
        opened.put(fixed, address, b"four");
    }
    for state in [state, fixed] {
        assert!(opened.delete(state, &goes), "there was a value to delete");
        assert!(!opened.delete(state, &goes), "a value can be deleted once only");
        assert_eq!(opened.get(state, &goes), None);
    }
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let state = restored.register("value", StateKind::Value, 0);
    let fixed = restored.register("fixed", StateKind::Value, 4);
    assert_eq!(restored.get(state, &goes), None);
    assert_eq!(restored.get(fixed, &goes), None);
    assert_eq!(restored.get(state, &stays).unwrap(), b"v");
    assert_eq!(restored.get(fixed, &stays).unwrap(), b"four");
    assert!(!restored.delete(state, &goes));
    restored.close();
}

pub(crate) fn several_states_of_one_key_do_not_mix(suite: &Suite) {
    let mut opened = suite.fresh();
    let at = Address::new("key");
    let states: Vec<StateId> = (0..5)
        .map(|number| opened.register(&format!("state {number}"), StateKind::Value, 0))
        .collect();
    for (number, state) in states.iter().enumerate() {
        opened.put(*state, &at, number.to_string().as_bytes());
    }
    assert!(opened.delete(states[2], &at));
    for (number, state) in states.iter().enumerate() {
        let expected = (number != 2).then(|| number.to_string().into_bytes());
        assert_eq!(opened.get(*state, &at), expected);
    }
    opened.close();
}

pub(crate) fn keys_namespaces_and_map_keys_of_any_bytes_do_not_mix(suite: &Suite) {
    let storage = suite.storage();
    let parts: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"\x01",
        b"a",
        b"ab",
        b"\xff",
        b"\xff\xff",
    ];
    let mut model = Model::new([
        StateDescriptor::new("value", StateKind::Value, 0),
        StateDescriptor::new("list", StateKind::List, 0),
        StateDescriptor::new("map", StateKind::Map, 0),
        StateDescriptor::new("sorted", StateKind::SortedMap, 0),
    ]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    for key in parts {
        for namespace in parts {
            let address = Address::new(key).within(namespace);
            let value = format!("{key:?} {namespace:?}");
            set(
                &mut opened,
                &mut model,
                &ids,
                0,
                address.clone(),
                value.as_bytes(),
            );
            set(
                &mut opened,
                &mut model,
                &ids,
                1,
                address.clone(),
                value.as_bytes(),
            );
            for map_key in parts {
                let address = address.clone().at(map_key);
                let value = format!("{key:?} {namespace:?} {map_key:?}");
                set(
                    &mut opened,
                    &mut model,
                    &ids,
                    2,
                    address.clone(),
                    value.as_bytes(),
                );
                set(&mut opened, &mut model, &ids, 3, address, value.as_bytes());
            }
        }
    }
    model.check(&mut opened, &ids);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn keys_with_equal_hashes_do_not_mix(suite: &Suite) {
    let mut opened = suite.fresh();
    let state = opened.register("value", StateKind::Value, 0);
    let fixed = opened.register("fixed", StateKind::Value, 8);
    // Two keys of one hash are not to be had, so the caller pretends.
    let collide = |key: &'static [u8]| Cell::of_key(42, KeyGroup(3), key);
    let keys: [&'static [u8]; 4] = [b"one", b"two", b"", b"one longer key"];
    for key in keys {
        let value = [key, b" value"].concat();
        let object = opened.object();
        object
            .put(state, &collide(key), (&value[..]).into())
            .into_result()
            .unwrap();
        let number = (key.len() as u64).to_le_bytes();
        object
            .put(fixed, &collide(key), (&number[..]).into())
            .into_result()
            .unwrap();
    }
    assert!(
        opened
            .object()
            .delete(state, &collide(b"two"))
            .into_result()
            .unwrap()
    );
    for key in keys {
        let expected = (key != b"two").then(|| [key, b" value"].concat());
        let found = opened.object().get(state, &collide(key)).into_result().unwrap();
        assert_eq!(found.into_option().map(|value| value.to_vec()), expected);
        let number = opened.object().get(fixed, &collide(key)).into_result().unwrap();
        assert_eq!(number.unwrap().as_slice(), (key.len() as u64).to_le_bytes());
    }
    opened.close();
}

pub(crate) fn the_number_of_cells_follows_puts_deletes_and_restores(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let value = opened.register("value", StateKind::Value, 0);
    let map = opened.register("map", StateKind::Map, 0);
    assert_eq!(opened.count(value), 0);
    for key in 0..30_u8 {
        opened.put(value, &Address::new([key]), b"v");
        opened.put(value, &Address::new([key]), b"v again");
        opened.put(map, &Address::new([key % 3]).at([key]), b"v");
    }
    assert_eq!((opened.count(value), opened.count(map)), (30, 30));
    for key in 0..10_u8 {
        opened.delete(value, &Address::new([key]));
        opened.delete(value, &Address::new([key]));
    }
    assert_eq!(opened.clear_map(map, &Address::new([0])), 10);
    assert_eq!((opened.count(value), opened.count(map)), (20, 20));
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let value = restored.register("value", StateKind::Value, 0);
    let map = restored.register("map", StateKind::Map, 0);
    assert_eq!((restored.count(value), restored.count(map)), (20, 20));
    restored.put(value, &Address::new([0]), b"v");
    restored.put(value, &Address::new([20]), b"v");
    restored.delete(map, &Address::new([1]).at([1]));
    assert_eq!((restored.count(value), restored.count(map)), (21, 19));
    restored.close();
}

pub(crate) fn values_of_no_bytes_and_of_a_megabyte_are_kept(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = Model::new([
        StateDescriptor::new("value", StateKind::Value, 0),
        StateDescriptor::new("list", StateKind::List, 0),
        StateDescriptor::new("map", StateKind::Map, 0),
        StateDescriptor::new("sorted", StateKind::SortedMap, 0),
    ]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    for state in [0, 2, 3] {
        set(&mut opened, &mut model, &ids, state, Address::new("none"), b"");
    }
    for state in 0..4 {
        let value = random.bytes(1 << 20);
        set(
            &mut opened,
            &mut model,
            &ids,
            state,
            Address::new("large"),
            &value,
        );
    }
    // Replaced by another of the same size, a smaller and a larger one.
    for len in [1 << 20, 1 << 10, (1 << 20) + 1] {
        let value = random.bytes(len);
        set(&mut opened, &mut model, &ids, 0, Address::new("large"), &value);
    }
    model.check(&mut opened, &ids);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn keys_of_no_bytes_and_of_a_hundred_kibibytes_are_kept(suite: &Suite) {
    let storage = suite.storage();
    let mut random = suite.random();
    let mut model = Model::new([
        StateDescriptor::new("value", StateKind::Value, 0),
        StateDescriptor::new("fixed", StateKind::Value, 8),
        StateDescriptor::new("sorted", StateKind::SortedMap, 0),
    ]);
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let ids = model.register(&mut opened);
    let mut long = random.bytes(100 << 10);
    for last in 0..4 {
        // Keys that differ in their last byte only.
        long.push(last);
        for part in [&long[..], b""] {
            let key = Address::new(part);
            set(&mut opened, &mut model, &ids, 0, key.clone(), b"of the key");
            set(&mut opened, &mut model, &ids, 1, key.clone(), b"of 8 B..");
            set(
                &mut opened,
                &mut model,
                &ids,
                0,
                key.clone().within(part),
                b"in a namespace",
            );
            set(&mut opened, &mut model, &ids, 2, key.at(part), b"at a map key");
        }
        long.pop();
    }
    model.check(&mut opened, &ids);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    model.check_restored(&mut restored);
    restored.close();
}

pub(crate) fn a_hundred_thousand_keys_are_kept(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let state = opened.register("counts", StateKind::Value, 8);
    for key in 0..100_000_u64 {
        opened.put(state, &Address::new(key.to_le_bytes()), &key.to_be_bytes());
    }
    assert_eq!(opened.count(state), 100_000);
    let handles = opened.snapshot(&storage);
    opened.close();
    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let state = restored.register("counts", StateKind::Value, 8);
    assert_eq!(restored.count(state), 100_000);
    for key in 0..100_000_u64 {
        let found = restored.get(state, &Address::new(key.to_le_bytes()));
        assert_eq!(found.as_deref(), Some(&key.to_be_bytes()[..]), "key {key}");
    }
    restored.close();
}
