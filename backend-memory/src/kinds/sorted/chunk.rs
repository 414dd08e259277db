//! A chunk: some consecutive entries of a sorted sequence.

use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, Cell, Entry};
use std::cmp::Ordering;

/// The lengths of key, namespace, map key and value, and the mark.
const HEADER_BYTES: usize = 20;
/// The largest entry: positions in a chunk are 32 bits.
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// When an entry was last changed, and whether snapshots may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How many snapshots had been taken, below 2^31.
    pub epoch: u32,
    /// Something below, a snapshot's file, may have an entry of this address.
    pub stored: bool,
}

impl Mark {
    const STORED: u32 = 1 << 31;

    fn to_number(self) -> u32 {
        self.epoch & !Self::STORED | if self.stored { Self::STORED } else { 0 }
    }

    fn from_number(number: u32) -> Self {
        Self {
            epoch: number & !Self::STORED,
            stored: number & Self::STORED != 0,
        }
    }

    /// The mark of the entry once it is changed in `epoch`.
    pub(super) fn changed(self, epoch: u32) -> Self {
        Self {
            epoch,
            stored: self.stored || self.epoch != epoch,
        }
    }
}

/// What addresses an entry, in the order by which entries are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds) struct Address<'a> {
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

    pub(in crate::kinds) fn of_entry(entry: &Entry<'a>) -> Self {
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
    /// No entry was changed in a later epoch.
    newest: u32,
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

    /// The latest epoch in which an entry was changed, or later.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// Entry `index`, in order.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<Entry<'_>> {
        self.marked(index).map(|(entry, _)| entry)
    }

    /// Entry `index`, in order, with its mark.
    #[must_use]
    pub fn marked(&self, index: usize) -> Option<(Entry<'_>, Mark)> {
        let position = *self.positions.get(index)? as usize;
        let (header, mut rest) = self.bytes.get(position..)?.split_first_chunk::<HEADER_BYTES>()?;
        let (lens, mark) = header.split_last_chunk::<4>()?;
        let mut parts = [&[][..]; 4];
        for (part, len) in parts.iter_mut().zip(lens.as_chunks::<4>().0) {
            (*part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        }
        let [key, namespace, map_key, value] = parts;
        let entry = Entry {
            key,
            namespace,
            map_key,
            value,
        };
        Some((entry, Mark::from_number(u32::from_le_bytes(*mark))))
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
    pub(super) fn insert(&mut self, index: usize, address: &Address<'_>, value: &[u8], mark: Mark) {
        let position = self.append(address, value, mark);
        self.positions.insert(index.min(self.positions.len()), position);
    }

    fn append(&mut self, address: &Address<'_>, value: &[u8], mark: Mark) -> u32 {
        let position = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let parts = [address.key, address.namespace, address.map_key, value];
        for part in parts {
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.bytes.extend_from_slice(&len.to_le_bytes());
        }
        self.bytes.extend_from_slice(&mark.to_number().to_le_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.newest = self.newest.max(mark.epoch);
        position
    }

    fn set_mark(&mut self, position: usize, mark: Mark) {
        let place = self.bytes.get_mut(position..position + HEADER_BYTES);
        if let Some(place) = place.and_then(<[u8]>::last_chunk_mut) {
            *place = mark.to_number().to_le_bytes();
        }
        self.newest = self.newest.max(mark.epoch);
    }

    /// Sets the value of entry `index`, which is at `address`, in `epoch`; returns the length that it had.
    pub(super) fn replace(&mut self, index: usize, address: &Address<'_>, value: &[u8], epoch: u32) -> usize {
        let Some((entry, mark)) = self.marked(index) else {
            return 0;
        };
        let (before, mark) = (entry.value.len(), mark.changed(epoch));
        if before == value.len() {
            let position = self.positions.get(index).map_or(0, |position| *position as usize);
            let end = position + address.entry_bytes(before);
            if let Some(place) = self.bytes.get_mut(end - before..end) {
                place.copy_from_slice(value);
            }
            self.set_mark(position, mark);
            return before;
        }
        self.dead_bytes += address.entry_bytes(before);
        let position = self.append(address, value, mark);
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
            if let Some((entry, mark)) = other.marked(index) {
                let position = self.append(&Address::of_entry(&entry), entry.value, mark);
                self.positions.push(position);
            }
        }
    }

    /// The entries with their marks.
    pub(super) fn iter_marked(&self) -> impl Iterator<Item = (Entry<'_>, Mark)> {
        (0..self.len()).filter_map(|index| self.marked(index))
    }

    /// The entries from `from` on.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = Entry<'_>> {
        (from..self.len()).filter_map(|index| self.entry(index))
    }
}
