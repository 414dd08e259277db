//! Writes a frozen table in the canonical form, group by group.

use super::live::for_each_live;
use crate::kinds::{Counters, FrozenGroup};
use crate::lower::LowerLayer;
use millpond_backend_api::canonical::{CanonicalWriter, EntryShape, Totals};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, KeyGroupRange, SnapshotHandle, SnapshotStreams,
    SnapshotWriter, StateDescriptor,
};

/// A state as it was at the snapshot.
#[derive(Debug)]
pub struct FrozenState {
    /// The state.
    pub descriptor: StateDescriptor,
    /// What each group comes to, in the order of the groups.
    pub counters: Vec<Counters>,
    /// What lies below the state.
    pub lower: LowerLayer,
    /// The entries of each group.
    pub groups: Vec<FrozenGroup>,
    /// What time it was for a state with a TTL, as far as was told; 0 before.
    pub now_ms: u64,
}

/// Writes the states of a subtask as they were at the snapshot, those in memory and those below, in the canonical form.
#[derive(Debug)]
pub struct TableWriter {
    range: KeyGroupRange,
    states: Vec<FrozenState>,
}

impl TableWriter {
    /// A writer of `states`, each with one entry in its columns for every group of `range`. What lies below them stays as it is until the writer is done.
    #[must_use]
    pub fn new(range: KeyGroupRange, states: Vec<FrozenState>) -> Self {
        Self { range, states }
    }
}

impl FrozenState {
    /// Whether a cell with the bytes `value` has expired, and is to be left out of snapshots that stand alone.
    #[inline]
    #[must_use]
    pub fn leaves_out(&self, value: &[u8]) -> bool {
        let StateDescriptor { ttl, kind, .. } = self.descriptor;
        ttl.in_snapshots && ttl.has_cell_expired(kind, value, self.now_ms)
    }

    /// Counts what is left of each group of `range` if what has expired is [left out](Self::leaves_out): goes through all groups, of states that want that
    /// only. To be called before the groups are written, and only for a snapshot on which no other one builds.
    ///
    /// # Errors
    /// Those of the lower layer.
    pub fn count_what_is_left(&mut self, range: KeyGroupRange) -> BackendResult<()> {
        if !self.descriptor.ttl.in_snapshots || self.descriptor.ttl.is_none() {
            return Ok(());
        }
        let shape = EntryShape::of(&self.descriptor);
        let mut counters = Vec::new();
        for ((group, frozen), counted) in range.iter().zip(&self.groups).zip(&self.counters) {
            let mut left = Counters::default();
            let below = self.lower.as_deref();
            for_each_live(frozen, self.descriptor.kind, *counted, group, below, |entry| {
                if !self.leaves_out(entry.value) {
                    let (key, namespace) = (entry.key.len(), entry.namespace.len());
                    left.cells += 1;
                    left.encoded_bytes +=
                        shape.encoded_bytes(key, namespace, entry.map_key.len(), entry.value.len());
                }
                Ok(())
            })?;
            counters.push(left);
        }
        self.counters = counters;
        Ok(())
    }

    /// The bytes of all entries, as snapshots count them.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        self.counters.iter().map(|group| group.encoded_bytes).sum()
    }
}

impl SnapshotWriter for TableWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        for state in &mut self.states {
            streams.check_cancelled()?;
            state.count_what_is_left(self.range)?;
        }
        let descriptors = self.states.iter().map(|state| state.descriptor.clone()).collect();
        let sizes = self.states.iter().map(FrozenState::encoded_bytes).collect();
        let mut writer = CanonicalWriter::new(streams, self.range, descriptors).with_exact_sizes(sizes);
        for (index, group) in self.range.iter().enumerate() {
            for (number, state) in self.states.iter_mut().enumerate() {
                let counters = state.counters.get(index).copied().unwrap_or_default();
                let Some(frozen) = state.groups.get_mut(index) else {
                    continue;
                };
                if counters.cells == 0 {
                    continue;
                }
                // What was written need not be held any longer, and pages that were copied to be read least of all.
                let frozen = std::mem::replace(frozen, FrozenGroup::Below);
                let state = &*state;
                let below = state.lower.as_deref();
                // What is left out lies there, too.
                let all = Counters {
                    cells: u64::MAX,
                    ..counters
                };
                let counted = if state.descriptor.ttl.in_snapshots {
                    all
                } else {
                    counters
                };
                let mut write = || {
                    writer.begin(number, group)?;
                    for_each_live(&frozen, state.descriptor.kind, counted, group, below, |entry| {
                        if state.leaves_out(entry.value) {
                            return Ok(());
                        }
                        writer.entry(&entry)
                    })?;
                    check(writer.end()?, counters)
                };
                write().map_err(|error| {
                    error.context(format!("state {:?}, key group {group}", state.descriptor.name))
                })?;
            }
        }
        // What was written need not be held any longer, however long the writer is kept.
        self.states.clear();
        writer.finish()
    }
}

/// An error if a group came to something else than was counted.
///
/// # Errors
/// [`BackendErrorKind::Other`].
pub fn check(found: Totals, counted: Counters) -> BackendResult<()> {
    if found.entries == counted.cells && found.bytes == counted.encoded_bytes {
        return Ok(());
    }
    Err(BackendError::new(
        BackendErrorKind::Other,
        format!(
            "wrote {} entries of {} bytes where {} entries of {} bytes were counted: the table has a defect, or a batch was ended with absent values \
             that its caller denied",
            found.entries, found.bytes, counted.cells, counted.encoded_bytes
        ),
    ))
}
