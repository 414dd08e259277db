//! One entry: a byte that tells whether the cell is there or deleted, the lengths, then the parts.

use super::blocks::{BUFFER_BYTES, Sink};
use super::output::Output;
use millpond_backend_api::canonical::EntryShape;
use millpond_backend_api::canonical::bytes::{Bytes, VARINT_BYTES_MAX, put_varint};
use millpond_backend_api::canonical::put_entry;
use millpond_backend_api::{BackendResult, Entry};

/// The cell has this value.
const LIVE: u8 = 1;
/// The cell was deleted; what older files say of it no longer holds.
const DELETED: u8 = 2;
/// The most bytes that stand before the key.
pub(super) const LENGTHS_BYTES_MAX: u64 = 1 + 4 * VARINT_BYTES_MAX as u64;

/// An entry of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry<'a> {
    /// Whether the cell was deleted; its value is then empty.
    pub deleted: bool,
    /// The cell.
    pub entry: Entry<'a>,
}

/// Writes an entry. The value of a deleted one is left out.
#[inline]
pub(super) fn write_entry<O: Output>(
    sink: &mut Sink<O>,
    shape: EntryShape,
    entry: &FileEntry<'_>,
) -> BackendResult<()> {
    let FileEntry { deleted, entry } = entry;
    let bytes = entry.key.len() + entry.namespace.len() + entry.map_key.len() + entry.value.len();
    if *deleted || bytes >= BUFFER_BYTES / 4 {
        return write_in_parts(sink, shape, *deleted, entry);
    }
    sink.buffer.push(LIVE);
    put_entry(&mut sink.buffer, shape, entry);
    sink.pass_on()
}

/// The same bytes as [`write_entry`] writes, without a buffer that the entry must fit.
fn write_in_parts<O: Output>(
    sink: &mut Sink<O>,
    shape: EntryShape,
    deleted: bool,
    entry: &Entry<'_>,
) -> BackendResult<()> {
    sink.buffer.push(if deleted { DELETED } else { LIVE });
    put_varint(&mut sink.buffer, entry.key.len() as u64);
    put_varint(&mut sink.buffer, entry.namespace.len() as u64);
    if shape.map_keys {
        put_varint(&mut sink.buffer, entry.map_key.len() as u64);
    }
    if shape.width == 0 && !deleted {
        put_varint(&mut sink.buffer, entry.value.len() as u64);
    }
    sink.append(entry.key)?;
    sink.append(entry.namespace)?;
    if shape.map_keys {
        sink.append(entry.map_key)?;
    }
    if !deleted {
        sink.append(entry.value)?;
    }
    Ok(())
}

/// What stands before the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    deleted: bool,
    own: usize,
    key: usize,
    namespace: usize,
    map_key: usize,
    value: usize,
}

impl Lengths {
    /// Reads the lengths at the front of `bytes`. `None` if there are none, or they are more than fits memory.
    #[inline]
    pub(super) fn read(bytes: &[u8], shape: EntryShape) -> Option<Self> {
        let mut rest = Bytes::new(bytes);
        let deleted = match rest.byte()? {
            LIVE => false,
            DELETED => true,
            _ => return None,
        };
        let key = rest.len()?;
        let namespace = rest.len()?;
        let map_key = if shape.map_keys { rest.len()? } else { 0 };
        let value = match (deleted, shape.width) {
            (true, _) => 0,
            (false, 0) => rest.len()?,
            (false, width) => width as usize,
        };
        Some(Self {
            deleted,
            own: rest.position(),
            key,
            namespace,
            map_key,
            value,
        })
    }

    /// The bytes of the whole entry; saturated, so that nonsense is longer than any file.
    #[inline]
    pub(super) fn total(&self) -> usize {
        self.own
            .saturating_add(self.key)
            .saturating_add(self.namespace)
            .saturating_add(self.map_key)
            .saturating_add(self.value)
    }

    /// The entry that begins at the front of `bytes`. `None` if it is longer than them.
    #[inline]
    pub(super) fn entry<'a>(&self, bytes: &'a [u8]) -> Option<FileEntry<'a>> {
        let (_, rest) = bytes.split_at_checked(self.own)?;
        let (key, rest) = rest.split_at_checked(self.key)?;
        let (namespace, rest) = rest.split_at_checked(self.namespace)?;
        let (map_key, rest) = rest.split_at_checked(self.map_key)?;
        let (value, _) = rest.split_at_checked(self.value)?;
        let entry = Entry {
            key,
            namespace,
            map_key,
            value,
        };
        Some(FileEntry {
            deleted: self.deleted,
            entry,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [EntryShape; 3] = [
        EntryShape {
            width: 0,
            map_keys: false,
        },
        EntryShape {
            width: 300,
            map_keys: false,
        },
        EntryShape {
            width: 0,
            map_keys: true,
        },
    ];

    fn written(shape: EntryShape, entry: &FileEntry<'_>) -> Vec<u8> {
        let mut sink = Sink::new(Vec::new());
        write_entry(&mut sink, shape, entry).unwrap();
        sink.finish().unwrap().0
    }

    fn sample(shape: EntryShape, deleted: bool) -> FileEntry<'static> {
        let entry = Entry {
            key: b"key",
            namespace: b"",
            map_key: if shape.map_keys { b"mk" } else { b"" },
            value: if deleted { b"" } else { &[7; 300] },
        };
        FileEntry { deleted, entry }
    }

    #[test]
    fn entries_of_every_shape_read_back_live_and_deleted() {
        for shape in SHAPES {
            for deleted in [false, true] {
                let entry = sample(shape, deleted);
                let bytes = written(shape, &entry);
                let lengths = Lengths::read(&bytes, shape).unwrap();
                assert_eq!(lengths.total(), bytes.len());
                assert_eq!(lengths.entry(&bytes), Some(entry));
                assert_eq!(lengths.entry(&bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn an_entry_in_parts_has_the_bytes_of_one_at_once() {
        for shape in SHAPES {
            let entry = sample(shape, false);
            let mut sink = Sink::new(Vec::new());
            write_in_parts(&mut sink, shape, false, &entry.entry).unwrap();
            assert_eq!(sink.finish().unwrap().0, written(shape, &entry));
        }
    }

    #[test]
    fn lengths_that_overflow_are_longer_than_any_file() {
        let mut bytes = vec![LIVE];
        put_varint(&mut bytes, u64::MAX);
        put_varint(&mut bytes, u64::MAX);
        put_varint(&mut bytes, 5);
        let lengths = Lengths::read(&bytes, SHAPES[0]).unwrap();
        assert_eq!(lengths.total(), usize::MAX);
        assert_eq!(lengths.entry(&bytes), None);
        assert_eq!(Lengths::read(&[3, 0, 0, 0], SHAPES[0]), None);
        assert_eq!(Lengths::read(&[LIVE, 0x80], SHAPES[0]), None);
    }
}
