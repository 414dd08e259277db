//! What is asked below and when, what is kept of the answers, and what an eviction gives back.

use super::cached::Cached;
use super::database::Asked;
use crate::support::{Columns, Content, cell};
use millpond_backend_api::{
    BackendErrorKind, BackendResult, EntryBuffer, KeyedState, Slot, StateDescriptor, StateKind,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn key(number: u8) -> Vec<u8> {
    vec![number; 9]
}

/// One cell for each number, of this value.
fn cells(numbers: impl IntoIterator<Item = u8>, map_key: &[u8], value: &[u8]) -> Content {
    let addresses = numbers
        .into_iter()
        .map(|number| (key(number), Vec::new(), map_key.to_vec()));
    addresses.map(|address| (address, value.to_vec())).collect()
}

/// A batch of slots; what is absent stays so.
fn batch(cached: &mut Cached, numbers: &[u8]) -> BackendResult<u64> {
    let columns = Columns::of_keys(&numbers.iter().map(|number| key(*number)).collect::<Vec<_>>());
    let mut slots = vec![Slot::NULL; numbers.len()];
    let absent = cached.keyed.slots(cached.state, &columns.batch(), &mut slots)?;
    assert!(slots.iter().all(|slot| !slot.is_null()));
    cached
        .keyed
        .end_batch(cached.state, &columns.batch(), &slots, absent > 0)
        .unwrap();
    Ok(absent)
}

fn keys(numbers: &[u8]) -> Vec<Vec<u8>> {
    numbers.iter().map(|number| key(*number)).collect()
}

fn many(questions: &[&[u8]]) -> Asked {
    Asked {
        many: questions.iter().map(|numbers| keys(numbers)).collect(),
        ..Asked::default()
    }
}

fn gets(gets: usize) -> Asked {
    Asked {
        gets,
        ..Asked::default()
    }
}

#[test]
fn a_state_that_began_empty_and_fits_never_asks() {
    for (kind, width) in [
        (StateKind::Value, 8),
        (StateKind::Value, 0),
        (StateKind::List, 0),
        (StateKind::Map, 0),
        (StateKind::SortedMap, 0),
    ] {
        let mut cached = Cached::new(kind, width, &Content::new());
        for _ in 0..3 {
            for number in 0..20 {
                let (k, m) = (key(number), if kind.has_map_keys() { &[7][..] } else { &[] });
                let at = cell(&k).with_map_key(m);
                cached.get(&at);
                cached.keyed.put(cached.state, &at, &[number; 8]).unwrap();
                if number % 3 == 0 {
                    assert!(cached.keyed.delete(cached.state, &at).unwrap());
                    assert_eq!(cached.get(&at), None);
                }
                if kind.has_map_keys() {
                    let mut found = EntryBuffer::new();
                    cached
                        .keyed
                        .scan(cached.state, &cell(&k), &[], 0, &mut found)
                        .unwrap();
                    assert_eq!(found.len(), usize::from(number % 3 != 0));
                }
            }
            cached.prefetch(&keys(&[1, 2, 99]));
            if width > 0 {
                assert_eq!(batch(&mut cached, &[1, 3, 99]).unwrap(), 2);
            }
            assert_eq!(cached.content().len(), 13);
            cached.flush();
        }
        assert_eq!(cached.database.asked(), Asked::default(), "{kind:?}");
    }
}

#[test]
fn what_a_batch_misses_is_one_question_in_its_order_each_key_once() {
    let mut cached = Cached::new(StateKind::Value, 8, &cells(0..100, &[], &[5; 8]));
    assert_eq!(batch(&mut cached, &[3, 200, 1, 3, 200, 40]).unwrap(), 1);
    assert_eq!(cached.database.asked(), many(&[&[3, 200, 1, 40]]));
    assert_eq!(cached.keyed.len(cached.state).unwrap(), 100);
    // What was found stays.
    assert_eq!(batch(&mut cached, &[40, 3, 1]).unwrap(), 0);
    assert_eq!(cached.get(&cell(&key(3))), Some(vec![5; 8]));
    assert_eq!(cached.database.asked(), Asked::default());
    assert_eq!(batch(&mut cached, &[1, 2, 3]).unwrap(), 0);
    assert_eq!(cached.database.asked(), many(&[&[2]]));
}

#[test]
fn a_state_of_which_all_was_used_asks_no_more() {
    for width in [0, 8] {
        let mut cached = Cached::new(StateKind::Value, width, &cells(0..100, &[], &[5; 8]));
        for number in 0..100 {
            let k = key(number);
            match number % 3 {
                0 => assert!(cached.get(&cell(&k)).is_some()),
                1 => cached.keyed.put(cached.state, &cell(&k), &[6; 8]).unwrap(),
                _ => assert!(cached.keyed.delete(cached.state, &cell(&k)).unwrap()),
            }
        }
        assert_eq!(cached.database.asked(), gets(100));
        for number in 0..200 {
            let found = cached.get(&cell(&key(number))).is_some();
            assert_eq!(found, number < 100 && number % 3 != 2);
        }
        assert_eq!(cached.content().len(), 67);
        assert_eq!(cached.database.asked(), Asked::default());
    }
}

#[test]
fn a_prefetch_is_one_question_and_remembers_what_is_not_there() {
    for kind in [StateKind::Value, StateKind::List] {
        let mut cached = Cached::new(kind, 0, &cells(0..100, &[], b"stored"));
        cached.prefetch(&keys(&[9, 150, 8, 9, 150]));
        assert_eq!(cached.database.asked(), many(&[&[9, 150, 8]]));
        assert_eq!(cached.get(&cell(&key(9))), Some(b"stored".to_vec()));
        assert_eq!(cached.get(&cell(&key(150))), None);
        let (state, keyed) = (cached.state, &mut cached.keyed);
        keyed.put(state, &cell(&key(150)), b"new").unwrap();
        assert!(keyed.delete(state, &cell(&key(8))).unwrap());
        assert!(!keyed.delete(state, &cell(&key(8))).unwrap());
        assert_eq!(keyed.len(state).unwrap(), 100);
        assert_eq!(cached.get(&cell(&key(150))), Some(b"new".to_vec()));
        assert_eq!(cached.content().len(), 100);
        assert_eq!(cached.database.asked().gets, 0);
        // What a put has to know was asked by the get before it.
        assert_eq!(cached.get(&cell(&key(151))), None);
        cached.keyed.put(cached.state, &cell(&key(151)), b"").unwrap();
        assert_eq!(cached.database.asked(), gets(1));
    }
}

#[test]
fn what_was_only_fetched_is_in_no_increment_and_its_deletion_is() {
    for kind in [StateKind::Value, StateKind::Map, StateKind::SortedMap] {
        let map_key: &[u8] = if kind.has_map_keys() { b"m" } else { b"" };
        let restored = cells(0..50, map_key, b"stored");
        let mut cached = Cached::new(kind, 0, &restored);
        for round in 0..3 {
            for number in 0..50 {
                let k = key(number);
                assert!(cached.get(&cell(&k).with_map_key(map_key)).is_some(), "{round}");
            }
            assert_ne!(cached.database.asked(), Asked::default(), "{kind:?}");
            let pending = cached.freeze();
            assert!(cached.ingest(&pending).is_empty());
            cached.tell();
            assert!(cached.evict() > 0);
            assert_eq!(cached.keyed.len(cached.state).unwrap(), 50);
        }
        let k = key(7);
        let at = cell(&k).with_map_key(map_key);
        assert!(cached.get(&at).is_some());
        assert!(cached.keyed.delete(cached.state, &at).unwrap());
        let pending = cached.freeze();
        let changed = cached.ingest(&pending);
        assert_eq!(
            changed.into_iter().collect::<Vec<_>>(),
            [(k, vec![], map_key.to_vec())]
        );
        assert_eq!(cached.database.content().len(), 49);
    }
}

#[test]
fn a_question_that_fails_leaves_no_slot_out_and_changes_nothing() {
    let restored = cells(0..100, &[], &[5; 8]);
    let mut cached = Cached::new(StateKind::Value, 8, &restored);
    assert_eq!(batch(&mut cached, &[1]).unwrap(), 0);
    let database = Arc::clone(&cached.database);
    for (cause, kind) in [
        (&database.fails, BackendErrorKind::Io),
        (&database.is_damaged, BackendErrorKind::Corrupted),
    ] {
        cause.store(true, Ordering::Relaxed);
        let error = batch(&mut cached, &[1, 2, 200, 3]).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        cause.store(false, Ordering::Relaxed);
        assert_eq!(cached.keyed.len(cached.state).unwrap(), 100);
        assert_eq!(cached.content(), restored);
    }
    assert_eq!(batch(&mut cached, &[1, 2, 200, 3]).unwrap(), 1);
    assert_eq!(cached.content(), restored);
}

#[test]
fn clearing_a_map_is_one_question() {
    let mut restored = cells([1, 2], b"a", b"value");
    restored.extend(cells([1, 2], b"b", b"another"));
    let mut cached = Cached::new(StateKind::Map, 0, &restored);
    cached
        .keyed
        .put(cached.state, &cell(&key(1)).with_map_key(b"c"), b"")
        .unwrap();
    assert_eq!(cached.database.asked(), gets(1));
    assert_eq!(cached.keyed.clear_map(cached.state, &cell(&key(1))).unwrap(), 3);
    let asked = cached.database.asked();
    assert_eq!((asked.gets, asked.visits), (0, 1));
    assert_eq!(cached.keyed.len(cached.state).unwrap(), 2);
    cached.flush();
    assert_eq!(cached.database.content().len(), 2);
}

#[test]
fn an_eviction_gives_back_what_is_clean_and_leaves_the_rest_and_what_snapshots_read() {
    for (kind, width) in [(StateKind::Value, 8), (StateKind::Value, 0), (StateKind::Map, 0)] {
        let mut cached = Cached::new(kind, width, &Content::new());
        let map_key: &[u8] = if kind == StateKind::Map { b"m" } else { b"" };
        let put = |cached: &mut Cached, numbers: std::ops::Range<u32>| {
            for number in numbers {
                let k = number.to_le_bytes();
                let at = cell(&k).with_map_key(map_key);
                cached.keyed.put(cached.state, &at, &[1; 8]).unwrap();
            }
        };
        put(&mut cached, 0..20_000);
        // Nothing lies below so far.
        assert_eq!(cached.evict(), 0);
        let first = cached.freeze();
        put(&mut cached, 20_000..21_000);
        let full = cached.bytes();
        cached.ingest(&first);
        cached.tell();
        let given_back = cached.evict();
        let left = cached.bytes();
        assert_eq!(full - left, given_back);
        assert!(left < full / 10, "{left} of {full}");
        let in_snapshot = first.state.groups.iter().map(|group| {
            let mut cells = 0;
            group
                .try_for_each(|_| {
                    cells += 1;
                    Ok::<_, ()>(())
                })
                .unwrap();
            cells
        });
        assert_eq!(in_snapshot.sum::<usize>(), 20_000);
        assert_eq!(cached.keyed.len(cached.state).unwrap(), 21_000);
        // Little can go: not worth it.
        for number in 0..50_u32 {
            assert!(
                cached
                    .get(&cell(&number.to_le_bytes()).with_map_key(map_key))
                    .is_some()
            );
        }
        assert_eq!(cached.evict(), 0);
        cached.flush();
        assert!(cached.evict() > 0);
        let empty = Cached::new(kind, width, &Content::new()).bytes();
        assert_eq!(cached.bytes(), empty);
        assert_eq!(cached.content().len(), 21_000);
    }
}

#[test]
fn owners_can_evict_after_each_batch_and_now_and_then_between_other_calls() {
    let mut cached = Cached::new(StateKind::Value, 8, &Content::new());
    batch(&mut cached, &[1]).unwrap();
    batch(&mut cached, &[1]).unwrap();
    assert_eq!(cached.batches_ended(), 2);
    for _ in 0..1023 {
        cached.get(&cell(&key(1)));
    }
    assert_eq!(cached.batches_ended(), 2);
    cached.keyed.put(cached.state, &cell(&key(1)), &[0; 8]).unwrap();
    assert_eq!(cached.batches_ended(), 3);
    for _ in 0..1024 {
        cached.keyed.delete(cached.state, &cell(&key(1))).unwrap();
    }
    assert_eq!(cached.batches_ended(), 4);
    // Entries stay where they are while slots are out, of whichever state.
    let other = StateDescriptor::new("other", StateKind::Value, 8);
    let other = cached.keyed.register(&other).unwrap();
    let columns = Columns::of_keys(&keys(&[1]));
    let mut slots = [Slot::NULL];
    cached.keyed.slots(other, &columns.batch(), &mut slots).unwrap();
    batch(&mut cached, &[1]).unwrap();
    for _ in 0..2000 {
        cached.get(&cell(&key(1)));
    }
    assert_eq!(cached.batches_ended(), 4);
    cached
        .keyed
        .end_batch(other, &columns.batch(), &slots, true)
        .unwrap();
    assert_eq!(cached.batches_ended(), 5);
}

/// A list at `number` that is appended to.
fn append(cached: &mut Cached, number: u8, element: &[u8]) {
    let (state, k) = (cached.state, key(number));
    cached.keyed.append(state, &cell(&k), element).unwrap();
}

#[test]
fn appending_to_lists_that_lie_below_asks_nothing_and_hands_on_what_was_appended() {
    let mut cached = Cached::new(StateKind::List, 0, &cells(0..10, &[], b"stored "));
    for round in 0..3 {
        append(&mut cached, 1, b"a");
        append(&mut cached, 1, b"b");
        // What is hinted at is not asked for, as long as nobody reads.
        cached.prefetch(&keys(&[2, 3]));
        append(&mut cached, 2, b"c");
        let pending = cached.freeze();
        // Again before the database has it, and between that and the news of it.
        append(&mut cached, 1, b"d");
        cached.ingest(&pending);
        append(&mut cached, 1, b"e");
        cached.tell();
        append(&mut cached, 1, b"f");
        assert_eq!(cached.database.asked(), Asked::default(), "{round}");
        if round == 1 {
            cached.flush();
            assert!(cached.evict() > 0);
        }
    }
    let expected = b"stored abdefabdefabdef".to_vec();
    assert_eq!(cached.get(&cell(&key(1))), Some(expected.clone()));
    assert_eq!(cached.database.asked(), gets(1));
    assert_eq!(cached.get(&cell(&key(1))), Some(expected));
    assert_eq!(cached.get(&cell(&key(2))), Some(b"stored ccc".to_vec()));
    assert_eq!(cached.database.asked(), gets(1));
    cached.flush();
    assert_eq!(
        cached.database.content()[&(key(1), vec![], vec![])],
        b"stored abdefabdefabdef"
    );
    assert_eq!(cached.keyed.len(cached.state).unwrap(), 10);
}

#[test]
fn a_list_that_was_appended_to_is_whole_once_it_was_read_replaced_or_deleted() {
    let mut cached = Cached::new(StateKind::List, 0, &cells(0..10, &[], b"stored "));
    (1..=5).for_each(|number| append(&mut cached, number, b"a"));
    assert_eq!(cached.get(&cell(&key(1))), Some(b"stored a".to_vec()));
    let (state, keyed) = (cached.state, &mut cached.keyed);
    keyed.put(state, &cell(&key(2)), b"new ").unwrap();
    assert!(keyed.delete(state, &cell(&key(3))).unwrap());
    assert!(keyed.delete(state, &cell(&key(4))).unwrap());
    (1..=4).for_each(|number| append(&mut cached, number, b"b"));
    cached.flush();
    let content = cached.database.content();
    let lists: Vec<&[u8]> = content.values().map(Vec::as_slice).take(7).collect();
    let stored = &b"stored "[..];
    assert_eq!(
        lists,
        [stored, b"stored ab", b"new b", b"b", b"b", b"stored a", stored]
    );
    assert!(cached.evict() > 0);
    assert_eq!(cached.content().len(), 10);
}
