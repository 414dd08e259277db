//! Functions without a key that may have operator state.

use super::collector::Collector;
use super::data::{Data, TimestampMs};
use crate::Result;
use crate::runtime::stages::Moment;
use crate::state::{
    BroadcastStates, FunctionInitializationContext, FunctionSnapshotContext, ListStates, OperatorStates,
};

/// A function over a stream without keys, which may keep [operator state](crate::state::operator).
///
/// # Contract
/// 1. Each subtask of each attempt works on a clone of the function as the program made it.
/// 2. [`initialize_state`](Self::initialize_state) comes first, once, and asks for the states.
/// 3. [`snapshot_state`](Self::snapshot_state) comes at each checkpoint, after every record before the barrier and before every record behind it. What is in the states when it
///    returns is in the checkpoint; fields of the function are not.
/// 4. [`end_input`](Self::end_input) comes when all input has ended, also before a savepoint that the job is drained with, and last. It does not come again in a job that goes on from a
///    checkpoint that was taken after that; one that goes on from a savepoint that it was drained with has more input, and another end.
/// 5. An error or a panic ends the attempt; the restart strategy decides what follows.
///
/// ```
/// use millpond_engine::Result;
/// use millpond_engine::api::{Collector, FunctionContext, ProcessFunction, StreamExecutionEnvironment};
/// use millpond_engine::connectors::sinks::CollectSink;
/// use millpond_engine::state::{FunctionInitializationContext, ListStateDescriptor, OperatorListState};
///
/// /// Emits sums of three records each, and of those that are left at the end.
/// #[derive(Clone, Default)]
/// struct Threes {
///     waiting: Option<OperatorListState<u64>>,
/// }
///
/// impl ProcessFunction<u64, u64> for Threes {
///     fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
///         self.waiting = Some(context.get_list_state(&ListStateDescriptor::new("waiting"))?);
///         Ok(())
///     }
///
///     fn process_element(&mut self, n: u64, context: &mut FunctionContext<'_>, out: &mut Collector<u64>) -> Result<()> {
///         let Some(waiting) = self.waiting else { return Ok(()) };
///         waiting.add(context.list_states(), n)?;
///         if waiting.get(context.list_states())?.len() >= 3 {
///             out.collect(waiting.take(context.list_states())?.into_iter().sum());
///         }
///         Ok(())
///     }
///
///     fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<u64>) -> Result<()> {
///         let Some(waiting) = self.waiting else { return Ok(()) };
///         out.collect(waiting.take(context.list_states())?.into_iter().sum());
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let sink = CollectSink::new();
/// let sums = sink.results();
/// env.from_sequence(1, 8).process(Threes::default()).uid("threes").sink_to_2pc(sink);
/// env.execute("threes")?;
/// assert_eq!(sums.take(), [6, 15, 7]);
/// # Ok::<(), millpond_engine::Error>(())
/// ```
pub trait ProcessFunction<In: Data, Out: Data>: Clone + Send + Sync + 'static {
    /// Asks for the operator states, and takes back what was restored of them.
    ///
    /// # Errors
    /// Those of the context; the attempt ends.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
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
        context: &mut FunctionContext<'_>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// Puts into the operator states what of the function's fields has to outlive a failure.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// All input has ended: the last chance to emit what was held back.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<Out>) -> Result<()> {
        let _ = (context, out);
        Ok(())
    }
}

/// What a function without a key sees of the current record, and its operator state, which handles find in it.
#[derive(Debug)]
pub struct FunctionContext<'a> {
    states: &'a mut OperatorStates,
    moment: Moment,
}

impl<'a> FunctionContext<'a> {
    #[inline]
    pub(crate) fn new(states: &'a mut OperatorStates, moment: Moment) -> Self {
        Self { states, moment }
    }

    /// What a context has whose broadcast states are read-only.
    pub(crate) fn parts(&mut self) -> (&BroadcastStates, &mut ListStates, Moment) {
        (&self.states.broadcast, &mut self.states.lists, self.moment)
    }

    /// The event time of the record, if it has one.
    #[must_use]
    pub fn timestamp(&self) -> Option<TimestampMs> {
        self.moment.timestamp
    }

    /// The watermark: no record with an event time at or below it is expected.
    #[must_use]
    pub fn current_watermark(&self) -> TimestampMs {
        self.moment.watermark
    }

    /// The wall clock.
    #[must_use]
    pub fn current_processing_time(&self) -> TimestampMs {
        crate::runtime::now_ms()
    }

    /// The lists.
    #[must_use]
    pub fn list_states(&mut self) -> &mut ListStates {
        &mut self.states.lists
    }

    /// The broadcast states.
    #[must_use]
    pub fn broadcast_states(&mut self) -> &mut BroadcastStates {
        &mut self.states.broadcast
    }
}
