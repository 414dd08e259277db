//! When a run's first record left a source, when its last operator had seen the end of input, and what came out.

use crate::generate::Tally;
use crate::process::cpu_ms;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Shared by all subtasks of a run; touched once a subtask and checkpoint, never for a record.
#[derive(Debug)]
pub(crate) struct Probe {
    base: Instant,
    /// Nanoseconds after `base`; 0: not yet.
    first_ns: AtomicU64,
    last_ns: AtomicU64,
    first_cpu_ms: AtomicU64,
    last_cpu_ms: AtomicU64,
    tally: Mutex<Tally>,
}

/// What a probe has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// From the first record to the end of input, in seconds.
    pub(crate) wall_s: f64,
    /// CPU time of the whole process meanwhile, in seconds; in steps of 10 ms.
    pub(crate) cpu_s: f64,
    /// From the making of the probe to the first record, in milliseconds.
    pub(crate) to_first_record_ms: u64,
    /// From the end of input to the call of [`Probe::measured`], in milliseconds.
    pub(crate) after_end_ms: u64,
    /// What came out.
    pub(crate) tally: Tally,
}

impl Probe {
    /// A probe of a run that starts now.
    pub(crate) fn new() -> Self {
        Self {
            base: Instant::now(),
            first_ns: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            first_cpu_ms: AtomicU64::new(0),
            last_cpu_ms: AtomicU64::new(0),
            tally: Mutex::default(),
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A source is about to emit; the first call counts.
    pub(crate) fn started(&self) {
        let now = self.now_ns().max(1);
        let first = self
            .first_ns
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if first {
            self.first_cpu_ms.store(cpu_ms(), Ordering::Relaxed);
        }
    }

    /// An operator has written `tally` since it said so last, maybe to its end of input; the last call counts.
    pub(crate) fn wrote(&self, tally: Tally) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) += tally;
        self.last_cpu_ms.fetch_max(cpu_ms(), Ordering::Relaxed);
        self.last_ns.fetch_max(self.now_ns(), Ordering::Relaxed);
    }

    /// What was seen, after the end of the run.
    pub(crate) fn measured(&self) -> Measured {
        let (first, last) = (
            self.first_ns.load(Ordering::Relaxed),
            self.last_ns.load(Ordering::Relaxed),
        );
        let cpu = self
            .last_cpu_ms
            .load(Ordering::Relaxed)
            .saturating_sub(self.first_cpu_ms.load(Ordering::Relaxed));
        Measured {
            wall_s: seconds(last.saturating_sub(first), 1e9),
            cpu_s: seconds(cpu, 1e3),
            to_first_record_ms: first / 1_000_000,
            after_end_ms: self.now_ns().saturating_sub(last) / 1_000_000,
            tally: *self.tally.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a run is shorter than 2^53 ns, 104 days"
)]
fn seconds(number: u64, per_second: f64) -> f64 {
    number as f64 / per_second
}
