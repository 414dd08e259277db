//! The asynchronous part of a snapshot: changes into the databases, their checkpoints into the storage.

use crate::canonical;
use crate::payload::{Accuracy, FORMAT, NamedFile, Payload};
use crate::store::{Frozen, LocalCheckpoint, Store};
use crate::transfers::Transfers;
use crate::upload::{Known, Upload};
use millpond_backend_api::{
    BackendResult, KeyGroupRange, SnapshotForm, SnapshotHandle, SnapshotStreams, SnapshotWriter,
    StateDescriptor,
};
use millpond_backend_memory::kinds::Counters;
use std::sync::{Arc, OnceLock};

/// The files of a snapshot that later ones may name; set by its writer when it is done.
pub(crate) type Written = Arc<OnceLock<Known>>;

/// A state at the snapshot, without its entries.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) descriptor: StateDescriptor,
    /// What each group comes to, in the order of the groups.
    pub(crate) counters: Vec<Counters>,
    /// How near that is to the truth.
    pub(crate) accuracy: Accuracy,
    /// What time it was for a state with a TTL, as far as was told.
    pub(crate) now_ms: u64,
}

/// What a writer works with.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) form: SnapshotForm,
    pub(crate) store: Arc<Store>,
    pub(crate) range: KeyGroupRange,
    pub(crate) states: Vec<Outline>,
    /// The tables at the snapshot.
    pub(crate) frozen: Arc<Frozen>,
    /// Files of completed checkpoints that may be named.
    pub(crate) known: Arc<Known>,
    /// Whether later snapshots may name what is written.
    pub(crate) shared: bool,
    pub(crate) transfers: Transfers,
    pub(crate) written: Written,
}

/// The asynchronous part of a snapshot.
#[derive(Debug)]
pub struct RocksDbWriter(Option<Snapshot>);

impl RocksDbWriter {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(Some(snapshot))
    }
}

impl Outline {
    /// Whether a cell with the bytes `value` has expired, and is to be left out of snapshots that stand alone.
    pub(crate) fn leaves_out(&self, value: &[u8]) -> bool {
        let StateDescriptor { ttl, kind, .. } = self.descriptor;
        ttl.in_snapshots && ttl.has_cell_expired(kind, value, self.now_ms)
    }

    /// How near the counters are to what a snapshot that stands alone has.
    pub(crate) fn accuracy_alone(&self) -> Accuracy {
        let ttl = self.descriptor.ttl;
        if ttl.is_none() || !(ttl.in_snapshots || ttl.in_compactions) {
            return self.accuracy;
        }
        self.accuracy.max(Accuracy::AtMost)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.counters.iter().map(|group| group.encoded_bytes).sum()
    }
}

impl SnapshotWriter for RocksDbWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        streams.check_cancelled()?;
        // What was written need not be held any longer, however long the writer is kept.
        let Some(snapshot) = self.0.take() else {
            return Ok(Vec::new());
        };
        if snapshot.states.is_empty() {
            return Ok(Vec::new());
        }
        let check = || streams.check_cancelled();
        let checkpoints = snapshot.store.bring_in(&snapshot.frozen, &check)?;
        if snapshot.form == SnapshotForm::Canonical {
            return canonical::write(&snapshot, checkpoints, streams);
        }
        let mut known = Known::new();
        let mut handles = Vec::new();
        for checkpoint in &checkpoints {
            handles.push(snapshot.write(checkpoint, streams, &mut known)?);
        }
        streams.check_cancelled()?;
        // Nobody else sets it.
        let _ = snapshot.written.set(known);
        Ok(handles)
    }
}

impl Snapshot {
    fn write(
        &self,
        checkpoint: &LocalCheckpoint,
        streams: &SnapshotStreams,
        known: &mut Known,
    ) -> BackendResult<SnapshotHandle> {
        let largest = self.states.iter().max_by_key(|state| state.bytes());
        let upload = Upload {
            streams,
            state: largest.map_or("", |state| state.descriptor.name.as_str()),
            known: &self.known,
            shared: self.shared,
            transfers: &self.transfers,
            links: self.store.links(),
        };
        let uploaded = upload.run(checkpoint)?;
        let counters = |outline: &Outline| {
            let groups = self.range.iter().zip(&outline.counters);
            let groups = groups.filter(|(group, _)| checkpoint.part.groups.contains(*group));
            groups.map(|(_, counters)| *counters).collect::<Vec<_>>()
        };
        let named = uploaded.files.iter().map(|(name, file)| NamedFile {
            name: name.name.clone(),
            crc32: file.crc32,
        });
        let payload = Payload {
            states: self.states.iter().map(|state| state.descriptor.clone()).collect(),
            counters: self.states.iter().map(counters).collect(),
            accuracy: self.states.iter().map(|state| state.accuracy).collect(),
            files: named.collect(),
        };
        let state_bytes = payload
            .counters
            .iter()
            .flatten()
            .map(|group| group.encoded_bytes)
            .sum();
        let handle = SnapshotHandle {
            key_groups: checkpoint.part.groups,
            format: FORMAT.into(),
            payload: payload.to_bytes().into(),
            files: uploaded.files.iter().map(|(_, file)| file.clone()).collect(),
            state_bytes,
            new_bytes: uploaded.new_bytes,
        };
        known.extend(uploaded.files.into_iter().filter(|(_, file)| file.shared));
        Ok(handle)
    }
}
