//! State that expires: what RocksDB drops when it compacts files.
//!
//! Each column family is opened with a filter that asks for the TTL of its state. It is nothing until the state is registered and the engine has told the time,
//! so what a restored database begins to compact at once is kept as it is. Entries that are dropped become deletions, which hide older versions of
//! the same cell as the entries did: nothing comes back.
//!
//! Of a list that lives the elements at its front go that have expired. What is appended to a list and not put together with it yet, RocksDB does not
//! show to filters, and keeps. So a list that is dropped, or cut, is the beginning of what there is: what comes behind it stays as it is, and is the list then.
//!
//! What the tables in front of the database count of it is then too much, never too little: see `millpond_backend_memory::kinds`, "Cells that go by
//! themselves".

mod trim;

use millpond_backend_api::{StateDescriptor, StateKind, StateTtl};
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const NAME: &CStr = c"millpond::ExpiredState";

/// The states of a subtask that expire. Shared by its databases.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    states: Mutex<BTreeMap<String, Arc<StateExpiry>>>,
}

/// One state.
#[derive(Debug, Default)]
struct StateExpiry {
    /// `None` while nothing expires.
    judge: Mutex<Option<Judge>>,
    /// How many entries were dropped, older versions of cells among them.
    dropped: AtomicU64,
}

/// What has expired, as far as is known at some moment.
#[derive(Clone, Copy, Debug)]
struct Judge {
    ttl: StateTtl,
    kind: StateKind,
    now_ms: u64,
    entries_per_look: u64,
}

impl Expiries {
    fn state(&self, name: &str) -> Arc<StateExpiry> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match states.get(name) {
            Some(state) => Arc::clone(state),
            None => Arc::clone(states.entry(name.to_owned()).or_default()),
        }
    }

    /// Tells what time it is for a state. `entries_per_look` counts where the state has no number of its own.
    pub(crate) fn tell(&self, state: &StateDescriptor, now_ms: u64, entries_per_look: u64) {
        let ttl = state.ttl;
        let judge = (!ttl.is_none() && ttl.in_compactions).then_some(Judge {
            ttl,
            kind: state.kind,
            now_ms,
            entries_per_look: match ttl.entries_per_look {
                0 => entries_per_look,
                entries => entries,
            },
        });
        let state = self.state(&state.name);
        *state.judge.lock().unwrap_or_else(PoisonError::into_inner) = judge;
    }

    /// What is asked for a filter whenever files of the state `name` are compacted.
    pub(crate) fn filters(&self, name: &str) -> Filters {
        Filters(self.state(name))
    }

    /// How many entries were dropped, older versions of cells among them.
    pub(crate) fn dropped(&self) -> u64 {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = states.values().map(|state| state.dropped.load(Ordering::Relaxed));
        dropped.sum()
    }
}

/// Makes the filters of one state. Several threads may ask for one at once, so it has nothing that changes.
pub(crate) struct Filters(Arc<StateExpiry>);

impl CompactionFilterFactory for Filters {
    type Filter = Filter;

    fn create(&mut self, _: CompactionFilterContext) -> Filter {
        Filter {
            state: Arc::clone(&self.0),
            judge: None,
            left: 0,
            dropped: 0,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// The filter of one compaction. RocksDB calls it from a thread of its own, where nothing may panic.
pub(crate) struct Filter {
    state: Arc<StateExpiry>,
    judge: Option<Judge>,
    /// Entries before the next look at the time.
    left: u64,
    dropped: u64,
}

impl Filter {
    /// While the state does not expire: how many entries it takes to see that it does by now.
    const ENTRIES_WITHOUT_TTL: u64 = 1024;

    fn look(&mut self) {
        self.judge = *self.state.judge.lock().unwrap_or_else(PoisonError::into_inner);
        self.left = self
            .judge
            .map_or(Self::ENTRIES_WITHOUT_TTL, |judge| judge.entries_per_look)
            .max(1);
    }
}

impl CompactionFilter for Filter {
    fn filter(&mut self, _level: u32, _name: &[u8], value: &[u8]) -> CompactionDecision {
        if self.left == 0 {
            self.look();
        }
        self.left = self.left.saturating_sub(1);
        let Some(judge) = self.judge else {
            return CompactionDecision::Keep;
        };
        if judge.ttl.has_cell_expired(judge.kind, value, judge.now_ms) {
            self.dropped = self.dropped.saturating_add(1);
            return CompactionDecision::Remove;
        }
        match judge.kind {
            StateKind::List => trim::keep_from(value, judge.ttl.expired_prefix(value, judge.now_ms)),
            _ => CompactionDecision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.state.dropped.fetch_add(self.dropped, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
