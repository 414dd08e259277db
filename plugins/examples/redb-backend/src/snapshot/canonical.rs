//! The form of snapshots that all backends share: each entry as the engine gave it, so that another backend can take the state over.

use super::read::{merge, state_number};
use crate::entries::for_each_entry;
use crate::keyed::{State, row_bytes};
use crate::rows;
use crate::store::{Frozen, ROWS, Store, redb_error};
use millpond_backend_api::canonical::{CanonicalReader, CanonicalSection, CanonicalWriter};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Cell, KeyGroupRange, RestoreFiles, SnapshotHandle,
    SnapshotStreams, StateKind, key_hash,
};

/// Writes everything that there was.
pub(super) fn write(
    streams: &SnapshotStreams,
    frozen: &Frozen,
    key_groups: KeyGroupRange,
    states: &[State],
) -> BackendResult<Vec<SnapshotHandle>> {
    let descriptors = states.iter().map(|state| state.descriptor.clone()).collect();
    let mut writer = CanonicalWriter::new(streams, key_groups, descriptors)
        .with_rough_sizes(states.iter().map(|state| state.bytes).collect());
    let table = frozen.transaction.open_table(ROWS).map_err(redb_error)?;
    for group in key_groups.iter() {
        for (index, state) in states.iter().enumerate() {
            let range = rows::range_of(&rows::group_prefix(state_number(index)?, group));
            let rows = table
                .range(range.start.as_slice()..range.end.as_slice())
                .map_err(redb_error)?;
            writer.begin(index, group)?;
            for_each_entry(rows, state.descriptor.kind, redb_error, |entry| {
                writer.entry(&entry)
            })?;
            writer.end()?;
        }
    }
    writer.finish()
}

/// Brings the cells of `handle` that lie in `key_groups` into the store, and its states into `states`.
pub(super) fn restore(
    handle: &SnapshotHandle,
    files: &RestoreFiles,
    key_groups: KeyGroupRange,
    store: &mut Store,
    states: &mut Vec<State>,
) -> BackendResult<()> {
    let mut reader = CanonicalReader::open(handle, key_groups, files)?;
    // A state has another number here than in the file.
    let numbers = merge(reader.states().to_vec(), states)?;
    while let Some(section) = reader.next_section()? {
        let Some(number) = numbers.get(section.state()).copied() else {
            continue;
        };
        if let Some(state) = states.get_mut(number) {
            insert(&section, number, store, state)?;
        }
    }
    Ok(())
}

fn insert(
    section: &CanonicalSection<'_>,
    number: usize,
    store: &mut Store,
    state: &mut State,
) -> BackendResult<()> {
    let number = state_number(number)?;
    let mut row = Vec::new();
    for entry in section.entries() {
        let cell =
            Cell::of_key(key_hash(entry.key), section.group(), entry.key).with_namespace(entry.namespace);
        rows::prefix(&mut row, number, &cell);
        match state.descriptor.kind {
            // All of a list's elements as its first: the engine has framed them.
            StateKind::List => row.extend_from_slice(&0_u64.to_be_bytes()),
            StateKind::Map | StateKind::SortedMap => row.extend_from_slice(entry.map_key),
            StateKind::Value => {}
        }
        let replaced = store.write(|rows| Ok(rows.insert(row.as_slice(), entry.value)?.is_some()))?;
        if replaced {
            return Err(BackendError::new(
                BackendErrorKind::Corrupted,
                format!(
                    "a cell of the state {} in key group {} is there twice",
                    state.descriptor.name,
                    section.group()
                ),
            ));
        }
        state.cells += 1;
        state.bytes += row_bytes(&row, entry.value);
    }
    Ok(())
}
