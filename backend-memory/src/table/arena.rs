//! The arena of a group: its pages, where the next entry goes, and which freed places can be used again.

use super::class::class_of;
use super::frozen::{EraOfOwner, FrozenPages, SnapshotEra};
use super::page::{Location, PAGE_BYTES, PAGE_HEADER_BYTES, Page};
use std::collections::BTreeMap;

/// The first page of an arena; each next one is twice as large, up to [`PAGE_BYTES`].
const FIRST_PAGE_BYTES: usize = 256;

/// The pages of one group.
///
/// Invariant: a page is shared with a snapshot only if its epoch is below the arena's and the arena's era is alive. [`Arena::writable`] ends
/// the sharing from the owner's side; a page that is given up is buried in the era if it is alive.
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

    /// The same for writing; a shared page is copied first.
    #[inline]
    pub(super) fn write(&mut self, location: Location) -> &mut [u8] {
        let number = location.page();
        if self
            .pages
            .get(number)
            .is_some_and(|page| page.epoch != self.epoch)
        {
            self.writable(number);
        }
        self.pages
            .get_mut(number)
            .map_or(&mut [], |page| page.write_at(location.offset()))
    }

    /// Ends the sharing of a page that was last written before the latest snapshot: by a copy, if a snapshot that has it is alive.
    #[cold]
    #[inline(never)]
    pub(super) fn writable(&mut self, number: usize) {
        let epoch = self.epoch;
        let Some(page) = self.pages.get_mut(number) else {
            return;
        };
        if page.is_gone() {
            return;
        }
        match self.cold.era.alive() {
            None => page.epoch = epoch,
            Some(era) => {
                let copy = page.copy(epoch);
                era.bury([std::mem::replace(page, copy)]);
                self.cold.figures.pages_copied += 1;
            }
        }
    }

    /// The pages as they are now, for a snapshot that began `era`.
    ///
    /// The eras of one arena come from [`SnapshotEra::begin`] with one and the same `latest`, in order.
    pub(super) fn freeze(&mut self, era: &SnapshotEra) -> FrozenPages {
        let pages = self.pages.iter().map(Page::frozen).collect();
        self.epoch = self.epoch.wrapping_add(1);
        self.cold.era = era.of_owner();
        FrozenPages::new(pages, era)
    }

    /// Empties the arena; pages that snapshots read live on with them.
    pub(super) fn clear(&mut self) {
        let pages = std::mem::take(&mut self.pages);
        self.tail = 0;
        self.cold.free.clear();
        self.cold.free_pages.clear();
        self.cold.deletions.clear();
        self.cold.figures = ArenaFigures {
            pages_copied: self.cold.figures.pages_copied,
            ..ArenaFigures::default()
        };
        if let Some(era) = self.cold.era.alive() {
            era.bury(pages);
        }
    }

    /// Takes over the count of copied pages from the arena that this one replaces.
    pub(super) fn carry_copied(&mut self, pages: u64) {
        self.cold.figures.pages_copied = pages;
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
