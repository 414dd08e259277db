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

use super::entry::{EPOCH, FIXED_HEAD, KEY_LEN, Layout, same};
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
fn fetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is allowed and has no effect that a program can see; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
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
/// groups are all that `keys` has; the columns of `keys` and `slots` have one length. `on_insert` is told index of the table and key of
/// each entry that was added; returns how many.
pub fn fixed_slots(
    tables: &mut [GroupTable],
    how: FixedBatch,
    keys: &KeyBatch<'_>,
    slots: &mut [Slot],
    on_insert: impl FnMut(usize, &[u8]),
) -> u64 {
    let mut batch = Batch {
        groups: tables,
        columns: Columns::new(how.first, keys),
        width: how.width as usize,
        missing: how.missing,
        on_insert,
        inserted: 0,
    };
    let (eight, rest) = keys.bytes.as_slice().as_chunks::<8>();
    if keys.width == 8 && rest.is_empty() && eight.len() == keys.len() {
        batch.run(&EightByteKeys(eight), slots, how.small);
    } else {
        batch.run(&AnyKeys(keys), slots, how.small);
    }
    batch.inserted
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

/// Finds the first word with the tag of `hash` near its home, fetches the entry that it leads to, and returns the word, or 0.
#[inline(always)]
fn fetch_entry(group: &GroupTable, hash: u64) -> u64 {
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
                fetch(page.address(location.offset()));
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
    on_insert: F,
    inserted: u64,
}

impl<F: FnMut(usize, &[u8])> Batch<'_, F> {
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
                *candidate = self.fetch_entry(index);
            }
        }
        for (index, slot) in slots.iter_mut().enumerate() {
            if index + FAR < len {
                self.fetch_index(index + FAR);
            }
            if index + NEAR < len
                && let Some(candidate) = candidates.get_mut((index + NEAR) % AHEAD)
            {
                *candidate = self.fetch_entry(index + NEAR);
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
    fn fetch_entry(&self, index: usize) -> u64 {
        match self.columns.find(self.groups, index) {
            Some((group, hash)) => fetch_entry(group, hash),
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
            && let Some(slot) = slot_if::<K>(group, Location::from_word(candidate), key, width)
        {
            return slot;
        }
        let mut at = group.index.home(hash);
        while let Some(word) = group.index.words.get(at).copied()
            && word != 0
        {
            if tag(word) == tag(hash)
                && let Some(slot) = slot_if::<K>(group, Location::from_word(word), key, width)
            {
                return slot;
            }
            at = (at + 1) & group.index.mask();
        }
        if self.missing == Missing::Skip {
            return Slot::NULL;
        }
        self.insert::<K>(number, hash, key)
    }

    #[cold]
    #[inline(never)]
    fn insert<K: Keys>(&mut self, number: usize, hash: u64, key: &[u8]) -> Slot {
        let Some(group) = self.groups.get_mut(number) else {
            return Slot::NULL;
        };
        let parts = Parts {
            hash,
            key,
            namespace: &[],
            map_key: &[],
            head: false,
        };
        let layout = Layout::Fixed(super::len32(self.width));
        let location = group.insert(layout, &parts, 0);
        self.inserted += 1;
        (self.on_insert)(number, key);
        slot_if::<K>(group, location, key, self.width).unwrap_or(Slot::NULL)
    }
}

/// The slot of the entry at a location, if it has this key; its page is then shared with no snapshot.
#[inline(always)]
fn slot_if<K: Keys>(group: &mut GroupTable, location: Location, key: &[u8], width: usize) -> Option<Slot> {
    let len = FIXED_HEAD + width + key.len();
    let page = group.arena.pages.get(location.page())?;
    let mut entry = page.place(location.offset(), len)?;
    // SAFETY: the bytes of an entry with this key are in use on the page.
    if !unsafe { K::is(key, entry, width) } {
        return None;
    }
    let epoch = group.arena.epoch;
    if page.epoch != epoch {
        group.arena.writable(location.page());
        let page = group.arena.pages.get(location.page())?;
        entry = page.place(location.offset(), len)?;
    }
    // SAFETY: the bytes are in use on the page, which is not shared, and `group` is borrowed for writing, so there are no references to them.
    unsafe {
        entry
            .wrapping_add(EPOCH)
            .cast::<[u8; 4]>()
            .write(epoch.to_le_bytes())
    };
    // SAFETY: flags at 15 and value from 16 on are in use on the page, which is not shared. They stay where they are and nobody else accesses
    // them until the batch ends: the state refuses all other calls meanwhile, and entries do not move within the call.
    Some(unsafe { Slot::new(entry.wrapping_add(FIXED_HEAD)) })
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
                fetch_entry(group, hash);
            }
        }
    }
}
