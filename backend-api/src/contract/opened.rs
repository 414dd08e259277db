//! An open keyed state, with calls that fail the scenario where the backend reports an error.

use super::cells::{Address, Keys};
use super::faults::Faults;
use super::slots;
use super::storage::Storage;
use crate::abi::{KeyedObject, WriterObject};
use crate::backend::CheckpointEvent;
use crate::error::BackendResult;
use crate::key_group::{KeyGroup, KeyGroupRange};
use crate::snapshot::{SnapshotForm, SnapshotHandle, SnapshotRequest};
use crate::state::{EntryBuffer, StateDescriptor, StateId, StateKind};
use std::path::PathBuf;

/// Which subtask a keyed state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The subtask, `0 .. parallelism`.
    pub subtask: u32,
    /// The operator's parallelism.
    pub parallelism: u32,
    /// The number of key groups.
    pub max_parallelism: u32,
}

impl Shape {
    /// The only subtask, with all groups.
    pub const ALONE: Self = Self::of(0, 1);

    /// Subtask `subtask` of `parallelism`, with [`GROUPS`](super::GROUPS) groups over all.
    #[must_use]
    pub const fn of(subtask: u32, parallelism: u32) -> Self {
        Self {
            subtask,
            parallelism,
            max_parallelism: super::GROUPS,
        }
    }

    /// Every subtask of `parallelism`.
    pub fn all(parallelism: u32) -> impl Iterator<Item = Self> {
        (0..parallelism).map(move |subtask| Self::of(subtask, parallelism))
    }

    /// The key groups of the subtask.
    #[must_use]
    pub fn range(&self) -> KeyGroupRange {
        KeyGroupRange::of_subtask(self.subtask, self.parallelism, self.max_parallelism).unwrap()
    }
}

/// The keyed state of a subtask.
pub struct Opened {
    keyed: KeyedObject,
    shape: Shape,
    local_dir: PathBuf,
    next_checkpoint: u64,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// The writer of a snapshot with the request that it is for.
pub struct PendingSnapshot {
    writer: WriterObject,
    request: SnapshotRequest,
}

impl std::fmt::Debug for PendingSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.request.fmt(f)
    }
}

/// What came of the attempt to write a snapshot.
#[derive(Debug)]
pub struct Written {
    /// The handles, or the writer's error.
    pub result: BackendResult<Vec<SnapshotHandle>>,
    /// Whether the operation that was to fail was reached.
    pub fault_was_reached: bool,
    /// The bytes that were written after the snapshot had been cancelled.
    pub bytes_after_cancel: u64,
}

impl PendingSnapshot {
    /// The checkpoint that the snapshot is for.
    #[must_use]
    pub fn checkpoint_id(&self) -> u64 {
        self.request.checkpoint_id
    }

    /// Runs the writer and does what the engine does then: keep the files, or delete them after an error.
    #[track_caller]
    pub fn write_with(mut self, storage: &Storage, faults: Faults) -> Written {
        let (attempt, streams) = storage.attempt(self.request.checkpoint_id, faults);
        let result = self.writer.write(&streams).into_result();
        drop(self.writer);
        match &result {
            Ok(handles) => {
                storage.check_handles(&attempt, self.request.may_share, handles);
            }
            Err(_) => storage.delete_attempt(&attempt),
        }
        Written {
            result: result.map(Vec::from),
            fault_was_reached: attempt.has_failed(),
            bytes_after_cancel: attempt.bytes_after_cancel(),
        }
    }

    /// Runs the writer, which must not fail.
    #[track_caller]
    pub fn write(self, storage: &Storage) -> Vec<SnapshotHandle> {
        match self.write_with(storage, Faults::default()).result {
            Ok(handles) => handles,
            Err(error) => panic!("writing a snapshot failed: {error:?}"),
        }
    }
}

/// Turns an error of the backend into a failure of the scenario.
#[track_caller]
fn sure<T>(call: &str, result: BackendResult<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{call} failed: {error:?}"),
    }
}

impl Opened {
    pub(super) fn new(keyed: KeyedObject, shape: Shape, local_dir: PathBuf) -> Self {
        Self {
            keyed,
            shape,
            local_dir,
            next_checkpoint: 1,
        }
    }

    /// The object, for calls that are meant to fail.
    pub fn object(&mut self) -> &mut KeyedObject {
        &mut self.keyed
    }

    /// The key groups.
    #[must_use]
    pub fn range(&self) -> KeyGroupRange {
        self.shape.range()
    }

    /// Lets checkpoints count on from `checkpoint_id`, as after a restore.
    #[must_use]
    pub fn counting_from(mut self, checkpoint_id: u64) -> Self {
        self.next_checkpoint = checkpoint_id;
        self
    }

    /// Closes the keyed state; nothing of it may be left on the disk.
    #[track_caller]
    pub fn close(self) {
        drop(self.keyed);
        assert!(
            !self.local_dir.exists(),
            "the local folder is still there after the keyed state was closed"
        );
    }

    /// Registers a state with an empty codec.
    #[track_caller]
    pub fn register(&mut self, name: &str, kind: StateKind, value_width: u32) -> StateId {
        self.register_as(&StateDescriptor::new(name, kind, value_width))
    }

    /// Registers a state.
    #[track_caller]
    pub fn register_as(&mut self, descriptor: &StateDescriptor) -> StateId {
        sure("register", self.keyed.register(descriptor).into_result())
    }

    /// Every state, by name.
    #[track_caller]
    pub fn states(&mut self) -> Vec<StateDescriptor> {
        let mut states = Vec::from(sure("states", self.keyed.states().into_result()));
        states.sort_by(|left, right| left.name.cmp(&right.name));
        states
    }

    /// The value of a cell.
    #[track_caller]
    pub fn get(&mut self, state: StateId, address: &Address) -> Option<Vec<u8>> {
        sure("get", self.keyed.get(state, &address.cell()).into_result())
            .into_option()
            .map(|value| value.to_vec())
    }

    /// Sets a cell.
    #[track_caller]
    pub fn put(&mut self, state: StateId, address: &Address, value: &[u8]) {
        sure(
            "put",
            self.keyed.put(state, &address.cell(), value.into()).into_result(),
        );
    }

    /// Removes a cell and tells whether there was one.
    #[track_caller]
    pub fn delete(&mut self, state: StateId, address: &Address) -> bool {
        sure("delete", self.keyed.delete(state, &address.cell()).into_result())
    }

    /// Appends to a list.
    #[track_caller]
    pub fn append(&mut self, state: StateId, address: &Address, element: &[u8]) {
        sure(
            "append",
            self.keyed
                .append(state, &address.cell(), element.into())
                .into_result(),
        );
    }

    /// Map keys and values of the map at `address`: a sorted map's within `address.map_key .. to`, at most `limit` (0: all).
    #[track_caller]
    pub fn scan(
        &mut self,
        state: StateId,
        address: &Address,
        to: &[u8],
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = EntryBuffer::new();
        sure(
            "scan",
            self.keyed
                .scan(state, &address.cell(), to.into(), limit, &mut entries)
                .into_result(),
        );
        entries
            .iter()
            .map(|entry| {
                assert_eq!(
                    (entry.key, entry.namespace),
                    (&address.key[..], &address.namespace[..]),
                    "a scan gave an entry of another map"
                );
                (entry.map_key.to_vec(), entry.value.to_vec())
            })
            .collect()
    }

    /// Empties a map and tells how many entries it had.
    #[track_caller]
    pub fn clear_map(&mut self, state: StateId, address: &Address) -> u64 {
        sure(
            "clear_map",
            self.keyed.clear_map(state, &address.cell()).into_result(),
        )
    }

    /// Every cell of a state in a key group, in the order in which the backend gives them.
    #[track_caller]
    pub fn visit(&mut self, state: StateId, group: KeyGroup) -> Vec<(Address, Vec<u8>)> {
        sure("visit", self.try_visit(state, group))
    }

    /// Every cell of a state in a key group, or why not.
    ///
    /// # Errors
    /// The backend's.
    pub fn try_visit(&mut self, state: StateId, group: KeyGroup) -> BackendResult<Vec<(Address, Vec<u8>)>> {
        let mut entries = EntryBuffer::new();
        self.keyed.visit(state, group, &mut entries).into_result()?;
        Ok(entries
            .iter()
            .map(|entry| {
                let address = Address {
                    group: group.0,
                    key: entry.key.to_vec(),
                    namespace: entry.namespace.to_vec(),
                    map_key: entry.map_key.to_vec(),
                };
                (address, entry.value.to_vec())
            })
            .collect())
    }

    /// How many cells a state has.
    #[track_caller]
    pub fn count(&mut self, state: StateId) -> u64 {
        sure("len", self.keyed.count(state).into_result())
    }

    /// Tells what time it is for a state with a TTL, and that so many cells may be looked at. Returns how many were removed.
    #[track_caller]
    pub fn clean_up(&mut self, state: StateId, now_ms: u64, cells: u64) -> u64 {
        sure(
            "clean_up",
            self.keyed.clean_up(state, now_ms, cells).into_result(),
        )
    }

    /// Tells which keys come next.
    pub fn prefetch(&mut self, state: StateId, keys: &Keys) {
        self.keyed.prefetch(state, &keys.batch());
    }

    /// A batch of updates through slots: `update` gets the index of each key and its value, absent or not, and changes it. Returns how many
    /// keys the backend said to be absent at the start.
    #[track_caller]
    pub fn update(
        &mut self,
        state: StateId,
        keys: &Keys,
        width: usize,
        update: impl FnMut(usize, &mut Option<Vec<u8>>),
    ) -> u64 {
        sure(
            "a batch of slots",
            slots::update(&mut self.keyed, state, keys, width, update),
        )
    }

    /// Updates through slots that are kept beyond their batch, after `meanwhile`: for backends whose slots are stable.
    #[track_caller]
    pub fn update_kept(
        &mut self,
        state: StateId,
        keys: &Keys,
        width: usize,
        meanwhile: &Keys,
        mut update: impl FnMut(usize, &mut Option<Vec<u8>>),
    ) {
        let between = |keyed: &mut KeyedObject| {
            sure(
                "a batch in between",
                slots::update(keyed, state, meanwhile, width, |_, value| {
                    *value = Some(vec![9; width]);
                }),
            );
        };
        sure(
            "an update through kept slots",
            slots::update_kept(&mut self.keyed, state, keys, width, between, |_| (), &mut update),
        );
    }

    /// The same, with so many entries put into the map `other` before the slots are used again, and as many while they are in use.
    #[track_caller]
    pub fn update_kept_beside(
        &mut self,
        state: StateId,
        keys: &Keys,
        width: usize,
        other: (StateId, &[Address]),
        mut update: impl FnMut(usize, &mut Option<Vec<u8>>),
    ) {
        let put = |keyed: &mut KeyedObject| {
            for address in other.1 {
                let done = keyed.put(other.0, &address.cell(), (&[7; 40][..]).into());
                sure("a put into another state", done.into_result());
            }
        };
        sure(
            "an update through kept slots",
            slots::update_kept(&mut self.keyed, state, keys, width, put, put, &mut update),
        );
    }

    /// The synchronous part of a snapshot that may use files of earlier ones.
    #[track_caller]
    pub fn begin_snapshot(&mut self) -> PendingSnapshot {
        self.begin_snapshot_that(true)
    }

    /// The synchronous part of a snapshot in the backend's own form.
    #[track_caller]
    pub fn begin_snapshot_that(&mut self, may_share: bool) -> PendingSnapshot {
        self.begin(may_share, SnapshotForm::Native)
    }

    /// The synchronous part of a canonical snapshot.
    #[track_caller]
    pub fn begin_canonical(&mut self) -> PendingSnapshot {
        self.begin(false, SnapshotForm::Canonical)
    }

    #[track_caller]
    fn begin(&mut self, may_share: bool, form: SnapshotForm) -> PendingSnapshot {
        let request = SnapshotRequest {
            checkpoint_id: self.next_checkpoint,
            may_share,
            form,
        };
        self.next_checkpoint += 1;
        let writer = sure("snapshot", self.keyed.snapshot(&request).into_result());
        PendingSnapshot { writer, request }
    }

    /// A whole snapshot.
    #[track_caller]
    pub fn snapshot(&mut self, storage: &Storage) -> Vec<SnapshotHandle> {
        self.begin_snapshot().write(storage)
    }

    /// Tells what became of a checkpoint.
    #[track_caller]
    pub fn notify(&mut self, storage: &Storage, checkpoint_id: u64, event: CheckpointEvent) {
        if event == CheckpointEvent::Completed {
            storage.note_completed(checkpoint_id);
        }
        sure("notify", self.keyed.notify(checkpoint_id, event).into_result());
    }

    /// The number that the next checkpoint will have.
    #[must_use]
    pub fn next_checkpoint(&self) -> u64 {
        self.next_checkpoint
    }
}
