//! What lies below the tables of a state, and how much of it lies only there.

use super::Counters;
use crate::lower::{Lower, LowerLayer};
use crate::table::Parts;
use millpond_backend_api::{BackendResult, KeyGroup, KeyGroupRange};
use std::borrow::Cow;
use std::sync::Arc;

/// What lies below a state with tables. Groups are named by their index in the state's range.
#[derive(Debug)]
pub(super) struct Below {
    first: KeyGroup,
    layer: LowerLayer,
    is_costly: bool,
    /// How many cells of each group lie only below: its table neither has them nor notes them as deleted. A group without any is never asked
    /// for below, so that a working set that fits in memory costs what it costs there. Never too few, see the [module](super).
    missing: Vec<u64>,
    /// The groups of which there may be more only below than is counted: they are asked for in any case.
    uncertain: Vec<bool>,
}

/// What lies below one group.
#[derive(Debug)]
pub(super) struct GroupBelow<'a> {
    layer: &'a dyn Lower,
    group: KeyGroup,
    is_costly: bool,
    missing: &'a mut u64,
}

impl Below {
    /// Nothing below the groups of `range`.
    pub(super) fn nothing(range: KeyGroupRange) -> Self {
        Self {
            first: range.first,
            layer: None,
            is_costly: false,
            missing: vec![0; range.len()],
            uncertain: vec![false; range.len()],
        }
    }

    /// Puts the state, which is empty, over `layer`, whose groups come to `counters`.
    pub(super) fn put_over(&mut self, layer: LowerLayer, counters: &[Counters]) {
        self.missing = counters.iter().map(|group| group.cells).collect();
        self.replace(layer);
    }

    /// Takes `layer`, which has the same of what lies only below.
    pub(super) fn replace(&mut self, layer: LowerLayer) {
        self.is_costly = layer.as_ref().is_some_and(|layer| layer.is_costly());
        self.layer = layer;
    }

    pub(super) fn layer(&self) -> &LowerLayer {
        &self.layer
    }

    pub(super) fn is_costly(&self) -> bool {
        self.is_costly
    }

    /// The layer, to be asked for other groups too, if something of the group `index` lies only there; and the group.
    pub(super) fn layer_of(&self, index: usize) -> Option<(&Arc<dyn Lower>, KeyGroup)> {
        let layer = self.layer.as_ref()?;
        let missing = *self.missing.get(index)?;
        (missing > 0 || self.is_uncertain(index)).then(|| (layer, super::group_at(self.first, index)))
    }

    /// What lies below the group `index`, if something of it lies only there.
    #[inline]
    pub(super) fn of(&mut self, index: usize) -> Option<GroupBelow<'_>> {
        let layer = self.layer.as_deref()?;
        let is_uncertain = self.is_uncertain(index);
        let missing = self.missing.get_mut(index);
        let missing = missing.filter(|missing| **missing > 0 || is_uncertain)?;
        Some(GroupBelow {
            layer,
            group: super::group_at(self.first, index),
            is_costly: self.is_costly,
            missing,
        })
    }

    /// Whether there may be more of the group `index` only below than is counted.
    #[inline]
    fn is_uncertain(&self, index: usize) -> bool {
        self.uncertain.get(index).copied().unwrap_or(false)
    }

    /// Whether that is so for any group.
    pub(super) fn any_uncertain(&self) -> bool {
        self.uncertain.contains(&true)
    }

    /// There may be more of the group `index` only below from now on than is counted.
    pub(super) fn doubt(&mut self, index: usize) {
        if let Some(place) = self.uncertain.get_mut(index) {
            *place = true;
        }
    }

    /// The same for all groups.
    pub(super) fn doubt_all(&mut self) {
        self.uncertain.fill(true);
    }

    /// Sets how many cells of the group `index` lie only below, after they were counted.
    pub(super) fn set_missing(&mut self, index: usize, cells: u64) {
        if let Some(place) = self.uncertain.get_mut(index) {
            *place = false;
        }
        if let Some(missing) = self.missing.get_mut(index) {
            *missing = cells;
        }
    }

    /// A cell of the group `index` that lay only below is now in the table, or noted there as deleted.
    pub(super) fn took(&mut self, index: usize) {
        if let Some(below) = self.of(index) {
            below.took_one();
        }
    }

    /// Cells of the group `index` lie only below from now on: they were evicted.
    pub(super) fn add_missing(&mut self, index: usize, cells: u64) {
        if let Some(missing) = self.missing.get_mut(index) {
            *missing = missing.saturating_add(cells);
        }
    }
}

impl<'a> GroupBelow<'a> {
    /// The value of an entry.
    pub(super) fn get(&self, parts: &Parts<'_>) -> BackendResult<Option<Cow<'a, [u8]>>> {
        self.layer.get(self.group, parts)
    }

    pub(super) fn is_costly(&self) -> bool {
        self.is_costly
    }

    /// Whether something may be appended to an entry that was not looked at.
    pub(super) fn takes_suffix_of(&self, parts: &Parts<'_>) -> bool {
        self.layer.takes_suffixes() && self.layer.may_have(self.group, parts)
    }

    /// As [`Lower::get_as_of`].
    pub(super) fn get_as_of(&self, parts: &Parts<'_>) -> BackendResult<(Option<Cow<'a, [u8]>>, u32)> {
        self.layer.get_as_of(self.group, parts)
    }

    /// A cell that lay only below is now in the table, or noted there as deleted.
    pub(super) fn took_one(self) {
        // A count that came from a damaged file may be too small.
        *self.missing = self.missing.saturating_sub(1);
    }
}
