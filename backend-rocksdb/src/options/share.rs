//! What the tables of one keyed state may take of the memory of all.

use super::memory::Pool;
use std::sync::{Arc, PoisonError};

/// The keyed states that are open, and what their tables took when they last asked.
#[derive(Debug, Default)]
pub(super) struct Shares {
    used: Vec<Option<u64>>,
}

impl Shares {
    /// A place for one more.
    fn take(&mut self) -> usize {
        let free = self.used.iter().position(Option::is_none);
        let place = free.unwrap_or(self.used.len());
        if free.is_none() {
            self.used.push(None);
        }
        self.set(place, Some(0));
        place
    }

    fn set(&mut self, place: usize, bytes: Option<u64>) {
        if let Some(used) = self.used.get_mut(place) {
            *used = bytes;
        }
    }

    /// How many keyed states are open, and what all of them take.
    fn sum(&self) -> (u64, u64) {
        self.used
            .iter()
            .flatten()
            .fold((0, 0), |(count, sum), used| (count + 1, sum + used))
    }
}

/// The part that the tables of one keyed state have in the memory of the process; given back when it is dropped.
///
/// Each may take an equal part, and what the others leave of theirs: an operator with little state does not keep an operator with
/// much from using the memory. Owners ask from time to time, at least with each batch and each snapshot, and evict what is too much; so one that grows to
/// its equal part takes it from those above theirs.
#[derive(Debug)]
pub struct TableShare {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Pool(Arc<Pool>, usize),
    /// The bytes for each state.
    Alone(u64),
}

impl TableShare {
    pub(super) fn of_pool(pool: Arc<Pool>) -> Self {
        let place = pool.shares.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self {
            source: Source::Pool(pool, place),
        }
    }

    /// Without a budget: `bytes` for each state.
    pub(super) fn alone(bytes: u64) -> Self {
        Self {
            source: Source::Alone(bytes),
        }
    }

    /// The bytes that the tables may take now, of a keyed state whose tables take `used` bytes and have `states` states, while the process keeps
    /// `kept` bytes that tables gave back.
    ///
    /// Costs about a microsecond: the cache is asked what it uses.
    #[must_use]
    pub fn limit_bytes(&self, used: usize, states: usize, kept: usize) -> usize {
        let used = used as u64;
        let limit = match &self.source {
            Source::Alone(bytes) => bytes.saturating_mul(states.max(1) as u64),
            Source::Pool(pool, place) => {
                let all = pool.table_limit_bytes().saturating_sub(kept as u64);
                let mut shares = pool.shares.lock().unwrap_or_else(PoisonError::into_inner);
                shares.set(*place, Some(used));
                let (count, sum) = shares.sum();
                let left_by_others = all.saturating_sub(sum - used);
                left_by_others.max(all / count.max(1))
            }
        };
        usize::try_from(limit).unwrap_or(usize::MAX)
    }
}

impl Drop for TableShare {
    fn drop(&mut self) {
        if let Source::Pool(pool, place) = &self.source {
            let mut shares = pool.shares.lock().unwrap_or_else(PoisonError::into_inner);
            shares.set(*place, None);
        }
    }
}
