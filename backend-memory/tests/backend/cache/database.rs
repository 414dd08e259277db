//! A database that tables lie over, in memory: it counts what it is asked, fails when it is told to, and takes over what the tables had.

use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, Entry, KeyGroup, StateKind};
use millpond_backend_memory::lower::{Lower, VisitEntry};
use millpond_backend_memory::snapshot::FrozenState;
use millpond_backend_memory::table::Parts;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// (key, namespace, map key).
pub(crate) type Address = (Vec<u8>, Vec<u8>, Vec<u8>);

/// What a database was asked since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The single look-ups.
    pub(crate) gets: usize,
    /// The keys of each look-up of many.
    pub(crate) many: Vec<Vec<Vec<u8>>>,
    /// The visits of maps and groups.
    pub(crate) visits: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Database {
    entries: Mutex<BTreeMap<(KeyGroup, Address), Vec<u8>>>,
    asked: Mutex<Asked>,
    pub(crate) fails: AtomicBool,
    /// Gives one byte too many.
    pub(crate) is_damaged: AtomicBool,
    /// The epoch up to which it has everything.
    up_to: AtomicU32,
}

fn address_of(entry: &Entry<'_>) -> Address {
    (
        entry.key.to_vec(),
        entry.namespace.to_vec(),
        entry.map_key.to_vec(),
    )
}

impl Database {
    pub(crate) fn insert(&self, group: KeyGroup, address: Address, value: Vec<u8>) {
        self.entries.lock().unwrap().insert((group, address), value);
    }

    pub(crate) fn content(&self) -> BTreeMap<Address, Vec<u8>> {
        let entries = self.entries.lock().unwrap();
        let entries = entries.iter();
        entries
            .map(|((_, address), value)| (address.clone(), value.clone()))
            .collect()
    }

    /// What it was asked since the last call.
    pub(crate) fn asked(&self) -> Asked {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Takes over what was changed after the epoch `since` and up to `to`; returns where.
    pub(crate) fn ingest(
        &self,
        state: &FrozenState,
        first: KeyGroup,
        since: u32,
        to: u32,
    ) -> BTreeSet<Address> {
        let mut changed_at = BTreeSet::new();
        let mut entries = self.entries.lock().unwrap();
        for (index, frozen) in state.groups.iter().enumerate() {
            let group = KeyGroup(first.0 + u16::try_from(index).unwrap());
            let mut before = None;
            frozen
                .try_for_each_changed(Some(since), |changed| {
                    let address = address_of(&changed.entry);
                    if state.descriptor.kind == StateKind::SortedMap {
                        assert!(before.as_ref() < Some(&address), "{address:?} is not in order");
                        before = Some(address.clone());
                    }
                    assert!(changed_at.insert(address.clone()), "{address:?} comes twice");
                    if let Some(appended) = changed.appended {
                        assert!(!appended.is_empty() && changed.entry.value.is_empty());
                        let list = entries.entry((group, address)).or_default();
                        appended.iter().for_each(|bytes| list.extend_from_slice(bytes));
                    } else if changed.deleted {
                        entries.remove(&(group, address));
                    } else {
                        entries.insert((group, address), changed.entry.value.to_vec());
                    }
                    Ok::<_, ()>(())
                })
                .unwrap();
        }
        self.up_to.store(to, Ordering::Relaxed);
        changed_at
    }

    fn check(&self) -> BackendResult<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(BackendError::new(BackendErrorKind::Io, "the database is away"));
        }
        Ok(())
    }

    fn find(&self, group: KeyGroup, parts: &Parts<'_>) -> Option<Cow<'_, [u8]>> {
        let address = (
            parts.key.to_vec(),
            parts.namespace.to_vec(),
            parts.map_key.to_vec(),
        );
        let mut value = self.entries.lock().unwrap().get(&(group, address))?.clone();
        if self.is_damaged.load(Ordering::Relaxed) {
            value.push(0);
        }
        Some(Cow::Owned(value))
    }

    /// The entries of a group, of one map (key, namespace) if it is given.
    fn visit_all(
        &self,
        group: KeyGroup,
        map: Option<&Parts<'_>>,
        each: &mut VisitEntry<'_>,
    ) -> BackendResult<()> {
        self.check()?;
        self.asked.lock().unwrap().visits += 1;
        let from = (group, Address::default());
        let range = (Bound::Included(from), Bound::Unbounded);
        let entries = self.entries.lock().unwrap();
        for ((_, (key, namespace, map_key)), value) in
            entries.range(range).take_while(|((at, _), _)| *at == group)
        {
            if map.is_none_or(|map| (map.key, map.namespace) == (key, namespace)) {
                each(Entry {
                    key,
                    namespace,
                    map_key,
                    value,
                })?;
            }
        }
        Ok(())
    }
}

impl Lower for Database {
    fn get(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<Option<Cow<'_, [u8]>>> {
        self.check()?;
        self.asked.lock().unwrap().gets += 1;
        Ok(self.find(group, parts))
    }

    fn get_many(&self, cells: &[(KeyGroup, Parts<'_>)]) -> BackendResult<Vec<Option<Cow<'_, [u8]>>>> {
        self.check()?;
        let keys = cells.iter().map(|(_, parts)| parts.key.to_vec()).collect();
        self.asked.lock().unwrap().many.push(keys);
        Ok(cells
            .iter()
            .map(|(group, parts)| self.find(*group, parts))
            .collect())
    }

    fn is_costly(&self) -> bool {
        true
    }

    fn takes_suffixes(&self) -> bool {
        true
    }

    fn may_have(&self, group: KeyGroup, parts: &Parts<'_>) -> bool {
        // As a filter, it is wrong about some keys.
        parts.key.len().is_multiple_of(2) || self.find(group, parts).is_some()
    }

    fn get_as_of(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<(Option<Cow<'_, [u8]>>, u32)> {
        Ok((self.get(group, parts)?, self.up_to.load(Ordering::Relaxed)))
    }

    fn visit_map(&self, group: KeyGroup, map: &Parts<'_>, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        self.visit_all(group, Some(map), each)
    }

    fn visit(&self, group: KeyGroup, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        self.visit_all(group, None, each)
    }
}
