//! Writes a frozen table in the canonical form, group by group.

use super::live::for_each_live;
use crate::kinds::{Counters, FrozenGroup};
use crate::lower::LowerLayer;
use millpond_backend_api::canonical::{CanonicalWriter, Totals};
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
    /// The bytes of all entries, as snapshots count them.
    #[must_use]
    pub fn encoded_bytes(&self) -> u64 {
        self.counters.iter().map(|group| group.encoded_bytes).sum()
    }
}

impl SnapshotWriter for TableWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
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
                let below = state.lower.as_deref();
                let mut write = || {
                    writer.begin(number, group)?;
                    for_each_live(&frozen, state.descriptor.kind, counters, group, below, |entry| {
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
