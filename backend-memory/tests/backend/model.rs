//! Random operations on every kind against a `BTreeMap`, with snapshots and restores in between.

use crate::support::{Content, Storage, all_groups, cell, content, freeze, open, register};
use millpond_backend_api::{EntryBuffer, KeyedState, SnapshotWriter, StateKind};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert_eq, proptest};

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u8, u8, Vec<u8>),
    Append(u8, u8, Vec<u8>),
    Delete(u8, u8, u8),
    Clear(u8, u8),
    Scan(u8, u8, u8, u8, usize),
    /// Snapshot, and keep the writer for later.
    Freeze,
    /// Write the oldest kept writer and compare it with the content at its time.
    Write,
    /// Drop the newest kept writer.
    Drop,
}

pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 0..3000),
        1 => (60_000..140_000_usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let (key, namespace, map_key) = (0..6_u8, 0..3_u8, 0..12_u8);
    let at = (key.clone(), namespace.clone(), map_key.clone());
    prop_oneof![
        12 => (at.clone(), value()).prop_map(|((k, n, m), v)| Op::Put(k, n, m, v)),
        4 => (key.clone(), namespace.clone(), value()).prop_map(|(k, n, v)| Op::Append(k, n, v)),
        6 => at.prop_map(|(k, n, m)| Op::Delete(k, n, m)),
        1 => (key.clone(), namespace.clone()).prop_map(|(k, n)| Op::Clear(k, n)),
        2 => (key, namespace, map_key.clone(), map_key, 0..4_usize)
            .prop_map(|(k, n, f, t, l)| Op::Scan(k, n, f, t, l)),
        1 => Just(Op::Freeze),
        1 => Just(Op::Write),
        1 => Just(Op::Drop),
    ]
}

/// Keys and such of different lengths, the empty ones among them.
pub(crate) fn bytes(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) * 3]
}

fn check(kind: StateKind, width: u32, ops: &[Op]) -> Result<(), proptest::test_runner::TestCaseError> {
    let storage = Storage::default();
    let mut keyed = open(all_groups(), &[], &storage).unwrap();
    let state = register(&mut keyed, "state", kind, width);
    let mut model = Content::new();
    let mut kept = std::collections::VecDeque::new();
    for op in ops {
        match op {
            Op::Put(k, n, m, value) => {
                let (k, n) = (bytes(*k), bytes(*n));
                let m = if kind.has_map_keys() {
                    bytes(*m)
                } else {
                    Vec::new()
                };
                let mut value = value.clone();
                if width > 0 {
                    value.resize(width as usize, 1);
                }
                let at = cell(&k).with_namespace(&n).with_map_key(&m);
                keyed.put(state, &at, &value).unwrap();
                prop_assert_eq!(keyed.get(state, &at).unwrap(), Some(&value[..]));
                model.insert((k, n, m), value);
            }
            Op::Append(k, n, element) if kind == StateKind::List => {
                let (k, n) = (bytes(*k), bytes(*n));
                let at = cell(&k).with_namespace(&n);
                keyed.append(state, &at, element).unwrap();
                let list = model.entry((k.clone(), n.clone(), Vec::new())).or_default();
                list.extend_from_slice(element);
                prop_assert_eq!(keyed.get(state, &at).unwrap(), Some(&list[..]));
            }
            Op::Append(..) => {}
            Op::Delete(k, n, m) => {
                let (k, n) = (bytes(*k), bytes(*n));
                let m = if kind.has_map_keys() {
                    bytes(*m)
                } else {
                    Vec::new()
                };
                let at = cell(&k).with_namespace(&n).with_map_key(&m);
                let was_there = keyed.delete(state, &at).unwrap();
                prop_assert_eq!(keyed.get(state, &at).unwrap(), None);
                prop_assert_eq!(model.remove(&(k, n, m)).is_some(), was_there);
            }
            Op::Clear(k, n) if kind.has_map_keys() => {
                let (k, n) = (bytes(*k), bytes(*n));
                let cleared = keyed.clear_map(state, &cell(&k).with_namespace(&n)).unwrap();
                let before = model.len();
                model.retain(|(key, namespace, _), _| (key, namespace) != (&k, &n));
                prop_assert_eq!((before - model.len()) as u64, cleared);
            }
            Op::Scan(k, n, from, to, limit) if kind.has_map_keys() => {
                let (k, n, from, to) = (bytes(*k), bytes(*n), bytes(*from), bytes(*to));
                let mut found = EntryBuffer::new();
                let at = cell(&k).with_namespace(&n).with_map_key(&from);
                keyed.scan(state, &at, &to, *limit, &mut found).unwrap();
                let found: Vec<(Vec<u8>, Vec<u8>)> = found
                    .iter()
                    .map(|entry| (entry.map_key.to_vec(), entry.value.to_vec()))
                    .collect();
                let sorted = kind == StateKind::SortedMap;
                let mut expected: Vec<(Vec<u8>, Vec<u8>)> = model
                    .iter()
                    .filter(|((key, namespace, map_key), _)| {
                        (key, namespace) == (&k, &n)
                            && (!sorted || (*map_key >= from && (to.is_empty() || *map_key < to)))
                    })
                    .map(|((_, _, map_key), value)| (map_key.clone(), value.clone()))
                    .collect();
                if sorted {
                    expected.truncate(if *limit == 0 { usize::MAX } else { *limit });
                    prop_assert_eq!(found, expected);
                } else {
                    let len = if *limit == 0 {
                        expected.len()
                    } else {
                        expected.len().min(*limit)
                    };
                    prop_assert_eq!(found.len(), len);
                    prop_assert_eq!(found.iter().all(|entry| expected.contains(entry)), true);
                }
            }
            Op::Clear(..) | Op::Scan(..) => {}
            Op::Freeze => kept.push_back((freeze(&mut keyed), model.clone())),
            Op::Write => {
                if let Some((mut writer, expected)) = kept.pop_front() {
                    let handles = writer.write(&storage.streams()).unwrap();
                    let mut restored = open(all_groups(), &handles, &storage).unwrap();
                    let state = register(&mut restored, "state", kind, width);
                    prop_assert_eq!(content(&mut restored, state, all_groups()), expected);
                }
            }
            Op::Drop => drop(kept.pop_back()),
        }
        prop_assert_eq!(keyed.len(state).unwrap(), model.len() as u64);
    }
    prop_assert_eq!(content(&mut keyed, state, all_groups()), model);
    // The table goes first: what its snapshots hold must live on.
    drop(keyed);
    for (mut writer, expected) in kept {
        let handles = writer.write(&storage.streams()).unwrap();
        let mut restored = open(all_groups(), &handles, &storage).unwrap();
        let state = register(&mut restored, "state", kind, width);
        prop_assert_eq!(content(&mut restored, state, all_groups()), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 60, ..Default::default() })]

    #[test]
    fn values_of_fixed_width_agree_with_the_model(ops in vec(op(), 1..120)) {
        check(StateKind::Value, 8, &ops)?;
        check(StateKind::Value, 13, &ops)?;
    }

    #[test]
    fn values_of_varying_width_agree_with_the_model(ops in vec(op(), 1..120)) {
        check(StateKind::Value, 0, &ops)?;
    }

    #[test]
    fn lists_agree_with_the_model(ops in vec(op(), 1..120)) {
        check(StateKind::List, 0, &ops)?;
    }

    #[test]
    fn maps_agree_with_the_model(ops in vec(op(), 1..120)) {
        check(StateKind::Map, 0, &ops)?;
    }

    #[test]
    fn sorted_maps_agree_with_the_model(ops in vec(op(), 1..120)) {
        check(StateKind::SortedMap, 0, &ops)?;
    }
}
