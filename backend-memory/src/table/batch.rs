//! The hot path: the slots of a batch of keys.
//!
//! Where the table is larger than the cache, each key costs up to two cache misses, one in the index and one for the entry. They are
//! overlapped: key `i + FAR` has its index line fetched, key `i + NEAR` is looked up in the index and has its entry fetched, and key `i` is
//! compared and gets its slot. (Group prefetching as in Chen, Ailamaki, Gibbons and Mowry, "Improving hash join performance
//! through prefetching", 2004.) A small table is probed directly.
#![expect(
    unsafe_code,
    reason = "slots are raw by contract, and a copy of each key would cost more than the comparison"
)]

use super::class::class_of;
use super::entry::{EPOCH, FIXED_HEAD, FLAGS, KEY_LEN, Layout, PRESENT, REVIVED, STORED, same};
use super::group::GroupTable;
use super::index::tag;
use super::page::Location;
use super::parts::Parts;
use millpond_backend_api::{KeyBatch, KeyGroup, Slot};

/// Below this size a table is taken to be in the cache, and nothing is prefetched.
pub const SMALL_TABLE_BYTES: usize = 1 << 20;

/// How many keys ahead the entry is fetched.
const NEAR: usize = 12;
/// How many keys ahead the index line is fetched; at most `NEAR` more than that, see `candidates`.
const FAR: usize = 24;
/// A line of the cache.
pub(super) const LINE: usize = 64;
/// Places for the words found ahead; a power of two above `NEAR`.
const AHEAD: usize = 16;

/// What [`fixed_slots`] does with a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Adds an absent entry.
    Insert,
    /// Leaves [`Slot::NULL`].
    Skip,
}

/// A key of a batch that has no value in its table.
#[derive(Debug)]
pub enum NoValue<'a> {
    /// It was not there, and now has an entry, with this place for its value.
    Inserted(&'a mut [u8]),
    /// It was noted as deleted.
    Deleted,
}

/// The keys of a batch, and how one is compared with an entry's.
trait Keys {
    fn key(&self, index: usize) -> &[u8];

    /// Whether the fixed-width entry at `entry`, with values of `width` bytes, has `key` and no namespace.
    ///
    /// # Safety
    /// From `entry` on, the bytes of an entry with that key are readable.
    unsafe fn is(key: &[u8], entry: *const u8, width: usize) -> bool;
}

/// The lengths of key and namespace as one number, without the flags.
///
/// # Safety
/// From `entry` on, 16 bytes are readable.
#[inline(always)]
unsafe fn lengths(entry: *const u8) -> u64 {
    // SAFETY: the lengths are the second 8 bytes.
    let bytes = unsafe { entry.wrapping_add(KEY_LEN).cast::<[u8; 8]>().read() };
    u64::from_le_bytes(bytes) & 0x00ff_ffff_ffff_ffff
}

/// Keys of 8 bytes, by far the commonest: one comparison.
struct EightByteKeys<'a>(&'a [[u8; 8]]);

impl Keys for EightByteKeys<'_> {
    #[inline(always)]
    fn key(&self, index: usize) -> &[u8] {
        self.0.get(index).unwrap_or(&[0; 8])
    }

    #[inline(always)]
    unsafe fn is(key: &[u8], entry: *const u8, width: usize) -> bool {
        // SAFETY: as the caller promises.
        let found_lengths = unsafe { lengths(entry) };
        let at = entry.wrapping_add(FIXED_HEAD + width);
        // SAFETY: as the caller promises; whatever these bytes are, they are readable.
        let found = unsafe { at.cast::<[u8; 8]>().read() };
        found_lengths == 8 && key.first_chunk() == Some(&found)
    }
}

/// Keys of any length.
struct AnyKeys<'a>(&'a KeyBatch<'a>);

impl Keys for AnyKeys<'_> {
    #[inline(always)]
    fn key(&self, index: usize) -> &[u8] {
        self.0.key(index)
    }

    #[inline(always)]
    unsafe fn is(key: &[u8], entry: *const u8, width: usize) -> bool {
        // SAFETY: as the caller promises.
        if unsafe { lengths(entry) } != key.len() as u64 {
            return false;
        }
        // SAFETY: as the caller promises.
        let found = unsafe { std::slice::from_raw_parts(entry.wrapping_add(FIXED_HEAD + width), key.len()) };
        same(found, key)
    }
}

#[inline(always)]
pub(super) fn fetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is allowed and has no effect that a program can see; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Fetches the line at `address` to be written.
#[inline(always)]
pub(super) fn fetch_to_write<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `fetch`.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Which tables a batch is for, and how it is looked up.
#[derive(Clone, Copy, Debug)]
pub struct FixedBatch {
    /// The group of the first table.
    pub first: KeyGroup,
    /// The width of the tables' values, above 0.
    pub width: u32,
    /// What is done with keys that are not there.
    pub missing: Missing,
    /// Whether the tables are taken to be in the cache, see [`SMALL_TABLE_BYTES`].
    pub small: bool,
}

/// Fills `slots` with the place of each key's value in `tables`, which have the layout [`Layout::Fixed`] of the batch's width, and whose
/// groups are all that `keys` has; the columns of `keys` and `slots` have one length. With [`Missing::Insert`], `no_value` is told index of the
/// table and parts of each key without a value, once a key, and may fill one in from elsewhere where it says so by returning
/// `true`. Returns how many are without a value then.
pub fn fixed_slots(
    tables: &mut [GroupTable],
    how: FixedBatch,
    keys: &KeyBatch<'_>,
    slots: &mut [Slot],
    no_value: impl FnMut(usize, &Parts<'_>, NoValue<'_>) -> bool,
) -> u64 {
    let mut batch = Batch {
        groups: tables,
        columns: Columns::new(how.first, keys),
        width: how.width as usize,
        missing: how.missing,
        no_value,
        absent: 0,
    };
    let (eight, rest) = keys.bytes.as_slice().as_chunks::<8>();
    if keys.width == 8 && rest.is_empty() && eight.len() == keys.len() {
        batch.run(&EightByteKeys(eight), slots, how.small);
    } else {
        batch.run(&AnyKeys(keys), slots, how.small);
    }
    batch.absent
}

/// Hash and group of each key.
#[derive(Clone, Copy)]
struct Columns<'a> {
    first: usize,
    hashes: &'a [u64],
    numbers: &'a [KeyGroup],
}

impl<'a> Columns<'a> {
    fn new(first: KeyGroup, keys: &KeyBatch<'a>) -> Self {
        Self {
            first: first.index(),
            hashes: keys.hashes.as_slice(),
            numbers: keys.groups.as_slice(),
        }
    }

    /// The index of the group of key `index`, and the key's hash.
    #[inline(always)]
    fn at(&self, index: usize) -> Option<(usize, u64)> {
        let number = self.numbers.get(index)?.index().wrapping_sub(self.first);
        Some((number, *self.hashes.get(index)?))
    }

    #[inline(always)]
    fn find<'g>(&self, groups: &'g [GroupTable], index: usize) -> Option<(&'g GroupTable, u64)> {
        let (number, hash) = self.at(index)?;
        Some((groups.get(number)?, hash))
    }
}

/// Fetches the line of the index where probing for `hash` starts.
#[inline(always)]
fn fetch_index(group: &GroupTable, hash: u64) {
    fetch(group.index.words.as_ptr().wrapping_add(group.index.home(hash)));
}

/// Finds the first word with the tag of `hash` near its home, fetches the first `len` bytes of the entry that it leads to, and what keeping the entry
/// for a snapshot would need, and returns the word, or 0.
#[inline(always)]
fn fetch_entry(group: &GroupTable, hash: u64, len: usize) -> u64 {
    let home = group.index.home(hash);
    for step in 0..8 {
        let at = (home + step) & group.index.mask();
        let word = group.index.words.get(at).copied().unwrap_or(0);
        if word == 0 {
            return 0;
        }
        if tag(word) == tag(hash) {
            let location = Location::from_word(word);
            if let Some(page) = group.arena.pages.get(location.page()) {
                // Pages are aligned to lines.
                let first = location.offset();
                for line in (first - first % LINE..first + len).step_by(LINE) {
                    fetch(page.address(line));
                }
                if page.epoch != group.arena.epoch {
                    group.arena.fetch_kept(location.page());
                }
            }
            return word;
        }
    }
    0
}

struct Batch<'a, F> {
    groups: &'a mut [GroupTable],
    columns: Columns<'a>,
    width: usize,
    missing: Missing,
    no_value: F,
    absent: u64,
}

impl<F: FnMut(usize, &Parts<'_>, NoValue<'_>) -> bool> Batch<'_, F> {
    #[inline(always)]
    fn run<K: Keys>(&mut self, keys: &K, slots: &mut [Slot], small: bool) {
        let len = slots.len();
        if small {
            for (index, slot) in slots.iter_mut().enumerate() {
                *slot = self.slot(keys, index, 0);
            }
            return;
        }
        // The word of the index that has the tag of a key that is up to `NEAR` ahead; locations in it stay good, since nothing is removed.
        let mut candidates = [0_u64; AHEAD];
        for index in 0..len.min(FAR) {
            self.fetch_index(index);
        }
        for index in 0..len.min(NEAR) {
            if let Some(candidate) = candidates.get_mut(index % AHEAD) {
                *candidate = self.fetch_entry(keys, index);
            }
        }
        for (index, slot) in slots.iter_mut().enumerate() {
            if index + FAR < len {
                self.fetch_index(index + FAR);
            }
            if index + NEAR < len
                && let Some(candidate) = candidates.get_mut((index + NEAR) % AHEAD)
            {
                *candidate = self.fetch_entry(keys, index + NEAR);
            }
            let candidate = candidates.get(index % AHEAD).copied().unwrap_or(0);
            *slot = self.slot(keys, index, candidate);
        }
    }

    #[inline(always)]
    fn fetch_index(&self, index: usize) {
        if let Some((group, hash)) = self.columns.find(self.groups, index) {
            fetch_index(group, hash);
        }
    }

    #[inline(always)]
    fn fetch_entry<K: Keys>(&self, keys: &K, index: usize) -> u64 {
        match self.columns.find(self.groups, index) {
            Some((group, hash)) => fetch_entry(group, hash, FIXED_HEAD + self.width + keys.key(index).len()),
            None => 0,
        }
    }

    /// The slot of key `index`. `candidate` is a word of its group's index, or 0.
    #[inline(always)]
    fn slot<K: Keys>(&mut self, keys: &K, index: usize, candidate: u64) -> Slot {
        let Some((number, hash)) = self.columns.at(index) else {
            return Slot::NULL;
        };
        let Some(group) = self.groups.get_mut(number) else {
            return Slot::NULL;
        };
        let (key, width) = (keys.key(index), self.width);
        if candidate != 0
            && let Some(found) = slot_if::<K>(group, Location::from_word(candidate), key, width)
        {
            return self.found(number, hash, key, found);
        }
        let mut at = group.index.home(hash);
        while let Some(word) = group.index.words.get(at).copied()
            && word != 0
        {
            if tag(word) == tag(hash)
                && let Some(found) = slot_if::<K>(group, Location::from_word(word), key, width)
            {
                return self.found(number, hash, key, found);
            }
            at = (at + 1) & group.index.mask();
        }
        if self.missing == Missing::Skip {
            return Slot::NULL;
        }
        self.insert(number, hash, key)
    }

    #[inline(always)]
    fn found(&mut self, number: usize, hash: u64, key: &[u8], found: FoundSlot) -> Slot {
        // A deletion that is found counts as a cell from now on; an absent entry of this batch does already.
        if found.flags & (PRESENT | STORED | REVIVED) == STORED && self.missing == Missing::Insert {
            self.revive(number, hash, key, &found);
        }
        found.slot
    }

    #[cold]
    #[inline(never)]
    fn revive(&mut self, number: usize, hash: u64, key: &[u8], found: &FoundSlot) {
        // SAFETY: the entry was found just now and nothing was changed since.
        unsafe { found.flags_at.write(found.flags | REVIVED) };
        self.absent += 1;
        (self.no_value)(number, &parts_of(hash, key), NoValue::Deleted);
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, number: usize, hash: u64, key: &[u8]) -> Slot {
        let Some(group) = self.groups.get_mut(number) else {
            return Slot::NULL;
        };
        let parts = parts_of(hash, key);
        let layout = Layout::Fixed(super::len32(self.width));
        let location = group.insert(layout, &parts, 0);
        // The entry is new: its place is nobody else's already, and what was just written is not read back.
        let Some(page) = group.arena.pages.get_mut(location.page()) else {
            return Slot::NULL;
        };
        let value = page.place_mut(location.offset() + FIXED_HEAD, self.width);
        if (self.no_value)(number, &parts, NoValue::Inserted(value)) {
            if let [flags] = page.place_mut(location.offset() + FLAGS, 1) {
                *flags = PRESENT | STORED;
            }
        } else {
            self.absent += 1;
        }
        match page.place(location.offset(), FIXED_HEAD + self.width) {
            // SAFETY: as in `slot_if`.
            Some(entry) => unsafe { Slot::new(entry.wrapping_add(FIXED_HEAD)) },
            None => Slot::NULL,
        }
    }
}

fn parts_of(hash: u64, key: &[u8]) -> Parts<'_> {
    Parts {
        hash,
        key,
        namespace: &[],
        map_key: &[],
        head: false,
    }
}

/// The slot of an entry, and the flags that the entry has.
struct FoundSlot {
    slot: Slot,
    flags: u8,
    flags_at: *mut u8,
}

/// The slot of the entry at a location, if it has this key; no snapshot looks at its place then.
#[inline(always)]
fn slot_if<K: Keys>(
    group: &mut GroupTable,
    location: Location,
    key: &[u8],
    width: usize,
) -> Option<FoundSlot> {
    let len = FIXED_HEAD + width + key.len();
    let page = group.arena.pages.get(location.page())?;
    let mut entry = page.place(location.offset(), len)?;
    // SAFETY: the bytes of an entry with this key are in use on the page.
    if !unsafe { K::is(key, entry, width) } {
        return None;
    }
    let epoch = group.arena.epoch;
    // SAFETY: the header's bytes are in use on the page.
    let changed = unsafe { entry.wrapping_add(EPOCH).cast::<[u8; 4]>().read() };
    let is_old = changed != epoch.to_le_bytes();
    // Of a page that is changed in place, entries of the current epoch are kept already.
    if is_old && page.epoch != epoch {
        group.arena.own(location, class_of(len));
        let page = group.arena.pages.get(location.page())?;
        entry = page.place(location.offset(), len)?;
    }
    let flags_at = entry.wrapping_add(FLAGS);
    // SAFETY: the header's bytes are in use on the page, and `group` is borrowed for writing, so there are no references to them.
    let mut flags = unsafe { flags_at.read() };
    if is_old {
        // A snapshot was taken since the last change, and may have it.
        flags |= STORED;
        // SAFETY: as above, and what a snapshot needs of the entry is kept.
        unsafe {
            entry
                .wrapping_add(EPOCH)
                .cast::<[u8; 4]>()
                .write(epoch.to_le_bytes())
        };
        // SAFETY: as above.
        unsafe { flags_at.write(flags) };
    }
    // SAFETY: flags at 15 and value from 16 on are in use on the page, which is not shared, or from which snapshots read other places only. They
    // stay where they are and nobody else accesses them until the batch ends: the state refuses all other calls meanwhile, and entries do not
    // move within the call. Kept slots are no longer used once a snapshot was taken.
    let slot = unsafe { Slot::new(entry.wrapping_add(FIXED_HEAD)) };
    Some(FoundSlot {
        slot,
        flags,
        flags_at,
    })
}

/// Whether a slot that [`fixed_slots`] has just given out has a value. The caller has changed nothing since.
pub(crate) fn slot_has_value(slot: Slot) -> bool {
    // SAFETY: the slot's entry is where it was, and is readable.
    unsafe { slot.is_present() }
}

/// Fetches what the next look-ups of `keys`, without namespace, will need, in tables of any layout. Keys of other groups are left out.
pub fn hint_cells(groups: &[GroupTable], first: KeyGroup, keys: &KeyBatch<'_>) {
    /// Few enough that what was fetched first is still there.
    const STEP: usize = 32;
    let columns = Columns::new(first, keys);
    for from in (0..keys.len()).step_by(STEP) {
        let step = from..(from + STEP).min(keys.len());
        for index in step.clone() {
            if let Some((group, hash)) = columns.find(groups, index) {
                fetch_index(group, hash);
            }
        }
        for index in step {
            if let Some((group, hash)) = columns.find(groups, index) {
                fetch_entry(group, hash, 1);
            }
        }
    }
}
