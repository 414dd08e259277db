//! Brings the entries of a canonical snapshot into tables.

use crate::kinds::KindState;
use crate::tables::Tables;
use millpond_backend_api::canonical::{CanonicalReader, CanonicalSection};
use millpond_backend_api::{BackendResult, Cell, RestoreFiles, SnapshotHandle, key_hash};

/// Brings what `handle`, a canonical snapshot, has in the groups of `tables` into them, as changes of their epoch. Nothing else may have these groups.
///
/// # Errors
/// Those of [`CanonicalReader`], and of [`Tables::kind_of`] for a state that is there in another way.
pub fn restore_canonical(
    tables: &mut Tables,
    handle: &SnapshotHandle,
    files: &RestoreFiles,
) -> BackendResult<()> {
    let mut reader = CanonicalReader::open(handle, tables.range(), files)?;
    for descriptor in reader.states() {
        tables.kind_of(descriptor)?;
    }
    while let Some(section) = reader.next_section()? {
        bring_in(tables, &section)?;
    }
    Ok(())
}

fn bring_in(tables: &mut Tables, section: &CanonicalSection<'_>) -> BackendResult<()> {
    let group = section.group();
    let index = group.index() - tables.range().first.index();
    let kind = tables.kind_of(section.descriptor())?;
    let there = kind.counters().get(index).map_or(0, |group| group.cells);
    if let KindState::Value(value) = kind {
        // The count was verified against the section's entries; a large group has several sections.
        value.reserve(index, usize::try_from(there + section.entry_count()).unwrap_or(0));
    }
    for entry in section.entries() {
        let cell = Cell::of_key(key_hash(entry.key), group, entry.key)
            .with_namespace(entry.namespace)
            .with_map_key(entry.map_key);
        match kind {
            KindState::Value(value) => value.put(index, &cell, entry.value)?,
            KindState::Map(map) => map.put(index, &cell, entry.value)?,
            KindState::Sorted(sorted) => sorted.put(index, &cell, entry.value)?,
        }
    }
    Ok(())
}
