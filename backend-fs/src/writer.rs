//! Writes the next file of a chain: a base with everything, or a delta with what was changed since an epoch.

mod output;
mod section;

use crate::chain::{Chain, ChainFile, Next, Own};
use crate::file::{FORMAT, SnapshotFile};
use crate::payload::{Layer, Payload};
use crate::restore::Opener;
use millpond_backend_api::{
    BackendResult, KeyGroupRange, SnapshotHandle, SnapshotStreams, SnapshotWriter, StreamHint,
};
use millpond_backend_memory::kinds::FrozenGroup;
use millpond_backend_memory::snapshot::{FrozenState, TableWriter};
use output::{LazyFile, WrittenFile};
use std::sync::{Arc, OnceLock};

/// What the writer of a snapshot leaves for the subtask.
#[derive(Debug, Default)]
pub(crate) struct WrittenChain {
    /// Its files.
    pub(crate) chain: Chain,
    /// The file that was written, open, if that was asked for.
    pub(crate) opened: Option<Arc<SnapshotFile>>,
}

/// Where the writer leaves it, once it is done.
pub(crate) type Written = Arc<OnceLock<WrittenChain>>;

/// How a file is written.
#[derive(Clone, Debug)]
pub(crate) struct How {
    /// Later snapshots may name the file.
    pub(crate) shared: bool,
    /// The file is compressed.
    pub(crate) compressed: bool,
    /// The last epoch whose changes the file has.
    pub(crate) to: u32,
    /// By which the file is to be opened again when it is written.
    pub(crate) reopen: Option<Arc<Opener>>,
}

/// The asynchronous part of a snapshot.
#[derive(Debug)]
pub enum FsWriter {
    /// In the form of chains of files.
    Chain(ChainWriter),
    /// In the canonical form.
    Canonical(TableWriter),
}

impl SnapshotWriter for FsWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        match self {
            Self::Chain(writer) => writer.write(streams),
            Self::Canonical(writer) => writer.write(streams),
        }
    }
}

/// Writes the next file of a chain.
#[derive(Debug)]
pub struct ChainWriter {
    range: KeyGroupRange,
    states: Vec<FrozenState>,
    next: Next,
    how: How,
    written: Written,
}

impl ChainWriter {
    /// A writer of `states`, the tables of `range` as they were when epoch `how.to` ended. `written` gets the chain.
    pub(crate) fn new(
        range: KeyGroupRange,
        states: Vec<FrozenState>,
        next: Next,
        how: How,
        written: Written,
    ) -> Self {
        Self {
            range,
            states,
            next,
            how,
            written,
        }
    }

    fn handle(&self, chain: &Chain, new_bytes: u64) -> SnapshotHandle {
        let files = chain.files();
        let layers = chain.0.iter().filter_map(|layer| {
            let file = files.iter().position(|file| file.token == layer.file.token)?;
            Some(Layer {
                file: u32::try_from(file).ok()?,
                base: layer.base,
                groups: layer.groups,
                plain_bytes: layer.plain_bytes,
                directory_crc32: layer.directory_crc32,
            })
        });
        let payload = Payload {
            states: self.states.iter().map(|state| state.descriptor.clone()).collect(),
            layers: layers.collect(),
        };
        SnapshotHandle {
            key_groups: self.range,
            format: FORMAT.into(),
            payload: payload.to_bytes().into(),
            files: files.into(),
            state_bytes: self.states.iter().map(FrozenState::encoded_bytes).sum(),
            new_bytes,
        }
    }

    fn hint(&self) -> StreamHint {
        let largest = self.states.iter().max_by_key(|state| state.encoded_bytes());
        // The size of a delta, and of what is compressed, is known only when it is written.
        let is_known = self.next.since.is_none() && !self.how.compressed;
        let expected = is_known
            .then(|| section::base_bytes(self.range, &self.states))
            .flatten();
        StreamHint {
            state: largest
                .map(|state| state.descriptor.name.clone())
                .unwrap_or_default(),
            expected_bytes: expected.into(),
            shared: self.how.shared,
        }
    }

    /// Whether what has expired is left out of a state's entries: where nothing builds on the file, and nothing lies below the state whose counts would
    /// have to be right.
    fn leaves_out_expired(&self, state: &FrozenState) -> bool {
        !self.how.shared && self.next.since.is_none() && state.lower.is_none()
    }

    /// Writes the file, unless there is nothing to write.
    fn write_file(&mut self, streams: &SnapshotStreams) -> BackendResult<Option<WrittenFile>> {
        let descriptors: Vec<_> = self.states.iter().map(|state| state.descriptor.clone()).collect();
        let leaves_out: Vec<bool> = self
            .states
            .iter()
            .map(|state| self.leaves_out_expired(state))
            .collect();
        for (state, _) in self.states.iter_mut().zip(&leaves_out).filter(|(_, out)| **out) {
            streams.check_cancelled()?;
            state.count_what_is_left(self.range)?;
        }
        // Known once, and before any group is given up.
        let hint = self.hint();
        let hint = || hint.clone();
        let mut file = LazyFile::new(streams, &hint, &descriptors, self.how.compressed);
        for (index, group) in self.range.iter().enumerate() {
            for (number, state) in self.states.iter_mut().enumerate() {
                streams.check_cancelled()?;
                let mut section = file.section(u32::try_from(number).unwrap_or(u32::MAX), group);
                section::write(
                    &mut section,
                    state,
                    index,
                    self.next.since,
                    leaves_out.get(number) == Some(&true),
                )
                .map_err(|error| {
                    error.context(format!("state {:?}, key group {group}", state.descriptor.name))
                })?;
                // What was written need not be held any longer, and pages that were copied to be read least of all.
                if let Some(frozen) = state.groups.get_mut(index) {
                    *frozen = FrozenGroup::Below;
                }
            }
        }
        streams.check_cancelled()?;
        file.finish()
    }
}

impl SnapshotWriter for ChainWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        streams.check_cancelled()?;
        let file = self.write_file(streams)?;
        let mut chain = std::mem::take(&mut self.next.kept);
        let new_bytes = file.as_ref().map_or(0, |written| written.file.size);
        let mut opened = None;
        if let Some(WrittenFile {
            file,
            plain_bytes,
            directory_crc32,
        }) = file
        {
            let layer = ChainFile {
                file,
                plain_bytes,
                directory_crc32,
                groups: self.range,
                base: self.next.since.is_none(),
                own: Some(Own {
                    to: self.how.to,
                    weight: self.next.weight,
                }),
            };
            let opener = self.how.reopen.as_ref();
            // If it cannot be opened, the next restore will find out; this snapshot is as good as it can be made.
            opened = opener.and_then(|opener| opener.open(&layer).ok());
            chain.0.push(layer);
        }
        let handles = if self.states.is_empty() {
            Vec::new()
        } else {
            vec![self.handle(&chain, new_bytes)]
        };
        // What was written need not be held any longer, however long the writer is kept.
        self.states.clear();
        // Nobody else sets it.
        let _ = self.written.set(WrittenChain { chain, opened });
        Ok(handles)
    }
}
