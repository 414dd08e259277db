//! What addresses an entry, and the hashes by which it is found.

use super::class::ENTRY_BYTES_MAX;
use super::entry::LINKED_HEAD;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, Cell, Entry, key_hash};

/// What addresses an entry, and its hash ([`cell_hash`] or [`map_entry_hash`]).
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The hash of all parts.
    pub hash: u64,
    /// The key.
    pub key: &'a [u8],
    /// The namespace.
    pub namespace: &'a [u8],
    /// The map key.
    pub map_key: &'a [u8],
    /// Whether the head of the map at (key, namespace) is meant.
    pub head: bool,
}

/// The hash of a cell without map key: the key's own where there is no namespace.
#[inline]
#[must_use]
pub fn cell_hash(hash: u64, namespace: &[u8]) -> u64 {
    if namespace.is_empty() {
        return hash;
    }
    mixed(hash, hash_of(namespace))
}

/// [`key_hash`] as a call, so that the look-ups around it stay small.
#[inline(never)]
fn hash_of(bytes: &[u8]) -> u64 {
    key_hash(bytes)
}

/// The hash of a map's entry, from the [`cell_hash`] of the map.
#[inline]
#[must_use]
pub fn map_entry_hash(map: u64, map_key: &[u8]) -> u64 {
    mixed(map.rotate_left(17), hash_of(map_key))
}

#[inline]
fn mixed(left: u64, right: u64) -> u64 {
    // The multiplication carries upwards only, so the upper half comes down before it and after it.
    let mut hash = left ^ right.rotate_left(32);
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

impl<'a> Parts<'a> {
    /// The parts of a value's or list's cell.
    #[inline]
    #[must_use]
    pub fn of_cell(cell: &Cell<'a>) -> Self {
        let namespace = cell.namespace.as_slice();
        Self {
            hash: cell_hash(cell.hash, namespace),
            key: cell.key.as_slice(),
            namespace,
            map_key: &[],
            head: false,
        }
    }

    /// The parts of a value's or list's entry; the hash is computed.
    #[inline]
    #[must_use]
    pub fn of_value(entry: &Entry<'a>) -> Self {
        Self {
            hash: cell_hash(key_hash(entry.key), entry.namespace),
            key: entry.key,
            namespace: entry.namespace,
            map_key: &[],
            head: false,
        }
    }

    /// The parts of a map's entry; the hash is computed.
    #[inline]
    #[must_use]
    pub fn of_map_entry(entry: &Entry<'a>) -> Self {
        let map = Self::of_value(entry);
        Self {
            hash: map_entry_hash(map.hash, entry.map_key),
            map_key: entry.map_key,
            ..map
        }
    }

    /// An error if a part, or the entry with a value of `value_len` bytes, is larger than the table takes.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`].
    #[inline]
    pub fn check(&self, value_len: usize) -> BackendResult<()> {
        let parts = [
            self.key.len(),
            self.namespace.len(),
            self.map_key.len(),
            value_len,
        ];
        let total = parts
            .iter()
            .fold(LINKED_HEAD, |sum, len| sum.saturating_add(*len));
        // A class may be an eighth larger than what it holds.
        if total > ENTRY_BYTES_MAX / 2 || self.namespace.len() >= 1 << 24 {
            return Err(too_large(parts));
        }
        Ok(())
    }
}

#[cold]
fn too_large(parts: [usize; 4]) -> BackendError {
    let [key, namespace, map_key, value] = parts;
    BackendError::new(
        BackendErrorKind::Misuse,
        format!(
            "an entry with a key of {key}, a namespace of {namespace}, a map key of {map_key} and a value of {value} bytes is too large: \
             a namespace has less than 16 MiB, all together at most 1 GiB"
        ),
    )
}
