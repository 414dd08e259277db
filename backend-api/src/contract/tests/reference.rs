//! A state backend of `BTreeMap`s, as plain as can be: what the suite is tried against, whole and with a [`Defect`].
#![expect(
    unsafe_code,
    reason = "slots are addresses of the boxes in which a batch keeps its values"
)]

use super::defect::Defect;
use super::format;
use crate::contract::Address;
use crate::slot::Slot;
use crate::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A state with its cells.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) descriptor: StateDescriptor,
    pub(super) cells: BTreeMap<Address, Vec<u8>>,
    registered: Option<u32>,
}

impl Table {
    pub(super) fn new(descriptor: StateDescriptor) -> Self {
        Self {
            descriptor,
            cells: BTreeMap::new(),
            registered: None,
        }
    }
}

pub(super) struct ReferenceFactory(pub(super) Defect);

impl StateBackendFactory for ReferenceFactory {
    type Backend = Reference;

    fn name(&self) -> String {
        "contract::Reference".to_owned()
    }

    fn short_names(&self) -> Vec<String> {
        vec!["reference".to_owned()]
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn create(&self, _config: &BackendConfig) -> BackendResult<Reference> {
        Ok(Reference(self.0))
    }
}

pub(super) struct Reference(Defect);

impl StateBackend for Reference {
    type Keyed = ReferenceKeyed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            slots: true,
            // Good until the next end of a batch, which is another generation.
            stable_slots: true,
            ordered_iteration: true,
            ..Capabilities::default()
        }
    }

    fn open_keyed(&self, open: OpenKeyed) -> BackendResult<ReferenceKeyed> {
        let local_dir = std::path::PathBuf::from(open.local_dir.as_str());
        if self.0 == Defect::LeavesItsFolder {
            std::fs::create_dir_all(&local_dir)?;
        }
        let mut tables = Vec::new();
        let handles = if self.0 == Defect::RestoresOneHandle {
            1
        } else {
            open.restore.len()
        };
        for handle in open.restore.iter().take(handles) {
            format::restore(handle, &open.files, open.key_groups, self.0, &mut tables)?;
        }
        Ok(ReferenceKeyed {
            defect: self.0,
            range: open.key_groups,
            tables: Arc::new(Mutex::new(tables)),
            order: Vec::new(),
            batches: BTreeMap::new(),
            batches_ended: 0,
            freed: Vec::new(),
            got: Vec::new(),
            removed: 0,
        })
    }
}

pub(super) struct ReferenceKeyed {
    defect: Defect,
    range: KeyGroupRange,
    tables: Arc<Mutex<Vec<Table>>>,
    /// Where the registered states are, by id.
    order: Vec<usize>,
    /// The open batches: flag and value of each key.
    batches: BTreeMap<StateId, BTreeMap<Address, Box<[u8]>>>,
    batches_ended: u64,
    /// Places that were moved and are still used because nobody was told.
    freed: Vec<Box<[u8]>>,
    got: Vec<u8>,
    /// How many cells were removed because they had expired.
    removed: u64,
}

fn misuse(text: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Misuse, text)
}

fn address(cell: &Cell<'_>) -> Address {
    Address {
        group: cell.group.0,
        key: cell.key.to_vec(),
        namespace: cell.namespace.to_vec(),
        map_key: cell.map_key.to_vec(),
    }
}

impl ReferenceKeyed {
    fn on<R>(
        &self,
        state: StateId,
        group: Option<KeyGroup>,
        call: impl FnOnce(&mut Table) -> BackendResult<R>,
    ) -> BackendResult<R> {
        let index = *self
            .order
            .get(state.index())
            .ok_or_else(|| misuse("unknown state"))?;
        if let Some(group) = group
            && !self.range.contains(group)
        {
            if self.defect == Defect::PanicsOnForeignGroups {
                panic!("group {group} is not here");
            }
            return Err(misuse("foreign group"));
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        call(&mut tables[index])
    }

    fn at(&self, cell: &Cell<'_>) -> Address {
        let mut address = address(cell);
        if self.defect == Defect::IgnoresNamespaces {
            address.namespace.clear();
        }
        address
    }
}

impl KeyedState for ReferenceKeyed {
    type Writer = ReferenceWriter;

    fn register(&mut self, descriptor: &StateDescriptor) -> BackendResult<StateId> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tables
            .iter()
            .position(|table| table.descriptor.name == descriptor.name);
        let index = found.unwrap_or_else(|| {
            tables.push(Table::new(descriptor.clone()));
            tables.len() - 1
        });
        let table = &mut tables[index];
        let old = &table.descriptor;
        if (old.kind, old.value_width) != (descriptor.kind, descriptor.value_width)
            && self.defect != Defect::TakesAnyKind
        {
            let text = format!(
                "{} {} is not {} {}",
                old.kind.name(),
                old.value_width,
                descriptor.kind.name(),
                descriptor.value_width
            );
            return Err(BackendError::new(BackendErrorKind::Incompatible, text));
        }
        table.descriptor = descriptor.clone();
        let id = *table.registered.get_or_insert_with(|| {
            self.order.push(index);
            u32::try_from(self.order.len() - 1).unwrap()
        });
        Ok(StateId(id))
    }

    fn states(&self) -> Vec<StateDescriptor> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().map(|table| table.descriptor.clone()).collect()
    }

    fn prefetch(&mut self, _state: StateId, _keys: &KeyBatch<'_>) {}

    fn slots(&mut self, state: StateId, keys: &KeyBatch<'_>, slots: &mut [Slot]) -> BackendResult<u64> {
        let width = self.on(state, None, |table| Ok(table.descriptor.value_width as usize))?;
        if width == 0 || slots.len() != keys.len() {
            return Err(misuse("slots"));
        }
        let mut batch: BTreeMap<Address, Box<[u8]>> = BTreeMap::new();
        for (index, slot) in slots.iter_mut().enumerate() {
            let cell = keys.cell(index).unwrap();
            let value = self.on(state, Some(cell.group), |table| {
                Ok(table.cells.get(&address(&cell)).cloned())
            })?;
            let place = batch.entry(address(&cell)).or_insert_with(|| {
                let mut place = vec![u8::from(value.is_some())];
                place.extend(value.unwrap_or_else(|| vec![0; width]));
                place.into()
            });
            // SAFETY: the box has a flag and `width` bytes and stays until the batch ends.
            *slot = unsafe { Slot::new(place.as_mut_ptr().wrapping_add(1)) };
        }
        let absent = batch.values().filter(|place| place[0] == 0).count();
        self.batches.insert(state, batch);
        Ok(absent as u64)
    }

    fn end_batch(
        &mut self,
        state: StateId,
        _keys: &KeyBatch<'_>,
        _slots: &[Slot],
        _any_absent: bool,
    ) -> BackendResult<()> {
        let batch = self.batches.remove(&state).unwrap_or_default();
        self.batches_ended += 1;
        let keeps_absent = self.defect == Defect::KeepsAbsentSlots;
        self.on(state, None, |table| {
            for (address, place) in &batch {
                let address = address.clone();
                if place[0] & Slot::PRESENT == 1 || keeps_absent {
                    table.cells.insert(address, place[1..].to_vec());
                } else {
                    table.cells.remove(&address);
                }
            }
            Ok(())
        })?;
        if self.defect == Defect::MovesKeptSlots {
            self.freed.extend(batch.into_values());
        }
        Ok(())
    }

    fn slot_generation(&mut self, _state: StateId) -> BackendResult<u64> {
        Ok(match self.defect {
            Defect::MovesKeptSlots => Slot::STAY,
            _ => self.batches_ended + 1,
        })
    }

    fn get(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<Option<&[u8]>> {
        let at = self.at(cell);
        let found = self.on(state, Some(cell.group), |table| Ok(table.cells.get(&at).cloned()))?;
        Ok(found.map(|value| {
            self.got = value;
            self.got.as_slice()
        }))
    }

    fn put(&mut self, state: StateId, cell: &Cell<'_>, value: &[u8]) -> BackendResult<()> {
        let at = self.at(cell);
        self.on(state, Some(cell.group), |table| {
            let width = table.descriptor.value_width as usize;
            if width > 0 && width != value.len() {
                return Err(misuse("width"));
            }
            table.cells.insert(at, value.to_vec());
            Ok(())
        })
    }

    fn delete(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<bool> {
        let at = self.at(cell);
        self.on(state, Some(cell.group), |table| {
            Ok(table.cells.remove(&at).is_some())
        })
    }

    fn append(&mut self, state: StateId, cell: &Cell<'_>, element: &[u8]) -> BackendResult<()> {
        let at = self.at(cell);
        self.on(state, Some(cell.group), |table| {
            if table.descriptor.kind != StateKind::List {
                return Err(misuse("no list"));
            }
            table.cells.entry(at).or_default().extend_from_slice(element);
            Ok(())
        })
    }

    fn scan(
        &mut self,
        state: StateId,
        cell: &Cell<'_>,
        to: &[u8],
        limit: usize,
        entries: &mut EntryBuffer,
    ) -> BackendResult<()> {
        let at = self.at(cell);
        let defect = self.defect;
        self.on(state, Some(cell.group), |table| {
            if !table.descriptor.kind.has_map_keys() {
                return Err(misuse("no map"));
            }
            let sorted = table.descriptor.kind == StateKind::SortedMap;
            let mut found: Vec<(&Address, &Vec<u8>)> = table
                .cells
                .iter()
                .filter(|(other, _)| (*other).clone().at(b"") == at.clone().at(b""))
                .filter(|(other, _)| {
                    !sorted
                        || (other.map_key >= at.map_key && (to.is_empty() || other.map_key.as_slice() < to))
                })
                .collect();
            if defect == Defect::ScansByLength {
                found.sort_by_key(|(other, _)| other.map_key.len());
            }
            let limit = if limit == 0 || defect == Defect::IgnoresLimits {
                usize::MAX
            } else {
                limit
            };
            for (other, value) in found.into_iter().take(limit) {
                push(entries, other, value);
            }
            Ok(())
        })
    }

    fn clear_map(&mut self, state: StateId, cell: &Cell<'_>) -> BackendResult<u64> {
        let at = self.at(cell).at(b"");
        self.on(state, Some(cell.group), |table| {
            if !table.descriptor.kind.has_map_keys() {
                return Err(misuse("no map"));
            }
            let before = table.cells.len();
            table.cells.retain(|other, _| other.clone().at(b"") != at);
            Ok((before - table.cells.len()) as u64)
        })
    }

    fn visit(&mut self, state: StateId, group: KeyGroup, entries: &mut EntryBuffer) -> BackendResult<()> {
        self.on(state, Some(group), |table| {
            for (address, value) in table.cells.iter().filter(|(address, _)| address.group == group.0) {
                push(entries, address, value);
            }
            Ok(())
        })
    }

    fn len(&mut self, state: StateId) -> BackendResult<u64> {
        let more = match self.defect {
            Defect::CountsWhatExpired => self.removed,
            _ => 0,
        };
        self.on(state, None, |table| Ok(table.cells.len() as u64 + more))
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> BackendResult<ReferenceWriter> {
        let tables = if self.defect == Defect::SnapshotsLate {
            Arc::clone(&self.tables)
        } else {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if self.defect == Defect::HasAClockOfItsOwn {
                for table in &mut tables {
                    let StateDescriptor { ttl, kind, .. } = table.descriptor;
                    let now = 1_000_000_000_000;
                    table
                        .cells
                        .retain(|_, value| !ttl.in_snapshots || !ttl.has_cell_expired(kind, value, now));
                }
            }
            if self.defect == Defect::ForgetsUnregistered {
                tables.retain(|table| table.registered.is_some());
            }
            if self.defect == Defect::ForgetsAfterAFailure && request.checkpoint_id > 3 {
                tables.pop();
            }
            Arc::new(Mutex::new(tables))
        };
        Ok(ReferenceWriter {
            defect: self.defect,
            range: self.range,
            form: request.form,
            tables,
        })
    }

    fn notify(&mut self, _checkpoint_id: u64, event: CheckpointEvent) -> BackendResult<()> {
        if self.defect == Defect::ClearsOnAbort && event == CheckpointEvent::Aborted {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            for table in tables.iter_mut() {
                table.cells.clear();
            }
        }
        Ok(())
    }

    fn clean_up(&mut self, state: StateId, now_ms: u64, cells: u64) -> BackendResult<u64> {
        let now = match self.defect {
            Defect::DropsEarly => now_ms + 20,
            _ => now_ms,
        };
        let ignores_damage = self.defect == Defect::DropsWhatHasNoTime;
        let cells = usize::try_from(cells).unwrap_or(usize::MAX);
        let removed = self.on(state, None, |table| {
            let StateDescriptor { ttl, kind, .. } = table.descriptor;
            let has_expired = |value: &[u8]| {
                ttl.has_cell_expired(kind, value, now) || ignores_damage && !ttl.is_none() && value.len() < 8
            };
            let expired = table
                .cells
                .iter()
                .take(cells)
                .filter(|(_, value)| has_expired(value));
            let expired: Vec<Address> = expired.map(|(address, _)| address.clone()).collect();
            for address in &expired {
                table.cells.remove(address);
            }
            Ok(expired.len() as u64)
        })?;
        self.removed += removed;
        Ok(removed)
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        vec![("state_count".to_owned(), 1.0)]
    }
}

fn push(entries: &mut EntryBuffer, address: &Address, value: &[u8]) {
    entries.push(entry(address, value));
}

pub(super) fn entry<'a>(address: &'a Address, value: &'a [u8]) -> Entry<'a> {
    Entry {
        key: &address.key,
        namespace: &address.namespace,
        map_key: &address.map_key,
        value,
    }
}

pub(super) struct ReferenceWriter {
    defect: Defect,
    range: KeyGroupRange,
    form: SnapshotForm,
    tables: Arc<Mutex<Vec<Table>>>,
}

impl SnapshotWriter for ReferenceWriter {
    fn write(&mut self, streams: &SnapshotStreams) -> BackendResult<Vec<SnapshotHandle>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.form == SnapshotForm::Canonical && self.defect != Defect::IgnoresTheForm {
            return format::write_canonical(streams, &tables, self.range, self.defect);
        }
        format::write(streams, &tables, self.range, self.defect)
    }
}
