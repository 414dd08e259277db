//! The layout of entries in a page.
//!
//! ```text
//!  0  hash     low 32 bits of the cell's hash
//!  4  epoch    how many snapshots had been taken when the entry was last changed
//!  8  key      length of the key
//! 12  ns       length of the namespace (24 bits)
//! 15  flags    bit 0 present (as in `Slot`), bit 1 dead, bit 2 head of a map, bit 3 stored, bit 4 revived, bit 5 suffix
//!
//! fixed width          varying width         linked (entries of maps)
//! 16  value            16  length of value   16  as varying width
//!     key              20  capacity          32  location of the previous entry of the map
//!     namespace        24  length of map key 40  location of the next one
//!                      28  (0)               48  key, namespace, map key, value
//!                      32  key, namespace, map key, value
//! ```
//!
//! All numbers are little-endian, entries begin at multiples of 8 and have the size of a [class](super::class). So the flags of a
//! fixed-width value are right in front of it, the value is aligned to 8, and pages can be walked without the index.

use super::class::class_of;
use super::page::Location;
use super::parts::{Parts, cell_hash};
use super::segments::Segments;
use millpond_backend_api::{Entry, key_hash};

pub(super) const EPOCH: usize = 4;
pub(super) const KEY_LEN: usize = 8;
const NAMESPACE_LEN: usize = 12;
pub(super) const FLAGS: usize = 15;
pub(super) const FIXED_HEAD: usize = 16;
const VALUE_LEN: usize = 16;
const VALUE_CAPACITY: usize = 20;
const MAP_KEY_LEN: usize = 24;
const VARYING_HEAD: usize = 32;
const PREVIOUS: usize = 32;
const NEXT: usize = 40;
pub(super) const LINKED_HEAD: usize = 48;

/// The entry has a value.
pub(super) const PRESENT: u8 = 1;
/// The place is free.
pub(super) const DEAD: u8 = 2;
/// The entry leads the list of a map's entries and is none itself.
pub(super) const HEAD: u8 = 4;
/// Something below the table, a snapshot's file, may have an entry of this address: without a value it must be remembered as deleted.
pub(super) const STORED: u8 = 8;
/// The entry had been deleted, and its slot was given out since: it counts as a cell, although it has no value yet.
pub(super) const REVIVED: u8 = 16;
/// The value is what was appended to a list that lies below, if anything of it does: [`Segments`].
pub(super) const SUFFIX: u8 = 32;

/// Which of the three layouts the entries of a table have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every value has this many bytes.
    Fixed(u32),
    /// Each value has a length and a capacity of its own.
    Varying,
    /// As `Varying`, with the entries of one map in a list.
    Linked,
}

impl Layout {
    /// The layout's fixed width, 0 if it has none.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Fixed(width) => width as usize,
            Self::Varying | Self::Linked => 0,
        }
    }

    const fn head(self) -> usize {
        match self {
            Self::Fixed(_) => FIXED_HEAD,
            Self::Varying => VARYING_HEAD,
            Self::Linked => LINKED_HEAD,
        }
    }

    /// The size of an entry with these parts and room for `capacity` value bytes.
    pub(super) fn entry_bytes(self, parts: &Parts<'_>, capacity: usize) -> usize {
        let value = match self {
            Self::Fixed(width) => width as usize,
            Self::Varying | Self::Linked => capacity,
        };
        class_of(self.head() + parts.key.len() + parts.namespace.len() + parts.map_key.len() + value)
    }

    /// Writes an entry without value bytes at the start of `to`, an entry's place of `size` bytes.
    pub(super) fn write(self, to: &mut [u8], size: usize, parts: &Parts<'_>, epoch: u32, flags: u8) {
        let Some(to) = to.get_mut(..size) else { return };
        put_u32(to, 0, super::low32(parts.hash));
        put_u32(to, EPOCH, epoch);
        put_u32(to, KEY_LEN, super::len32(parts.key.len()));
        put_u32(
            to,
            NAMESPACE_LEN,
            super::len32(parts.namespace.len()) | u32::from(flags) << 24,
        );
        let mut at = self.head();
        if let Self::Fixed(width) = self {
            let width = width as usize;
            fill(to, at, width);
            at += width;
        } else {
            let keys = parts.key.len() + parts.namespace.len() + parts.map_key.len();
            put_u32(to, VALUE_LEN, 0);
            put_u32(to, VALUE_CAPACITY, super::len32(size - at - keys));
            put_u32(to, MAP_KEY_LEN, super::len32(parts.map_key.len()));
            put_u32(to, MAP_KEY_LEN + 4, 0);
            if matches!(self, Self::Linked) {
                fill(to, PREVIOUS, 16);
            }
        }
        for part in [parts.key, parts.namespace, parts.map_key] {
            if let Some(place) = to.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
            at += part.len();
        }
    }
}

/// The header of an entry of a fixed width without namespace.
#[inline(always)]
pub(super) fn fixed_head(hash: u64, epoch: u32, key_len: usize, flags: u8) -> [u8; FIXED_HEAD] {
    let lengths = u64::from(super::len32(key_len)) | u64::from(flags) << (8 * (FLAGS - KEY_LEN));
    let head = u64::from(super::low32(hash)) | u64::from(epoch) << (8 * EPOCH);
    (u128::from(head) | u128::from(lengths) << (8 * KEY_LEN)).to_le_bytes()
}

fn fill(to: &mut [u8], at: usize, len: usize) {
    if let Some(place) = to.get_mut(at..at + len) {
        place.fill(0);
    }
}

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |number| u32::from_le_bytes(*number))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |number| u64::from_le_bytes(*number))
}

#[inline]
pub(super) fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

fn put_u64(bytes: &mut [u8], at: usize, number: u64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Whether two slices are equal: without a call for the lengths that keys usually have.
#[inline]
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    // Two words that overlap cover every length from one of them to two.
    if let (Some(first), Some(last)) = (left.first_chunk::<8>(), left.last_chunk::<8>()) {
        let ends = (Some(first), Some(last)) == (right.first_chunk(), right.last_chunk());
        return ends && (left.len() <= 16 || left == right);
    }
    if let (Some(first), Some(last)) = (left.first_chunk::<4>(), left.last_chunk::<4>()) {
        return (Some(first), Some(last)) == (right.first_chunk(), right.last_chunk());
    }
    left.iter().zip(right).all(|(left, right)| left == right)
}

/// An entry in its page: the bytes from its start on, which may go beyond its end.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// The entry at the start of `bytes`.
    #[inline]
    #[must_use]
    pub fn new(layout: Layout, bytes: &'a [u8]) -> Self {
        Self { layout, bytes }
    }

    #[inline]
    fn part(&self, from: usize, len: usize) -> &'a [u8] {
        self.bytes.get(from..from + len).unwrap_or_default()
    }

    #[inline]
    fn u32(&self, at: usize) -> usize {
        u32_at(self.bytes, at) as usize
    }

    /// The low half of the entry's hash.
    #[inline]
    #[must_use]
    pub fn hash32(&self) -> u32 {
        u32_at(self.bytes, 0)
    }

    /// How many snapshots had been taken when the entry was last changed.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        u32_at(self.bytes, EPOCH)
    }

    #[inline]
    pub(super) fn flags(&self) -> u8 {
        self.bytes.get(FLAGS).copied().unwrap_or(DEAD)
    }

    /// Whether the entry has a value; one that has none was deleted, or waits for its first value in a batch.
    #[inline]
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.flags() & PRESENT != 0
    }

    /// Whether this says that an entry was deleted which snapshots may have.
    #[inline]
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.flags() & (PRESENT | DEAD | HEAD | STORED) == STORED
    }

    /// Whether this says that an entry is nowhere, neither in the table nor below; of a fixed width, it waits for its first value in a batch.
    #[inline]
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.flags() & (PRESENT | DEAD | HEAD | STORED) == 0
    }

    /// Whether this is an entry of the state: not a freed place, not the head of a map, and with a value.
    #[inline]
    #[must_use]
    pub fn is_cell(&self) -> bool {
        self.flags() & (PRESENT | DEAD | HEAD) == PRESENT
    }

    /// What was appended to a list whose beginning lies below, if the entry is that and not a whole value.
    #[inline]
    #[must_use]
    pub fn suffix(&self) -> Option<Segments<'a>> {
        (self.flags() & (PRESENT | DEAD | SUFFIX) == PRESENT | SUFFIX).then(|| Segments::new(self.value()))
    }

    #[inline]
    fn key_len(&self) -> usize {
        self.u32(KEY_LEN)
    }

    #[inline]
    fn namespace_len(&self) -> usize {
        self.u32(NAMESPACE_LEN) & 0x00ff_ffff
    }

    #[inline]
    fn map_key_len(&self) -> usize {
        match self.layout {
            Layout::Fixed(_) => 0,
            Layout::Varying | Layout::Linked => self.u32(MAP_KEY_LEN),
        }
    }

    #[inline]
    fn keys_at(&self) -> usize {
        self.layout.head() + self.layout.width()
    }

    #[inline]
    fn value_at(&self) -> usize {
        match self.layout {
            Layout::Fixed(_) => FIXED_HEAD,
            Layout::Varying | Layout::Linked => {
                self.layout.head() + self.key_len() + self.namespace_len() + self.map_key_len()
            }
        }
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.part(self.keys_at(), self.key_len())
    }

    /// The namespace.
    #[inline]
    #[must_use]
    pub fn namespace(&self) -> &'a [u8] {
        self.part(self.keys_at() + self.key_len(), self.namespace_len())
    }

    /// The map key, empty for values and lists.
    #[inline]
    #[must_use]
    pub fn map_key(&self) -> &'a [u8] {
        self.part(
            self.keys_at() + self.key_len() + self.namespace_len(),
            self.map_key_len(),
        )
    }

    /// The bytes of the value.
    #[inline]
    #[must_use]
    pub fn value_len(&self) -> usize {
        match self.layout {
            Layout::Fixed(width) => width as usize,
            Layout::Varying | Layout::Linked => self.u32(VALUE_LEN),
        }
    }

    /// The value bytes that there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self.layout {
            Layout::Fixed(width) => width as usize,
            Layout::Varying | Layout::Linked => self.u32(VALUE_CAPACITY),
        }
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.part(self.value_at(), self.value_len())
    }

    /// The entry as the boundary knows it.
    #[inline]
    #[must_use]
    pub fn entry(&self) -> Entry<'a> {
        Entry {
            key: self.key(),
            namespace: self.namespace(),
            map_key: self.map_key(),
            value: self.value(),
        }
    }

    /// The size of the entry's place.
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        let keys = self.key_len() + self.namespace_len() + self.map_key_len();
        class_of(self.layout.head() + keys + self.capacity())
    }

    /// The previous entry of the map, its head for the first.
    #[must_use]
    pub fn previous(&self) -> Location {
        Location::from_word(u64_at(self.bytes, PREVIOUS))
    }

    /// The next entry of the map; of a head, the first.
    #[must_use]
    pub fn next(&self) -> Location {
        Location::from_word(u64_at(self.bytes, NEXT))
    }

    /// The entry's parts with their hash, which is computed anew.
    #[must_use]
    pub fn parts(&self) -> Parts<'a> {
        let (key, namespace, map_key) = (self.key(), self.namespace(), self.map_key());
        match self.layout {
            Layout::Linked if self.flags() & HEAD == 0 => Parts::of_map_entry(&self.entry()),
            _ => Parts {
                hash: cell_hash(key_hash(key), namespace),
                key,
                namespace,
                map_key,
                head: self.flags() & HEAD != 0,
            },
        }
    }

    /// Whether the entry is the one that `parts` addresses.
    #[inline]
    #[must_use]
    pub fn is(&self, parts: &Parts<'_>) -> bool {
        self.hash32() == super::low32(parts.hash)
            && self.key_len() == parts.key.len()
            && self.namespace_len() == parts.namespace.len()
            && self.map_key_len() == parts.map_key.len()
            && (self.flags() & HEAD != 0) == parts.head
            && same(self.key(), parts.key)
            && same(self.namespace(), parts.namespace)
            && same(self.map_key(), parts.map_key)
    }
}

/// Changes to an entry in its page.
#[derive(Debug)]
pub(super) struct EntryMut<'a> {
    layout: Layout,
    bytes: &'a mut [u8],
}

impl<'a> EntryMut<'a> {
    pub(super) fn new(layout: Layout, bytes: &'a mut [u8]) -> Self {
        Self { layout, bytes }
    }

    pub(super) fn set_flags(&mut self, flags: u8) {
        if let Some(place) = self.bytes.get_mut(FLAGS) {
            *place = flags;
        }
    }

    pub(super) fn set_epoch(&mut self, epoch: u32) {
        put_u32(self.bytes, EPOCH, epoch);
    }

    /// Writes `value` at `at` of the value, which then ends with it. It fits the capacity.
    pub(super) fn set_value(&mut self, at: usize, value: &[u8]) {
        let view = EntryView::new(self.layout, self.bytes);
        let from = view.value_at() + at;
        if !matches!(self.layout, Layout::Fixed(_)) {
            put_u32(self.bytes, VALUE_LEN, super::len32(at + value.len()));
        }
        if let Some(place) = self.bytes.get_mut(from..from + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// Writes a number at `at` of the value.
    pub(super) fn set_value_u32(&mut self, at: usize, number: u32) {
        let from = EntryView::new(self.layout, self.bytes).value_at() + at;
        put_u32(self.bytes, from, number);
    }

    pub(super) fn set_previous(&mut self, location: Location) {
        put_u64(self.bytes, PREVIOUS, location.number());
    }

    pub(super) fn set_next(&mut self, location: Location) {
        put_u64(self.bytes, NEXT, location.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_the_same_exactly_if_all_of_their_bytes_are() {
        for len in 0..40 {
            let left: Vec<u8> = (0..len).collect();
            assert!(same(&left, &left.clone()), "{len}");
            for at in 0..left.len() {
                let mut right = left.clone();
                right[at] ^= 1;
                assert!(!same(&left, &right), "{len} {at}");
                assert!(!same(&left, &left[..at]), "{len} {at}");
            }
        }
    }
}
