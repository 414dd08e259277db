//! Functions with keyed state and timers.

use super::collector::Collector;
use super::data::{Data, TimestampMs};
use crate::state::{
    BroadcastStates, FunctionInitializationContext, FunctionSnapshotContext, KeyedContext, ListStates,
    StateRegistry, TimerDomain,
};
use crate::{Result, codec};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A function over a keyed stream, with state and timers of its own for each key.
///
/// # Contract
/// 1. Each subtask of each attempt works on a clone of the function as the program made it.
/// 2. [`open`](Self::open) comes first, once, and registers the states.
/// 3. State and timers are scoped to the key of the current record or timer. Fields of the function are not part of checkpoints.
/// 4. An error or a panic ends the attempt; the restart strategy decides what follows.
///
/// ```
/// use millpond_engine::Result;
/// use millpond_engine::api::{Collector, KeyedProcessFunction, ProcessContext};
/// use millpond_engine::state::{StateRegistry, ValueState};
///
/// /// Emits how often each word has been seen.
/// #[derive(Clone, Default)]
/// struct Count {
///     seen: Option<ValueState<u64>>,
/// }
///
/// impl KeyedProcessFunction<String, String, (String, u64)> for Count {
///     fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
///         self.seen = Some(states.value_state("seen")?);
///         Ok(())
///     }
///
///     fn process_element(
///         &mut self,
///         word: String,
///         context: &mut ProcessContext<'_, String>,
///         out: &mut Collector<(String, u64)>,
///     ) -> Result<()> {
///         let Some(seen) = self.seen else { return Ok(()) };
///         let count = seen.value(context)?.unwrap_or(0) + 1;
///         seen.update(context, &count)?;
///         out.collect((word, count));
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedProcessFunction<K: Data, In: Data, Out: Data>: Clone + Send + Sync + 'static {
    /// Registers the states.
    ///
    /// # Errors
    /// Those of the registry; the attempt ends.
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        let _ = states;
        Ok(())
    }

    /// Asks for the [operator states](crate::state::operator), which belong to the subtask and to no key, and takes back what was restored of them. Comes
    /// before [`open`](Self::open).
    ///
    /// # Errors
    /// Those of the context; the attempt ends.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Puts into the operator states what of the function's fields has to outlive a failure: at each checkpoint, after every record before the barrier.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Takes a record.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element(
        &mut self,
        record: In,
        context: &mut ProcessContext<'_, K>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// A timer of the current key is due.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut ProcessContext<'_, K>,
        out: &mut Collector<Out>,
    ) -> Result<()> {
        let _ = (timer, context, out);
        Ok(())
    }
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time that it was registered for.
    pub timestamp: TimestampMs,
    /// The clock that it went by.
    pub domain: TimerDomain,
}

/// What a function sees of the current record: key, event time, timers, and keyed state, which handles find in it.
#[derive(Debug)]
pub struct ProcessContext<'a, K> {
    keyed: &'a mut KeyedContext,
    timestamp: Option<TimestampMs>,
    key: PhantomData<fn() -> K>,
}

impl<'a, K: Data> ProcessContext<'a, K> {
    #[inline]
    pub(crate) fn new(keyed: &'a mut KeyedContext, timestamp: Option<TimestampMs>) -> Self {
        Self {
            keyed,
            timestamp,
            key: PhantomData,
        }
    }

    /// The current key.
    ///
    /// # Errors
    /// When the key's bytes are no `K`: a bug.
    pub fn current_key(&self) -> Result<K> {
        Ok(codec::decode(self.keyed.key_bytes())?)
    }

    /// The event time of the record, if it has one, or the time of the timer.
    #[must_use]
    pub fn timestamp(&self) -> Option<TimestampMs> {
        self.timestamp
    }

    /// The watermark: no record with an event time at or below it is expected.
    #[must_use]
    pub fn current_watermark(&self) -> TimestampMs {
        self.keyed.watermark
    }

    /// The wall clock.
    #[must_use]
    pub fn current_processing_time(&self) -> TimestampMs {
        crate::runtime::now_ms()
    }

    /// The lists of the subtask.
    #[must_use]
    pub fn list_states(&mut self) -> &mut ListStates {
        &mut self.keyed.operator.lists
    }

    /// The broadcast states of the subtask.
    #[must_use]
    pub fn broadcast_states(&mut self) -> &mut BroadcastStates {
        &mut self.keyed.operator.broadcast
    }

    /// Has [`on_timer`](KeyedProcessFunction::on_timer) called for the current key when the watermark reaches `time`. Once, however often it is registered.
    ///
    /// # Errors
    /// The backend's.
    pub fn register_event_time_timer(&mut self, time: TimestampMs) -> Result<()> {
        self.keyed.register_timer(TimerDomain::EventTime, time)
    }

    /// Has [`on_timer`](KeyedProcessFunction::on_timer) called for the current key when the wall clock reaches `time`. Once, however often it is registered.
    ///
    /// # Errors
    /// The backend's.
    pub fn register_processing_time_timer(&mut self, time: TimestampMs) -> Result<()> {
        self.keyed.register_timer(TimerDomain::ProcessingTime, time)
    }

    /// Removes a timer of the current key; nothing if there is none.
    ///
    /// # Errors
    /// The backend's.
    pub fn delete_event_time_timer(&mut self, time: TimestampMs) -> Result<()> {
        self.keyed.delete_timer(TimerDomain::EventTime, time)
    }

    /// Removes a timer of the current key; nothing if there is none.
    ///
    /// # Errors
    /// The backend's.
    pub fn delete_processing_time_timer(&mut self, time: TimestampMs) -> Result<()> {
        self.keyed.delete_timer(TimerDomain::ProcessingTime, time)
    }
}

impl<K> Deref for ProcessContext<'_, K> {
    type Target = KeyedContext;

    #[inline]
    fn deref(&self) -> &KeyedContext {
        self.keyed
    }
}

impl<K> DerefMut for ProcessContext<'_, K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut KeyedContext {
        self.keyed
    }
}
