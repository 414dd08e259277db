//! Functions of a stream and a broadcast one, and what they see.

use super::collector::Collector;
use super::data::{Data, TimestampMs};
use super::function::{ProcessContext, Timer};
use super::process_function::FunctionContext;
use crate::Result;
use crate::runtime::stages::Moment;
use crate::state::{
    BroadcastStates, FunctionInitializationContext, FunctionSnapshotContext, KeyedContext, KeyedStateHandle,
    ListStates, StateRegistry,
};
use millpond_backend_api::{EntryBuffer, KeyGroup};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A function over a stream without keys and a broadcast one, whose records every subtask sees. The broadcast states are changed only by the latter, so
/// that they are the same in all subtasks: see [`BroadcastState`](crate::state::BroadcastState).
///
/// The two streams come in no order between them, and the subtasks see the broadcast records at different moments.
pub trait BroadcastProcessFunction<In: Data, Broadcast: Data, Out: Data>:
    Clone + Send + Sync + 'static
{
    /// Asks for the operator states, and takes back what was restored of them.
    ///
    /// # Errors
    /// Those of the context; the attempt ends.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Takes a record of the stream that is not broadcast.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element(
        &mut self,
        record: In,
        context: &mut ReadOnlyContext<'_>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// Takes a broadcast record. Must change the broadcast states in the same way in every subtask.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_broadcast_element(
        &mut self,
        record: Broadcast,
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

    /// Both inputs have ended: the last chance to emit what was held back.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn end_input(&mut self, context: &mut ReadOnlyContext<'_>, out: &mut Collector<Out>) -> Result<()> {
        let _ = (context, out);
        Ok(())
    }
}

/// A function over a keyed stream and a broadcast one, whose records every subtask sees. Records with a key have state and timers of their key and read the broadcast
/// states; broadcast records change those, and have no key: see [`KeyedBroadcastContext::apply_to_keyed_state`].
///
/// ```
/// use millpond_engine::Result;
/// use millpond_engine::api::{
///     Collector, KeyedBroadcastContext, KeyedBroadcastProcessFunction, KeyedReadOnlyContext,
///     StreamExecutionEnvironment,
/// };
/// use millpond_engine::connectors::sinks::CollectSink;
/// use millpond_engine::state::{
///     BroadcastState, FunctionInitializationContext, ListState, MapStateDescriptor, StateRegistry,
/// };
///
/// fn names() -> MapStateDescriptor<u64, String> {
///     MapStateDescriptor::new("names")
/// }
///
/// /// Says the name of each key's numbers, once it is known.
/// #[derive(Clone, Default)]
/// struct Named {
///     names: Option<BroadcastState<u64, String>>,
///     waiting: Option<ListState<u64>>,
/// }
///
/// impl KeyedBroadcastProcessFunction<u64, u64, (u64, String), String> for Named {
///     fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
///         self.names = Some(context.get_broadcast_state(&names())?);
///         Ok(())
///     }
///
///     fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
///         self.waiting = Some(states.list_state("waiting")?);
///         Ok(())
///     }
///
///     fn process_element(
///         &mut self,
///         n: u64,
///         context: &mut KeyedReadOnlyContext<'_, u64>,
///         out: &mut Collector<String>,
///     ) -> Result<()> {
///         let (Some(names), Some(waiting)) = (self.names, self.waiting) else { return Ok(()) };
///         match names.get(context.broadcast_states(), &context.current_key()?)? {
///             Some(name) => out.collect(format!("{n} is {name}")),
///             None => waiting.add(context, &n)?,
///         }
///         Ok(())
///     }
///
///     fn process_broadcast_element(
///         &mut self,
///         (key, name): (u64, String),
///         context: &mut KeyedBroadcastContext<'_, u64>,
///         out: &mut Collector<String>,
///     ) -> Result<()> {
///         let (Some(names), Some(waiting)) = (self.names, self.waiting) else { return Ok(()) };
///         names.put(context.broadcast_states(), key, name.clone())?;
///         context.apply_to_keyed_state(&waiting, |context| {
///             if context.current_key()? == key {
///                 for n in waiting.get(context)? {
///                     out.collect(format!("{n} is {name}"));
///                 }
///                 waiting.clear(context)?;
///             }
///             Ok(())
///         })
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let sink = CollectSink::new();
/// let results = sink.results();
/// let names_of_keys = env
///     .from_sequence(0, 2)
///     .map(|key| (key, if key == 0 { "even" } else { "odd" }.to_owned()))
///     .broadcast_with(&[&names()]);
/// env.from_sequence(1, 5)
///     .key_by(|n| n % 2)
///     .connect(&names_of_keys)
///     .process(Named::default())
///     .uid("named")
///     .sink_to_2pc(sink);
/// env.execute("names")?;
/// let mut results = results.take();
/// results.sort();
/// assert_eq!(results, ["1 is odd", "2 is even", "3 is odd", "4 is even"]);
/// # Ok::<(), millpond_engine::Error>(())
/// ```
pub trait KeyedBroadcastProcessFunction<K: Data, In: Data, Broadcast: Data, Out: Data>:
    Clone + Send + Sync + 'static
{
    /// Asks for the operator states, which belong to the subtask and to no key. Comes before [`open`](Self::open).
    ///
    /// # Errors
    /// Those of the context; the attempt ends.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Registers the keyed states.
    ///
    /// # Errors
    /// Those of the registry; the attempt ends.
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        let _ = states;
        Ok(())
    }

    /// Takes a record with a key.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element(
        &mut self,
        record: In,
        context: &mut KeyedReadOnlyContext<'_, K>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// Takes a broadcast record. Must change the broadcast states in the same way in every subtask.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_broadcast_element(
        &mut self,
        record: Broadcast,
        context: &mut KeyedBroadcastContext<'_, K>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// A timer of the current key is due.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut KeyedReadOnlyContext<'_, K>,
        out: &mut Collector<Out>,
    ) -> Result<()> {
        let _ = (timer, context, out);
        Ok(())
    }

    /// Puts into the operator states what of the function's fields has to outlive a failure.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }
}

/// What a [`BroadcastProcessFunction`] sees of a record that is not broadcast.
#[derive(Debug)]
pub struct ReadOnlyContext<'a> {
    broadcast: &'a BroadcastStates,
    lists: &'a mut ListStates,
    moment: Moment,
}

impl<'a> ReadOnlyContext<'a> {
    #[inline]
    pub(crate) fn new(broadcast: &'a BroadcastStates, lists: &'a mut ListStates, moment: Moment) -> Self {
        Self {
            broadcast,
            lists,
            moment,
        }
    }

    /// The broadcast states, to be read.
    #[must_use]
    pub fn broadcast_states(&self) -> &'a BroadcastStates {
        self.broadcast
    }

    /// The lists of the subtask.
    #[must_use]
    pub fn list_states(&mut self) -> &mut ListStates {
        self.lists
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
}

/// What a [`KeyedBroadcastProcessFunction`] sees of a record with a key: everything that a [`ProcessContext`] has, but broadcast states can only be read.
#[derive(Debug)]
pub struct KeyedReadOnlyContext<'a, K> {
    process: ProcessContext<'a, K>,
    broadcast: &'a BroadcastStates,
}

impl<'a, K: Data> KeyedReadOnlyContext<'a, K> {
    #[inline]
    pub(crate) fn new(
        keyed: &'a mut KeyedContext,
        broadcast: &'a BroadcastStates,
        timestamp: Option<TimestampMs>,
    ) -> Self {
        Self {
            process: ProcessContext::new(keyed, timestamp),
            broadcast,
        }
    }

    /// The broadcast states, to be read.
    #[must_use]
    pub fn broadcast_states(&self) -> &'a BroadcastStates {
        self.broadcast
    }
}

impl<'a, K> Deref for KeyedReadOnlyContext<'a, K> {
    type Target = ProcessContext<'a, K>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl<K> DerefMut for KeyedReadOnlyContext<'_, K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}

/// What a [`KeyedBroadcastProcessFunction`] sees of a broadcast record, which has no key.
#[derive(Debug)]
pub struct KeyedBroadcastContext<'a, K> {
    keyed: &'a mut KeyedContext,
    timestamp: Option<TimestampMs>,
    key: PhantomData<fn() -> K>,
}

impl<'a, K: Data> KeyedBroadcastContext<'a, K> {
    pub(crate) fn new(keyed: &'a mut KeyedContext, timestamp: Option<TimestampMs>) -> Self {
        Self {
            keyed,
            timestamp,
            key: PhantomData,
        }
    }

    /// The broadcast states.
    #[must_use]
    pub fn broadcast_states(&mut self) -> &mut BroadcastStates {
        &mut self.keyed.operator.broadcast
    }

    /// The lists of the subtask.
    #[must_use]
    pub fn list_states(&mut self) -> &mut ListStates {
        &mut self.keyed.operator.lists
    }

    /// The event time of the record, if it has one.
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

    /// Calls `function` once for each key of this subtask that has something in `state`, with that key as the current one: it may read and change any keyed state of the key, and set
    /// timers. The keys are those at the start, a key group after the other, and in each in the order of their bytes.
    ///
    /// It goes through the whole state, values included, a key group at a time; a state with a TTL may show keys whose values have expired.
    ///
    /// # Errors
    /// The backend's, and those of `function`.
    pub fn apply_to_keyed_state(
        &mut self,
        state: &impl KeyedStateHandle,
        mut function: impl FnMut(&mut ProcessContext<'_, K>) -> Result<()>,
    ) -> Result<()> {
        let (state, groups) = (state.state(), self.keyed.backend.key_groups());
        let mut entries = EntryBuffer::new();
        for group in groups.first.0..=groups.last.0 {
            entries.clear();
            self.keyed.backend.visit(state, KeyGroup(group), &mut entries)?;
            let keys: BTreeSet<&[u8]> = entries.iter().map(|entry| entry.key).collect();
            for key in keys {
                self.keyed.keys.push_encoded(key);
                self.keyed.select(0);
                function(&mut ProcessContext::new(self.keyed, self.timestamp))?;
                self.keyed.end_batch()?;
            }
        }
        Ok(())
    }
}
