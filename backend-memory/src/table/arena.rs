//! The arena of a group: its pages, where the next entry goes, and which freed places can be used again.

use super::class::class_of;
use super::fetch::LINE;
use super::frozen::{EraOfOwner, FrozenPages, SnapshotEra};
use super::page::{Location, PAGE_BYTES, PAGE_HEADER_BYTES, Page};
use super::undo::{Keep, Keeper, Undo};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first page of an arena; each next one is twice as large, up to [`PAGE_BYTES`].
const FIRST_PAGE_BYTES: usize = 256;

/// The pages of one group.
///
/// Invariant: a page is shared with a snapshot only if its epoch is below the arena's and the arena's era is alive. [`Arena::own`] ends
/// the sharing from the owner's side, of one place or of the page; a page that is given up is buried in the era if it is alive.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) pages: Vec<Page>,
    /// How many snapshots were taken.
    pub(super) epoch: u32,
    /// The page that the next entry goes into.
    tail: u32,
    cold: Box<Cold>,
}

#[derive(Debug, Default)]
struct Cold {
    era: EraOfOwner,
    /// By which pages of the era's snapshot are changed in place, if they are.
    keeper: Option<Keeper>,
    /// Freed places by their class.
    free: BTreeMap<usize, Vec<Location>>,
    /// Numbers of pages that are gone.
    free_pages: Vec<u32>,
    /// Where deletions were noted; some may have been undone since, and some are here twice.
    deletions: Vec<Location>,
    /// The epoch up to which deletions were forgotten.
    forgotten: u32,
    figures: ArenaFigures,
}

/// Figures of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaFigures {
    /// The bytes of all pages.
    pub page_bytes: usize,
    /// The bytes of entries in use.
    pub live_bytes: usize,
    /// The bytes of freed places.
    pub free_bytes: usize,
    /// How many pages were copied because a snapshot shared them.
    pub pages_copied: u64,
    /// How many entries were kept by themselves because a snapshot needed them.
    pub entries_kept: u64,
    /// The bytes of those pages and entries: what the snapshots held in all beside what the table has.
    pub held_bytes: u64,
}

impl Arena {
    /// An arena without pages that has seen `epoch` snapshots.
    pub(super) fn new(epoch: u32) -> Self {
        Self {
            pages: Vec::new(),
            epoch,
            tail: 0,
            cold: Box::default(),
        }
    }

    /// Whether an entry of `size` bytes is larger than a page, so that it gets one of its own.
    pub(super) fn has_own_page(size: usize) -> bool {
        size + PAGE_HEADER_BYTES > PAGE_BYTES
    }

    /// A place for an entry of `size` bytes, a size class. Its content is not defined.
    pub(super) fn allocate(&mut self, size: usize) -> Location {
        debug_assert_eq!(size, class_of(size), "not a size class");
        self.cold.figures.live_bytes += size;
        if let Some(places) = self.cold.free.get_mut(&size)
            && let Some(location) = places.pop()
        {
            self.cold.figures.free_bytes -= size;
            return location;
        }
        if Self::has_own_page(size) {
            let number = self.add_page(size + PAGE_HEADER_BYTES);
            return self.take(number, size).unwrap_or(Location::NONE);
        }
        let tail = self.tail as usize;
        if let Some(location) = self.take(tail, size) {
            return location;
        }
        let before = self.pages.get(tail).map_or(0, Page::size);
        let wanted = (before * 2).clamp(FIRST_PAGE_BYTES, PAGE_BYTES);
        let bytes = wanted
            .max((size + PAGE_HEADER_BYTES).next_power_of_two())
            .min(PAGE_BYTES);
        let number = self.add_page(bytes);
        self.tail = super::len32(number);
        self.take(number, size).unwrap_or(Location::NONE)
    }

    /// A place for an entry of `size` bytes, a size class, as [`allocate`](Self::allocate) would give it, if that is the next one of a page that is written to without
    /// keeping anything for a snapshot.
    #[inline]
    pub(super) fn append(&mut self, size: usize) -> Option<Location> {
        let tail = self.tail as usize;
        let page = self.pages.get_mut(tail)?;
        if page.epoch != self.epoch || self.cold.figures.free_bytes > 0 {
            return None;
        }
        let offset = page.take(size)?;
        // The line that the next entries of this group go to is long out of the cache.
        super::fetch::fetch_to_write(page.address(offset + size + LINE));
        self.cold.figures.live_bytes += size;
        Some(Location::new(tail, offset))
    }

    /// Gives the place of an entry of `size` bytes back. The caller has marked the entry as dead, unless it had
    /// [a page of its own](Self::has_own_page), which goes with it.
    pub(super) fn free(&mut self, location: Location, size: usize) {
        self.cold.figures.live_bytes -= size;
        if Self::has_own_page(size) {
            self.drop_page(location.page());
        } else {
            self.cold.figures.free_bytes += size;
            self.cold.free.entry(size).or_default().push(location);
        }
    }

    /// Remembers that a deletion is noted at `location`.
    pub(super) fn note_deletion(&mut self, location: Location) {
        self.cold.deletions.push(location);
    }

    /// How many deletions are remembered.
    pub(super) fn deletions(&self) -> usize {
        self.cold.deletions.len()
    }

    /// The deletions that are remembered, and none any more after this.
    pub(super) fn take_deletions(&mut self) -> Vec<Location> {
        std::mem::take(&mut self.cold.deletions)
    }

    /// The epoch up to which deletions were forgotten, to be changed.
    pub(super) fn forgotten(&mut self) -> &mut u32 {
        &mut self.cold.forgotten
    }

    fn add_page(&mut self, bytes: usize) -> usize {
        self.cold.figures.page_bytes += bytes;
        let page = Page::new(bytes, self.epoch);
        if let Some(number) = self.cold.free_pages.pop()
            && let Some(place) = self.pages.get_mut(number as usize)
        {
            *place = page;
            return number as usize;
        }
        self.pages.push(page);
        self.pages.len() - 1
    }

    fn take(&mut self, number: usize, size: usize) -> Option<Location> {
        let offset = self.pages.get_mut(number)?.take(size)?;
        Some(Location::new(number, offset))
    }

    fn drop_page(&mut self, number: usize) {
        let Some(place) = self.pages.get_mut(number) else {
            return;
        };
        let page = std::mem::replace(place, Page::gone());
        self.cold.figures.page_bytes -= page.size();
        self.cold.free_pages.push(super::len32(number));
        if page.epoch != self.epoch
            && let Some(era) = self.cold.era.alive()
        {
            era.bury([page]);
        }
    }

    /// The bytes of the page from `location` on.
    #[inline]
    pub(super) fn read(&self, location: Location) -> &[u8] {
        self.pages
            .get(location.page())
            .map_or(&[], |page| page.read_at(location.offset()))
    }

    /// The place of `size` bytes at `location`, to be written; what a snapshot needs of it is kept first.
    #[inline]
    pub(super) fn write(&mut self, location: Location, size: usize) -> &mut [u8] {
        let number = location.page();
        if self
            .pages
            .get(number)
            .is_some_and(|page| page.epoch != self.epoch)
        {
            self.own(location, size);
        }
        let page = self.pages.get_mut(number);
        page.map_or(&mut [], |page| page.place_mut(location.offset(), size))
    }

    /// Ends the sharing of a place, or of the whole page that it lies on, whose epoch is not the current one: what was there is kept for the snapshot that
    /// needs it, or the page is copied. Afterwards the place is changed, and gets the current epoch if an entry is there.
    #[inline(never)]
    pub(super) fn own(&mut self, location: Location, size: usize) {
        let epoch = self.epoch;
        let number = location.page();
        let Some(page) = self.pages.get_mut(number) else {
            return;
        };
        if page.is_gone() {
            return;
        }
        let keeper = self.cold.keeper.as_mut();
        match keeper.map_or(Keep::Copy, |keeper| {
            keeper.keep(number, page, location.offset(), size, epoch)
        }) {
            Keep::Kept(is_new) => {
                page.changed = epoch;
                self.cold.figures.entries_kept += u64::from(is_new);
                self.cold.figures.held_bytes += if is_new { size as u64 } else { 0 };
            }
            Keep::Free => page.own_from(epoch),
            Keep::Copy => match self.cold.era.alive() {
                None => page.own_from(epoch),
                Some(era) => {
                    let copy = page.copy(epoch);
                    self.cold.figures.held_bytes += page.size() as u64;
                    era.bury([std::mem::replace(page, copy)]);
                    self.cold.figures.pages_copied += 1;
                }
            },
        }
    }

    /// Fetches what [`own`](Self::own) will look at for a place on page `number`.
    #[inline]
    pub(super) fn fetch_kept(&self, number: usize) {
        if let Some(keeper) = &self.cold.keeper {
            keeper.fetch(number);
        }
    }

    /// The pages as they are now, for a snapshot that began `era`.
    ///
    /// The eras of one arena come from [`SnapshotEra::begin`] with one and the same `latest`, in order. With `in_place`, pages are from now on
    /// changed in place where that can be done: then every entry that is changed must get the current epoch.
    pub(super) fn freeze(&mut self, era: &SnapshotEra, in_place: bool) -> FrozenPages {
        let pages = self.pages.iter().map(Page::frozen).collect();
        let in_place = in_place && !self.pages.is_empty() && !era.has_earlier();
        let undo = in_place.then(|| Arc::new(Undo::new(&self.pages)));
        let bytes = self.cold.figures.page_bytes;
        self.cold.keeper = undo.clone().map(|undo| Keeper::new(undo, bytes));
        self.epoch = self.epoch.wrapping_add(1);
        self.cold.era = era.of_owner();
        FrozenPages::new(pages, undo, era)
    }

    /// Empties the arena; pages that snapshots read live on with them.
    pub(super) fn clear(&mut self) {
        let pages = std::mem::take(&mut self.pages);
        self.tail = 0;
        self.cold.free.clear();
        self.cold.free_pages.clear();
        self.cold.deletions.clear();
        self.cold.keeper = None;
        self.cold.figures = ArenaFigures {
            pages_copied: self.cold.figures.pages_copied,
            entries_kept: self.cold.figures.entries_kept,
            held_bytes: self.cold.figures.held_bytes,
            ..ArenaFigures::default()
        };
        if let Some(era) = self.cold.era.alive() {
            era.bury(pages);
        }
    }

    /// Takes over the counts that only grow from the figures of the arena that this one replaces.
    pub(super) fn carry_counts(&mut self, before: ArenaFigures) {
        self.cold.figures.pages_copied = before.pages_copied;
        self.cold.figures.entries_kept = before.entries_kept;
        self.cold.figures.held_bytes = before.held_bytes;
    }

    /// The arena's figures.
    pub(super) fn figures(&self) -> ArenaFigures {
        self.cold.figures
    }

    /// How many pages are shared with a snapshot that is alive.
    pub(super) fn shared_pages(&self) -> usize {
        if !self.cold.era.is_alive() {
            return 0;
        }
        self.pages
            .iter()
            .filter(|page| page.epoch != self.epoch && !page.is_gone())
            .count()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.clear();
    }
}
