//! The table of one group: an index and an arena, and what keeps them in step.

use super::arena::{Arena, ArenaFigures};
use super::entry::{DEAD, EntryMut, EntryView, HEAD, Layout, PRESENT, STORED, SUFFIX};
use super::frozen::{FrozenPages, SnapshotEra};
use super::index::{Entries, Index};
use super::page::Location;
use super::parts::Parts;
use super::segments::Segments;

/// Below this many freed bytes a table is not rebuilt.
const REBUILD_BYTES_MIN: usize = 64 << 10;
/// Above this capacity a value that takes a quarter of it or less moves to a smaller place.
const SHRINK_BYTES_MIN: usize = 4 << 10;

/// The entries of one state in one key group. A cache line, so that a batch over many groups pays one line a group.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct GroupTable {
    pub(super) index: Index,
    pub(super) arena: Arena,
}

/// An entry that was found: its word in the index and its location. Good until the table is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub(super) word: usize,
    /// Where the entry lies.
    pub location: Location,
}

impl Entries for Arena {
    fn hash(&self, location: Location) -> u32 {
        super::entry::u32_at(self.read(location), 0)
    }

    fn fetch(&self, location: Location) {
        if let Some(page) = self.pages.get(location.page()) {
            super::fetch::fetch(page.address(location.offset()));
        }
    }
}

impl GroupTable {
    /// An empty table that has seen `epoch` snapshots.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self {
            index: Index::default(),
            arena: Arena::new(epoch),
        }
    }

    /// How many snapshots were taken.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.arena.epoch
    }

    /// How many entries there are, heads of maps included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The figures of the arena.
    #[must_use]
    pub fn figures(&self) -> ArenaFigures {
        self.arena.figures()
    }

    /// The bytes of index and pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.index.bytes() + self.arena.figures().page_bytes
    }

    /// How many pages are shared with a snapshot.
    #[must_use]
    pub fn shared_pages(&self) -> usize {
        self.arena.shared_pages()
    }

    /// Makes room for `entries` in all.
    pub fn reserve(&mut self, entries: usize) {
        self.index.reserve(entries, &self.arena);
    }

    /// The entry that `parts` addresses.
    #[inline]
    #[must_use]
    pub fn find(&self, layout: Layout, parts: &Parts<'_>) -> Option<Placed> {
        let (word, location) = self.index.find(parts.hash, |location| {
            EntryView::new(layout, self.arena.read(location)).is(parts)
        })?;
        Some(Placed { word, location })
    }

    /// The entry at `location`.
    #[inline]
    #[must_use]
    pub fn view(&self, layout: Layout, location: Location) -> EntryView<'_> {
        EntryView::new(layout, self.arena.read(location))
    }

    fn change(&mut self, layout: Layout, location: Location) -> EntryMut<'_> {
        let size = self.view(layout, location).size();
        EntryMut::new(layout, self.arena.write(location, size))
    }

    /// Adds an entry that is not there, without value: its flag says absent for a fixed width, its value is empty otherwise.
    pub fn insert(&mut self, layout: Layout, parts: &Parts<'_>, capacity: usize) -> Location {
        let flags = match layout {
            Layout::Fixed(_) => 0,
            Layout::Varying | Layout::Linked => PRESENT | if parts.head { HEAD } else { 0 },
        };
        self.add(layout, parts, capacity, self.arena.epoch, flags)
    }

    fn add(&mut self, layout: Layout, parts: &Parts<'_>, capacity: usize, epoch: u32, flags: u8) -> Location {
        let location = self.place(layout, parts, capacity, epoch, flags);
        self.index.insert(parts.hash, location, &self.arena);
        location
    }

    fn place(
        &mut self,
        layout: Layout,
        parts: &Parts<'_>,
        capacity: usize,
        epoch: u32,
        flags: u8,
    ) -> Location {
        let size = layout.entry_bytes(parts, capacity);
        let location = self.arena.allocate(size);
        layout.write(self.arena.write(location, size), size, parts, epoch, flags);
        location
    }

    /// [`STORED`] if snapshots may have the entry: they had it before, or one was taken since it was last changed.
    fn stored(&self, entry: &EntryView<'_>) -> u8 {
        if entry.epoch() == self.arena.epoch {
            entry.flags() & STORED
        } else {
            STORED
        }
    }

    /// Sets the value of an entry that `parts` addresses from byte `at` on, where the value then ends; `at` is at most its length. A
    /// deleted entry, which has no value to keep, is there again. The entry moves if it must; the result is where it is then.
    pub fn set_value(
        &mut self,
        layout: Layout,
        placed: Placed,
        parts: &Parts<'_>,
        at: usize,
        value: &[u8],
    ) -> Location {
        let flags = PRESENT | self.stored(&self.view(layout, placed.location));
        self.write_value(layout, placed, parts, (at, value), (self.arena.epoch, flags))
    }

    /// As [`set_value`](Self::set_value), with the epoch and the flags that the entry gets.
    fn write_value(
        &mut self,
        layout: Layout,
        placed: Placed,
        parts: &Parts<'_>,
        (at, value): (usize, &[u8]),
        (epoch, flags): (u32, u8),
    ) -> Location {
        let view = self.view(layout, placed.location);
        let capacity = view.capacity();
        let wanted = at + value.len();
        let fits = wanted <= capacity && (capacity < SHRINK_BYTES_MIN || wanted > capacity / 4);
        if fits || matches!(layout, Layout::Fixed(_)) {
            let mut entry = self.change(layout, placed.location);
            entry.set_epoch(epoch);
            entry.set_flags(flags);
            entry.set_value(at, value);
            return placed.location;
        }
        // What is appended to will be appended to again.
        let room = if at > 0 { wanted.max(capacity * 2) } else { wanted };
        let (size, previous, next) = (view.size(), view.previous(), view.next());
        let location = self.place(layout, parts, room, epoch, flags);
        let kept = self
            .view(layout, placed.location)
            .value()
            .get(..at)
            .unwrap_or_default()
            .to_vec();
        let mut entry = self.change(layout, location);
        entry.set_value(0, &kept);
        entry.set_value(at, value);
        if layout == Layout::Linked {
            entry.set_previous(previous);
            entry.set_next(next);
        }
        self.index.move_to(placed.word, location);
        self.release(layout, placed.location, size);
        location
    }

    /// Adds an entry that is not there with its value, which has the layout's width if that is fixed. `stored` says that snapshots may
    /// have an entry of this address.
    pub fn insert_value(
        &mut self,
        layout: Layout,
        parts: &Parts<'_>,
        value: &[u8],
        stored: bool,
    ) -> Location {
        let flags = PRESENT | if stored { STORED } else { 0 };
        let location = self.add(layout, parts, value.len(), self.arena.epoch, flags);
        self.change(layout, location).set_value(0, value);
        location
    }

    /// Adds an entry that is not there as it lies below, where everything is that was changed in `epoch` or before.
    pub fn insert_clean(&mut self, layout: Layout, parts: &Parts<'_>, value: &[u8], epoch: u32) -> Location {
        let location = self.add(layout, parts, value.len(), epoch, PRESENT | STORED);
        self.change(layout, location).set_value(0, value);
        location
    }

    /// Adds an entry that is not there as a [suffix](EntryView::suffix): `appended` comes behind what lies below, if anything does.
    pub fn insert_suffix(&mut self, layout: Layout, parts: &Parts<'_>, appended: &[u8]) -> Location {
        let value = Segments::new(&[]).with(self.arena.epoch, appended);
        let flags = PRESENT | STORED | SUFFIX;
        let location = self.add(layout, parts, value.len(), self.arena.epoch, flags);
        self.change(layout, location).set_value(0, &value);
        location
    }

    /// Appends to a suffix that `parts` addresses. What was appended in the epoch `below` or before lies below and is dropped, unless something was
    /// appended in this epoch before. The entry moves if it must; the result is where it is then.
    pub fn append_to_suffix(
        &mut self,
        layout: Layout,
        placed: Placed,
        parts: &Parts<'_>,
        appended: &[u8],
        below: u32,
    ) -> Location {
        let epoch = self.arena.epoch;
        let value = self.view(layout, placed.location).value();
        let segments = Segments::new(value);
        let marks = (epoch, PRESENT | STORED | SUFFIX);
        if let Some(last) = segments.last()
            && last.epoch == epoch
        {
            let end = (value.len(), appended);
            let location = self.write_value(layout, placed, parts, end, marks);
            let len = super::len32(last.len + appended.len());
            self.change(layout, location).set_value_u32(last.len_at, len);
            return location;
        }
        let value = segments.after(below).with(epoch, appended);
        self.write_value(layout, placed, parts, (0, &value), marks)
    }

    /// Makes a suffix that `parts` addresses the whole `value`. It was changed last when something was appended, or is as it lies below, where everything is
    /// that was changed in the epoch `below` or before. The entry moves if it must; the result is where it is then.
    pub fn make_whole(
        &mut self,
        layout: Layout,
        placed: Placed,
        parts: &Parts<'_>,
        value: &[u8],
        below: u32,
    ) -> Location {
        let epoch = self.view(layout, placed.location).epoch().max(below);
        self.write_value(layout, placed, parts, (0, value), (epoch, PRESENT | STORED))
    }

    /// Gives an entry that was just inserted without value, and whose layout has a fixed width, the value that it has below.
    pub fn fill(&mut self, layout: Layout, placed: Placed, value: &[u8]) {
        let mut entry = self.change(layout, placed.location);
        entry.set_flags(PRESENT | STORED);
        entry.set_value(0, value);
    }

    /// Adds the mark that there is no such entry, neither in the table nor below. It is in no list and no snapshot, and goes when the table is
    /// rebuilt.
    pub fn insert_absent(&mut self, layout: Layout, parts: &Parts<'_>) {
        self.add(layout, parts, 0, self.arena.epoch, 0);
    }

    /// Adds the note that an entry is deleted which is not in the table, but in snapshots.
    pub fn insert_deletion(&mut self, layout: Layout, parts: &Parts<'_>) {
        let location = self.add(layout, parts, 0, self.arena.epoch, STORED);
        self.arena.note_deletion(location);
    }

    /// Takes over an entry of another table with its epoch and what is known of it, a deletion too. It is not there, and in no list.
    pub fn insert_as_it_was(&mut self, layout: Layout, entry: &EntryView<'_>) -> Location {
        let parts = entry.parts();
        let location = self.place(layout, &parts, entry.value_len(), entry.epoch(), entry.flags());
        self.index.insert(parts.hash, location, &self.arena);
        self.change(layout, location).set_value(0, entry.value());
        if entry.is_deletion() {
            self.arena.note_deletion(location);
        }
        location
    }

    /// Takes away the value of an entry that `parts` addresses and that is in no list. With `keep_deletion` a note stays if snapshots may
    /// have the entry; else it is removed.
    pub fn delete(&mut self, layout: Layout, placed: Placed, parts: &Parts<'_>, keep_deletion: bool) {
        let view = self.view(layout, placed.location);
        if !keep_deletion || self.stored(&view) == 0 {
            self.remove(layout, placed);
            return;
        }
        let size = view.size();
        let epoch = self.arena.epoch;
        let mut location = placed.location;
        if layout.entry_bytes(parts, 0) * 2 < size && !matches!(layout, Layout::Fixed(_)) {
            location = self.place(layout, parts, 0, epoch, STORED);
            self.index.move_to(placed.word, location);
            self.release(layout, placed.location, size);
        } else {
            let mut entry = self.change(layout, location);
            entry.set_epoch(epoch);
            entry.set_flags(STORED);
            if !matches!(layout, Layout::Fixed(_)) {
                entry.set_value(0, &[]);
            }
        }
        self.arena.note_deletion(location);
        if self.arena.deletions() > 64.max(2 * self.index.len()) {
            self.forget_deletions(layout, None);
        }
    }

    /// How many deletions are noted, some perhaps twice and some no longer true.
    #[must_use]
    pub fn deletions(&self) -> usize {
        self.arena.deletions()
    }

    /// Removes the notes of deletions made in `epoch` or before, unless that was done. To be called when no snapshot has them that is
    /// still of use, and nothing below the table.
    pub fn forget_deletions_up_to(&mut self, layout: Layout, epoch: u32) {
        if *self.arena.forgotten() < epoch {
            *self.arena.forgotten() = epoch;
            self.forget_deletions(layout, Some(epoch));
        }
    }

    fn forget_deletions(&mut self, layout: Layout, epoch: Option<u32>) {
        let mut noted = self.arena.take_deletions();
        noted.sort_unstable_by_key(|location| location.number());
        noted.dedup();
        for location in noted {
            let view = self.view(layout, location);
            if !view.is_deletion() {
                continue;
            }
            if epoch.is_none_or(|epoch| view.epoch() > epoch) {
                self.arena.note_deletion(location);
                continue;
            }
            let hash = view.parts().hash;
            if let Some((word, location)) = self.index.find(hash, |found| found == location) {
                self.remove(layout, Placed { word, location });
            }
        }
    }

    /// Links `location` into the list of a map, between `previous` and what came after it.
    pub fn link_after(&mut self, previous: Location, location: Location) {
        let layout = Layout::Linked;
        let next = self.view(layout, previous).next();
        let mut entry = self.change(layout, location);
        entry.set_previous(previous);
        entry.set_next(next);
        self.relink(location);
    }

    /// Lets the neighbours of the entry at `location` know where it is.
    pub fn relink(&mut self, location: Location) {
        let layout = Layout::Linked;
        let view = self.view(layout, location);
        let (previous, next) = (view.previous(), view.next());
        self.join(previous, location);
        self.join(location, next);
    }

    /// Takes the entry at `location` out of its list. Returns whether the list is empty then, and its head if so.
    pub fn unlink(&mut self, location: Location) -> Option<Location> {
        let view = self.view(Layout::Linked, location);
        let (previous, next) = (view.previous(), view.next());
        self.join(previous, next);
        let before = self.view(Layout::Linked, previous);
        (next.is_none() && before.previous().is_none()).then_some(previous)
    }

    fn join(&mut self, previous: Location, next: Location) {
        if !previous.is_none() {
            self.change(Layout::Linked, previous).set_next(next);
        }
        if !next.is_none() {
            self.change(Layout::Linked, next).set_previous(previous);
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, layout: Layout, placed: Placed) {
        let size = self.view(layout, placed.location).size();
        self.index.remove(placed.word, &self.arena);
        self.release(layout, placed.location, size);
    }

    fn release(&mut self, layout: Layout, location: Location, size: usize) {
        if !Arena::has_own_page(size) {
            let epoch = self.arena.epoch;
            let mut entry = self.change(layout, location);
            entry.set_epoch(epoch);
            entry.set_flags(DEAD);
        }
        self.arena.free(location, size);
    }

    /// Every place, in no order: those of heads, marks and freed entries too.
    pub fn places(&self, layout: Layout) -> impl Iterator<Item = EntryView<'_>> {
        self.arena
            .pages
            .iter()
            .flat_map(move |page| entries_of(layout, page.read_at(super::page::PAGE_HEADER_BYTES)))
    }

    /// The places of page `page`, as [`places`](Self::places); `None` if there are not so many pages.
    pub fn places_of_page(&self, layout: Layout, page: usize) -> Option<impl Iterator<Item = EntryView<'_>>> {
        let page = self.arena.pages.get(page)?;
        Some(entries_of(layout, page.read_at(super::page::PAGE_HEADER_BYTES)))
    }

    /// The state's entries, in no order.
    pub fn cells(&self, layout: Layout) -> impl Iterator<Item = EntryView<'_>> {
        self.places(layout).filter(EntryView::is_cell)
    }

    /// The state's entries and the notes of deletions, in no order.
    pub fn entries(&self, layout: Layout) -> impl Iterator<Item = EntryView<'_>> {
        self.places(layout)
            .filter(|entry| entry.is_cell() || entry.is_deletion())
    }

    /// Whether so much has been freed that [`take_for_rebuild`](Self::take_for_rebuild) is worth its while.
    #[inline]
    #[must_use]
    pub fn wants_rebuild(&self) -> bool {
        let figures = self.arena.figures();
        figures.free_bytes > REBUILD_BYTES_MIN && figures.free_bytes > figures.live_bytes
    }

    /// Leaves an empty table and returns the full one, whose cells the caller puts back.
    #[must_use]
    pub fn take_for_rebuild(&mut self) -> Self {
        let before = self.arena.figures();
        let full = std::mem::replace(self, Self::new(self.epoch()));
        self.arena.carry_counts(before);
        full
    }

    /// The pages as they are now, for a snapshot that began `era`. See [`SnapshotEra::begin`]. With `in_place`, which is for tables of a
    /// fixed width, pages are changed in place meanwhile where they can be, and old entries kept by themselves.
    pub fn freeze(&mut self, era: &SnapshotEra, in_place: bool) -> FrozenPages {
        self.arena.freeze(era, in_place)
    }
}

impl FrozenPages {
    /// The state's entries, in no order.
    pub fn cells(&self, layout: Layout) -> impl Iterator<Item = EntryView<'_>> {
        self.iter()
            .flat_map(move |page| entries_of(layout, page))
            .filter(EntryView::is_cell)
    }

    /// The state's entries and the notes of deletions that were changed after the epoch `since` (`None`: all), in no order. Pages that
    /// were not written since then are not looked at.
    pub fn changed(&self, layout: Layout, since: Option<u32>) -> impl Iterator<Item = EntryView<'_>> {
        self.since(since)
            .flat_map(move |page| entries_of(layout, page))
            .filter(move |entry| {
                since.is_none_or(|since| entry.epoch() > since) && (entry.is_cell() || entry.is_deletion())
            })
    }
}

/// How many entries ahead a page is fetched. Where an entry ends only its head says, so without that each head would be waited for.
const FETCHED_AHEAD: usize = 12;

/// Every place of a page, the dead ones too.
fn entries_of(layout: Layout, page: &[u8]) -> impl Iterator<Item = EntryView<'_>> {
    let mut rest = page;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = EntryView::new(layout, rest);
        let size = entry.size();
        // Most entries of a state are about as large as the one before.
        super::fetch::fetch(rest.as_ptr().wrapping_add(FETCHED_AHEAD * size));
        rest = rest.get(size..).unwrap_or_default();
        Some(entry)
    })
}
