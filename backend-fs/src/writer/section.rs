//! The entries of one section, in the order that the file wants.

use super::output::LazySection;
use crate::file::{GroupTotals, Hashes, SectionSize, file_bytes};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Entry, EntryBuffer, KeyGroup, KeyGroupRange, StateKind,
};
use millpond_backend_memory::kinds::{Changed, Counters, FrozenGroup};
use millpond_backend_memory::lower::Lower;
use millpond_backend_memory::snapshot::FrozenState;
use millpond_backend_memory::table::Parts;

/// The exact size of a base of `states`. Not known ahead where there are maps: how many there are is not counted.
pub(super) fn base_bytes(range: KeyGroupRange, states: &[FrozenState]) -> Option<u64> {
    let has_maps = |state: &FrozenState| state.descriptor.kind == StateKind::Map && state.encoded_bytes() > 0;
    if states.iter().any(has_maps) {
        return None;
    }
    let descriptors: Vec<_> = states.iter().map(|state| state.descriptor.clone()).collect();
    let sections = range.iter().enumerate().flat_map(|(index, group)| {
        states.iter().enumerate().filter_map(move |(number, state)| {
            let counters = state.counters.get(index)?;
            (counters.cells > 0).then_some(SectionSize {
                state: u32::try_from(number).ok()?,
                group,
                cells: counters.cells,
                encoded_bytes: counters.encoded_bytes,
                maps: 0,
            })
        })
    });
    Some(file_bytes(&descriptors, sections))
}

/// Writes what belongs into a section: everything (`since` is `None`), or what was changed after the epoch `since`. Nothing is written where there
/// is nothing. With `leaves_out`, what has expired is left out, and is not among the state's counters.
pub(super) fn write(
    section: &mut LazySection<'_, '_>,
    state: &FrozenState,
    index: usize,
    since: Option<u32>,
    leaves_out: bool,
) -> BackendResult<()> {
    let counters = state.counters.get(index).copied().unwrap_or_default();
    let Some(frozen) = state.groups.get(index) else {
        return Ok(());
    };
    let lower = state.lower.as_deref().filter(|_| since.is_none());
    let wanted =
        |changed: &Changed<'_>| !leaves_out || changed.deleted || !state.leaves_out(changed.entry.value);
    match state.descriptor.kind {
        StateKind::Map => write_maps(section, frozen, lower, since, &wanted)?,
        StateKind::SortedMap => write_sorted(section, frozen, lower, since)?,
        StateKind::Value | StateKind::List => match lower {
            Some(lower) => write_merged(section, frozen, lower)?,
            None => frozen.try_for_each_changed(since, |changed| {
                if wanted(&changed) {
                    write_value(section, &changed, since.is_none())
                } else {
                    Ok(())
                }
            })?,
        },
    }
    if since.is_none() && section.live() != counters.cells {
        return Err(miscounted(section.live(), counters));
    }
    section.finish(GroupTotals {
        cells: counters.cells,
        encoded_bytes: counters.encoded_bytes,
    })
}

#[cold]
fn miscounted(found: u64, counters: Counters) -> BackendError {
    BackendError::new(
        BackendErrorKind::Other,
        format!(
            "found {found} entries where {} were counted: the table has a defect, or a batch was ended with absent values that its caller denied",
            counters.cells
        ),
    )
}

fn write_value(section: &mut LazySection<'_, '_>, changed: &Changed<'_>, base: bool) -> BackendResult<()> {
    let parts = Parts::of_value(&changed.entry);
    if !changed.deleted {
        section.entry(Hashes::of_cell(parts.hash), &changed.entry)
    } else if !base {
        section.deleted(Hashes::of_cell(parts.hash), &changed.entry)
    } else {
        Ok(())
    }
}

/// Writes a base over a lower layer: what is in memory, and what lies below and is not hidden by it.
fn write_merged(
    section: &mut LazySection<'_, '_>,
    frozen: &FrozenGroup,
    lower: &dyn Lower,
) -> BackendResult<()> {
    let mut above: Vec<(u64, Changed<'_>)> = Vec::new();
    frozen.try_for_each_changed(None, |changed| {
        above.push((Parts::of_value(&changed.entry).hash, changed));
        write_value(section, &changed, true)
    })?;
    above.sort_unstable_by_key(|(hash, _)| *hash);
    let group = section.group();
    lower.visit(group, &mut |entry| {
        let hash = Parts::of_value(&entry).hash;
        if !has(&above, hash, &entry) {
            section.entry(Hashes::of_cell(hash), &entry)?;
        }
        Ok(())
    })
}

/// Whether `sorted`, in the order of hashes, has the address of `entry`.
fn has(sorted: &[(u64, Changed<'_>)], hash: u64, entry: &Entry<'_>) -> bool {
    let from = sorted.partition_point(|(other, _)| *other < hash);
    sorted
        .iter()
        .skip(from)
        .take_while(|(other, _)| *other == hash)
        .any(|(_, other)| address(&other.entry) == address(entry))
}

fn address<'a>(entry: &Entry<'a>) -> (&'a [u8], &'a [u8], &'a [u8]) {
    (entry.key, entry.namespace, entry.map_key)
}

/// Writes the entries of maps, those of one map next to each other.
fn write_maps(
    section: &mut LazySection<'_, '_>,
    frozen: &FrozenGroup,
    lower: Option<&dyn Lower>,
    since: Option<u32>,
    wanted: &dyn Fn(&Changed<'_>) -> bool,
) -> BackendResult<()> {
    let mut below = EntryBuffer::new();
    let mut entries: Vec<(u64, Changed<'_>)> = Vec::new();
    frozen.try_for_each_changed(since, |changed| {
        if wanted(&changed) {
            entries.push((Parts::of_map_entry(&changed.entry).hash, changed));
        }
        Ok::<_, BackendError>(())
    })?;
    if let Some(lower) = lower {
        entries.sort_unstable_by_key(|(hash, _)| *hash);
        lower.visit(section.group(), &mut |entry| {
            if !has(&entries, Parts::of_map_entry(&entry).hash, &entry) {
                below.push(entry);
            }
            Ok(())
        })?;
        let deleted = false;
        let below = below.iter();
        entries.extend(below.map(|entry| (Parts::of_map_entry(&entry).hash, Changed::whole(entry, deleted))));
    }
    let map = |entry: &Entry<'_>| Parts::of_value(entry).hash;
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(hash, changed)| (map(&changed.entry), hash, changed))
        .collect();
    // Maps whose hashes are the same must not be mixed.
    entries.sort_unstable_by(|(left_map, _, left), (right_map, _, right)| {
        left_map.cmp(right_map).then_with(|| {
            (left.entry.key, left.entry.namespace).cmp(&(right.entry.key, right.entry.namespace))
        })
    });
    for (map, hash, changed) in entries {
        if !changed.deleted {
            section.entry(Hashes::of_map_entry(map, hash), &changed.entry)?;
        } else if since.is_some() {
            section.deleted(Hashes::of_map_entry(map, hash), &changed.entry)?;
        }
    }
    Ok(())
}

/// Writes the entries of a sorted map in order.
fn write_sorted(
    section: &mut LazySection<'_, '_>,
    frozen: &FrozenGroup,
    lower: Option<&dyn Lower>,
    since: Option<u32>,
) -> BackendResult<()> {
    match (frozen, lower) {
        (FrozenGroup::Below, Some(lower)) => {
            let group: KeyGroup = section.group();
            lower.visit(group, &mut |entry| section.entry(Hashes::none(), &entry))
        }
        _ => frozen.try_for_each_changed(since, |changed| {
            if !changed.deleted {
                section.entry(Hashes::none(), &changed.entry)
            } else if since.is_some() {
                section.deleted(Hashes::none(), &changed.entry)
            } else {
                Ok(())
            }
        }),
    }
}
