//! Sorted maps that are larger than what is fetched of them at once, as timers may be: one map under the empty key.

use super::cached::{Cached, Pending};
use super::database::Asked;
use crate::support::{Content, all_groups, cell};
use millpond_backend_api::contract::Random;
use millpond_backend_api::{EntryBuffer, KeyedState, StateKind};
use std::collections::{BTreeMap, VecDeque};

/// The entries of the map.
type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn time(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// `count` timers, two apart.
fn restored(count: u64) -> Map {
    (0..count).map(|number| (time(number * 2), vec![7])).collect()
}

fn content(map: &Map) -> Content {
    let entries = map.iter();
    entries
        .map(|(time, value)| ((Vec::new(), Vec::new(), time.clone()), value.clone()))
        .collect()
}

fn scan(cached: &mut Cached, from: &[u8], to: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = EntryBuffer::new();
    let at = cell(&[]).with_map_key(from);
    cached
        .keyed
        .scan(cached.state, &at, to, limit, &mut found)
        .unwrap();
    let found = found.iter();
    found
        .map(|entry| (entry.map_key.to_vec(), entry.value.to_vec()))
        .collect()
}

fn put(cached: &mut Cached, time: &[u8], value: &[u8]) {
    let at = cell(&[]).with_map_key(time);
    cached.keyed.put(cached.state, &at, value).unwrap();
}

fn delete(cached: &mut Cached, time: &[u8]) -> bool {
    let at = cell(&[]).with_map_key(time);
    cached.keyed.delete(cached.state, &at).unwrap()
}

#[test]
fn timers_are_fetched_some_at_a_time_and_firing_them_seldom_asks() {
    let map = restored(5_000);
    let mut cached = Cached::new(StateKind::SortedMap, 0, &content(&map));
    let first = scan(&mut cached, &[], &[], 1);
    assert_eq!(first, [(time(0), vec![7])]);
    let little = cached.bytes();
    assert!(little < 40_000, "{little}");
    for number in 0..1_000 {
        let due = scan(&mut cached, &[], &[], 2);
        assert_eq!(due[0].0, time(number * 2));
        assert!(delete(&mut cached, &due[0].0));
        // Later ones, far behind what is known.
        put(&mut cached, &time(20_001 + number * 2), &[]);
    }
    let Asked { gets, many, visits } = cached.database.asked();
    assert_eq!((gets, many.len()), (0, 0));
    assert!(visits <= 1 + 1_000 / 200, "{visits} looks for 1000 timers");
    assert_eq!(cached.keyed.len(cached.state).unwrap(), 5_000);
    cached.database.asked();
    // Before the first one, and between those that are known, nothing has to be looked for.
    put(&mut cached, &time(1), &[]);
    put(&mut cached, &time(2_001), &[]);
    assert!(!delete(&mut cached, &time(2_003)));
    assert_eq!(cached.database.asked(), Asked::default());
    assert_eq!(scan(&mut cached, &[], &[], 3)[0].0, time(1));
}

#[test]
fn under_pressure_the_next_timers_stay_and_the_others_go() {
    let mut cached = Cached::new(StateKind::SortedMap, 0, &Content::new());
    let map = restored(20_000);
    for (time, value) in &map {
        put(&mut cached, time, value);
    }
    let full = cached.bytes();
    cached.flush();
    // What was changed in the last epoch that lies below is to be spared, in principle.
    cached.flush();
    let evict = |cached: &mut Cached, spared: u32| {
        cached.with_kind(move |kind| {
            let up_to = kind.deletions_mut().below - spared;
            all_groups()
                .iter()
                .map(|group| kind.evict(group.index(), up_to))
                .sum::<usize>()
        })
    };
    assert!(evict(&mut cached, 1) > full / 2);
    assert!(cached.bytes() < full / 50);
    assert_eq!(scan(&mut cached, &[], &[], 16).len(), 16);
    assert_eq!(cached.database.asked(), Asked::default(), "the front is there");
    assert_eq!(cached.keyed.len(cached.state).unwrap(), 20_000);
    // The last thing that can be given up.
    evict(&mut cached, 0);
    let all: Vec<_> = map.into_iter().collect();
    assert_eq!(scan(&mut cached, &[], &[], 16), all[..16]);
    assert_eq!(cached.database.asked().visits, 1);
    assert_eq!(scan(&mut cached, &[], &[], 0), all);
}

#[test]
fn large_sorted_maps_over_a_database_agree_with_the_model() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut model = if seed % 2 == 0 {
            restored(2_000)
        } else {
            Map::new()
        };
        let mut cached = Cached::new(StateKind::SortedMap, 0, &content(&model));
        let mut pending: VecDeque<(Pending, Map)> = VecDeque::new();
        for _ in 0..6_000 {
            let any = time(random.word() % 5_000);
            match random.below(40) {
                0..=9 => {
                    let limit = 1 + random.below(3);
                    let due = scan(&mut cached, &[], &[], limit);
                    let expected: Vec<_> = model.clone().into_iter().take(limit).collect();
                    assert_eq!(due, expected);
                    for (time, _) in due {
                        assert!(delete(&mut cached, &time));
                        model.remove(&time);
                    }
                }
                10..=21 => {
                    let len = random.below(3);
                    let value = random.bytes(len);
                    put(&mut cached, &any, &value);
                    model.insert(any, value);
                }
                22..=25 => assert_eq!(delete(&mut cached, &any), model.remove(&any).is_some()),
                26..=28 => {
                    let at = cell(&[]).with_map_key(&any);
                    assert_eq!(cached.get(&at).as_ref(), model.get(&any));
                }
                29..=31 => {
                    let to = time(random.word() % 5_000);
                    let limit = [0, 5, 400, 2_000][random.below(4)];
                    let found = scan(&mut cached, &any, &to, limit);
                    let within = model.range(any.clone()..to.clone().max(any));
                    let within = within.map(|(time, value)| (time.clone(), value.clone()));
                    let most = if limit == 0 { usize::MAX } else { limit };
                    assert_eq!(found, within.take(most).collect::<Vec<_>>());
                }
                32 => {
                    let snapshot = cached.freeze();
                    pending.push_back((snapshot, model.clone()));
                }
                33 | 34 => {
                    if let Some((snapshot, expected)) = pending.pop_front() {
                        cached.ingest(&snapshot);
                        assert_eq!(cached.database.content(), content(&expected));
                    }
                }
                35 => cached.tell(),
                36 => drop(pending.pop_front()),
                37 if random.one_in(20) => {
                    let cleared = cached.keyed.clear_map(cached.state, &cell(&[])).unwrap();
                    assert_eq!(cleared, model.len() as u64);
                    model.clear();
                }
                _ => {
                    let spared = u32::try_from(random.below(3)).unwrap();
                    cached.with_kind(move |kind| {
                        let up_to = kind.deletions_mut().below.saturating_sub(spared);
                        for group in all_groups().iter() {
                            kind.evict(group.index(), up_to);
                        }
                    });
                }
            }
            // That counts anew, which makes good what went wrong.
            if random.one_in(50) {
                assert_eq!(cached.keyed.len(cached.state).unwrap(), model.len() as u64);
            }
        }
        assert_eq!(cached.content(), content(&model));
        pending.clear();
        cached.flush();
        assert_eq!(cached.database.content(), content(&model));
    }
}
