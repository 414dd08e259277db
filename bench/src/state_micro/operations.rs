//! The operations, and what they take.
#![expect(
    unsafe_code,
    reason = "slots are addresses that the backend gave out; they are used within their batch"
)]

use super::access::Access;
use super::open::{GROUPS, Task};
use crate::generate::key_of;
use crate::process;
use millpond_backend_api::{
    Cell, EntryBuffer, KeyBatch, KeyGroup, Slot, StateDescriptor, StateId, StateKind, key_group, key_hash,
};
use millpond_engine::Result;
use std::time::{Duration, Instant};

/// Keys of one batch, as the engine announces them.
const BATCH: usize = 4096;
/// Entries of a key's map.
const MAP_KEYS: u64 = 4;
/// Bytes of a value of no fixed width.
const VALUE: [u8; 20] = [7; 20];

/// One kind of state and what is done with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    descriptor: fn() -> StateDescriptor,
}

/// How long an operation takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) operation: Operation,
    pub(crate) ns_per_operation: f64,
    pub(crate) vm_hwm_mb: u64,
}

/// All operations.
pub(crate) const OPERATIONS: [Operation; 13] = {
    const fn of(kind: &'static str, name: &'static str, descriptor: fn() -> StateDescriptor) -> Operation {
        Operation {
            kind,
            name,
            descriptor,
        }
    }
    const FIXED: fn() -> StateDescriptor = || StateDescriptor::new("fixed", StateKind::Value, 8);
    const VARYING: fn() -> StateDescriptor = || StateDescriptor::new("varying", StateKind::Value, 0);
    const LIST: fn() -> StateDescriptor = || StateDescriptor::new("list", StateKind::List, 0);
    const MAP: fn() -> StateDescriptor = || StateDescriptor::new("map", StateKind::Map, 0);
    const SORTED: fn() -> StateDescriptor = || StateDescriptor::new("sorted", StateKind::SortedMap, 0);
    [
        of("value, 8 bytes", "put", FIXED),
        of("value, 8 bytes", "get", FIXED),
        of("value, 8 bytes", "add", FIXED),
        of("value, 20 bytes", "put", VARYING),
        of("value, 20 bytes", "get", VARYING),
        of("list", "append", LIST),
        of("list", "get", LIST),
        of("map, 4 entries", "put", MAP),
        of("map, 4 entries", "get", MAP),
        of("map, 4 entries", "scan", MAP),
        of("sorted map, 4 entries", "put", SORTED),
        of("sorted map, 4 entries", "get", SORTED),
        of("sorted map, 4 entries", "scan", SORTED),
    ]
};

/// Runs all operations, the first of a state on an empty one that it fills.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) keys: u64,
    pub(crate) count: u64,
    pub(crate) timings: Vec<Timing>,
}

/// Random keys in columns.
#[derive(Default)]
struct Columns {
    hashes: Vec<u64>,
    groups: Vec<KeyGroup>,
    bytes: Vec<u8>,
}

impl Columns {
    fn set(&mut self, keys: impl Iterator<Item = u64>) {
        self.hashes.clear();
        self.groups.clear();
        self.bytes.clear();
        for key in keys {
            let key = key.to_le_bytes();
            let hash = key_hash(&key);
            self.bytes.extend_from_slice(&key);
            self.hashes.push(hash);
            self.groups.push(key_group(hash, GROUPS));
        }
    }

    fn batch(&self) -> KeyBatch<'_> {
        KeyBatch {
            hashes: self.hashes.as_slice().into(),
            groups: self.groups.as_slice().into(),
            bytes: self.bytes.as_slice().into(),
            ends: (&[][..]).into(),
            width: 8,
        }
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let (keys, _) = self.bytes.as_chunks::<8>();
        let columns = self.hashes.iter().zip(&self.groups).zip(keys);
        columns.map(|((hash, group), key)| Cell::of_key(*hash, *group, key))
    }
}

impl Task for Operations {
    fn run(&mut self, mut access: impl Access) -> Result<()> {
        let mut filled = Vec::new();
        for operation in OPERATIONS {
            process::reset_peak();
            let descriptor = (operation.descriptor)();
            let state = access.register(&descriptor)?;
            let mut columns = Columns::default();
            if !filled.contains(&state) {
                // Every key is there before anything is measured.
                let numbers = (0..self.keys).collect::<Vec<_>>();
                for part in numbers.chunks(BATCH) {
                    columns.set(part.iter().copied());
                    fill(&mut access, state, &descriptor, &columns)?;
                }
                filled.push(state);
            }
            let (mut next, mut took) = (0, Duration::ZERO);
            while next < self.count {
                let end = (next + BATCH as u64).min(self.count);
                columns.set((next..end).map(|index| key_of(index, self.keys)));
                let started = Instant::now();
                once(&mut access, state, operation, &descriptor, &columns, next)?;
                took += started.elapsed();
                next = end;
            }
            self.timings.push(Timing {
                operation,
                ns_per_operation: per_operation(took, self.count),
                vm_hwm_mb: process::peak_mb(),
            });
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run is shorter than 2^53 ns")]
fn per_operation(took: Duration, count: u64) -> f64 {
    took.as_nanos() as f64 / count.max(1) as f64
}

fn fill(
    access: &mut impl Access,
    state: StateId,
    descriptor: &StateDescriptor,
    columns: &Columns,
) -> Result<()> {
    for cell in columns.cells() {
        match descriptor.kind {
            StateKind::Value if descriptor.value_width > 0 => {
                access.put(state, &cell, &1_u64.to_le_bytes())?
            }
            StateKind::Value => access.put(state, &cell, &VALUE)?,
            StateKind::List => access.append(state, &cell, &[1; 8])?,
            StateKind::Map | StateKind::SortedMap => {
                for map_key in 0..MAP_KEYS {
                    access.put(state, &cell.with_map_key(&map_key.to_be_bytes()), &[1; 8])?;
                }
            }
        }
    }
    Ok(())
}

/// One batch of an operation. `first` is the number of its first record.
fn once(
    access: &mut impl Access,
    state: StateId,
    operation: Operation,
    descriptor: &StateDescriptor,
    columns: &Columns,
    first: u64,
) -> Result<()> {
    let has_map_keys = descriptor.kind.has_map_keys();
    match operation.name {
        "add" if access.has_slots() => add_by_slots(access, state, columns),
        "add" => {
            for cell in columns.cells() {
                let before = access
                    .get(state, &cell)?
                    .and_then(|value| value.first_chunk().copied());
                let sum = u64::from_le_bytes(before.unwrap_or_default()) + 1;
                access.put(state, &cell, &sum.to_le_bytes())?;
            }
            Ok(())
        }
        "put" => {
            let value = if descriptor.kind == StateKind::Value && descriptor.value_width == 0 {
                &VALUE[..]
            } else {
                &VALUE[..8]
            };
            for (number, cell) in (first..).zip(columns.cells()) {
                let map_key = (number % MAP_KEYS).to_be_bytes();
                let map_key = if has_map_keys { &map_key[..] } else { &[] };
                access.put(state, &cell.with_map_key(map_key), value)?;
            }
            Ok(())
        }
        "get" => {
            for (number, cell) in (first..).zip(columns.cells()) {
                let map_key = (number % MAP_KEYS).to_be_bytes();
                let map_key = if has_map_keys { &map_key[..] } else { &[] };
                std::hint::black_box(access.get(state, &cell.with_map_key(map_key))?);
            }
            Ok(())
        }
        "append" => columns
            .cells()
            .try_for_each(|cell| access.append(state, &cell, &[1; 8])),
        _ => {
            let mut entries = EntryBuffer::new();
            for cell in columns.cells() {
                entries.clear();
                access.scan(state, &cell, &mut entries)?;
                std::hint::black_box(entries.len());
            }
            Ok(())
        }
    }
}

/// Adds one to the value of each key in place, as the engine does.
fn add_by_slots(access: &mut impl Access, state: StateId, columns: &Columns) -> Result<()> {
    let batch = columns.batch();
    let mut slots = vec![Slot::NULL; batch.len()];
    access.slots(state, &batch, &mut slots)?;
    for slot in slots.iter().filter(|slot| !slot.is_null()) {
        // SAFETY: the slot is of the open batch, on the one thread that uses the backend; the state's values have 8 bytes, and the reference ends before the
        // next slot, which may be the same, is used.
        let value = unsafe { slot.value(8) };
        if let Some(value) = value.first_chunk_mut() {
            *value = (u64::from_le_bytes(*value) + 1).to_le_bytes();
        }
    }
    access.end_batch(state, &batch, &slots)
}
