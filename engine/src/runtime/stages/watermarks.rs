//! Event times and watermarks from the records themselves.

use super::outputs::Outputs;
use crate::Result;
use crate::api::{Data, TimestampMs, WATERMARK_MAX, WATERMARK_MIN};
use crate::runtime::batch::Batch;
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::TaskContext;
use std::rc::Rc;
use std::time::Duration;

/// How watermarks follow from event times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkStrategy {
    out_of_orderness: Duration,
}

impl WatermarkStrategy {
    /// Records come in the order of their event times, within each subtask.
    #[must_use]
    pub fn monotonous() -> Self {
        Self {
            out_of_orderness: Duration::ZERO,
        }
    }

    /// A record comes at most `delay` of event time after one with a higher event time. Later ones are late.
    #[must_use]
    pub fn bounded_out_of_orderness(delay: Duration) -> Self {
        Self {
            out_of_orderness: delay,
        }
    }
}

/// Gives each record its event time, and emits watermarks a batch at a time.
pub(crate) struct WatermarkStage<T, F> {
    name: Rc<str>,
    assign: F,
    delay_ms: TimestampMs,
    highest: TimestampMs,
    emitted: TimestampMs,
    outputs: Outputs<T>,
}

impl<T: Data, F: FnMut(&T) -> TimestampMs + 'static> WatermarkStage<T, F> {
    pub(crate) fn new(name: Rc<str>, assign: F, strategy: WatermarkStrategy, outputs: Outputs<T>) -> Self {
        let delay_ms =
            TimestampMs::try_from(strategy.out_of_orderness.as_millis()).unwrap_or(TimestampMs::MAX);
        Self {
            name,
            assign,
            delay_ms,
            highest: WATERMARK_MIN,
            emitted: WATERMARK_MIN,
            outputs,
        }
    }
}

impl<T: Data, F: FnMut(&T) -> TimestampMs + 'static> Stage<T> for WatermarkStage<T, F> {
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name);
        batch.timestamps.clear();
        for record in &batch.records {
            let timestamp = (self.assign)(record);
            self.highest = self.highest.max(timestamp);
            batch.timestamps.push(timestamp);
        }
        std::mem::swap(&mut self.outputs.collector.batch, batch);
        self.outputs.flush(task)?;
        std::mem::swap(&mut self.outputs.collector.batch, batch);
        // A record at the highest event time may have twins: the watermark stays below it.
        let watermark = self.highest.saturating_sub(self.delay_ms).saturating_sub(1);
        if watermark > self.emitted {
            self.emitted = watermark;
            self.outputs.watermark(watermark, task)?;
        }
        Ok(())
    }
}

impl<T: Data, F: FnMut(&T) -> TimestampMs + 'static> StageControl for WatermarkStage<T, F> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        Some(&mut self.outputs)
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        // Watermarks from before do not count here, but the end of the input does.
        if watermark == WATERMARK_MAX {
            self.outputs.watermark(watermark, task)
        } else {
            Ok(())
        }
    }
}
