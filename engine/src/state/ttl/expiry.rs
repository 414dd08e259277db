//! What handles of states with a TTL go by, and when backends are let clean up.

use super::clock::TtlTimeProvider;
use super::config::{StateTtlConfig, StateVisibility, TtlUpdate};
use crate::backend::KeyedBackend;
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::{StateId, StateTtl, ttl};
use std::sync::Arc;

/// The most cells that a backend is let look at after one batch, so that a batch stays one.
const CELLS_MAX: u64 = 1 << 16;

/// What a handle of a state with a TTL goes by. Small: handles are copied for each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    ttl_ms: u64,
    /// Reading a value makes it live on.
    pub(crate) refreshes: bool,
    /// A value that has expired is shown by the read that removes it.
    pub(crate) shows_expired: bool,
}

impl Expiry {
    pub(super) fn of(config: &StateTtlConfig) -> Self {
        Self {
            ttl_ms: config.for_backend().ttl_ms,
            refreshes: config.update_type() == TtlUpdate::OnReadAndWrite,
            shows_expired: config.visibility() == StateVisibility::ReturnExpiredIfNotCleanedUp,
        }
    }

    /// Whether a value of `time` has expired at `now`.
    #[inline]
    pub(crate) fn has_expired(self, time: u64, now: u64) -> bool {
        StateTtl::of_ms(self.ttl_ms).has_expired(time, now)
    }

    /// The same for a look that changes nothing.
    pub(crate) fn without_refresh(self) -> Self {
        Self {
            refreshes: false,
            ..self
        }
    }

    /// Time and bytes of a stored value.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] for bytes without a time.
    #[inline]
    pub(crate) fn split(stored: &[u8]) -> Result<(u64, &[u8])> {
        ttl::split_time(stored).ok_or_else(|| no_time(stored.len()))
    }
}

#[cold]
fn no_time(len: usize) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!(
            "a value of a state with a TTL begins with a time of {} bytes, and {len} bytes are stored",
            ttl::TIME_BYTES
        ),
    )
}

#[cold]
pub(crate) fn damaged_element(damaged: ttl::DamagedElement) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!(
            "a list state with a TTL has no element at byte {} of {}: each has a length, a time, and as many bytes",
            damaged.position, damaged.len
        ),
    )
}

/// A state with a TTL of this subtask.
#[derive(Debug)]
struct TtlState {
    state: StateId,
    /// How many cells to look at for a record; 0: none.
    cells: u64,
    every_record: bool,
}

/// The states with a TTL of a subtask, and what time it is for them.
#[derive(Debug)]
pub(crate) struct TtlStates {
    clock: Arc<dyn TtlTimeProvider>,
    /// What the clock showed in this batch, if it was asked.
    now: Option<u64>,
    states: Vec<TtlState>,
}

impl TtlStates {
    pub(crate) fn new(clock: Arc<dyn TtlTimeProvider>) -> Self {
        Self {
            clock,
            now: None,
            states: Vec::new(),
        }
    }

    /// Adds a state, or changes how it is cleaned up.
    pub(crate) fn add(&mut self, state: StateId, config: &StateTtlConfig) -> Expiry {
        let incremental = config.incremental();
        self.states.retain(|known| known.state != state);
        self.states.push(TtlState {
            state,
            cells: incremental.cells,
            every_record: incremental.every_record,
        });
        Expiry::of(config)
    }

    /// What time it is in this batch.
    #[inline]
    pub(crate) fn now(&mut self) -> u64 {
        match self.now {
            Some(now) => now,
            None => self.ask(),
        }
    }

    #[cold]
    fn ask(&mut self) -> u64 {
        let now = u64::try_from(self.clock.current_timestamp_ms()).unwrap_or(0);
        self.now = Some(now);
        now
    }

    /// Ends a batch of `records` records, whose slots were given back: tells the backend the time and lets it clean up. `removed` is told of each state that
    /// lost cells.
    pub(crate) fn end_batch(
        &mut self,
        backend: &mut KeyedBackend,
        records: usize,
        mut removed: impl FnMut(StateId),
    ) -> Result<()> {
        let is_touched = self.now.is_some();
        if !is_touched && !self.states.iter().any(|state| state.every_record) {
            return Ok(());
        }
        let now = self.now();
        self.now = None;
        for state in &self.states {
            if is_touched || state.every_record {
                let cells = state.cells.saturating_mul(records as u64).min(CELLS_MAX);
                if backend.clean_up(state.state, now, cells)? > 0 {
                    removed(state.state);
                }
            }
        }
        Ok(())
    }

    /// Tells the backend the time, for what a snapshot leaves out.
    pub(crate) fn tell_time(&mut self, backend: &mut KeyedBackend) -> Result<()> {
        if self.states.is_empty() {
            return Ok(());
        }
        let now = self.now();
        self.now = None;
        for state in &self.states {
            backend.clean_up(state.state, now, 0)?;
        }
        Ok(())
    }
}
