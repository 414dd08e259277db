//! The hot path: the slots of a batch of keys.
//!
//! Where the table is larger than the cache, each key costs up to two cache misses, one in the index and one for the entry. They are
//! overlapped: key `i + FAR` has its index line fetched, key `i + NEAR` is looked up in the index and has its entry fetched, or, where its line is full and does not
//! have it, the next line, in which key `i + NEXT` is looked up then; and key `i` is compared and gets its slot. (Group prefetching as in Chen, Ailamaki, Gibbons and Mowry, "Improving hash join performance
//! through prefetching", 2004.) A small table is probed directly.
#![expect(
    unsafe_code,
    reason = "slots are raw by contract, and a copy of each key would cost more than the comparison"
)]

mod keys;

use super::class::class_of;
use super::entry::{EPOCH, FIXED_HEAD, FLAGS, Layout, PRESENT, REVIVED, STORED, fixed_head};
use super::fetch::{LINE, fetch};
use super::group::GroupTable;
use super::index::{Index, Probed};
use super::page::Location;
use super::parts::Parts;
use super::words::Line;
use keys::{AnyKeys, EightByteKeys, Keys};
use millpond_backend_api::{KeyBatch, KeyGroup, Slot};

/// Below this size a table is taken to be in the cache, and nothing is prefetched.
pub const SMALL_TABLE_BYTES: usize = 1 << 20;

/// How many keys ahead the entry is fetched.
const NEAR: usize = 12;
/// How many keys ahead the entry is fetched of a key that the first line of the index does not have.
const NEXT: usize = 6;
/// How many keys ahead the index line is fetched.
const FAR: usize = 24;
/// Places for the entries found ahead; a power of two above `NEAR`.
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
        ahead: [std::ptr::null_mut(); AHEAD],
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
    if let Some(line) = group.index.line(hash) {
        fetch(line);
    }
}

/// Fetches the first `len` bytes of the entry that `hash` leads to at once, and what keeping the entry for a snapshot would need, and returns where the entry is, as far
/// as the index tells, if so many bytes are in use there.
#[inline(always)]
fn fetch_entry(group: &GroupTable, line: &Line, hash: u64, len: usize) -> Option<*mut u8> {
    let location = Index::hint(line, hash)?;
    let page = group.arena.pages.get(location.page())?;
    // Pages are aligned to lines.
    let first = location.offset();
    for line in (first - first % LINE..first + len).step_by(LINE) {
        fetch(page.address(line));
    }
    if page.epoch != group.arena.epoch {
        group.arena.fetch_kept(location.page());
    }
    page.place(first, len)
}

struct Batch<'a, F> {
    groups: &'a mut [GroupTable],
    columns: Columns<'a>,
    width: usize,
    missing: Missing,
    no_value: F,
    absent: u64,
    /// Of keys up to `NEAR` ahead, where the entry may be that each has, or null. So many bytes as an entry with the key has are in use there.
    ahead: [*mut u8; AHEAD],
}

impl<F: FnMut(usize, &Parts<'_>, NoValue<'_>) -> bool> Batch<'_, F> {
    #[inline(always)]
    fn run<K: Keys>(&mut self, keys: &K, slots: &mut [Slot], small: bool) {
        let len = slots.len();
        if small {
            return self.run_small(keys, slots);
        }
        for index in 0..len.min(FAR) {
            self.fetch_index(index);
        }
        // Which of the keys up to `NEAR` ahead may be found in the next line of the index, a bit for each.
        let mut further = 0_u32;
        for index in 0..len.min(NEAR) {
            further |= u32::from(self.fetch_entry(keys, index)) << (index % AHEAD);
        }
        for (index, slot) in slots.iter_mut().enumerate() {
            if index + FAR < len {
                self.fetch_index(index + FAR);
            }
            if index + NEAR < len {
                further |= u32::from(self.fetch_entry(keys, index + NEAR)) << ((index + NEAR) % AHEAD);
            }
            if further != 0 {
                let next = 1 << ((index + NEXT) % AHEAD);
                if further & next != 0 {
                    further &= !next;
                    self.fetch_from_next_line(keys, index + NEXT);
                }
            }
            *slot = match self.fetched_slot(keys, index) {
                Some(slot) => slot,
                None => self.look_up_again(keys, index),
            };
        }
    }

    /// The same where everything is in the cache. Apart, so that it takes no registers from the other one.
    #[inline(never)]
    fn run_small<K: Keys>(&mut self, keys: &K, slots: &mut [Slot]) {
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = self.look_up(keys, index);
        }
    }

    #[inline(always)]
    fn fetch_index(&self, index: usize) {
        if let Some((group, hash)) = self.columns.find(self.groups, index) {
            fetch_index(group, hash);
        }
    }

    /// Fetches the entry of key `index`, as far as the first line of the index tells; whether the next one is to be asked, which is fetched then.
    #[inline(always)]
    fn fetch_entry<K: Keys>(&mut self, keys: &K, index: usize) -> bool {
        let (mut entry, mut goes_on) = (None, false);
        if let Some((group, hash)) = self.columns.find(self.groups, index)
            && let Some(line) = group.index.line(hash)
        {
            entry = fetch_entry(group, line, hash, FIXED_HEAD + self.width + keys.key(index).len());
            if entry.is_none()
                && let Some(next) = group.index.next_line(hash)
            {
                fetch(next);
                goes_on = true;
            }
        }
        if let Some(ahead) = self.ahead.get_mut(index % AHEAD) {
            *ahead = entry.unwrap_or_default();
        }
        goes_on
    }

    /// Fetches the entry of a key that is not in the first line that probing comes to.
    #[inline(never)]
    fn fetch_from_next_line<K: Keys>(&mut self, keys: &K, index: usize) {
        let len = FIXED_HEAD + self.width + keys.key(index).len();
        if let Some((group, hash)) = self.columns.find(self.groups, index)
            && let Some(line) = group.index.next_line(hash)
            && let Some(ahead) = self.ahead.get_mut(index % AHEAD)
        {
            *ahead = fetch_entry(group, line, hash, len).unwrap_or_default();
        }
    }

    /// The slot of key `index` if its entry is the one that was fetched, and was changed in this epoch: that lies on no page that a snapshot reads.
    #[inline(always)]
    fn fetched_slot<K: Keys>(&mut self, keys: &K, index: usize) -> Option<Slot> {
        let entry = self
            .ahead
            .get(index % AHEAD)
            .copied()
            .filter(|entry| !entry.is_null())?;
        let (group, _) = self.columns.find(self.groups, index)?;
        // SAFETY: as many bytes are in use there as an entry with the key has; what was fetched is forgotten when a page is replaced.
        let is_it = unsafe { K::is(keys.key(index), entry, self.width) };
        // SAFETY: as above.
        if !is_it || unsafe { epoch_of(entry) } != group.arena.epoch {
            return None;
        }
        let found = FoundSlot::of(entry);
        self.needs_no_revival(found.flags).then_some(found.slot)
    }

    #[inline(never)]
    fn look_up_again<K: Keys>(&mut self, keys: &K, index: usize) -> Slot {
        self.look_up(keys, index)
    }

    /// The slot of key `index`.
    #[inline(always)]
    fn look_up<K: Keys>(&mut self, keys: &K, index: usize) -> Slot {
        let Some((number, hash)) = self.columns.at(index) else {
            return Slot::NULL;
        };
        let Some(group) = self.groups.get_mut(number) else {
            return Slot::NULL;
        };
        let (key, width) = (keys.key(index), self.width);
        let mut entry = std::ptr::null_mut();
        let found = group.index.probe(hash, |location| {
            let page = group.arena.pages.get(location.page());
            let Some(place) =
                page.and_then(|page| page.place(location.offset(), FIXED_HEAD + width + key.len()))
            else {
                return false;
            };
            entry = place;
            // SAFETY: as many bytes are in use there as an entry with the key has.
            unsafe { K::is(key, place, width) }
        });
        let location = match found {
            Probed::Entry(_, location) => location,
            Probed::Free(_) if self.missing == Missing::Skip => return Slot::NULL,
            Probed::Free(word) => return self.insert(keys, index, word),
        };
        // SAFETY: an entry is there.
        if unsafe { epoch_of(entry) } != group.arena.epoch {
            match renew(group, location, entry, FIXED_HEAD + width + key.len()) {
                Some(renewed) if renewed == entry => {}
                Some(renewed) => {
                    entry = renewed;
                    self.ahead = [std::ptr::null_mut(); AHEAD];
                }
                None => return Slot::NULL,
            }
        }
        let found = FoundSlot::of(entry);
        if !self.needs_no_revival(found.flags) {
            self.revive(number, hash, key, &found);
        }
        found.slot
    }

    /// Whether an entry that has these flags stays as it is when its slot is given out. A deletion counts as a cell from then on; an absent entry of this
    /// batch does already.
    #[inline(always)]
    fn needs_no_revival(&self, flags: u8) -> bool {
        flags & (PRESENT | STORED | REVIVED) != STORED || self.missing == Missing::Skip
    }

    #[cold]
    #[inline(never)]
    fn revive(&mut self, number: usize, hash: u64, key: &[u8], found: &FoundSlot) {
        // SAFETY: the entry was found just now and nothing was changed since.
        unsafe { found.flags_at.write(found.flags | REVIVED) };
        self.absent += 1;
        (self.no_value)(number, &parts_of(hash, key), NoValue::Deleted);
    }

    /// Adds an entry for key `index`, which probing for it has found to be missing at `word` of its group's index.
    #[inline(never)]
    fn insert<K: Keys>(&mut self, keys: &K, index: usize, word: usize) -> Slot {
        let Some((number, hash)) = self.columns.at(index) else {
            return Slot::NULL;
        };
        let Some(group) = self.groups.get_mut(number) else {
            return Slot::NULL;
        };
        let key = keys.key(index);
        let size = class_of(FIXED_HEAD + self.width + key.len());
        let parts = parts_of(hash, key);
        let appended = if group.index.has_room() {
            group.arena.append(size)
        } else {
            None
        };
        let location = match appended {
            Some(location) => {
                group.index.insert_at(word, hash, location);
                location
            }
            None => self.insert_elsewhere(number, &parts),
        };
        let Some(group) = self.groups.get_mut(number) else {
            return Slot::NULL;
        };
        // The entry is new: its place is nobody else's already.
        let Some(page) = group.arena.pages.get_mut(location.page()) else {
            return Slot::NULL;
        };
        let place = page.place_mut(location.offset(), size);
        let Some((head, rest)) = place.split_first_chunk_mut() else {
            return Slot::NULL;
        };
        *head = fixed_head(hash, group.arena.epoch, key.len(), 0);
        let Some((value, rest)) = rest.split_at_mut_checked(self.width) else {
            return Slot::NULL;
        };
        match <&mut [u8; 8]>::try_from(&mut *value) {
            Ok(value) => *value = [0; 8],
            Err(_) => value.fill(0),
        }
        K::put(key, rest);
        if (self.no_value)(number, &parts, NoValue::Inserted(value)) {
            *head = fixed_head(hash, group.arena.epoch, key.len(), PRESENT | STORED);
        } else {
            self.absent += 1;
        }
        match page.place(location.offset(), size) {
            // SAFETY: as in `FoundSlot::of`.
            Some(entry) => unsafe { Slot::new(entry.wrapping_add(FIXED_HEAD)) },
            None => Slot::NULL,
        }
    }

    /// Adds an entry where that is not at the end of the last page, or when the index has to grow.
    #[cold]
    #[inline(never)]
    fn insert_elsewhere(&mut self, number: usize, parts: &Parts<'_>) -> Location {
        let Some(group) = self.groups.get_mut(number) else {
            return Location::NONE;
        };
        let copied = group.arena.figures().pages_copied;
        let location = group.insert(Layout::Fixed(super::len32(self.width)), parts, 0);
        if group.arena.figures().pages_copied != copied {
            self.ahead = [std::ptr::null_mut(); AHEAD];
        }
        location
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

impl FoundSlot {
    /// That of an entry that was changed in this epoch.
    #[inline(always)]
    fn of(entry: *mut u8) -> Self {
        let flags_at = entry.wrapping_add(FLAGS);
        // SAFETY: flags at 15 and value from 16 on are in use on the page, which is not shared, or from which snapshots read other places only. They
        // stay where they are and nobody else accesses them until the batch ends: the state refuses all other calls meanwhile, and entries do not
        // move within the call. Kept slots are no longer used once a snapshot was taken.
        let slot = unsafe { Slot::new(entry.wrapping_add(FIXED_HEAD)) };
        // SAFETY: as above.
        let flags = unsafe { flags_at.read() };
        Self {
            slot,
            flags,
            flags_at,
        }
    }
}

/// The epoch in which an entry was last changed.
///
/// # Safety
/// The header's bytes are readable.
#[inline(always)]
unsafe fn epoch_of(entry: *const u8) -> u32 {
    // SAFETY: as the caller promises.
    u32::from_le_bytes(unsafe { entry.wrapping_add(EPOCH).cast::<[u8; 4]>().read() })
}

/// Marks an entry of `len` bytes that was changed in an earlier epoch as one that is changed in this one, and that snapshots have; none looks at its place then. Returns
/// where the entry is, which is elsewhere if its page had to be copied.
#[inline(always)]
fn renew(group: &mut GroupTable, location: Location, mut entry: *mut u8, len: usize) -> Option<*mut u8> {
    let epoch = group.arena.epoch;
    // Of a page that is changed in place, entries of the current epoch are kept already.
    if group.arena.pages.get(location.page())?.epoch != epoch {
        group.arena.own(location, class_of(len));
        let page = group.arena.pages.get(location.page())?;
        entry = page.place(location.offset(), len)?;
    }
    // SAFETY: the header's bytes are in use on the page, `group` is borrowed for writing, so there are no references to them, and what a snapshot
    // needs of the entry is kept.
    unsafe {
        entry
            .wrapping_add(EPOCH)
            .cast::<[u8; 4]>()
            .write(epoch.to_le_bytes());
    }
    let flags_at = entry.wrapping_add(FLAGS);
    // SAFETY: as above.
    let flags = unsafe { flags_at.read() };
    // SAFETY: as above. A snapshot was taken since the last change, and may have the entry.
    unsafe { flags_at.write(flags | STORED) };
    Some(entry)
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
            if let Some((group, hash)) = columns.find(groups, index)
                && let Some(line) = group.index.line(hash)
            {
                fetch_entry(group, line, hash, 1);
            }
        }
    }
}
