//! Sorted maps over a database: what is fetched of them, a part at a time, and what goes when memory runs out.

use super::chunk::{Address, Mark};
use super::run::Run;
use super::window::{End, Windows};
use super::{Group, SortedState, encoded_bytes};
use crate::kinds::Counters;
use crate::lower::Lower;
use crate::table::Parts;
use millpond_backend_api::{BackendResult, Entry, KeyGroup};
use std::borrow::Cow;
use std::sync::Arc;

/// How many entries are fetched at once at the end of what is known of a map.
const FETCHED_ENTRIES: usize = 256;
/// With entries of so many bytes in all it may be fewer.
const FETCHED_BYTES: usize = 32 << 10;
/// Scans of more entries than this are no look at the front of a map: what they find below is not kept.
const KEPT_SCAN_MAX: usize = 1024;
/// So many entries of the known part of a map are the last to go.
const FRONT_ENTRIES: usize = 16;
/// A group is cut down if one of so many bytes goes by that.
const WORTH_SHARE: usize = 8;

/// What addresses the map that `address` lies in.
fn head_of<'a>(address: &Address<'a>) -> Parts<'a> {
    let map_key = &[][..];
    Parts {
        head: true,
        ..parts_of(&Address { map_key, ..*address })
    }
}

/// The parts of an address, as what lies below is asked for it.
fn parts_of<'a>(address: &Address<'a>) -> Parts<'a> {
    Parts::of_map_entry(&Entry {
        key: address.key,
        namespace: address.namespace,
        map_key: address.map_key,
        value: &[],
    })
}

fn is_same_map(entry: &Entry<'_>, map: &Address<'_>) -> bool {
    entry.key == map.key && entry.namespace == map.namespace
}

impl SortedState {
    /// The value of an entry that is neither in the table nor noted as deleted there; `None` if it is nowhere.
    pub(super) fn look_below(
        &mut self,
        index: usize,
        address: &Address<'_>,
    ) -> BackendResult<Option<Vec<u8>>> {
        if !self.may_lie_below(index, address) {
            return Ok(None);
        }
        let Some(below) = self.below.of(index) else {
            return Ok(None);
        };
        Ok(below.get(&parts_of(address))?.map(Cow::into_owned))
    }

    /// Whether an entry that is neither in the table nor noted as deleted there may be below.
    pub(super) fn may_lie_below(&self, index: usize, address: &Address<'_>) -> bool {
        let is_known = |group: &Group| group.windows.end(address).is_behind(address.map_key);
        self.below.layer_of(index).is_some() && !self.groups.get(index).is_some_and(is_known)
    }

    /// Counts the entries anew in the groups of which something lies only below.
    pub(in crate::kinds) fn recount(&mut self) -> BackendResult<()> {
        for index in 0..self.groups.len() {
            let (Some(group), Some((layer, number))) = (self.groups.get(index), self.below.layer_of(index))
            else {
                continue;
            };
            let mut counters = Counters::default();
            let mut count = |entry: &Entry<'_>| {
                counters.add(encoded_bytes(&Address::of_entry(entry), entry.value.len()));
            };
            group.run.iter().for_each(|entry| count(&entry));
            let mut missing = 0;
            layer.visit(number, &mut |entry| {
                if !group.hides(&Address::of_entry(&entry)) {
                    count(&entry);
                    missing += 1;
                }
                Ok(())
            })?;
            self.below.set_missing(index, missing);
            if let Some(place) = self.counters.get_mut(index) {
                *place = counters;
            }
        }
        self.counts_too_much = false;
        Ok(())
    }

    /// Makes the first `limit` entries of the map of `from`, from its map key on and before `to` (empty: to the end), known to the table. False if that
    /// is not worth it: then the scan has to [look below](Self::scan_both) itself.
    pub(super) fn fetch_front(
        &mut self,
        index: usize,
        from: &Address<'_>,
        to: &[u8],
        limit: usize,
    ) -> BackendResult<bool> {
        while let Some((layer, group)) = self.below.layer_of(index) {
            let Some(of_group) = self.groups.get(index) else {
                break;
            };
            let end = match of_group.windows.end(from) {
                End::Never => break,
                End::Before(end) => end.clone(),
            };
            if limit > KEPT_SCAN_MAX || from.map_key > end.as_slice() {
                return Ok(false);
            }
            if !to.is_empty() && to <= end.as_slice() {
                break;
            }
            let known = of_group.run.iter_from(from).take(limit);
            let known = known.take_while(|entry| is_same_map(entry, from) && entry.map_key < end.as_slice());
            if known.count() == limit {
                break;
            }
            let layer = Arc::clone(layer);
            self.extend(
                index,
                &*layer,
                group,
                &Address {
                    map_key: &end,
                    ..*from
                },
            )?;
        }
        Ok(true)
    }

    /// Fetches some entries of a map from `from`, where its known part ends.
    fn extend(
        &mut self,
        index: usize,
        layer: &dyn Lower,
        number: KeyGroup,
        from: &Address<'_>,
    ) -> BackendResult<()> {
        let Some(group) = self.groups.get_mut(index) else {
            return Ok(());
        };
        let mark = Mark {
            epoch: self.deletions.below,
            stored: true,
        };
        let mut fetched: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let (mut bytes, mut last, mut is_all) = (0, Vec::new(), true);
        let mut entries = 0;
        layer.visit_from(number, &head_of(from), from.map_key, &mut |entry| {
            if entries >= FETCHED_ENTRIES || bytes >= FETCHED_BYTES {
                is_all = false;
                return Ok(false);
            }
            entries += 1;
            bytes += entry.map_key.len() + entry.value.len();
            last.clear();
            last.extend_from_slice(entry.map_key);
            if !group.hides(&Address::of_entry(&entry)) {
                fetched.push((entry.map_key.to_vec(), entry.value.to_vec()));
            }
            Ok(true)
        })?;
        let run = Arc::make_mut(&mut group.run);
        for (map_key, value) in &fetched {
            let address = Address { map_key, ..*from };
            address.check(value.len())?;
            run.put(&address, value, mark);
            self.below.took(index);
        }
        let end = if is_all {
            End::Never
        } else {
            // The least map key behind the last.
            last.push(0);
            End::Before(last)
        };
        group.windows.set(from, end);
        Ok(())
    }

    /// Calls `each` with what the table and what lies below have of the map of `from`, as [`scan`](Self::scan), without keeping any of it.
    pub(super) fn scan_both(
        &self,
        index: usize,
        from: &Address<'_>,
        to: &[u8],
        limit: usize,
        each: &mut dyn FnMut(Entry<'_>),
    ) -> BackendResult<()> {
        let Some(group) = self.groups.get(index) else {
            return Ok(());
        };
        let is_wanted = |entry: &Entry<'_>| to.is_empty() || entry.map_key < to;
        let above = group.run.iter_from(from);
        let mut above = above
            .take_while(|entry| is_same_map(entry, from) && is_wanted(entry))
            .peekable();
        let mut left = limit;
        if let Some((layer, number)) = self.below.layer_of(index) {
            layer.visit_from(number, &head_of(from), from.map_key, &mut |entry| {
                while left > 0
                    && let Some(entry) = above.next_if(|above| above.map_key < entry.map_key)
                {
                    each(entry);
                    left -= 1;
                }
                if left == 0 || !is_wanted(&entry) {
                    return Ok(false);
                }
                // Those of the table come in their turn.
                if !group.hides(&Address::of_entry(&entry)) {
                    each(entry);
                    left -= 1;
                }
                Ok(left > 0)
            })?;
        }
        above.take(left).for_each(each);
        Ok(())
    }

    /// Drops what is clean up to the epoch `up_to`. The first entries of what is known of each map stay, unless nothing else was of use: they are the next
    /// to be asked for.
    pub(in crate::kinds) fn evict_clean(&mut self, index: usize, up_to: u32) -> usize {
        // What is mapped is in the table as a whole, or not at all.
        if !self.below.is_costly() {
            return 0;
        }
        let fronts = if up_to < self.deletions.below {
            FRONT_ENTRIES
        } else {
            0
        };
        let is_all_known = self.below.layer_of(index).is_none();
        let Some(group) = self.groups.get_mut(index) else {
            return 0;
        };
        let plan = Plan::new(group, is_all_known, up_to, fronts);
        let before = group.bytes();
        if before == 0 || plan.kept_any && plan.dropped_bytes * WORTH_SHARE < before {
            return 0;
        }
        let mut stays = plan.stays.iter();
        let run = group.run.only(|_| stays.next().copied().unwrap_or(true));
        let deleted = group.deleted.only(|mark| mark.epoch > up_to);
        (group.run, group.deleted) = (Arc::new(run), Arc::new(deleted));
        group.windows = plan.windows;
        self.below.add_missing(index, plan.dropped);
        if self.below.layer_of(index).is_none() {
            group.windows.clear();
        }
        before.saturating_sub(group.bytes())
    }
}

/// What an eviction does with the entries of a group.
struct Plan {
    /// Whether each entry stays, in their order.
    stays: Vec<bool>,
    kept_any: bool,
    dropped: u64,
    dropped_bytes: usize,
    /// What is known of the maps then.
    windows: Windows,
}

impl Plan {
    fn new(group: &Group, is_all_known: bool, up_to: u32, fronts: usize) -> Self {
        let mut plan = Self {
            stays: Vec::new(),
            kept_any: false,
            dropped: 0,
            dropped_bytes: 0,
            windows: group.windows.of_timers(),
        };
        // The map that the last entry was of, and what is known of it.
        let mut map: Option<OfMap<'_>> = None;
        for (entry, mark) in group.run.iter_marked() {
            let address = Address::of_entry(&entry);
            if map.as_ref().is_none_or(|map| !is_same_map(&entry, &map.first)) {
                plan.end_map(map.take());
                let end = if is_all_known {
                    End::Never
                } else {
                    group.windows.end(&address).clone()
                };
                map = Some(OfMap {
                    first: address,
                    end,
                    kept: 0,
                });
            }
            let Some(map) = &mut map else { continue };
            let is_known = map.end.is_behind(entry.map_key);
            let stays = mark.epoch > up_to || is_known && map.kept < fronts;
            plan.stays.push(stays);
            if stays {
                map.kept += 1;
                plan.kept_any = true;
                continue;
            }
            plan.dropped += 1;
            plan.dropped_bytes += address.entry_bytes(entry.value.len());
            if is_known {
                map.end = End::Before(entry.map_key.to_vec());
            }
        }
        plan.end_map(map);
        for (entry, mark) in group.deleted.iter_marked() {
            if mark.epoch > up_to {
                plan.kept_any = true;
            } else {
                plan.dropped_bytes += Address::of_entry(&entry).entry_bytes(0);
            }
        }
        plan
    }

    fn end_map(&mut self, map: Option<OfMap<'_>>) {
        // What is known of a map of which nothing is left is forgotten, so that maps that come and go leave nothing. Timers are always under the empty key:
        // where their map begins is worth knowing, since in front of it lies all that was deleted.
        if let Some(map) = map
            && (map.kept > 0 || map.first.key.is_empty())
        {
            self.windows.set(&map.first, map.end);
        }
    }
}

struct OfMap<'a> {
    first: Address<'a>,
    end: End,
    kept: usize,
}

impl Group {
    /// Whether the table has an entry, or notes it as deleted.
    pub(super) fn hides(&self, address: &Address<'_>) -> bool {
        self.run.find(address).is_some() || self.deleted.find(address).is_some()
    }
}

/// Brings in all that `layer` has of a group, which has nothing of it.
pub(super) fn whole_run(layer: &dyn Lower, group: KeyGroup, mark: Mark) -> BackendResult<Run> {
    let mut run = Run::default();
    layer.visit(group, &mut |entry| {
        run.put(&Address::of_entry(&entry), entry.value, mark);
        Ok(())
    })?;
    Ok(run)
}
