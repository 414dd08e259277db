//! Where a cell lies in the database: one row a value, map entry or list element, in one table.
//!
//! ```text
//! row key = state u32 | group u16 | length of key u32 | key | length of namespace u32 | namespace | rest
//! rest    = nothing (value) | map key (map, sorted map) | number of the element u64 (list)
//! ```
//!
//! Numbers are big-endian, so the rows of a state lie together, in it those of a key group, and in it those of a map in the order of its
//! map keys' bytes. The lengths keep one key from being the start of another.

use millpond_backend_api::{Cell, Entry, KeyGroup, StateKind};
use std::ops::Range;

/// The bytes of state and group.
pub(crate) const GROUP_PREFIX_BYTES: usize = 6;

/// What the row keys of a state's group start with.
pub(crate) fn group_prefix(state: u32, group: KeyGroup) -> [u8; GROUP_PREFIX_BYTES] {
    let [a, b, c, d] = state.to_be_bytes();
    let [e, f] = group.0.to_be_bytes();
    [a, b, c, d, e, f]
}

/// What all row keys of the key and namespace of `cell` start with.
pub(crate) fn prefix(row: &mut Vec<u8>, state: u32, cell: &Cell<'_>) {
    row.clear();
    row.extend_from_slice(&group_prefix(state, cell.group));
    for part in [cell.key.as_slice(), cell.namespace.as_slice()] {
        // A key of 4 GiB does not come through the boundary: its batches count in 32 bits.
        row.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        row.extend_from_slice(part);
    }
}

/// The row keys that start with `prefix`, of which one byte at least is not 0xff: those of the first state come first.
pub(crate) fn range_of(prefix: &[u8]) -> Range<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    prefix.to_vec()..end
}

/// A row key without state and group, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowParts<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) namespace: &'a [u8],
    pub(crate) rest: &'a [u8],
}

impl<'a> RowParts<'a> {
    /// Takes apart what follows state and group. `None` when it is no row key of a state of `kind`.
    pub(crate) fn parse(suffix: &'a [u8], kind: StateKind) -> Option<Self> {
        let (key, after_key) = sized(suffix)?;
        let (namespace, rest) = sized(after_key)?;
        let fits = match kind {
            StateKind::Value => rest.is_empty(),
            StateKind::List => rest.len() == size_of::<u64>(),
            StateKind::Map | StateKind::SortedMap => true,
        };
        fits.then_some(Self { key, namespace, rest })
    }

    /// The row as an entry of a state that is no list.
    pub(crate) fn entry(self, value: &'a [u8]) -> Entry<'a> {
        Entry {
            key: self.key,
            namespace: self.namespace,
            map_key: self.rest,
            value,
        }
    }
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_key_gives_back_its_parts_and_garbage_gives_none() {
        let cell = Cell::of_key(0, KeyGroup(3), b"key").with_namespace(b"ns");
        let mut row = Vec::new();
        prefix(&mut row, 7, &cell);
        row.extend_from_slice(b"map key");
        let suffix = &row[GROUP_PREFIX_BYTES..];
        let parts = RowParts::parse(suffix, StateKind::Map).unwrap();
        assert_eq!(
            (parts.key, parts.namespace, parts.rest),
            (&b"key"[..], &b"ns"[..], &b"map key"[..])
        );
        assert_eq!(RowParts::parse(suffix, StateKind::Value), None);
        assert_eq!(RowParts::parse(suffix, StateKind::List), None);
        assert_eq!(RowParts::parse(&suffix[..5], StateKind::Map), None);
        assert_eq!(RowParts::parse(&[0xff; 20], StateKind::Map), None);
    }

    #[test]
    fn the_range_of_a_prefix_ends_behind_every_row_that_starts_with_it() {
        assert_eq!(range_of(&[0, 1]), vec![0, 1]..vec![0, 2]);
        assert_eq!(range_of(&[0, 0xff, 0xff]), vec![0, 0xff, 0xff]..vec![1]);
    }
}
