//! Windows of event time over keyed streams, aggregated as records come.

use super::collector::{Collector, OutputTag};
use super::data::{Data, TimestampMs};
use super::keyed::KeyedStream;
use super::stream::DataStream;
use super::window_nodes::{Aggregate, Reduce, WindowNode};
use crate::runtime::stages::WindowFold;
use crate::state::AggregateFunction;
use std::time::Duration;

/// A span of event time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeWindow {
    /// The first millisecond.
    pub start: TimestampMs,
    /// The first millisecond behind the window.
    pub end: TimestampMs,
}

impl TimeWindow {
    /// The last millisecond: the event time of what the window emits.
    #[must_use]
    pub fn max_timestamp(&self) -> TimestampMs {
        self.end.saturating_sub(1)
    }
}

/// Windows of event time that all have the same size and follow each other without gaps, so that each record belongs to one.
///
/// ```
/// use millpond_engine::api::TumblingEventTimeWindows;
/// use std::time::Duration;
///
/// let minutes = TumblingEventTimeWindows::of(Duration::from_secs(60));
/// // Days of a place that is an hour ahead of UTC begin an hour earlier, 23 hours behind the start of a UTC day.
/// let days = TumblingEventTimeWindows::of(Duration::from_secs(86_400)).offset(Duration::from_secs(23 * 3600));
/// assert_eq!(minutes.window_of(61_000).start, 60_000);
/// assert_eq!(days.window_of(0).start, -3_600_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TumblingEventTimeWindows {
    pub(crate) size_ms: TimestampMs,
    pub(crate) offset_ms: TimestampMs,
}

impl TumblingEventTimeWindows {
    /// Windows of `size`, in whole milliseconds and at least one, that begin at its multiples since 1970-01-01 UTC. A job with a size below that is refused when
    /// it is started.
    #[must_use]
    pub fn of(size: Duration) -> Self {
        Self {
            size_ms: milliseconds(size),
            offset_ms: 0,
        }
    }

    /// Has every window begin later by `offset`, in whole milliseconds; what is more than the size makes no difference.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Self {
            offset_ms: milliseconds(offset) % self.size_ms.max(1),
            ..self
        }
    }

    /// The window that a record with the event time `timestamp` belongs to.
    #[must_use]
    pub fn window_of(&self, timestamp: TimestampMs) -> TimeWindow {
        let into = timestamp
            .wrapping_sub(self.offset_ms)
            .rem_euclid(self.size_ms.max(1));
        let start = timestamp.saturating_sub(into);
        TimeWindow {
            start,
            end: start.saturating_add(self.size_ms),
        }
    }
}

fn milliseconds(duration: Duration) -> TimestampMs {
    TimestampMs::try_from(duration.as_millis()).unwrap_or(TimestampMs::MAX)
}

/// A keyed stream whose records are grouped into windows. Made by [`KeyedStream::window`].
///
/// Records are folded into one accumulator for each key and window as they come, so a window costs as much state as its result, and a record one look-up. When the
/// watermark reaches the last millisecond of a window it *fires*: the result of each key is emitted with that millisecond as its event time, and all state of the
/// window is removed. Windows fire in the order of time. The end of the input fires all that are open.
///
/// A record that comes after its window has fired is *late*. It is dropped and counted ([`late_records_dropped`](super::JobProgress::late_records_dropped)), or goes to a side output
/// ([`side_output_late_data`](Self::side_output_late_data)). There is no allowed lateness: let watermarks wait as long as records may be out of order
/// ([`WatermarkStrategy::bounded_out_of_orderness`](super::WatermarkStrategy::bounded_out_of_orderness)).
///
/// Records without event time fail the attempt.
///
/// ```
/// use millpond_engine::api::{StreamExecutionEnvironment, TumblingEventTimeWindows, WatermarkStrategy};
/// use millpond_engine::connectors::sinks::CollectSink;
/// use millpond_engine::connectors::sources::SequenceSource;
/// use std::time::Duration;
///
/// let env = StreamExecutionEnvironment::new();
/// let sink = CollectSink::new();
/// let results = sink.results();
/// // A number a millisecond: how many of each remainder are there in ten milliseconds?
/// env.from_source(SequenceSource::new(0..20), "numbers")
///     .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), |number| number.cast_signed())
///     .map(|number| (number % 3, 1_u64))
///     .key_by(|(remainder, _)| *remainder)
///     .window(TumblingEventTimeWindows::of(Duration::from_millis(10)))
///     .reduce(|left, right| (left.0, left.1 + right.1))
///     .sink_to_2pc(sink);
/// env.execute("windows")?;
/// let mut counts = results.take();
/// counts.sort();
/// assert_eq!(counts, [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 3)]);
/// # Ok::<(), millpond_engine::Error>(())
/// ```
pub struct WindowedStream<T, K, S> {
    keyed: KeyedStream<T, K, S>,
    windows: TumblingEventTimeWindows,
    late: Option<OutputTag<T>>,
}

impl<T, K, S> std::fmt::Debug for WindowedStream<T, K, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowedStream")
            .field("keyed", &self.keyed)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

impl<T: Data, K: Data, S: Fn(&T) -> K + Clone + Send + Sync + 'static> WindowedStream<T, K, S> {
    pub(crate) fn new(keyed: KeyedStream<T, K, S>, windows: TumblingEventTimeWindows) -> Self {
        Self {
            keyed,
            windows,
            late: None,
        }
    }

    /// Sends late records to the side output `tag` of the operator, with their event times. They are not counted as dropped then.
    #[must_use]
    pub fn side_output_late_data(self, tag: &OutputTag<T>) -> Self {
        Self {
            late: Some(tag.clone()),
            ..self
        }
    }

    /// Folds the records of each key and window into one, which is emitted when the window fires.
    pub fn reduce(&self, reduce: impl Fn(T, T) -> T + Send + Sync + 'static) -> DataStream<T> {
        self.reduce_with(reduce, |_: &K, _, folded, out: &mut Collector<T>| {
            out.collect(folded)
        })
    }

    /// Folds the records of each key and window into one, and emits what `emit` makes of key, window and that record when the window fires.
    pub fn reduce_with<U: Data>(
        &self,
        reduce: impl Fn(T, T) -> T + Send + Sync + 'static,
        emit: impl FnMut(&K, TimeWindow, T, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.fold("Window(Tumbling, Reduce)", Reduce(reduce), emit)
    }

    /// Folds the records of each key and window into an accumulator, whose result is emitted when the window fires.
    pub fn aggregate<A: AggregateFunction<Input = T, Output: Data>>(
        &self,
        function: A,
    ) -> DataStream<A::Output> {
        self.aggregate_with(function, |_: &K, _, result, out: &mut Collector<A::Output>| {
            out.collect(result);
        })
    }

    /// Folds the records of each key and window into an accumulator, and emits what `emit` makes of key, window and its result when the window fires.
    pub fn aggregate_with<A: AggregateFunction<Input = T>, U: Data>(
        &self,
        function: A,
        emit: impl FnMut(&K, TimeWindow, A::Output, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.fold("Window(Tumbling, Aggregate)", Aggregate(function), emit)
    }

    fn fold<A: WindowFold<T>, U: Data>(
        &self,
        name: &str,
        fold: A,
        emit: impl FnMut(&K, TimeWindow, A::Output, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        let select = self.keyed.select.clone();
        let node = WindowNode::<T, K, U, S, _, _>::new(self.windows, self.late.clone(), select, fold, emit);
        self.keyed.stream.operator(name, &self.keyed.rule(), true, node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_at_a_multiple_of_its_size_behind_the_offset() {
        let windows = TumblingEventTimeWindows::of(Duration::from_millis(10));
        for (time, start) in [(0, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20)] {
            let window = windows.window_of(time);
            assert_eq!((window.start, window.end), (start, start + 10), "{time}");
            assert_eq!(window.max_timestamp(), start + 9);
            let later = windows.offset(Duration::from_millis(13)).window_of(time + 3);
            assert_eq!(later.start, start + 3, "{time}");
        }
    }

    #[test]
    fn windows_at_the_ends_of_time_overflow_nothing() {
        let windows = TumblingEventTimeWindows::of(Duration::from_secs(7)).offset(Duration::from_millis(5));
        for time in [TimestampMs::MIN, TimestampMs::MAX] {
            let window = windows.window_of(time);
            assert!(window.start <= time && time <= window.end, "{window:?}");
        }
    }
}
