//! What goes through all of a state: visits, counts, evictions and snapshots.

use super::{OVERHEAD_BYTES, ValueState, rebuild};
use crate::kinds::evict::evictable;
use crate::kinds::suffix::together;
use crate::kinds::{Counters, FrozenGroup};
use crate::table::{Layout, Parts, SnapshotEra, index_of};
use millpond_backend_api::{BackendResult, Entry, KeyGroup};

impl ValueState {
    pub(in crate::kinds) fn visit(
        &self,
        group: KeyGroup,
        mut each: impl FnMut(Entry<'_>),
    ) -> BackendResult<()> {
        let index = self.index_of(group);
        let Some(table) = self.tables.get(index) else {
            return Ok(());
        };
        let below = self.below.layer_of(index);
        for cell in table.cells(self.layout) {
            match (cell.suffix(), &below) {
                (Some(segments), Some((layer, group))) => {
                    let entry = cell.entry();
                    let (base, up_to) = layer.get_as_of(*group, &Parts::of_value(&entry))?;
                    if let Some(value) = together(base.as_deref(), segments.after(up_to)) {
                        each(Entry {
                            value: &value,
                            ..entry
                        });
                    }
                }
                _ => each(cell.entry()),
            }
        }
        let Some((layer, _)) = below else {
            return Ok(());
        };
        layer.visit(group, &mut |entry| {
            if table.find(self.layout, &Parts::of_value(&entry)).is_none() {
                each(entry);
            }
            Ok(())
        })
    }

    pub(in crate::kinds) fn recount(&mut self) -> BackendResult<()> {
        for index in 0..self.tables.len() {
            let (Some(table), Some((layer, group))) = (self.tables.get(index), self.below.layer_of(index))
            else {
                continue;
            };
            let shape = self.shape;
            let bytes = |entry: &Entry<'_>| {
                shape.encoded_bytes(entry.key.len(), entry.namespace.len(), 0, entry.value.len())
            };
            let mut counters = Counters::default();
            let (mut suffixes, mut below_suffixes) = (0, 0);
            for cell in table.cells(self.layout) {
                let entry = cell.entry();
                let Some(segments) = cell.suffix() else {
                    counters.add(bytes(&entry));
                    continue;
                };
                let (base, up_to) = layer.get_as_of(group, &Parts::of_value(&entry))?;
                suffixes += 1;
                below_suffixes += u64::from(base.is_some());
                if let Some(value) = together(base.as_deref(), segments.after(up_to)) {
                    counters.add(bytes(&Entry {
                        value: &value,
                        ..entry
                    }));
                }
            }
            let in_table = counters.cells;
            layer.visit(group, &mut |entry| {
                if table.find(self.layout, &Parts::of_value(&entry)).is_none() {
                    counters.add(bytes(&entry));
                }
                Ok(())
            })?;
            // The beginnings of suffixes lie only there, too.
            self.below
                .set_missing(index, counters.cells - in_table + below_suffixes);
            if suffixes > 0 {
                self.below.doubt(index);
            }
            if let Some(place) = self.counters.get_mut(index) {
                *place = counters;
            }
        }
        Ok(())
    }

    pub(in crate::kinds) fn evict(&mut self, group: usize, up_to: u32) -> usize {
        let layout = self.layout;
        let Some(table) = self.tables.get_mut(group) else {
            return 0;
        };
        let Some(evictable) = evictable(table, layout, up_to) else {
            return 0;
        };
        let before = table.bytes();
        self.moves += 1;
        rebuild(table, layout, evictable.kept, |entry| entry.epoch() > up_to);
        let entries = index_of(evictable.cells + evictable.suffixes) + evictable.absent;
        let overhead = OVERHEAD_BYTES * entries;
        self.footprint = self.footprint.saturating_sub(overhead + evictable.bytes);
        self.below.add_missing(group, evictable.cells);
        if evictable.suffixes > 0 {
            self.below.doubt(group);
        }
        before.saturating_sub(table.bytes())
    }

    pub(in crate::kinds) fn freeze(&mut self, era: &SnapshotEra) -> Vec<FrozenGroup> {
        // What is written from now on goes to copies of the pages; and not every owner freezes in a snapshot that the engine knows of.
        self.moves += 1;
        let layout = self.layout;
        let in_place = matches!(layout, Layout::Fixed(_));
        self.tables
            .iter_mut()
            .map(|table| FrozenGroup::Pages(table.freeze(era, in_place), layout))
            .collect()
    }
}
