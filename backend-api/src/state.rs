//! What a keyed state is and how its cells are addressed.

use crate::key_group::KeyGroup;
use crate::ttl::StateTtl;
use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RString, RVec};

/// The kind of a keyed state: what one (key, namespace) holds.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// One value. Reducing and aggregating states are values too: the engine folds.
    Value = 0,
    /// A list: elements that the engine has framed, concatenated by [`append`](crate::KeyedState::append).
    List = 1,
    /// A map from map keys to values, in no order.
    Map = 2,
    /// A map whose entries are visited in the order of their map keys' bytes. Timers live in such maps, one a key group, under the
    /// empty key.
    SortedMap = 3,
}

impl StateKind {
    /// Whether cells of the state have a map key.
    #[must_use]
    pub fn has_map_keys(self) -> bool {
        matches!(self, Self::Map | Self::SortedMap)
    }

    /// The kind with the number `number`, as snapshots store it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Value, Self::List, Self::Map, Self::SortedMap]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }

    /// The field's name for the kind, as errors show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::SortedMap => "sorted map",
        }
    }
}

/// A keyed state as it is registered and as snapshots describe it.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct StateDescriptor {
    /// The name, unique within the operator.
    pub name: RString,
    /// What a (key, namespace) holds.
    pub kind: StateKind,
    /// The bytes of every value if they all have the same number, else 0. Only a [`StateKind::Value`] may have it; such a state has
    /// slots where the backend offers them.
    pub value_width: u32,
    /// The engine's description of the codec of key, namespace and values, stored with the state and given back by
    /// [`states`](crate::KeyedState::states). Opaque to the backend; the engine compares it.
    pub codec: RVec<u8>,
    /// How long values live, [`StateTtl::NONE`] if for ever. Told at registration only; a backend does not store it, and a state that was restored and
    /// is not registered has none.
    pub ttl: StateTtl,
}

impl StateDescriptor {
    /// A descriptor with an empty codec.
    pub fn new(name: impl Into<String>, kind: StateKind, value_width: u32) -> Self {
        Self {
            name: RString::from(name.into()),
            kind,
            value_width,
            codec: RVec::new(),
            ttl: StateTtl::NONE,
        }
    }

    /// The same with a TTL. Values then begin with their [time](crate::ttl), and a fixed width counts it in.
    #[must_use]
    pub fn with_ttl(self, ttl: StateTtl) -> Self {
        Self { ttl, ..self }
    }
}

/// The number under which a backend knows a registered state: 0, 1, 2, ... in the order of registration.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub u32);

impl StateId {
    /// The id as an index.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The address of a cell: a key with its hash and group, a namespace, and for maps a map key.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// [`key_hash`](crate::key_hash) of `key`.
    pub hash: u64,
    /// The key group of the key; must lie in the range that the backend was opened with.
    pub group: KeyGroup,
    /// The encoded key.
    pub key: RSlice<'a, u8>,
    /// The encoded namespace; empty for plain state.
    pub namespace: RSlice<'a, u8>,
    /// The encoded map key; empty and without meaning for values and lists.
    pub map_key: RSlice<'a, u8>,
}

impl<'a> Cell<'a> {
    /// The cell of `key` without namespace and map key.
    #[inline]
    #[must_use]
    pub fn of_key(hash: u64, group: KeyGroup, key: &'a [u8]) -> Self {
        Self {
            hash,
            group,
            key: key.into(),
            namespace: RSlice::EMPTY,
            map_key: RSlice::EMPTY,
        }
    }

    /// The same key in `namespace`.
    #[inline]
    #[must_use]
    pub fn with_namespace(self, namespace: &'a [u8]) -> Self {
        Self {
            namespace: namespace.into(),
            ..self
        }
    }

    /// The same key and namespace at `map_key`.
    #[inline]
    #[must_use]
    pub fn with_map_key(self, map_key: &'a [u8]) -> Self {
        Self {
            map_key: map_key.into(),
            ..self
        }
    }
}

/// The keys of a batch of records, in the order of the records; a key may occur more than once.
///
/// Hashes and groups are columns of the same length. Key `i` is `bytes[ends[i - 1] .. ends[i]]`, or with a `width` above 0
/// `bytes[i * width ..][.. width]` and `ends` is empty.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct KeyBatch<'a> {
    /// [`key_hash`](crate::key_hash) of each key.
    pub hashes: RSlice<'a, u64>,
    /// The key group of each key.
    pub groups: RSlice<'a, KeyGroup>,
    /// The encoded keys, one after the other.
    pub bytes: RSlice<'a, u8>,
    /// Where each key ends in `bytes`; empty if all keys have `width` bytes.
    pub ends: RSlice<'a, u32>,
    /// The bytes of every key if they all have the same number, else 0.
    pub width: u32,
}

impl<'a> KeyBatch<'a> {
    /// How many keys there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is no key.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Key `index`, or the empty key where the batch has no such record.
    #[inline]
    #[must_use]
    pub fn key(&self, index: usize) -> &'a [u8] {
        let bytes = self.bytes.as_slice();
        let (from, to) = if self.width > 0 {
            let width = self.width as usize;
            (index * width, (index + 1) * width)
        } else {
            let ends = self.ends.as_slice();
            let end = |at: usize| ends.get(at).map_or(0, |end| *end as usize);
            (if index == 0 { 0 } else { end(index - 1) }, end(index))
        };
        bytes.get(from..to).unwrap_or(&[])
    }

    /// Key `index` as a cell without namespace. `None` where the batch has no such record.
    #[inline]
    #[must_use]
    pub fn cell(&self, index: usize) -> Option<Cell<'a>> {
        let hash = *self.hashes.as_slice().get(index)?;
        let group = *self.groups.as_slice().get(index)?;
        Some(Cell::of_key(hash, group, self.key(index)))
    }
}

/// Entries of a state that a backend hands out: key, namespace, map key and value of each, concatenated in one buffer.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default)]
pub struct EntryBuffer {
    bytes: RVec<u8>,
    /// Four ends an entry.
    ends: RVec<u64>,
}

/// One entry of an [`EntryBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The encoded key.
    pub key: &'a [u8],
    /// The encoded namespace.
    pub namespace: &'a [u8],
    /// The encoded map key; empty for values and lists.
    pub map_key: &'a [u8],
    /// The encoded value.
    pub value: &'a [u8],
}

impl EntryBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: Entry<'_>) {
        for part in [entry.key, entry.namespace, entry.map_key, entry.value] {
            // Not `extend_from_slice`, which pushes byte by byte.
            self.bytes.extend_from_copy_slice(part);
            self.ends.push(self.bytes.len() as u64);
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len() / 4
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all entries; the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The entries in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let bytes = self.bytes.as_slice();
        let ends = self.ends.as_slice();
        (0..self.len()).map(move |index| {
            let end = |at: usize| {
                ends.get(at)
                    .map_or(0, |end| usize::try_from(*end).unwrap_or(usize::MAX))
            };
            let part = |number: usize| {
                let at = index * 4 + number;
                bytes
                    .get(if at == 0 { 0 } else { end(at - 1) }..end(at))
                    .unwrap_or(&[])
            };
            Entry {
                key: part(0),
                namespace: part(1),
                map_key: part(2),
                value: part(3),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_keys_of_fixed_and_of_varying_width() {
        let hashes = [1, 2, 3];
        let groups = [KeyGroup(0); 3];
        let ends = [1_u32, 1, 4];
        let varying = KeyBatch {
            hashes: (&hashes[..]).into(),
            groups: (&groups[..]).into(),
            bytes: (&b"abcd"[..]).into(),
            ends: (&ends[..]).into(),
            width: 0,
        };
        assert_eq!(
            [varying.key(0), varying.key(1), varying.key(2), varying.key(3)],
            [&b"a"[..], b"", b"bcd", b""]
        );
        let fixed = KeyBatch {
            bytes: (&b"aabbcc"[..]).into(),
            ends: RSlice::EMPTY,
            width: 2,
            ..varying
        };
        assert_eq!(
            [fixed.key(0), fixed.key(2), fixed.key(3)],
            [&b"aa"[..], b"cc", b""]
        );
        assert_eq!(fixed.cell(3).map(|cell| cell.hash), None);
    }

    #[test]
    fn an_entry_buffer_gives_back_what_was_pushed() {
        let mut buffer = EntryBuffer::new();
        let entries = [
            Entry {
                key: b"k",
                namespace: b"",
                map_key: b"m",
                value: b"v",
            },
            Entry {
                key: b"",
                namespace: b"ns",
                map_key: b"",
                value: b"",
            },
        ];
        for entry in entries {
            buffer.push(entry);
        }
        assert_eq!(buffer.iter().collect::<Vec<_>>(), entries);
        buffer.clear();
        assert_eq!((buffer.len(), buffer.iter().count()), (0, 0));
    }
}
