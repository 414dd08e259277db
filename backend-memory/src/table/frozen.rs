//! What a snapshot holds of an arena, and how long.
//!
//! Each snapshot begins a [`SnapshotEra`]. Pages that the owner replaces or gives up in an era are buried in it ([`Burial`]), and are
//! freed when no snapshot that might read them is alive: those are the snapshots of this era and of the earlier ones. So a
//! snapshot holds its own era strongly, an era holds the next one (if it began while the earlier was alive), and the owner holds the
//! latest one weakly. Taking a snapshot thus touches no page, and whether a page must be copied before a write is one look at a weak
//! reference. (The idea is epoch-based reclamation, Fraser 2004, with the reader's epoch as a reference count.)
#![expect(
    unsafe_code,
    reason = "hands out what `page` calls frozen; the argument is about lifetimes of eras"
)]

use super::page::{FrozenPage, PAGE_HEADER_BYTES, Page};
use super::undo::Undo;
use std::fmt;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// The time between one snapshot and the next.
#[derive(Clone, Default)]
pub struct SnapshotEra(Arc<Burial>);

/// The pages that were given up in an era, and the era after it.
#[derive(Default)]
pub(super) struct Burial {
    pages: Mutex<Vec<Page>>,
    next: OnceLock<SnapshotEra>,
    /// Whether an earlier snapshot was alive when the era began.
    has_earlier: bool,
}

/// An era as the owner of pages knows it: it may be over.
#[derive(Clone, Debug, Default)]
pub struct EraOfOwner(Weak<Burial>);

impl SnapshotEra {
    /// Begins the era of a new snapshot. `latest` is that of the snapshot before it and becomes this one.
    pub fn begin(latest: &mut EraOfOwner) -> Self {
        let earlier = latest.0.upgrade();
        let era = Self(Arc::new(Burial {
            pages: Mutex::default(),
            next: OnceLock::new(),
            has_earlier: earlier.is_some(),
        }));
        if let Some(earlier) = earlier {
            // Only the owner begins eras, one after the other, so nobody has set it.
            let _ = earlier.next.set(era.clone());
        }
        *latest = era.of_owner();
        era
    }

    /// Whether an earlier snapshot was alive when the era began.
    pub(super) fn has_earlier(&self) -> bool {
        self.0.has_earlier
    }

    pub(super) fn of_owner(&self) -> EraOfOwner {
        EraOfOwner(Arc::downgrade(&self.0))
    }
}

impl EraOfOwner {
    /// Whether a snapshot of this era or an earlier one is alive.
    pub(super) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// The era, if a snapshot of it or of an earlier one is alive. If not, everything that their readers did has happened before.
    pub(super) fn alive(&self) -> Option<Arc<Burial>> {
        let burial = self.0.upgrade();
        if burial.is_none() {
            // The count was seen at 0 by a relaxed load; its last decrement was a release.
            fence(Ordering::Acquire);
        }
        burial
    }
}

impl Burial {
    /// Keeps `pages` until the era is over.
    pub(super) fn bury(&self, pages: impl IntoIterator<Item = Page>) {
        let mut buried = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        buried.extend(pages);
    }
}

impl Drop for Burial {
    fn drop(&mut self) {
        // One era at a time instead of one in the drop of the other: a chain may be long.
        let mut next = self.next.take();
        while let Some(SnapshotEra(burial)) = next {
            next = Arc::into_inner(burial).and_then(|mut burial| burial.next.take());
        }
    }
}

impl fmt::Debug for SnapshotEra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotEra")
    }
}

/// The pages of an arena as they were at a snapshot. Any thread may read them, whatever the owner does meanwhile.
pub struct FrozenPages {
    pages: Vec<FrozenPage>,
    /// What the owner keeps of pages that it changes in place, if it does that.
    undo: Option<Arc<Undo>>,
    /// Of each page that was read, the copy that was made of it, if one was needed.
    copies: OnceLock<Box<[OnceLock<Option<Page>>]>>,
    /// Keeps the pages: the owner buries those that it gives up or replaces by a copy, while an era is alive.
    _era: SnapshotEra,
}

impl FrozenPages {
    /// `pages` of an arena that from now on has `era` as its latest era, and changes them in place if there is an `undo`.
    pub(super) fn new(pages: Vec<FrozenPage>, undo: Option<Arc<Undo>>, era: &SnapshotEra) -> Self {
        Self {
            pages,
            undo,
            copies: OnceLock::new(),
            _era: era.clone(),
        }
    }

    /// The entry bytes of each page.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.since(None)
    }

    /// The entry bytes of each page that may have been written after the epoch `since`; of all for `None`.
    pub(super) fn since(&self, since: Option<u32>) -> impl Iterator<Item = &[u8]> {
        let pages = self.pages.iter().enumerate();
        let written = pages.filter(move |(_, page)| since.is_none_or(|since| page.epoch() > since));
        written.map(|(number, page)| match &self.undo {
            Some(undo) => self.kept(undo, number, *page),
            // SAFETY: `self` is borrowed for as long as the bytes are, and keeps its era alive. Its arena (see `Arena`) neither writes
            // nor frees a page of this era while it is alive.
            None => unsafe { page.entries() },
        })
    }

    /// The entry bytes of a page of which `undo` may keep some.
    fn kept(&self, undo: &Undo, number: usize, page: FrozenPage) -> &[u8] {
        let copies = self
            .copies
            .get_or_init(|| self.pages.iter().map(|_| OnceLock::new()).collect());
        let Some(copy) = copies.get(number) else {
            return &[];
        };
        // SAFETY: `undo` is that of these pages, in their order, and `self` is borrowed.
        match copy.get_or_init(|| unsafe { undo.copy(number, page) }) {
            Some(copy) => copy.read_at(PAGE_HEADER_BYTES),
            // SAFETY: `self` is borrowed for as long as the bytes are, and keeps its era alive; that there is no copy says that the owner leaves
            // the page as it is.
            None => unsafe { page.entries() },
        }
    }

    /// How many pages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is no page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

impl Drop for FrozenPages {
    fn drop(&mut self) {
        if let Some(undo) = &self.undo {
            undo.finish();
        }
    }
}

impl fmt::Debug for FrozenPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrozenPages({})", self.pages.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buried_pages_live_as_long_as_a_snapshot_of_their_era_or_an_earlier_one() {
        let mut latest = EraOfOwner::default();
        let first = SnapshotEra::begin(&mut latest);
        let second = SnapshotEra::begin(&mut latest);
        let of_second = second.of_owner();
        if let Some(burial) = latest.alive() {
            burial.bury([Page::new(256, 2)]);
        }
        let third = SnapshotEra::begin(&mut latest);
        drop(second);
        // The first snapshot may read pages that were replaced in the second era.
        assert!(of_second.is_alive());
        drop(first);
        assert!(!of_second.is_alive() && of_second.alive().is_none());
        assert!(latest.is_alive());
        drop(third);
        assert!(!latest.is_alive());
    }

    #[test]
    fn a_snapshot_that_outlives_very_many_others_is_dropped_without_deep_recursion() {
        let mut latest = EraOfOwner::default();
        let oldest = SnapshotEra::begin(&mut latest);
        for _ in 0..200_000 {
            SnapshotEra::begin(&mut latest);
        }
        assert!(latest.is_alive());
        drop(oldest);
        assert!(!latest.is_alive());
    }
}
