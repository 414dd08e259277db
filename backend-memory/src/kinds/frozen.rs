//! One group of a state as it was at a snapshot, and what of it was changed since an earlier one.

use super::sorted::{Address, Run};
use crate::table::{FrozenPages, Layout, Segments};
use millpond_backend_api::Entry;
use std::sync::Arc;

/// One group of a state as it was at a snapshot.
#[derive(Debug)]
pub enum FrozenGroup {
    /// The pages of a table.
    Pages(FrozenPages, Layout),
    /// A sorted map.
    Sorted {
        /// Its entries.
        run: Arc<Run>,
        /// The entries that are deleted and noted as such.
        deleted: Arc<Run>,
    },
    /// Sorted maps that are as they lie below: nothing of them was looked at, or all was evicted.
    Below,
}

/// An entry that was changed, or one that was deleted and has no value.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// The entry.
    pub entry: Entry<'a>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// What was appended to a list of which the rest lies below: then the entry has no value. Only where the layer below
    /// [takes suffixes](crate::lower::Lower::takes_suffixes).
    pub appended: Option<Segments<'a>>,
}

impl<'a> Changed<'a> {
    /// An entry as it is now, or that it was deleted.
    #[must_use]
    pub fn whole(entry: Entry<'a>, deleted: bool) -> Self {
        Self {
            entry,
            deleted,
            appended: None,
        }
    }
}

impl FrozenGroup {
    /// Calls `each` with every entry that is in memory until it fails.
    ///
    /// # Errors
    /// That of `each`.
    pub fn try_for_each<E>(&self, mut each: impl FnMut(Entry<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Pages(pages, layout) => pages.cells(*layout).try_for_each(|cell| each(cell.entry())),
            Self::Sorted { run, .. } => run.iter().try_for_each(each),
            Self::Below => Ok(()),
        }
    }

    /// Calls `each` with what was changed in memory after the epoch `since`, or with everything that is in memory and all deletions that
    /// are noted (`None`), until it fails: in order for sorted maps, in no order otherwise.
    ///
    /// # Errors
    /// That of `each`.
    pub fn try_for_each_changed<'a, E>(
        &'a self,
        since: Option<u32>,
        mut each: impl FnMut(Changed<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Pages(pages, layout) => pages.changed(*layout, since).try_for_each(|view| {
                let entry = view.entry();
                each(match view.suffix() {
                    None => Changed::whole(entry, !view.is_present()),
                    Some(segments) => Changed {
                        entry: Entry { value: &[], ..entry },
                        deleted: false,
                        appended: Some(since.map_or(segments, |since| segments.after(since))),
                    },
                })
            }),
            Self::Sorted { run, deleted } => {
                let mut deleted = deleted.changed(since).peekable();
                let mut each = |entry, deleted| each(Changed::whole(entry, deleted));
                for entry in run.changed(since) {
                    let address = Address::of_entry(&entry);
                    while let Some(entry) = deleted.next_if(|deleted| Address::of_entry(deleted) < address) {
                        each(entry, true)?;
                    }
                    each(entry, false)?;
                }
                deleted.try_for_each(|entry| each(entry, true))
            }
            Self::Below => Ok(()),
        }
    }
}
