//! The traits that a state backend implements, in plain Rust. [`export`](crate::export) carries them over the boundary.
//!
//! A [`StateBackendFactory`] is found by name and makes a [`StateBackend`] from the configuration; the backend opens the [`KeyedState`] of
//! one operator subtask; the keyed state is used by one worker thread, batch by batch, and from time to time gives out a
//! [`SnapshotWriter`] that another thread runs.

use crate::error::{BackendError, BackendErrorKind, BackendResult};
use crate::key_group::KeyGroup;
use crate::slot::Slot;
use crate::snapshot::{OpenKeyed, SnapshotRequest, SnapshotWriter};
use crate::state::{Cell, EntryBuffer, KeyBatch, StateDescriptor, StateId};
use abi_stable::StableAbi;

/// Makes state backends of one kind. A library exports one or more.
///
/// # Contract
/// 1. A factory is cheap: it holds no files, threads or memory worth speaking of.
/// 2. Names do not change while it lives.
pub trait StateBackendFactory: Send + Sync + 'static {
    /// What the factory makes.
    type Backend: StateBackend;

    /// The fully qualified name, `vendor::Name`, such as `acme::RedbStateBackendFactory`. Compared as it is.
    fn name(&self) -> String;

    /// Short names for `state.backend`, in lower case. The built-in ones cannot be taken.
    fn short_names(&self) -> Vec<String>;

    /// The version of the backend, for logs and errors.
    fn version(&self) -> String;

    /// Makes a backend.
    ///
    /// # Errors
    /// [`BackendErrorKind::Configuration`] when a value is wrong, naming key, value and what was expected.
    fn create(&self, config: &BackendConfig) -> BackendResult<Self::Backend>;
}

/// The configuration as a backend sees it: every key of the files, of `-D` and of the program, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendConfig {
    values: std::collections::BTreeMap<String, String>,
}

impl BackendConfig {
    /// The text of `key`, if it is set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Every key with its text, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for BackendConfig {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

/// What a backend can do. The engine asks once and acts on it.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Fixed-width values have slots; else the engine gets and puts them.
    pub slots: bool,
    /// Slots that have a value stay good after their batch, until the next [`snapshot`](KeyedState::snapshot), the next call that removes
    /// cells of the state ([`end_batch`](KeyedState::end_batch) with `any_absent`, `delete`, `put`, or `clean_up` that removed some), or another
    /// [`slot_generation`](KeyedState::slot_generation). The engine then keeps those of hot keys and asks for the others only.
    pub stable_slots: bool,
    /// A snapshot can refer to files of earlier completed checkpoints.
    pub incremental: bool,
    /// Entries of plain maps are visited in the order of their map keys.
    pub ordered_iteration: bool,
    /// State may be larger than memory.
    pub larger_than_memory: bool,
}

/// A configured backend. Used by several threads at once.
pub trait StateBackend: Send + Sync + 'static {
    /// The keyed state of one subtask.
    type Keyed: KeyedState;

    /// What the backend can do.
    fn capabilities(&self) -> Capabilities;

    /// Opens the keyed state of one subtask, with everything in `open.restore` that lies in its key groups.
    ///
    /// # Errors
    /// The backend's; nothing is left of a failed attempt.
    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<Self::Keyed>;
}

/// What happened to a checkpoint.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckpointEvent {
    /// It is complete: its files may be used by later snapshots.
    Completed = 0,
    /// It will never be complete: to be treated as if it had not been asked for. No data may be dropped on account of it.
    Aborted = 1,
    /// A newer one took its place; its files may be deleted by the engine.
    Subsumed = 2,
}

/// The keyed state of one operator subtask.
///
/// # Contract
/// 1. One thread uses it. Calls come in any order that the following points allow.
/// 2. **Registration.** A state is registered before it is used, under a name and with the kind and width it is stored with; the same
///    name twice gives the same id. States may be registered while snapshots are being written. A restored state that nobody
///    registers stays, and goes into the next snapshot.
/// 3. **Cells.** A cell is what (state, key, namespace, and for maps map key) addresses; cells do not mix. Only key groups of the range
///    that was opened are used; another one is an error ([`BackendErrorKind::Misuse`]), never a panic.
/// 4. **Batches.** The engine may tell by [`prefetch`](Self::prefetch) which keys come next. It is a hint: every call works
///    without it, and keys outside the hint are legal.
/// 5. **Slots.** Between [`slots`](Self::slots) and [`end_batch`](Self::end_batch) of a state the engine accesses that state through the
///    slots only, which stay where they are; equal keys of the batch have one slot. Other states may be used in between. No snapshot
///    is taken in between. With [`stable_slots`](Capabilities::stable_slots) the engine may go on using slots that had a value at the end of
///    their batch, also while later batches of the same state are open, for as long as [`slot_generation`](Self::slot_generation) says the same.
/// 6. **Snapshots.** [`snapshot`](Self::snapshot) costs time in proportion to metadata, not to state. What its writer writes is the state at the call;
///    see [`SnapshotWriter`].
/// 7. **Errors** leave the state as it was before the call. A panic is caught at the boundary; from then on every call fails.
pub trait KeyedState: Send + 'static {
    /// The asynchronous part of a snapshot.
    type Writer: SnapshotWriter;

    /// Registers a state.
    ///
    /// # Errors
    /// [`BackendErrorKind::Incompatible`] when a state of this name is there with another kind or value width; the text names both.
    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId>;

    /// Every state that is there, restored or registered, with the codec that is stored with it (the last registered one, else the
    /// restored one). In no order.
    fn states(&self) -> Vec<StateDescriptor>;

    /// Tells that the cells of `keys` without namespace will be used soon.
    fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>);

    /// Gives in `slots` the place of each key's value of a fixed-width value state, without namespace. A key without a value gets a place
    /// whose flag says so. Returns how many such places there are, counting each key once.
    ///
    /// # Errors
    /// [`BackendErrorKind::Unsupported`] without the capability, [`BackendErrorKind::Misuse`] when the state has no fixed width, or the
    /// lengths of `keys` and `slots` differ.
    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64>;

    /// Takes the slots of `keys` back. `any_absent` is false if the engine knows that every slot has a value now; otherwise those
    /// without one are freed.
    ///
    /// # Errors
    /// The backend's own.
    fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: &[Slot],
        any_absent: bool,
    ) -> BackendResult<()>;

    /// The value of a cell; for a list its elements as they were appended, concatenated. The bytes are good until the next call.
    ///
    /// # Errors
    /// The backend's own.
    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>>;

    /// Sets the value of a cell; for a list all of its elements.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`] when a fixed-width state gets a value of another width.
    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()>;

    /// Removes a cell: a value, a list, or one entry of a map. Returns whether there was one.
    ///
    /// # Errors
    /// The backend's own.
    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool>;

    /// Appends `element` to the bytes of a list.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`] when the state is not a list.
    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()>;

    /// Appends to `entries` the entries of the map at (key, namespace) of `cell`, at most `limit` (0: all). A sorted map gives those
    /// whose map keys lie in `cell.map_key .. to` (`to` empty: to the end), in order; a plain map gives all, `cell.map_key` and `to` are
    /// without meaning.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`] when the state is no map.
    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()>;

    /// Removes all entries of the map at (key, namespace) of `cell`. Returns how many there were.
    ///
    /// # Errors
    /// [`BackendErrorKind::Misuse`] when the state is no map.
    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64>;

    /// Appends to `entries` every entry that the state has in `group`, in no order.
    ///
    /// # Errors
    /// The backend's own.
    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()>;

    /// How many cells the state has, over all groups.
    ///
    /// # Errors
    /// The backend's own.
    fn len(&mut self, state: StateId) -> BackendResult<u64>;

    /// The synchronous part of a snapshot.
    ///
    /// # Errors
    /// The backend's own; the checkpoint is declined.
    fn snapshot(&mut self, request: &SnapshotRequest) -> BackendResult<Self::Writer>;

    /// Tells what became of a checkpoint. May be skipped, and may come late.
    ///
    /// # Errors
    /// The backend's own; the attempt fails, the checkpoint stays what it is.
    fn notify(&mut self, checkpoint_id: u64, event: CheckpointEvent) -> BackendResult<()>;

    /// Figures for the metrics system: names in `snake_case` with their unit last, such as `table_bytes`.
    fn metrics(&self) -> Vec<(String, f64)>;

    /// With [`stable_slots`](Capabilities::stable_slots), what tells whether slots of the state that outlived their batch are still good: they are while it is
    /// what it was at the call before [`slots`](Self::slots) gave them out. The engine asks once a batch, before it uses any of them; it has to be cheap.
    ///
    /// A backend that moves or frees entries at other times than the capability names, as a cache that evicts does, changes it when it has done so. It may do so
    /// in every call, of other states too, but for these: while a batch of the state is open, in the call of `slots` that opens it, and here. So that the backend
    /// knows, the engine opens each batch by `slots` and ends it by `end_batch`, with no keys where it has kept the slots of all.
    ///
    /// [`Slot::STAY`], the default, says that this state's slots never go bad otherwise. Then a batch may need neither call. So a backend that evicts
    /// begins with another number, and never comes to this one.
    ///
    /// # Errors
    /// The backend's own.
    fn slot_generation(&mut self, _state: StateId) -> BackendResult<u64> {
        Ok(Slot::STAY)
    }

    /// Tells what time it is for a state with a [TTL](StateDescriptor::ttl), in milliseconds since 1970, and that up to `cells` of its cells may be looked
    /// at now, in whatever order pleases the backend, to remove those that have [expired](crate::StateTtl::has_cell_expired). Returns how many cells were removed.
    ///
    /// The engine calls it after each batch, while no slots of the state are out, and before each snapshot; `cells` is 0 where the program does not want
    /// this kind of cleanup. What is dropped elsewhere, in snapshots or by compactions, is judged by the latest time that was told here, and nothing is
    /// before the first call. The clock may go back.
    ///
    /// A cell that has expired may be gone at any time or stay for ever; [`len`](Self::len) and [`visit`](Self::visit) agree on it, and no other cell is touched. It
    /// counts as a call that removes cells of the state for [stable slots](Capabilities::stable_slots), unless it returns 0.
    ///
    /// The default never removes any.
    ///
    /// # Errors
    /// The backend's own.
    fn clean_up(&mut self, _state: StateId, _now_ms: u64, _cells: u64) -> BackendResult<u64> {
        Ok(0)
    }
}

/// The error of an operation that a backend does not offer.
#[must_use]
pub fn unsupported(operation: &str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Unsupported,
        format!("this state backend does not offer {operation}"),
    )
}
