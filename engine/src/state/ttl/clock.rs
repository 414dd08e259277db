//! The clock that state expires by.

use crate::api::TimestampMs;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The clock that state expires by: the wall clock, unless
/// [`set_ttl_time_provider`](crate::api::StreamExecutionEnvironment::set_ttl_time_provider) gives the job another one.
///
/// It is asked by all subtasks, about once a batch each. Where it goes back, values that were written later live longer by as much.
pub trait TtlTimeProvider: fmt::Debug + Send + Sync + 'static {
    /// What time it is, in milliseconds since 1970. A time before 1970 is taken for 1970.
    fn current_timestamp_ms(&self) -> TimestampMs;
}

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemTtlTime;

impl TtlTimeProvider for SystemTtlTime {
    fn current_timestamp_ms(&self) -> TimestampMs {
        crate::runtime::now_ms()
    }
}

/// A clock that stands still until it is set, for tests. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualTtlTime(Arc<AtomicI64>);

impl ManualTtlTime {
    /// A clock that shows `now_ms`.
    #[must_use]
    pub fn at(now_ms: TimestampMs) -> Self {
        Self(Arc::new(AtomicI64::new(now_ms)))
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now_ms: TimestampMs) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl TtlTimeProvider for ManualTtlTime {
    fn current_timestamp_ms(&self) -> TimestampMs {
        self.0.load(Ordering::SeqCst)
    }
}
