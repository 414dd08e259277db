//! Entries as bytes.

use super::bytes::{Bytes, put_varint, varint_len};
use crate::state::{Entry, StateDescriptor};

/// Which lengths an entry of a snapshot has: a fixed width's values have none, only maps have map keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryShape {
    /// The width of every value, 0 if each has a length of its own.
    pub width: u32,
    /// Whether there are map keys.
    pub map_keys: bool,
}

impl EntryShape {
    /// The shape of a state's entries.
    #[must_use]
    pub fn of(descriptor: &StateDescriptor) -> Self {
        Self {
            width: descriptor.value_width,
            map_keys: descriptor.kind.has_map_keys(),
        }
    }

    /// The bytes of an entry in a snapshot, from the lengths of its parts.
    #[inline]
    #[must_use]
    pub fn encoded_bytes(self, key: usize, namespace: usize, map_key: usize, value: usize) -> u64 {
        let framed = |len: usize| varint_len(len as u64) as u64 + len as u64;
        let value = if self.width > 0 {
            u64::from(self.width)
        } else {
            framed(value)
        };
        let map_key = if self.map_keys { framed(map_key) } else { 0 };
        framed(key) + framed(namespace) + map_key + value
    }
}

/// Appends an entry: the lengths that its shape has, then the parts.
#[inline]
pub fn put_entry(to: &mut Vec<u8>, shape: EntryShape, entry: &Entry<'_>) {
    put_varint(to, entry.key.len() as u64);
    put_varint(to, entry.namespace.len() as u64);
    if shape.map_keys {
        put_varint(to, entry.map_key.len() as u64);
    }
    if shape.width == 0 {
        put_varint(to, entry.value.len() as u64);
    }
    to.extend_from_slice(entry.key);
    to.extend_from_slice(entry.namespace);
    if shape.map_keys {
        to.extend_from_slice(entry.map_key);
    }
    to.extend_from_slice(entry.value);
}

impl<'a> Bytes<'a> {
    /// An entry of `shape`.
    #[inline]
    pub fn entry(&mut self, shape: EntryShape) -> Option<Entry<'a>> {
        let key = self.len()?;
        let namespace = self.len()?;
        let map_key = if shape.map_keys { self.len()? } else { 0 };
        let value = if shape.width > 0 {
            shape.width as usize
        } else {
            self.len()?
        };
        Some(Entry {
            key: self.take(key)?,
            namespace: self.take(namespace)?,
            map_key: self.take(map_key)?,
            value: self.take(value)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_the_bytes_that_its_shape_says() {
        let entry = Entry {
            key: b"key",
            namespace: b"",
            map_key: b"mk",
            value: &[7; 200],
        };
        for (width, map_keys) in [(0, false), (0, true), (200, false)] {
            let shape = EntryShape { width, map_keys };
            let expected = Entry {
                map_key: if map_keys { b"mk" } else { b"" },
                ..entry
            };
            let mut bytes = Vec::new();
            put_entry(&mut bytes, shape, &expected);
            assert_eq!(
                bytes.len() as u64,
                shape.encoded_bytes(3, 0, expected.map_key.len(), 200)
            );
            assert_eq!(Bytes::new(&bytes).entry(shape), Some(expected));
            assert_eq!(Bytes::new(&bytes[..bytes.len() - 1]).entry(shape), None);
        }
    }
}
