//! The memory state backend: states by name on top of [`kinds`](crate::kinds), and the checks that the boundary's contract asks for.

use crate::kinds::KindState;
use crate::snapshot::{FrozenState, RestoredSection, TableWriter, read_sections};
use crate::table::{EraOfOwner, SnapshotEra};
use millpond_backend_api::{
    BackendConfig, BackendError, BackendErrorKind, BackendResult, Capabilities, Cell, CheckpointEvent,
    EntryBuffer, KeyBatch, KeyGroup, KeyGroupRange, KeyedState, OpenKeyed, Slot, SnapshotRequest,
    StateBackend, StateBackendFactory, StateDescriptor, StateId, StateKind, key_hash,
};

/// Makes [`MemoryStateBackend`]s. Has no options: where snapshots go is the engine's choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStateBackendFactory;

impl StateBackendFactory for MemoryStateBackendFactory {
    type Backend = MemoryStateBackend;

    fn name(&self) -> String {
        "millpond::MemoryStateBackendFactory".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        ["jobmanager", "hashmap", "memory"].map(str::to_owned).into()
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn create(&self, _config: &BackendConfig) -> BackendResult<MemoryStateBackend> {
        Ok(MemoryStateBackend)
    }
}

/// Keeps all state in memory, in the paged table.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStateBackend;

impl StateBackend for MemoryStateBackend {
    type Keyed = MemoryKeyedState;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            // Entries never move, and pages only when they are written for the first time after a snapshot.
            stable_slots: true,
            incremental: false,
            ordered_iteration: false,
            larger_than_memory: false,
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<MemoryKeyedState> {
        let mut keyed = MemoryKeyedState::new(open.key_groups);
        for handle in &open.restore {
            keyed.restore(handle, &open)?;
        }
        Ok(keyed)
    }
}

/// The keyed state of one subtask in memory.
#[derive(Debug)]
pub struct MemoryKeyedState {
    range: KeyGroupRange,
    states: Vec<NamedState>,
    /// The place in `states` of each registered state, by its id.
    registered: Vec<usize>,
    /// How many snapshots were taken.
    epoch: u32,
    era: EraOfOwner,
}

#[derive(Debug)]
struct NamedState {
    descriptor: StateDescriptor,
    kind: KindState,
    /// Whether slots of the state are out.
    in_batch: bool,
}

/// The most bytes of the keys of a batch, and of a fixed-width value: together they stay below what an entry may have.
const BATCH_BYTES_MAX: usize = 1 << 29;

#[cold]
fn misuse(text: String) -> BackendError {
    BackendError::new(BackendErrorKind::Misuse, text)
}

/// A descriptor as errors show it.
fn shown(descriptor: &StateDescriptor) -> String {
    match descriptor.value_width {
        0 => descriptor.kind.name().to_owned(),
        width => format!("{} of {width} bytes", descriptor.kind.name()),
    }
}

impl NamedState {
    #[cold]
    fn wrong_kind(&self, operation: &str) -> BackendError {
        misuse(format!(
            "{operation} is not for state {:?}, which is a {}",
            self.descriptor.name,
            shown(&self.descriptor)
        ))
    }
}

impl MemoryKeyedState {
    fn new(range: KeyGroupRange) -> Self {
        Self {
            range,
            states: Vec::new(),
            registered: Vec::new(),
            epoch: 0,
            era: EraOfOwner::default(),
        }
    }

    /// The place in `states` of the state that `descriptor` describes, which is made if it is not there.
    fn state_of(&mut self, descriptor: &StateDescriptor) -> BackendResult<usize> {
        let known = self
            .states
            .iter()
            .position(|state| state.descriptor.name == descriptor.name);
        if let Some(place) = known
            && let Some(state) = self.states.get(place)
        {
            let there = &state.descriptor;
            if there.kind != descriptor.kind || there.value_width != descriptor.value_width {
                return Err(BackendError::new(
                    BackendErrorKind::Incompatible,
                    format!(
                        "state {:?} is there as a {} and cannot be used as a {}",
                        there.name,
                        shown(there),
                        shown(descriptor)
                    ),
                ));
            }
            return Ok(place);
        }
        if descriptor.value_width > 0 && descriptor.kind != StateKind::Value {
            return Err(misuse(format!(
                "state {:?}: only a value has a fixed width, not a {}",
                descriptor.name,
                shown(descriptor)
            )));
        }
        if descriptor.value_width as usize > BATCH_BYTES_MAX {
            return Err(misuse(format!(
                "state {:?} has values of {} bytes, at most {BATCH_BYTES_MAX} are possible",
                descriptor.name, descriptor.value_width
            )));
        }
        self.states.push(NamedState {
            descriptor: descriptor.clone(),
            kind: KindState::new(descriptor, self.range, self.epoch),
            in_batch: false,
        });
        Ok(self.states.len() - 1)
    }

    fn restore(
        &mut self,
        handle: &millpond_backend_api::SnapshotHandle,
        open: &OpenKeyed,
    ) -> BackendResult<()> {
        let range = self.range;
        let states = read_sections(handle, range, &open.files, |section| {
            self.restore_section(&section)
        })?;
        for descriptor in &states {
            self.state_of(descriptor)?;
        }
        Ok(())
    }

    fn restore_section(&mut self, section: &RestoredSection<'_>) -> BackendResult<()> {
        let place = self.state_of(section.descriptor)?;
        let group = section.section.group;
        let index = group.index() - self.range.first.index();
        let Some(state) = self.states.get_mut(place) else {
            return Ok(());
        };
        if let KindState::Value(value) = &mut state.kind {
            // The count was verified against the section's entries.
            value.reserve(index, usize::try_from(section.section.entries).unwrap_or(0));
        }
        for entry in section.entries() {
            let cell = Cell::of_key(key_hash(entry.key), group, entry.key)
                .with_namespace(entry.namespace)
                .with_map_key(entry.map_key);
            match &mut state.kind {
                KindState::Value(value) => value.put(index, &cell, entry.value)?,
                KindState::Map(map) => map.put(index, &cell, entry.value)?,
                KindState::Sorted(sorted) => sorted.put(index, &cell, entry.value)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn state(&mut self, state: StateId) -> BackendResult<&mut NamedState> {
        let place = self.registered.get(state.index()).copied();
        match place.and_then(|place| self.states.get_mut(place)) {
            Some(named) => Ok(named),
            None => Err(misuse(format!("there is no state with the id {}", state.0))),
        }
    }

    /// The state, which has no slots out, and the index of `group` in the range.
    #[inline]
    fn at(&mut self, state: StateId, group: KeyGroup) -> BackendResult<(&mut NamedState, usize)> {
        let range = self.range;
        let named = self.state(state)?;
        if named.in_batch {
            return Err(in_batch(&named.descriptor));
        }
        if !range.contains(group) {
            return Err(not_owned(group, range));
        }
        Ok((named, group.index() - range.first.index()))
    }
}

#[cold]
fn in_batch(descriptor: &StateDescriptor) -> BackendError {
    misuse(format!(
        "state {:?} can be accessed by its slots only, until the batch is ended",
        descriptor.name
    ))
}

#[cold]
fn not_owned(group: KeyGroup, range: KeyGroupRange) -> BackendError {
    misuse(format!("key group {group} is not among the owned ones, {range}"))
}

/// An error if the columns of `keys` do not fit each other, or a group is not in `range`.
#[inline]
fn check_batch(keys: &KeyBatch<'_>, slots: usize, range: KeyGroupRange) -> BackendResult<()> {
    let len = keys.len();
    let key_bytes = keys.bytes.len();
    let complete = if keys.width > 0 {
        key_bytes == len * keys.width as usize
    } else {
        keys.ends.len() == len && keys.ends.last().map_or(0, |end| *end as usize) == key_bytes
    };
    if keys.groups.len() != len || slots != len || !complete || key_bytes > BATCH_BYTES_MAX {
        return Err(misuse(format!(
            "a batch of {len} hashes has {} groups, {slots} slots, {} ends and {key_bytes} key bytes of width {} \
             (columns have one length, and keys at most {BATCH_BYTES_MAX} bytes)",
            keys.groups.len(),
            keys.ends.len(),
            keys.width
        )));
    }
    let foreign = |group: &&KeyGroup| !range.contains(**group);
    // Without an early end this is done for many groups at once.
    if keys.groups.iter().fold(false, |any, group| any | foreign(&group)) {
        let group = keys.groups.iter().find(foreign).copied().unwrap_or_default();
        return Err(not_owned(group, range));
    }
    Ok(())
}

impl KeyedState for MemoryKeyedState {
    type Writer = TableWriter;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        let place = self.state_of(descriptor)?;
        if let Some(state) = self.states.get_mut(place) {
            state.descriptor.codec = descriptor.codec.clone();
        }
        let id = self.registered.iter().position(|known| *known == place);
        let id = id.unwrap_or_else(|| {
            self.registered.push(place);
            self.registered.len() - 1
        });
        u32::try_from(id)
            .map(StateId)
            .map_err(|_| misuse("too many states".to_owned()))
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.states.iter().map(|state| state.descriptor.clone()).collect()
    }

    fn prefetch(&mut self, state: StateId, keys: &KeyBatch<'_>) {
        // States with slots fetch in `slots`.
        if let Ok(NamedState {
            descriptor,
            kind: KindState::Value(value),
            ..
        }) = self.state(state)
            && descriptor.value_width == 0
        {
            value.hint(keys);
        }
    }

    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        let range = self.range;
        let named = self.state(state)?;
        if named.in_batch {
            return Err(in_batch(&named.descriptor));
        }
        check_batch(keys, slots.len(), range)?;
        match &mut named.kind {
            KindState::Value(value) if named.descriptor.value_width > 0 => {
                named.in_batch = true;
                Ok(value.slots(keys, slots))
            }
            _ => Err(named.wrong_kind("slots")),
        }
    }

    fn end_batch(
        &mut self,
        state: StateId,
        keys: &KeyBatch<'_>,
        slots: &[Slot],
        any_absent: bool,
    ) -> BackendResult<()> {
        let range = self.range;
        let named = self.state(state)?;
        if !named.in_batch {
            return Err(misuse(format!(
                "state {:?} has no batch to end",
                named.descriptor.name
            )));
        }
        check_batch(keys, slots.len(), range)?;
        named.in_batch = false;
        if any_absent && let KindState::Value(value) = &mut named.kind {
            value.remove_absent(keys);
        }
        Ok(())
    }

    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        let (named, group) = self.at(state, cell.group)?;
        Ok(match &named.kind {
            KindState::Value(value) => value.get(group, cell),
            KindState::Map(map) => map.get(group, cell),
            KindState::Sorted(sorted) => sorted.get(group, cell),
        })
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let (named, group) = self.at(state, cell.group)?;
        let width = named.descriptor.value_width as usize;
        if width > 0 && value.len() != width {
            return Err(misuse(format!(
                "state {:?} has values of {width} bytes, not of {}",
                named.descriptor.name,
                value.len()
            )));
        }
        match &mut named.kind {
            KindState::Value(values) => values.put(group, cell, value),
            KindState::Map(map) => map.put(group, cell, value),
            KindState::Sorted(sorted) => sorted.put(group, cell, value),
        }
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        let (named, group) = self.at(state, cell.group)?;
        Ok(match &mut named.kind {
            KindState::Value(value) => value.delete(group, cell),
            KindState::Map(map) => map.delete(group, cell),
            KindState::Sorted(sorted) => sorted.delete(group, cell),
        })
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        let (named, group) = self.at(state, cell.group)?;
        match &mut named.kind {
            KindState::Value(list) if named.descriptor.kind == StateKind::List => {
                list.append(group, cell, element)
            }
            _ => Err(named.wrong_kind("append")),
        }
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        let (named, group) = self.at(state, cell.group)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        match &named.kind {
            KindState::Map(map) => map.scan(group, cell, limit, |entry| entries.push(entry)),
            KindState::Sorted(sorted) => sorted.scan(group, cell, to, limit, |entry| entries.push(entry)),
            KindState::Value(_) => return Err(named.wrong_kind("scan")),
        }
        Ok(())
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64> {
        let (named, group) = self.at(state, cell.group)?;
        match &mut named.kind {
            KindState::Map(map) => Ok(map.clear(group, cell)),
            KindState::Sorted(sorted) => Ok(sorted.clear(group, cell)),
            KindState::Value(_) => Err(named.wrong_kind("clear_map")),
        }
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        let (named, _) = self.at(state, group)?;
        named.kind.visit(group, |entry| entries.push(entry));
        Ok(())
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        let named = self.state(state)?;
        if named.in_batch {
            return Err(in_batch(&named.descriptor));
        }
        Ok(named.kind.cells())
    }

    fn snapshot(&mut self, _request: &SnapshotRequest) -> BackendResult<TableWriter> {
        if let Some(named) = self.states.iter().find(|named| named.in_batch) {
            return Err(in_batch(&named.descriptor));
        }
        let era = SnapshotEra::begin(&mut self.era);
        let states = self
            .states
            .iter_mut()
            .map(|named| FrozenState {
                descriptor: named.descriptor.clone(),
                counters: named.kind.counters().to_vec(),
                groups: named.kind.freeze(&era),
            })
            .collect();
        self.epoch = self.epoch.wrapping_add(1);
        Ok(TableWriter::new(self.range, states))
    }

    fn notify(&mut self, _checkpoint_id: u64, _event: CheckpointEvent) -> BackendResult<()> {
        // Every snapshot is whole, so what became of earlier ones does not matter.
        Ok(())
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        let kinds = || self.states.iter().map(|named| &named.kind);
        let tables = || kinds().flat_map(|kind| kind.tables());
        let copied: u64 = tables().map(|table| table.figures().pages_copied).sum();
        let shared: usize = kinds().map(KindState::shared_pages).sum();
        let bytes: usize = kinds().map(KindState::bytes).sum();
        let cells: u64 = kinds().map(KindState::cells).sum();
        let figure = |name: &str, number: u64| (name.to_owned(), as_f64(number));
        vec![
            figure("table_bytes", bytes as u64),
            figure("entries", cells),
            figure("pages_shared", shared as u64),
            figure("pages_copied", copied),
        ]
    }
}

fn as_f64(number: u64) -> f64 {
    number as f64
}
