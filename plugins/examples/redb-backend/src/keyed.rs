//! The keyed state of one subtask.

use crate::entries::{for_each_entry, parts};
use crate::rows;
use crate::snapshot::{self, RedbSnapshotWriter};
use crate::store::{Rows, Store};
use millpond_backend_api::{
    BackendError, BackendErrorKind, BackendResult, Cell, CheckpointEvent, EntryBuffer, KeyBatch, KeyGroup,
    KeyGroupRange, KeyedState, OpenKeyed, Slot, SnapshotRequest, StateDescriptor, StateId, StateKind,
    unsupported,
};
use redb::{ReadableTable, StorageError};
use std::path::Path;

/// Keyed state in a redb database. See [`KeyedState`] for the contract.
pub struct RedbKeyedState {
    store: Store,
    key_groups: KeyGroupRange,
    /// Every state, restored or registered; its index is its number in the database.
    states: Vec<State>,
    /// The registered states by id: indexes into `states`.
    registered: Vec<usize>,
    /// The row key of the running call.
    row: Vec<u8>,
    /// What `get` gave out last.
    value: Vec<u8>,
}

impl std::fmt::Debug for RedbKeyedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbKeyedState")
            .field("key_groups", &self.key_groups)
            .finish_non_exhaustive()
    }
}

/// A state and how much of it there is.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) descriptor: StateDescriptor,
    pub(crate) id: Option<StateId>,
    pub(crate) cells: u64,
    /// Row keys and values, to tell which state is the largest.
    pub(crate) bytes: u64,
}

impl State {
    pub(crate) fn new(descriptor: StateDescriptor) -> Self {
        Self {
            descriptor,
            id: None,
            cells: 0,
            bytes: 0,
        }
    }
}

/// A state as a call finds it.
#[derive(Clone, Copy)]
struct Found {
    index: usize,
    number: u32,
    kind: StateKind,
}

fn misuse(text: String) -> BackendError {
    BackendError::new(BackendErrorKind::Misuse, text)
}

/// The bytes of a row as they are counted.
pub(crate) fn row_bytes(row: &[u8], value: &[u8]) -> u64 {
    (row.len() + value.len()) as u64
}

impl RedbKeyedState {
    pub(crate) fn open(open: &OpenKeyed, cache_bytes: usize) -> BackendResult<Self> {
        let mut store = Store::create(Path::new(open.local_dir.as_str()), cache_bytes)?;
        let mut states = Vec::new();
        for handle in &open.restore {
            snapshot::restore(handle, &open.files, open.key_groups, &mut store, &mut states)?;
        }
        Ok(Self {
            store,
            key_groups: open.key_groups,
            states,
            registered: Vec::new(),
            row: Vec::new(),
            value: Vec::new(),
        })
    }

    fn find(&self, state: StateId) -> BackendResult<Found> {
        let unknown = || misuse(format!("there is no state with the id {}", state.0));
        let index = *self.registered.get(state.index()).ok_or_else(unknown)?;
        let found = self.states.get(index).ok_or_else(unknown)?;
        Ok(Found {
            index,
            number: u32::try_from(index).map_err(|_| unknown())?,
            kind: found.descriptor.kind,
        })
    }

    fn check_group(&self, group: KeyGroup) -> BackendResult<()> {
        if self.key_groups.contains(group) {
            return Ok(());
        }
        Err(misuse(format!(
            "key group {group} is not among {} of this subtask",
            self.key_groups
        )))
    }

    /// Finds the state and puts into `row` what the row keys of the cell's key and namespace start with.
    fn locate(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Found> {
        let found = self.find(state)?;
        self.check_group(cell.group)?;
        rows::prefix(&mut self.row, found.number, cell);
        Ok(found)
    }

    fn require(&self, found: Found, fits: bool, operation: &str) -> BackendResult<()> {
        if fits {
            return Ok(());
        }
        let name = self
            .states
            .get(found.index)
            .map_or("", |state| state.descriptor.name.as_str());
        Err(misuse(format!(
            "{operation} is not for the state {name}, a {}",
            found.kind.name()
        )))
    }

    fn count(&mut self, found: Found, change: Change) {
        if let Some(state) = self.states.get_mut(found.index) {
            state.cells = state.cells + change.cells_added - change.cells_removed;
            state.bytes = state.bytes + change.bytes_added - change.bytes_removed;
        }
    }
}

/// What a call did to the numbers of a state.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    cells_added: u64,
    cells_removed: u64,
    bytes_added: u64,
    bytes_removed: u64,
}

impl Change {
    /// Writes a row that is a cell of its own.
    fn insert(&mut self, rows: &mut Rows<'_>, row: &[u8], value: &[u8]) -> Result<(), StorageError> {
        match rows.insert(row, value)? {
            Some(old) => self.bytes_removed += row_bytes(row, old.value()),
            None => self.cells_added += 1,
        }
        self.bytes_added += row_bytes(row, value);
        Ok(())
    }

    /// Removes every row that starts with `prefix` and returns how many there were.
    fn remove_all(&mut self, rows: &mut Rows<'_>, prefix: &[u8]) -> Result<u64, StorageError> {
        let range = rows::range_of(prefix);
        let mut removed = 0;
        let all = rows.extract_from_if(range.start.as_slice()..range.end.as_slice(), |_, _| true)?;
        for entry in all {
            let (row, value) = entry?;
            removed += 1;
            self.bytes_removed += row_bytes(row.value(), value.value());
        }
        Ok(removed)
    }
}

impl KeyedState for RedbKeyedState {
    type Writer = RedbSnapshotWriter;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        let known = self
            .states
            .iter()
            .position(|state| state.descriptor.name == descriptor.name);
        let index = known.unwrap_or(self.states.len());
        if known.is_none() {
            self.states.push(State::new(descriptor.clone()));
        }
        let too_many = || BackendError::new(BackendErrorKind::Other, "too many states");
        let next = StateId(u32::try_from(self.registered.len()).map_err(|_| too_many())?);
        let state = self.states.get_mut(index).ok_or_else(too_many)?;
        snapshot::check_same(&state.descriptor, descriptor)?;
        state.descriptor.codec = descriptor.codec.clone();
        Ok(*state.id.get_or_insert_with(|| {
            self.registered.push(index);
            next
        }))
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.states.iter().map(|state| state.descriptor.clone()).collect()
    }

    fn prefetch(&mut self, _state: StateId, _keys: &KeyBatch<'_>) {}

    fn slots(&mut self, _state: StateId, _keys: &KeyBatch<'_>, _slots: &mut [Slot]) -> BackendResult<u64> {
        Err(unsupported("slots"))
    }

    fn end_batch(
        &mut self,
        _state: StateId,
        _keys: &KeyBatch<'_>,
        _slots: &[Slot],
        _any_absent: bool,
    ) -> BackendResult<()> {
        Err(unsupported("slots"))
    }

    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        let found = self.locate(state, cell)?;
        let (row, buffer) = (&mut self.row, &mut self.value);
        buffer.clear();
        let present = self.store.rows(|rows| {
            if found.kind == StateKind::List {
                let range = rows::range_of(row);
                let mut elements = 0;
                for entry in rows.range(range.start.as_slice()..range.end.as_slice())? {
                    buffer.extend_from_slice(entry?.1.value());
                    elements += 1;
                }
                return Ok(elements > 0);
            }
            row.extend_from_slice(map_key(found.kind, cell));
            let value = rows.get(row.as_slice())?;
            if let Some(value) = &value {
                buffer.extend_from_slice(value.value());
            }
            Ok(value.is_some())
        })?;
        Ok(present.then_some(self.value.as_slice()))
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let found = self.locate(state, cell)?;
        let width = self
            .states
            .get(found.index)
            .map_or(0, |state| state.descriptor.value_width as usize);
        if width > 0 && value.len() != width {
            return Err(misuse(format!(
                "a value of {} bytes for a state whose values have {width}",
                value.len()
            )));
        }
        let row = &mut self.row;
        let change = self.store.write(|rows| {
            let mut change = Change::default();
            if found.kind == StateKind::List {
                let elements = change.remove_all(rows, row)?;
                change.cells_removed += u64::from(elements > 0);
                row.extend_from_slice(&0_u64.to_be_bytes());
            } else {
                row.extend_from_slice(map_key(found.kind, cell));
            }
            change.insert(rows, row, value)?;
            Ok(change)
        })?;
        self.count(found, change);
        Ok(())
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        let found = self.locate(state, cell)?;
        let row = &mut self.row;
        let change = self.store.write(|rows| {
            let mut change = Change::default();
            if found.kind == StateKind::List {
                let elements = change.remove_all(rows, row)?;
                change.cells_removed = u64::from(elements > 0);
                return Ok(change);
            }
            row.extend_from_slice(map_key(found.kind, cell));
            if let Some(old) = rows.remove(row.as_slice())? {
                change.cells_removed = 1;
                change.bytes_removed = row_bytes(row, old.value());
            }
            Ok(change)
        })?;
        self.count(found, change);
        Ok(change.cells_removed > 0)
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        let found = self.locate(state, cell)?;
        self.require(found, found.kind == StateKind::List, "append")?;
        let row = &mut self.row;
        let change = self.store.write(|rows| {
            let mut change = Change::default();
            let range = rows::range_of(row);
            let last = match rows
                .range(range.start.as_slice()..range.end.as_slice())?
                .next_back()
            {
                Some(entry) => {
                    let (last, _) = entry?;
                    last.value()
                        .last_chunk()
                        .map(|number| u64::from_be_bytes(*number))
                }
                None => None,
            };
            let next = last.map_or(0, |number| number.wrapping_add(1));
            row.extend_from_slice(&next.to_be_bytes());
            change.insert(rows, row, element)?;
            // An element is no cell of its own.
            change.cells_added = u64::from(last.is_none());
            Ok(change)
        })?;
        self.count(found, change);
        Ok(())
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        let found = self.locate(state, cell)?;
        self.require(found, found.kind.has_map_keys(), "scan")?;
        let mut range = rows::range_of(&self.row);
        if found.kind == StateKind::SortedMap {
            if !to.is_empty() {
                range.end = [self.row.as_slice(), to].concat();
            }
            range.start.extend_from_slice(cell.map_key.as_slice());
        }
        if range.start >= range.end {
            return Ok(());
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        self.store.rows(|rows| {
            for entry in rows
                .range(range.start.as_slice()..range.end.as_slice())?
                .take(limit)
            {
                let (row, value) = entry?;
                if let Some(parts) = parts(row.value(), found.kind) {
                    entries.push(parts.entry(value.value()));
                }
            }
            Ok(())
        })
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64> {
        let found = self.locate(state, cell)?;
        self.require(found, found.kind.has_map_keys(), "clear_map")?;
        let row = &self.row;
        let change = self.store.write(|rows| {
            let mut change = Change::default();
            change.cells_removed = change.remove_all(rows, row)?;
            Ok(change)
        })?;
        self.count(found, change);
        Ok(change.cells_removed)
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        let found = self.find(state)?;
        self.check_group(group)?;
        let range = rows::range_of(&rows::group_prefix(found.number, group));
        self.store.rows(|rows| {
            let rows = rows.range(range.start.as_slice()..range.end.as_slice())?;
            for_each_entry(
                rows,
                found.kind,
                |error| error,
                |entry| {
                    entries.push(entry);
                    Ok(())
                },
            )
        })
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        let found = self.find(state)?;
        Ok(self.states.get(found.index).map_or(0, |state| state.cells))
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> BackendResult<RedbSnapshotWriter> {
        // No file is shared between snapshots, so nothing is to be decided or remembered.
        Ok(RedbSnapshotWriter::new(
            request.form,
            self.store.freeze()?,
            self.key_groups,
            self.states.clone(),
        ))
    }

    fn notify(&mut self, _checkpoint_id: u64, _event: CheckpointEvent) -> BackendResult<()> {
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        let sum = |figure: fn(&State) -> u64| self.states.iter().map(figure).sum::<u64>() as f64;
        vec![
            ("cell_count".to_owned(), sum(|state| state.cells)),
            ("row_bytes".to_owned(), sum(|state| state.bytes)),
        ]
    }
}

/// The map key of a cell where it has a meaning.
fn map_key<'a>(kind: StateKind, cell: &Cell<'a>) -> &'a [u8] {
    if kind.has_map_keys() {
        cell.map_key.as_slice()
    } else {
        &[]
    }
}
