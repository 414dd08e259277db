//! A chunk: some consecutive entries of a sorted sequence.

use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, Cell, Entry};
use std::cmp::Ordering;

/// The lengths of key, namespace, map key and value.
const HEADER_BYTES: usize = 16;
/// The largest entry: positions in a chunk are 32 bits.
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// What addresses an entry, in the order by which entries are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub(super) key: &'a [u8],
    pub(super) namespace: &'a [u8],
    pub(super) map_key: &'a [u8],
}

/// The order of bytes; the first eight are usually all that is looked at.
#[inline]
fn order(left: &[u8], right: &[u8]) -> Ordering {
    if let (Some(first), Some(other)) = (left.first_chunk(), right.first_chunk()) {
        let (first, other) = (u64::from_be_bytes(*first), u64::from_be_bytes(*other));
        if first != other {
            return first.cmp(&other);
        }
    } else if left.is_empty() && right.is_empty() {
        return Ordering::Equal;
    }
    left.cmp(right)
}

impl PartialOrd for Address<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address<'_> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        order(self.key, other.key)
            .then_with(|| order(self.namespace, other.namespace))
            .then_with(|| order(self.map_key, other.map_key))
    }
}

impl<'a> Address<'a> {
    pub(super) fn of_cell(cell: &Cell<'a>) -> Self {
        Self {
            key: cell.key.as_slice(),
            namespace: cell.namespace.as_slice(),
            map_key: cell.map_key.as_slice(),
        }
    }

    pub(super) fn of_entry(entry: &Entry<'a>) -> Self {
        Self {
            key: entry.key,
            namespace: entry.namespace,
            map_key: entry.map_key,
        }
    }

    pub(super) fn check(&self, value_len: usize) -> BackendResult<()> {
        if self.entry_bytes(value_len) > ENTRY_BYTES_MAX {
            return Err(BackendError::new(
                BackendErrorKind::Misuse,
                format!(
                    "an entry of {} bytes is too large for a sorted map: at most 1 GiB",
                    self.entry_bytes(value_len)
                ),
            ));
        }
        Ok(())
    }

    /// The bytes that an entry takes in a chunk.
    pub(super) fn entry_bytes(&self, value_len: usize) -> usize {
        HEADER_BYTES + self.key.len() + self.namespace.len() + self.map_key.len() + value_len
    }
}

/// Consecutive entries: their bytes in the order in which they came, their positions in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    positions: Vec<u32>,
    /// The bytes of entries that are no longer there.
    dead_bytes: usize,
}

impl Chunk {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The bytes of the entries.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.bytes.len() - self.dead_bytes
    }

    /// The bytes that the chunk takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.capacity() + self.positions.capacity() * 4
    }

    /// Entry `index`, in order.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<Entry<'_>> {
        let position = *self.positions.get(index)? as usize;
        let (header, mut rest) = self.bytes.get(position..)?.split_first_chunk::<HEADER_BYTES>()?;
        let mut parts = [&[][..]; 4];
        for (part, len) in parts.iter_mut().zip(header.as_chunks::<4>().0) {
            (*part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        }
        let [key, namespace, map_key, value] = parts;
        Some(Entry {
            key,
            namespace,
            map_key,
            value,
        })
    }

    /// Entry `index` with its bytes' length in the chunk.
    fn bytes_of(&self, index: usize) -> usize {
        self.entry(index).map_or(0, |entry| {
            Address::of_entry(&entry).entry_bytes(entry.value.len())
        })
    }

    /// Where the entry at `address` is, or would be.
    pub(super) fn search(&self, address: &Address<'_>) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            match self
                .entry(middle)
                .map(|entry| Address::of_entry(&entry).cmp(address))
            {
                Some(Ordering::Less) => from = middle + 1,
                Some(Ordering::Equal) => return Ok(middle),
                Some(Ordering::Greater) | None => to = middle,
            }
        }
        Err(from)
    }

    /// Adds an entry as number `index`.
    pub(super) fn insert(&mut self, index: usize, address: &Address<'_>, value: &[u8]) {
        let position = self.append(address, value);
        self.positions.insert(index.min(self.positions.len()), position);
    }

    fn append(&mut self, address: &Address<'_>, value: &[u8]) -> u32 {
        let position = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let parts = [address.key, address.namespace, address.map_key, value];
        for part in parts {
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.bytes.extend_from_slice(&len.to_le_bytes());
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        position
    }

    /// Sets the value of entry `index`, which is at `address`; returns the length that it had.
    pub(super) fn replace(&mut self, index: usize, address: &Address<'_>, value: &[u8]) -> usize {
        let before = self.entry(index).map_or(0, |entry| entry.value.len());
        if before == value.len() {
            let position = self.positions.get(index).map_or(0, |position| *position as usize);
            let end = position + address.entry_bytes(before);
            if let Some(place) = self.bytes.get_mut(end - before..end) {
                place.copy_from_slice(value);
            }
            return before;
        }
        self.dead_bytes += address.entry_bytes(before);
        let position = self.append(address, value);
        if let Some(place) = self.positions.get_mut(index) {
            *place = position;
        }
        self.compact_if_worth_it();
        before
    }

    /// Removes entry `index`.
    pub(super) fn remove(&mut self, index: usize) {
        if index < self.len() {
            self.dead_bytes += self.bytes_of(index);
            self.positions.remove(index);
            self.compact_if_worth_it();
        }
    }

    fn compact_if_worth_it(&mut self) {
        if self.dead_bytes * 2 > self.bytes.len() {
            *self = self.part(0, self.len());
        }
    }

    /// The entries `from .. to` as a chunk of their own.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let mut part = Self::default();
        part.push_all(self, from, to);
        part
    }

    /// Appends the entries `from .. to` of `other`, which come after all of this chunk's.
    pub(super) fn push_all(&mut self, other: &Self, from: usize, to: usize) {
        for index in from..to {
            if let Some(entry) = other.entry(index) {
                let position = self.append(&Address::of_entry(&entry), entry.value);
                self.positions.push(position);
            }
        }
    }

    /// The entries from `from` on.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = Entry<'_>> {
        (from..self.len()).filter_map(|index| self.entry(index))
    }
}
