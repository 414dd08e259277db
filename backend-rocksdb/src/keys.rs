//! How cells are named in RocksDB: by bytes whose order is that of key groups first, and of map keys last.
//!
//! ```text
//! u16 BE  key group
//! varint  length of the key       | key
//! varint  length of the namespace | namespace
//!         map key, to the end
//! ```
//!
//! The lengths make each part end where it should, so that no two cells have the same name and all of a map's entries, and nothing else, begin
//! with its prefix, in the order of their map keys.

use millpond_backend_api::canonical::bytes::{Bytes, put_framed};
use millpond_backend_api::{Entry, KeyGroup};
use millpond_backend_memory::table::Parts;

/// The bytes of a key group.
const GROUP_BYTES: usize = 2;

/// Appends the name that everything of a key group begins with.
pub(crate) fn put_group(to: &mut Vec<u8>, group: KeyGroup) {
    to.extend_from_slice(&group.0.to_be_bytes());
}

/// Appends the name of a cell.
pub(crate) fn put_cell(to: &mut Vec<u8>, group: KeyGroup, parts: &Parts<'_>) {
    put_map(to, group, parts.key, parts.namespace);
    to.extend_from_slice(parts.map_key);
}

/// Appends the name of an entry's cell.
pub(crate) fn put_entry(to: &mut Vec<u8>, group: KeyGroup, entry: &Entry<'_>) {
    put_map(to, group, entry.key, entry.namespace);
    to.extend_from_slice(entry.map_key);
}

/// Appends what the names of all entries of a map begin with; of a value or list, its whole name.
pub(crate) fn put_map(to: &mut Vec<u8>, group: KeyGroup, key: &[u8], namespace: &[u8]) {
    put_group(to, group);
    put_framed(to, key);
    put_framed(to, namespace);
}

/// The parts of a name, with `value`; `None` for bytes that are no name.
pub(crate) fn entry_of<'a>(name: &'a [u8], value: &'a [u8]) -> Option<Entry<'a>> {
    let rest = name.get(GROUP_BYTES..)?;
    let mut bytes = Bytes::new(rest);
    let key = bytes.framed()?;
    let namespace = bytes.framed()?;
    let map_key = rest.get(bytes.position()..)?;
    Some(Entry {
        key,
        namespace,
        map_key,
        value,
    })
}

/// The first name behind all that begin with `prefix`; `None` if there is none.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(group: u16, key: &[u8], namespace: &[u8], map_key: &[u8]) -> Vec<u8> {
        let mut name = Vec::new();
        put_map(&mut name, KeyGroup(group), key, namespace);
        name.extend_from_slice(map_key);
        name
    }

    #[test]
    fn names_give_their_parts_back_and_are_all_different() {
        let parts: [&[u8]; 5] = [b"", b"\0", b"a", b"aa", &[0xff; 300]];
        let mut names = std::collections::BTreeSet::new();
        for (key, namespace, map_key) in parts
            .iter()
            .flat_map(|key| parts.iter().map(move |namespace| (key, namespace)))
            .flat_map(|(key, namespace)| parts.iter().map(move |map_key| (key, namespace, map_key)))
        {
            let name = name(7, key, namespace, map_key);
            let entry = entry_of(&name, b"v").unwrap();
            assert_eq!(
                (entry.key, entry.namespace, entry.map_key),
                (*key, *namespace, *map_key)
            );
            assert_eq!(entry.value, b"v");
            assert!(names.insert(name));
        }
    }

    #[test]
    fn groups_come_in_order_and_map_keys_too() {
        assert!(name(255, &[0xff; 9], b"", b"") < name(256, b"", b"", b""));
        assert!(name(1, b"k", b"n", b"a") < name(1, b"k", b"n", b"ab"));
        assert!(name(1, b"k", b"n", b"ab") < name(1, b"k", b"n", b"b"));
    }

    #[test]
    fn what_lies_behind_a_prefix_is_the_least_that_does_not_begin_with_it() {
        assert_eq!(behind(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(behind(&[1, 0xff]), Some(vec![2]));
        assert_eq!(behind(&[0xff, 0xff]), None);
        assert_eq!(behind(&[]), None);
    }

    #[test]
    fn bytes_that_are_no_name_have_no_parts() {
        for bytes in [&b""[..], b"a", b"ab", b"ab\x05abc", b"ab\x01a", b"ab\x01a\x09x"] {
            assert!(entry_of(bytes, b"").is_none(), "{bytes:?}");
        }
    }
}
