//! Lists: elements concatenated in the order of their coming.

use super::prelude::*;

pub(crate) fn elements_are_concatenated_in_the_order_in_which_they_were_appended(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let list = opened.register("list", StateKind::List, 0);
    let (one, two) = (Address::new("one"), Address::new("two").within("window"));
    assert_eq!(opened.get(list, &one), None);
    for element in 0..100_u8 {
        opened.append(list, &one, &[element; 3]);
        opened.append(list, &two, &[element]);
    }
    let expected: Vec<u8> = (0..100_u8).flat_map(|element| [element; 3]).collect();
    assert_eq!(opened.get(list, &one).unwrap(), expected);
    assert_eq!(opened.count(list), 2, "a list is one cell, however long it is");
    let handles = opened.snapshot(&storage);
    opened.close();

    let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
    let list = restored.register("list", StateKind::List, 0);
    restored.append(list, &one, b"after the restore");
    assert_eq!(
        restored.get(list, &one).unwrap(),
        [&expected[..], b"after the restore"].concat()
    );
    assert_eq!(restored.get(list, &two).unwrap(), (0..100).collect::<Vec<u8>>());
    restored.close();
}

pub(crate) fn a_put_replaces_all_elements_of_a_list(suite: &Suite) {
    let mut opened = suite.fresh();
    let list = opened.register("list", StateKind::List, 0);
    let at = Address::new("key");
    opened.append(list, &at, b"abc");
    opened.put(list, &at, b"xy");
    assert_eq!(opened.get(list, &at).unwrap(), b"xy");
    opened.append(list, &at, b"z");
    assert_eq!(opened.get(list, &at).unwrap(), b"xyz");
    opened.close();
}

pub(crate) fn a_deleted_list_starts_anew(suite: &Suite) {
    let mut opened = suite.fresh();
    let list = opened.register("list", StateKind::List, 0);
    let at = Address::new("key");
    opened.append(list, &at, b"abc");
    assert!(opened.delete(list, &at));
    assert!(!opened.delete(list, &at));
    assert_eq!((opened.get(list, &at), opened.count(list)), (None, 0));
    opened.append(list, &at, b"d");
    assert_eq!(opened.get(list, &at).unwrap(), b"d");
    opened.close();
}

pub(crate) fn a_list_that_grows_while_a_snapshot_is_pending_is_snapshotted_as_it_was(suite: &Suite) {
    let storage = suite.storage();
    let mut opened = suite.restored(&storage, Shape::ALONE, &[]);
    let list = opened.register("list", StateKind::List, 0);
    let at = Address::new("key");
    let mut expected = Vec::new();
    let mut pending = Vec::new();
    for element in 0..50_u8 {
        opened.append(list, &at, &[element; 100]);
        expected.extend_from_slice(&[element; 100]);
        if element % 10 == 0 {
            pending.push((opened.begin_snapshot(), expected.clone()));
        }
    }
    for (snapshot, expected) in pending {
        let handles = snapshot.write(&storage);
        let mut restored = suite.restored(&storage, Shape::ALONE, &handles);
        let list = restored.register("list", StateKind::List, 0);
        assert_eq!(restored.get(list, &at).unwrap(), expected);
        restored.close();
    }
    opened.close();
}
