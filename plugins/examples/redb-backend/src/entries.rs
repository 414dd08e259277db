//! From rows back to entries, as they go through the boundary.

use crate::rows::{GROUP_PREFIX_BYTES, RowParts};
use millpond_backend_api::{Entry, StateKind};
use redb::StorageError;

/// The rows of a state's key group, in order.
type Rows<'r> = redb::Range<'r, &'static [u8], &'static [u8]>;

/// The parts of a row key of the database.
pub(crate) fn parts(row: &[u8], kind: StateKind) -> Option<RowParts<'_>> {
    RowParts::parse(row.get(GROUP_PREFIX_BYTES..)?, kind)
}

/// Calls `each` with every entry of `rows`, which are a state of `kind`, until it fails; `failed` makes its kind of error of the database's.
pub(crate) fn for_each_entry<E>(
    rows: Rows<'_>,
    kind: StateKind,
    failed: impl Fn(StorageError) -> E,
    mut each: impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if kind == StateKind::List {
        return for_each_list(rows, failed, each);
    }
    for row in rows {
        let (row, value) = row.map_err(&failed)?;
        if let Some(parts) = parts(row.value(), kind) {
            each(parts.entry(value.value()))?;
        }
    }
    Ok(())
}

/// Puts the elements of each list together: its rows follow each other.
fn for_each_list<E>(
    rows: Rows<'_>,
    failed: impl Fn(StorageError) -> E,
    mut each: impl FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut list: Option<(Vec<u8>, Vec<u8>, Vec<u8>)> = None;
    let mut finish = |list: Option<(Vec<u8>, Vec<u8>, Vec<u8>)>| match list {
        Some((key, namespace, value)) => each(Entry {
            key: &key,
            namespace: &namespace,
            map_key: &[],
            value: &value,
        }),
        None => Ok(()),
    };
    for row in rows {
        let (row, element) = row.map_err(&failed)?;
        let Some(parts) = parts(row.value(), StateKind::List) else {
            continue;
        };
        match &mut list {
            Some((key, namespace, value)) if key == parts.key && namespace == parts.namespace => {
                value.extend_from_slice(element.value());
            }
            _ => finish(list.replace((
                parts.key.to_vec(),
                parts.namespace.to_vec(),
                element.value().to_vec(),
            )))?,
        }
    }
    finish(list)
}
