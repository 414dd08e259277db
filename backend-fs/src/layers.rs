//! The files below the tables of one state: for each key group the sections that show it, newest first.

use crate::file::{Found, Section, SnapshotFile};
use millpond_backend_api::{BackendResult, Entry, KeyBatch, KeyGroup, KeyGroupRange, StateKind};
use millpond_backend_memory::kinds::Counters;
use millpond_backend_memory::lower::{Lower, VisitEntry};
use millpond_backend_memory::table::Parts;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The sections of one state. Newer ones hide what older ones have at the same address, by a value or by a deletion.
pub(crate) struct Layers {
    kind: StateKind,
    range: KeyGroupRange,
    files: Vec<Arc<SnapshotFile>>,
    /// For each group the places of its sections, newest first.
    groups: Vec<Vec<Place>>,
}

/// A section: the index of its file in `files`, and its number there.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    section: usize,
}

/// The address of an entry in order.
type Address<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn address<'a>(entry: &Entry<'a>) -> Address<'a> {
    (entry.key, entry.namespace, entry.map_key)
}

impl Layers {
    /// No sections of the state with the kind `kind`.
    pub(crate) fn new(kind: StateKind, range: KeyGroupRange) -> Self {
        Self {
            kind,
            range,
            files: Vec::new(),
            groups: vec![Vec::new(); range.len()],
        }
    }

    /// Puts the sections that `file` has of the state in `groups` over the others; a base hides them.
    pub(crate) fn put_on_top(
        &mut self,
        file: &Arc<SnapshotFile>,
        name: &str,
        groups: KeyGroupRange,
        base: bool,
    ) {
        let number = self.files.len();
        let state = file.state(name);
        self.files.push(Arc::clone(file));
        for group in groups.iter().filter(|group| self.range.contains(*group)) {
            let index = group.index() - self.range.first.index();
            let Some(places) = self.groups.get_mut(index) else {
                continue;
            };
            if base {
                places.clear();
            }
            if let Some(section) = state.and_then(|state| file.section_number(state, group)) {
                places.insert(
                    0,
                    Place {
                        file: number,
                        section,
                    },
                );
            }
        }
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.iter().all(Vec::is_empty)
    }

    /// What each group comes to.
    pub(crate) fn all_counters(&self) -> Vec<Counters> {
        self.range.iter().map(|group| self.counters(group)).collect()
    }

    /// What a group comes to: the newest section says it.
    fn counters(&self, group: KeyGroup) -> Counters {
        let totals = self.sections(group).next().map(|section| section.totals());
        totals.map_or_else(Counters::default, |totals| Counters {
            cells: totals.cells,
            encoded_bytes: totals.encoded_bytes,
        })
    }

    /// The sections of a group, newest first.
    fn sections(&self, group: KeyGroup) -> impl Iterator<Item = Section<'_>> {
        let index = group.index().wrapping_sub(self.range.first.index());
        let places = self.groups.get(index).map(Vec::as_slice).unwrap_or_default();
        places
            .iter()
            .filter_map(|place| self.files.get(place.file)?.section_at(place.section))
    }

    /// Whether a section newer than number `newest` of a group has the entry.
    fn is_hidden(&self, group: KeyGroup, older_than: usize, entry: &Entry<'_>) -> BackendResult<bool> {
        if older_than == 0 {
            return Ok(false);
        }
        let parts = match self.kind {
            StateKind::Map => Parts::of_map_entry(entry),
            _ => Parts::of_value(entry),
        };
        for section in self.sections(group).take(older_than) {
            if !matches!(find(&section, &parts)?, Found::Absent) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn visit_in_order<'a>(&'a self, group: KeyGroup, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        let mut sections: Vec<Section<'a>> = self.sections(group).collect();
        if let [section] = sections.as_slice()
            && section.deleted() == 0
        {
            return section.for_each(|found| each(found.entry));
        }
        let mut all: BTreeMap<Address<'a>, Option<&'a [u8]>> = BTreeMap::new();
        sections.reverse();
        for section in &sections {
            section.for_each(|found| {
                all.insert(
                    address(&found.entry),
                    (!found.deleted).then_some(found.entry.value),
                );
                Ok(())
            })?;
        }
        for ((key, namespace, map_key), value) in all {
            if let Some(value) = value {
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

fn find<'a>(section: &Section<'a>, parts: &Parts<'_>) -> BackendResult<Found<'a>> {
    section.find(parts.hash, parts.key, parts.namespace, parts.map_key)
}

impl Lower for Layers {
    fn get(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<Option<Cow<'_, [u8]>>> {
        for section in self.sections(group) {
            match find(&section, parts)? {
                Found::Absent => {}
                Found::Deleted => return Ok(None),
                Found::Value(value) => return Ok(Some(Cow::Borrowed(value))),
            }
        }
        Ok(None)
    }

    fn visit_map(&self, group: KeyGroup, map: &Parts<'_>, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        for (number, section) in self.sections(group).enumerate() {
            section.map_run(map.hash, map.key, map.namespace, |found| {
                if !found.deleted && !self.is_hidden(group, number, &found.entry)? {
                    each(found.entry)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn visit(&self, group: KeyGroup, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        if self.kind == StateKind::SortedMap {
            return self.visit_in_order(group, each);
        }
        for (number, section) in self.sections(group).enumerate() {
            section.for_each(|found| {
                if !found.deleted && !self.is_hidden(group, number, &found.entry)? {
                    each(found.entry)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn prefetch(&self, keys: &KeyBatch<'_>) {
        /// Few enough that what was fetched first is still there.
        const STEP: usize = 64;
        for from in (0..keys.len()).step_by(STEP) {
            let to = keys.len().min(from + STEP);
            let columns = || {
                let hashes = keys.hashes.get(from..to).unwrap_or_default();
                hashes.iter().zip(keys.groups.get(from..to).unwrap_or_default())
            };
            for (hash, group) in columns() {
                self.sections(*group).for_each(|section| section.prefetch(*hash));
            }
            for (hash, group) in columns() {
                self.sections(*group)
                    .for_each(|section| section.prefetch_entry(*hash));
            }
        }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({} files)", self.files.len())
    }
}
