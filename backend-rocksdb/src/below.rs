//! A state in RocksDB as what lies below its tables.

use crate::keys::{entry_of, put_cell, put_group, put_map};
use crate::store::{Part, Store};
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyGroup};
use millpond_backend_memory::lower::{Lower, VisitEntry, VisitWhile};
use millpond_backend_memory::table::Parts;
use std::borrow::Cow;
use std::sync::Arc;

/// One state of a store.
#[derive(Debug)]
pub(crate) struct StateBelow {
    store: Arc<Store>,
    state: String,
}

/// A cell that was asked for, and where its name lies.
struct Asked {
    place: usize,
    part: usize,
    name: std::ops::Range<usize>,
}

impl StateBelow {
    pub(crate) fn new(store: Arc<Store>, state: impl Into<String>) -> Self {
        Self {
            store,
            state: state.into(),
        }
    }

    fn get_from<'a>(
        &self,
        part: &Part,
        group: KeyGroup,
        parts: &Parts<'_>,
    ) -> BackendResult<Option<Cow<'a, [u8]>>> {
        let mut name = Vec::with_capacity(64);
        put_cell(&mut name, group, parts);
        Ok(part.database.get(&self.state, &name)?.map(Cow::Owned))
    }

    fn visit_prefix(
        &self,
        group: KeyGroup,
        prefix: &[u8],
        keep_in_cache: bool,
        each: &mut VisitEntry<'_>,
    ) -> BackendResult<()> {
        let parts = self.store.parts();
        let Some(part) = parts.of(group) else {
            return Ok(());
        };
        part.database
            .scan(&self.state, prefix, keep_in_cache, |name, value| {
                match entry_of(name, value) {
                    Some(entry) => each(entry),
                    None => Err(self.no_cell(group, part, name)),
                }
            })
    }

    #[cold]
    fn no_cell(&self, group: KeyGroup, part: &Part, name: &[u8]) -> BackendError {
        BackendError::new(
            BackendErrorKind::Corrupted,
            format!(
                "state {:?}, key group {group}: {} has a key that no cell has: {name:02x?}",
                self.state,
                part.database.folder().display()
            ),
        )
    }
}

impl Lower for StateBelow {
    fn get(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<Option<Cow<'_, [u8]>>> {
        let parts_of_store = self.store.parts();
        let Some(part) = parts_of_store.of(group) else {
            return Ok(None);
        };
        self.get_from(part, group, parts)
    }

    fn get_many(&self, cells: &[(KeyGroup, Parts<'_>)]) -> BackendResult<Vec<Option<Cow<'_, [u8]>>>> {
        let parts_of_store = self.store.parts();
        let mut names = Vec::new();
        let mut asked = Vec::with_capacity(cells.len());
        for (place, (group, parts)) in cells.iter().enumerate() {
            let part = parts_of_store.position(*group);
            let from = names.len();
            put_cell(&mut names, *group, parts);
            asked.extend(part.map(|part| Asked {
                place,
                part,
                name: from..names.len(),
            }));
        }
        let name = |asked: &Asked| names.get(asked.name.clone()).unwrap_or_default();
        asked.sort_unstable_by(|left, right| (left.part, name(left)).cmp(&(right.part, name(right))));
        let mut values: Vec<Option<Cow<'_, [u8]>>> = vec![None; cells.len()];
        for (number, part) in parts_of_store.iter().enumerate() {
            let from = asked.partition_point(|asked| asked.part < number);
            let to = asked.partition_point(|asked| asked.part <= number);
            let asked = asked.get(from..to).unwrap_or_default();
            let names: Vec<&[u8]> = asked.iter().map(name).collect();
            if names.is_empty() {
                continue;
            }
            part.database.get_many(&self.state, &names, |found, value| {
                let place = asked.get(found).and_then(|asked| values.get_mut(asked.place));
                if let Some(place) = place {
                    *place = Some(Cow::Owned(value));
                }
            })?;
        }
        Ok(values)
    }

    fn is_costly(&self) -> bool {
        true
    }

    fn takes_suffixes(&self) -> bool {
        true
    }

    fn may_have(&self, group: KeyGroup, parts: &Parts<'_>) -> bool {
        self.store.parts().of(group).is_some_and(|part| {
            let mut name = Vec::with_capacity(64);
            put_cell(&mut name, group, parts);
            part.database.may_have(&self.state, &name)
        })
    }

    fn get_as_of(&self, group: KeyGroup, parts: &Parts<'_>) -> BackendResult<(Option<Cow<'_, [u8]>>, u32)> {
        let parts_of_store = self.store.parts();
        let Some(part) = parts_of_store.of(group) else {
            return Ok((None, 0));
        };
        let contents = part.database.contents(&self.state);
        // From the same database, if another one takes its place meanwhile.
        contents.read(|| self.get_from(part, group, parts))
    }

    fn visit_map(&self, group: KeyGroup, map: &Parts<'_>, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        let mut prefix = Vec::with_capacity(64);
        put_map(&mut prefix, group, map.key, map.namespace);
        self.visit_prefix(group, &prefix, true, each)
    }

    fn visit_from(
        &self,
        group: KeyGroup,
        map: &Parts<'_>,
        from: &[u8],
        each: &mut VisitWhile<'_>,
    ) -> BackendResult<()> {
        let parts = self.store.parts();
        let Some(part) = parts.of(group) else {
            return Ok(());
        };
        let mut prefix = Vec::with_capacity(64);
        put_map(&mut prefix, group, map.key, map.namespace);
        let start = [&prefix, from].concat();
        let visited = |name: &[u8], value: &[u8]| match entry_of(name, value) {
            Some(entry) => each(entry),
            None => Err(self.no_cell(group, part, name)),
        };
        part.database
            .scan_from(&self.state, &prefix, &start, true, visited)
    }

    fn visit(&self, group: KeyGroup, each: &mut VisitEntry<'_>) -> BackendResult<()> {
        let mut prefix = Vec::with_capacity(2);
        put_group(&mut prefix, group);
        self.visit_prefix(group, &prefix, false, each)
    }
}
