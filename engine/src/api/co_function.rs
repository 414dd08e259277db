//! Functions of two inputs.

use super::collector::Collector;
use super::data::Data;
use super::function::{ProcessContext, Timer};
use super::process_function::FunctionContext;
use crate::Result;
use crate::state::{FunctionInitializationContext, FunctionSnapshotContext, StateRegistry};

/// A function over two streams without keys, which may keep [operator state](crate::state::operator). Records of the two come in no order between them; the watermark
/// is the lesser of both. Otherwise as [`ProcessFunction`](super::ProcessFunction).
pub trait CoProcessFunction<In1: Data, In2: Data, Out: Data>: Clone + Send + Sync + 'static {
    /// Asks for the operator states, and takes back what was restored of them.
    ///
    /// # Errors
    /// Those of the context; the attempt ends.
    fn initialize_state(&mut self, context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Takes a record of the first stream.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element1(
        &mut self,
        record: In1,
        context: &mut FunctionContext<'_>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// Takes a record of the second stream.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element2(
        &mut self,
        record: In2,
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
    fn end_input(&mut self, context: &mut FunctionContext<'_>, out: &mut Collector<Out>) -> Result<()> {
        let _ = (context, out);
        Ok(())
    }
}

/// A function over two streams with keys of the same type, which share state and timers: what a record of one stream leaves at a key, a record of the other one finds. Records of
/// the two come in no order between them; the watermark is the lesser of both. Otherwise as [`KeyedProcessFunction`](super::KeyedProcessFunction).
///
/// ```
/// use millpond_engine::Result;
/// use millpond_engine::api::{
///     Collector, KeyedCoProcessFunction, ProcessContext, StreamExecutionEnvironment,
/// };
/// use millpond_engine::connectors::sinks::CollectSink;
/// use millpond_engine::state::{StateRegistry, ValueState};
///
/// /// Puts together what the two streams say of the same number.
/// #[derive(Clone, Default)]
/// struct Join {
///     square: Option<ValueState<u64>>,
///     name: Option<ValueState<String>>,
/// }
///
/// impl KeyedCoProcessFunction<u64, (u64, u64), (u64, String), String> for Join {
///     fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
///         self.square = Some(states.value_state("square")?);
///         self.name = Some(states.value_state("name")?);
///         Ok(())
///     }
///
///     fn process_element1(
///         &mut self,
///         (_, square): (u64, u64),
///         context: &mut ProcessContext<'_, u64>,
///         out: &mut Collector<String>,
///     ) -> Result<()> {
///         let (Some(squares), Some(names)) = (self.square, self.name) else { return Ok(()) };
///         match names.value(context)? {
///             Some(name) => out.collect(format!("{name}: {square}")),
///             None => squares.update(context, &square)?,
///         }
///         Ok(())
///     }
///
///     fn process_element2(
///         &mut self,
///         (_, name): (u64, String),
///         context: &mut ProcessContext<'_, u64>,
///         out: &mut Collector<String>,
///     ) -> Result<()> {
///         let (Some(squares), Some(names)) = (self.square, self.name) else { return Ok(()) };
///         match squares.value(context)? {
///             Some(square) => out.collect(format!("{name}: {square}")),
///             None => names.update(context, &name)?,
///         }
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let sink = CollectSink::new();
/// let results = sink.results();
/// let squares = env.from_sequence(1, 4).map(|n| (n, n * n)).key_by(|(n, _)| *n);
/// let names = env.from_sequence(1, 4).map(|n| (n, format!("number {n}"))).key_by(|(n, _)| *n);
/// squares.connect(&names).process(Join::default()).uid("join").sink_to_2pc(sink);
/// env.execute("join")?;
/// let mut results = results.take();
/// results.sort();
/// assert_eq!(results, ["number 1: 1", "number 2: 4", "number 3: 9"]);
/// # Ok::<(), millpond_engine::Error>(())
/// ```
pub trait KeyedCoProcessFunction<K: Data, In1: Data, In2: Data, Out: Data>:
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

    /// Takes a record of the first stream.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element1(
        &mut self,
        record: In1,
        context: &mut ProcessContext<'_, K>,
        out: &mut Collector<Out>,
    ) -> Result<()>;

    /// Takes a record of the second stream.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn process_element2(
        &mut self,
        record: In2,
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

    /// Puts into the operator states what of the function's fields has to outlive a failure.
    ///
    /// # Errors
    /// The function's; the attempt ends.
    fn snapshot_state(&mut self, context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        let _ = context;
        Ok(())
    }
}
