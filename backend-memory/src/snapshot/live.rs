//! All that a group of a state had at a snapshot: what is in memory, and what lies below and is not hidden by it.

use crate::kinds::{Changed, Counters, FrozenGroup};
use crate::lower::Lower;
use crate::table::Parts;
use millpond_backend_api::{BackendResult, Entry, KeyGroup, StateKind};

/// What memory has of a group over what lies below it, by hash.
struct Above<'a> {
    kind: StateKind,
    entries: Vec<(u64, Changed<'a>)>,
}

/// Calls `each` with every entry that `group` of a state had: those in memory, in `frozen`, and those of `below` that memory does not hide. Those of a
/// sorted map come in order, others in none. `counters` tell what there is in all: where memory has so much, nothing is asked for below.
///
/// Takes memory in proportion to the group's entries in memory, not to those below.
///
/// # Errors
/// Those of the lower layer, and of `each`.
pub fn for_each_live(
    frozen: &FrozenGroup,
    kind: StateKind,
    counters: Counters,
    group: KeyGroup,
    below: Option<&dyn Lower>,
    mut each: impl FnMut(Entry<'_>) -> BackendResult<()>,
) -> BackendResult<()> {
    let mut in_memory = 0;
    frozen.try_for_each(|entry| {
        in_memory += 1;
        each(entry)
    })?;
    let Some(below) = below else {
        return Ok(());
    };
    // A sorted map is in memory as a whole, or not at all.
    if in_memory >= counters.cells || matches!(frozen, FrozenGroup::Sorted { .. }) {
        return Ok(());
    }
    let above = Above::of(frozen, kind)?;
    below.visit(group, &mut |entry| {
        if above.hides(&entry) {
            return Ok(());
        }
        each(entry)
    })
}

impl<'a> Above<'a> {
    fn of(frozen: &'a FrozenGroup, kind: StateKind) -> BackendResult<Self> {
        let mut entries = Vec::new();
        frozen.try_for_each_changed(None, |changed| {
            entries.push((hash(kind, &changed.entry), changed));
            BackendResult::Ok(())
        })?;
        entries.sort_unstable_by_key(|(hash, _)| *hash);
        Ok(Self { kind, entries })
    }

    /// Whether memory has an entry, or notes it as deleted.
    fn hides(&self, entry: &Entry<'_>) -> bool {
        let hash = hash(self.kind, entry);
        let from = self.entries.partition_point(|(other, _)| *other < hash);
        self.entries
            .iter()
            .skip(from)
            .take_while(|(other, _)| *other == hash)
            .any(|(_, other)| address(&other.entry) == address(entry))
    }
}

fn hash(kind: StateKind, entry: &Entry<'_>) -> u64 {
    match kind {
        StateKind::Map => Parts::of_map_entry(entry).hash,
        _ => Parts::of_value(entry).hash,
    }
}

fn address<'a>(entry: &Entry<'a>) -> (&'a [u8], &'a [u8], &'a [u8]) {
    (entry.key, entry.namespace, entry.map_key)
}
