//! The tables of a subtask and RocksDB below them: what a checkpoint does, and what is done when memory runs out between two.

use crate::below::StateBelow;
use crate::expiry::Expiries;
use crate::memory::{TableMemory, Use};
use crate::merge::Merge;
use crate::options::{Options, TableShare};
use crate::payload::Accuracy;
use crate::restore::Restored;
use crate::room::Room;
use crate::spill::Spill;
use crate::store::Store;
use crate::sweep::Sweep;
use crate::transfers::Transfers;
use crate::upload::Known;
use crate::writer::{Outline, RocksDbWriter, Snapshot, Written};
use millpond_backend_api::{BackendResult, CheckpointEvent, SnapshotForm, SnapshotRequest, StateDescriptor};
use millpond_backend_memory::snapshot::FrozenState;
use millpond_backend_memory::table::release_free_bytes;
use millpond_backend_memory::{Snapshots, Tables};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often memory is looked at, at the least: after this many batches.
const LOOK_EVERY_MAX: u32 = 16;
/// With less memory than this for each batch between two looks, it is looked at more often.
const BYTES_A_BATCH: usize = 1 << 20;
/// So much of the memory that is kept for reuse is given back at a time, at the least.
const RELEASED_BYTES_MIN: usize = 4 << 20;

/// The snapshots of a subtask, and its share of the memory.
#[derive(Debug)]
pub struct RocksDbSnapshots {
    options: Arc<Options>,
    expiries: Arc<Expiries>,
    /// The states whose counters are not exact: for ever, as the counts stay.
    inexact: BTreeMap<String, Accuracy>,
    memory: TableMemory,
    /// What the tables took when that was last looked at.
    last: Use,
    store: Arc<Store>,
    /// The epoch up to which the tables know that their changes are below.
    below: u32,
    /// The files of the latest completed checkpoint that later ones may name.
    known: Arc<Known>,
    /// The checkpoint that has them.
    completed: u64,
    /// Snapshots of which it is not known whether they are complete.
    pending: BTreeMap<u64, Written>,
    room: Room,
    /// What the tables took when nothing more could be dropped, if that was more than they should.
    floor: usize,
    spill: Spill,
    batches: u32,
    sweep: Sweep,
    merge: Merge,
}

impl RocksDbSnapshots {
    pub(crate) fn new(
        options: Arc<Options>,
        expiries: Arc<Expiries>,
        share: TableShare,
        restored: Restored,
    ) -> (Tables, Self) {
        let Restored {
            tables,
            store,
            known,
            inexact,
            unread,
        } = restored;
        let snapshots = Self {
            options,
            expiries,
            inexact,
            memory: TableMemory::new(share),
            last: Use {
                used: 0,
                limit: usize::MAX,
            },
            store,
            below: 0,
            known: Arc::new(known),
            completed: 0,
            pending: BTreeMap::new(),
            room: Room::default(),
            floor: 0,
            spill: Spill::default(),
            batches: 0,
            sweep: Sweep::start(unread),
            merge: Merge::default(),
        };
        (tables, snapshots)
    }

    /// Tells the tables what is below them by now.
    fn take_note(&mut self, tables: &mut Tables) {
        let below = self.store.below();
        if below == self.below {
            return;
        }
        self.below = below;
        for (_, kind) in tables.iter_mut() {
            kind.deletions_mut().below = below;
        }
    }

    /// Freezes the tables; states that are new are over the store from now on.
    fn freeze(&self, tables: &mut Tables) -> BackendResult<Vec<FrozenState>> {
        for (descriptor, kind) in tables.iter_mut() {
            if kind.lower().is_none() {
                let below = StateBelow::new(Arc::clone(&self.store), descriptor.name.as_str());
                kind.replace_lower(Some(Arc::new(below)));
            }
        }
        tables.freeze()
    }

    /// Notes of which states the counters are not exact any more.
    fn note_accuracy(&mut self, tables: &Tables) {
        for (descriptor, kind) in tables.iter() {
            let expires = !descriptor.ttl.is_none() && descriptor.ttl.in_compactions;
            let accuracy = if kind.may_count_too_little() {
                Accuracy::About
            } else if expires || kind.is_estimated() {
                Accuracy::AtMost
            } else {
                continue;
            };
            let noted = self.inexact.entry(descriptor.name.to_string()).or_default();
            *noted = accuracy.max(*noted);
        }
    }

    /// Drops what need not be in memory; returns what the tables take then, and may.
    fn evict(&mut self, tables: &mut Tables) -> Use {
        self.take_note(tables);
        let Use { mut used, mut limit } = self.memory.look(tables, &self.store);
        // Memory that nobody uses gives way before entries do.
        if used > limit && release_free_bytes((used - limit).max(RELEASED_BYTES_MIN)) > 0 {
            Use { used, limit } = self.memory.look(tables, &self.store);
        }
        // What moves to other pages is there twice while a snapshot holds those that it leaves.
        let used = if self.store.holds_pages() {
            used
        } else {
            self.room.make(tables, self.below, used, limit)
        };
        // Empty tables have their size too: what could not be helped the last time is no reason to write everything out again.
        self.last = Use {
            used,
            limit: limit.max(self.floor + self.floor / 8),
        };
        self.last
    }

    fn make_room(&mut self, tables: &mut Tables) -> BackendResult<()> {
        let Use { used, limit } = self.evict(tables);
        // While slots of a state are out nothing can be frozen; their batch ends soon.
        if used <= limit || tables.iter().any(|(_, kind)| kind.in_batch()) {
            return Ok(());
        }
        let is_too_much = used > limit + limit / 8;
        // What a snapshot brings in can be evicted soon, and is brought in first in any case.
        if !self.spill.is_running() && (is_too_much || !self.store.holds_pages()) {
            let to = tables.epoch();
            let states = self.freeze(tables)?;
            let frozen = self.store.wait_for(to, states, false);
            self.spill.start(Arc::clone(&self.store), frozen)?;
        }
        if !is_too_much {
            return Ok(());
        }
        // The tables must not outgrow the memory: the worker waits for the disk.
        self.spill.wait()?;
        self.floor = 0;
        let Use { used, limit } = self.evict(tables);
        self.floor = if used > limit { used } else { 0 };
        Ok(())
    }
}

/// Adds the figures of one more database, by their names.
fn add_figures(to: &mut Vec<(String, f64)>, more: Vec<(String, f64)>) {
    for (name, value) in more {
        match to.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += value,
            None => to.push((name, value)),
        }
    }
}

impl Snapshots for RocksDbSnapshots {
    type Writer = RocksDbWriter;
    const EVICTS: bool = true;

    fn snapshot(&mut self, tables: &mut Tables, request: &SnapshotRequest) -> BackendResult<RocksDbWriter> {
        self.sweep.check()?;
        self.merge.check()?;
        self.take_note(tables);
        let is_canonical = request.form == SnapshotForm::Canonical;
        let shared = request.may_share && self.options.incremental && !is_canonical;
        let to = tables.epoch();
        let states = self.freeze(tables)?;
        self.note_accuracy(tables);
        let outlines = states.iter().map(|state| Outline {
            descriptor: state.descriptor.clone(),
            counters: state.counters.clone(),
            now_ms: state.now_ms,
            accuracy: self
                .inexact
                .get(state.descriptor.name.as_str())
                .copied()
                .unwrap_or_default(),
        });
        let outlines = outlines.collect();
        let frozen = self.store.wait_for(to, states, true);
        let written = Written::default();
        // Later ones do not build on a canonical one, and go on with the files of the native one before it.
        if !is_canonical {
            self.pending.insert(request.checkpoint_id, Arc::clone(&written));
        }
        Ok(RocksDbWriter::new(Snapshot {
            form: request.form,
            store: Arc::clone(&self.store),
            range: tables.range(),
            states: outlines,
            frozen,
            known: if shared {
                Arc::clone(&self.known)
            } else {
                Arc::default()
            },
            shared,
            transfers: Transfers::of(self.options.transfer_threads),
            written,
        }))
    }

    fn notify(&mut self, tables: &mut Tables, id: u64, event: CheckpointEvent) -> BackendResult<()> {
        self.sweep.check()?;
        self.take_note(tables);
        // A canonical one is not among them, and subsumes none of them.
        if let Some(written) = self.pending.remove(&id)
            && event == CheckpointEvent::Completed
        {
            // What came before it will be subsumed if it ever completes.
            self.pending = self.pending.split_off(&id);
            if id > self.completed {
                self.completed = id;
                // A savepoint's files are nobody else's, and one that was never written has none.
                self.known = Arc::new(written.get().cloned().unwrap_or_default());
            }
        }
        self.make_room(tables)
    }

    fn batch_ended(&mut self, tables: &mut Tables) -> BackendResult<()> {
        self.batches = self.batches.wrapping_add(1);
        // It takes files from where the sweep looks for them.
        if self.sweep.has_ended() {
            self.merge.begin(&self.store);
        }
        let affordable = u32::try_from(self.last.limit / BYTES_A_BATCH).unwrap_or(LOOK_EVERY_MAX);
        if !self.batches.is_multiple_of(affordable.clamp(1, LOOK_EVERY_MAX)) {
            return Ok(());
        }
        self.make_room(tables)
    }

    fn time_told(&mut self, state: &StateDescriptor, now_ms: u64) {
        self.expiries
            .tell(state, now_ms, self.options.ttl_entries_per_clock);
    }

    fn metrics(&self) -> Vec<(String, f64)> {
        let figure = |name: &str, number: u64| (name.to_owned(), number as f64);
        let mut figures = vec![
            figure("cache_used_bytes", self.last.used as u64),
            figure("cache_limit_bytes", self.last.limit as u64),
            figure("cache_evicted_bytes", self.room.evicted_bytes),
            figure("cache_rounds", self.room.rounds),
            figure("cache_spills", self.spill.count()),
            figure("checkpoint_files", self.known.len() as u64),
            figure("expired_entries_dropped", self.expiries.dropped()),
        ];
        let parts = self.store.parts();
        figures.push(figure("databases", parts.len() as u64));
        figures.push(figure("merges_failed", u64::from(self.merge.has_failed())));
        for part in parts.iter() {
            add_figures(&mut figures, part.database.figures());
        }
        figures
    }
}
