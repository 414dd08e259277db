//! Tumbling windows of event time with incremental aggregation, as what a keyed stage does.
//!
//! # State
//! - `window`: an accumulator for each key and window, under the key `window start | key` in the key group of the key. So a record is one look-up, through slots where
//!   accumulators have a fixed width, whatever windows the records of a batch are in.
//! - `_windows/keys`: for each key group and window the list of the keys that have an accumulator, under the key `window start`.
//! - One timer for each key group and window that has any, under the key `window start`.
//!
//! A key is added to the list by its first record in a window, so a record costs neither a timer nor a list access, and a window that fires
//! finds its keys in a few long lists: batches of slots to read and to free. A timer for each key and window would be a put and a delete in a sorted map for each.

use super::keyed::{KeySelector, KeyedBatch, KeyedLogic};
use super::outputs::Outputs;
use crate::api::{Collector, Data, OutputTag, TimeWindow, TimestampMs, TumblingEventTimeWindows};
use crate::codec::{TypeShape, shape_of};
use crate::runtime::batch::{BATCH_RECORDS, Batch};
use crate::runtime::metrics::JobMetrics;
use crate::runtime::task::TaskContext;
use crate::state::{DueTimer, KeyedContext, StateRegistry, TimerDomain, ValueState, WindowKeys};
use crate::{Error, ErrorKind, Result, codec};
use millpond_backend_api::KeyGroup;
use std::marker::PhantomData;
use std::sync::Arc;

/// How records become an accumulator, and that a result.
pub(crate) trait WindowFold<T>: Send + Sync + 'static {
    type Accumulator: Data;
    type Output;

    /// The accumulator with `record` added; `None`: it is the first one.
    fn add(&self, before: Option<Self::Accumulator>, record: T) -> Self::Accumulator;

    fn result(&self, accumulator: Self::Accumulator) -> Self::Output;
}

/// The bytes of a window's start in front of a key.
const START_BYTES: usize = 8;

pub(crate) struct Windowing<T, K, S, A: WindowFold<T>, F> {
    windows: TumblingEventTimeWindows,
    late: Option<OutputTag<T>>,
    select: S,
    fold: Arc<A>,
    emit: F,
    accumulators: Option<ValueState<A::Accumulator>>,
    keys: Option<WindowKeys>,
    /// The start of each record's window.
    starts: Vec<TimestampMs>,
    /// Records that are the first of their key and window: window, group, record.
    first: Vec<(TimestampMs, KeyGroup, usize)>,
    key: PhantomData<fn() -> K>,
}

impl<T: Data, K: Data, S, A: WindowFold<T>, F> Windowing<T, K, S, A, F> {
    pub(crate) fn new(
        windows: TumblingEventTimeWindows,
        late: Option<OutputTag<T>>,
        select: S,
        fold: Arc<A>,
        emit: F,
    ) -> Self {
        Self {
            windows,
            late,
            select,
            fold,
            emit,
            accumulators: None,
            keys: None,
            starts: Vec::new(),
            first: Vec::new(),
            key: PhantomData,
        }
    }

    /// Finds the window of each record; whether all of them may still be added to.
    fn assign(&mut self, timestamps: &[TimestampMs], watermark: TimestampMs) -> bool {
        self.starts.clear();
        let mut is_in_time = true;
        // Most records are in the window of the one before.
        let mut window = TimeWindow { start: 0, end: 0 };
        self.starts.extend(timestamps.iter().map(|timestamp| {
            if *timestamp < window.start || *timestamp >= window.end {
                window = self.windows.window_of(*timestamp);
                is_in_time &= window.max_timestamp() > watermark;
            }
            window.start
        }));
        is_in_time
    }

    /// Takes late records out of the batch.
    fn drop_late<U: Data>(
        &mut self,
        batch: &mut Batch<T>,
        watermark: TimestampMs,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) {
        let Self {
            windows,
            starts,
            late: tag,
            ..
        } = self;
        let is_late: Vec<bool> = starts
            .iter()
            .map(|start| start.saturating_add(windows.size_ms).saturating_sub(1) <= watermark)
            .collect();
        let before = batch.records.len();
        let mut index = 0;
        let timestamps = &batch.timestamps;
        batch.records.retain(|record| {
            let keep = !is_late.get(index).copied().unwrap_or(false);
            if let (false, Some(tag)) = (keep, &*tag) {
                outputs.collector.timestamp = timestamps.get(index).copied();
                outputs.collector.side_output(tag, record.clone());
            }
            index += 1;
            keep
        });
        if tag.is_none() {
            let dropped = before - batch.records.len();
            JobMetrics::add(&task.job.metrics.late_records_dropped, dropped);
        }
        retain(&mut batch.hashes, &is_late);
        retain(&mut batch.timestamps, &is_late);
        retain(starts, &is_late);
    }

    /// Enters the keys that have got their first record of a window into the window's list, and has the window fire.
    fn enter_keys(&mut self, context: &mut KeyedContext) -> Result<()> {
        let (Some(keys), false) = (&mut self.keys, self.first.is_empty()) else {
            return Ok(());
        };
        self.first
            .sort_unstable_by_key(|(start, group, _)| (*start, *group));
        for same in self
            .first
            .chunk_by(|left, right| (left.0, left.1) == (right.0, right.1))
        {
            let Some((start, group, _)) = same.first().copied() else {
                continue;
            };
            let max_timestamp = start.saturating_add(self.windows.size_ms).saturating_sub(1);
            let records = same.iter().map(|(_, _, record)| *record);
            keys.add(context, start, group, max_timestamp, records)?;
        }
        self.first.clear();
        Ok(())
    }
}

/// Keeps the elements that are not marked.
fn retain<V>(elements: &mut Vec<V>, marked: &[bool]) {
    let mut marks = marked.iter();
    elements.retain(|_| !marks.next().copied().unwrap_or(false));
}

impl<T, K, U, S, A, F> KeyedLogic<T, U> for Windowing<T, K, S, A, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    A: WindowFold<T>,
    F: FnMut(&K, TimeWindow, A::Output, &mut Collector<U>) + 'static,
{
    fn key_shape(&self) -> TypeShape {
        shape_of::<(TimestampMs, K)>()
    }

    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()> {
        if self.windows.size_ms < 1 {
            return Err(Error::new(
                ErrorKind::Configuration,
                "windows have no length: give TumblingEventTimeWindows::of at least one millisecond",
            ));
        }
        self.accumulators = Some(states.value_state("window")?);
        let width = shape_of::<K>().fixed_width();
        self.keys = Some(WindowKeys::register(states, width)?);
        Ok(())
    }

    fn timer(
        &mut self,
        domain: TimerDomain,
        due: &DueTimer,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        let (Some(accumulators), Some(keys)) = (self.accumulators, &mut self.keys) else {
            return Ok(());
        };
        let (TimerDomain::EventTime, Ok(start)) = (domain, codec::decode::<TimestampMs>(&due.key)) else {
            return Ok(());
        };
        let window = TimeWindow {
            start,
            end: due.time.saturating_add(1),
        };
        let list = keys.take(context, start, due.group)?;
        let mut rest = list.as_slice();
        while !rest.is_empty() {
            let count = keys.push_some(&mut rest, BATCH_RECORDS, start, due.group, &mut context.keys)?;
            for index in 0..count {
                context.select(index);
                let Some(accumulator) = accumulators.value(context)? else {
                    continue;
                };
                accumulators.clear(context)?;
                let key: K = codec::decode(context.key_bytes().get(START_BYTES..).unwrap_or_default())?;
                let result = self.fold.result(accumulator);
                (self.emit)(&key, window, result, &mut outputs.collector);
            }
            context.end_batch()?;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        Ok(())
    }
}

impl<T, K, U, S, A, F> KeyedBatch<T, U> for Windowing<T, K, S, A, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    A: WindowFold<T>,
    F: FnMut(&K, TimeWindow, A::Output, &mut Collector<U>) + 'static,
{
    fn batch(
        &mut self,
        batch: &mut Batch<T>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()> {
        if batch.timestamps.len() != batch.records.len() {
            return Err(Error::new(
                ErrorKind::UserCode,
                "records in windows of event time need timestamps: call assign_timestamps_and_watermarks before key_by",
            ));
        }
        if !self.assign(&batch.timestamps, context.watermark) {
            self.drop_late(batch, context.watermark, outputs, task);
        }
        let Some(accumulators) = self.accumulators else {
            return Ok(());
        };
        let mut starts = self.starts.iter();
        let select = &self.select;
        let with_start = |record: &T| (starts.next().copied().unwrap_or_default(), select(record));
        context
            .keys
            .set_scoped(&batch.records, with_start, START_BYTES, &mut batch.hashes)?;
        let fold = &*self.fold;
        for (index, record) in batch.records.drain(..).enumerate() {
            context.select(index);
            let mut is_first = false;
            accumulators.modify(context, |before| {
                is_first = before.is_none();
                fold.add(before, record)
            })?;
            if is_first {
                let start = self.starts.get(index).copied().unwrap_or_default();
                self.first.push((start, context.keys.group(index), index));
            }
        }
        self.enter_keys(context)?;
        context.end_batch()
    }
}
