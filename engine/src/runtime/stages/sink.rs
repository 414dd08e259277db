//! Sinks without transactions, as a stage.

use crate::Result;
use crate::api::{Data, Sink, SinkContext, SinkWriter, TimestampMs, WATERMARK_MAX};
use crate::runtime::batch::Batch;
use crate::runtime::metrics::JobMetrics;
use crate::runtime::snapshot::{OperatorName, SnapshotContext};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::TaskContext;
use std::sync::Arc;

/// Writes to a [`Sink`].
pub(crate) struct SinkStage<S: Sink> {
    sink: Arc<S>,
    name: OperatorName,
    writer: Option<S::Writer>,
}

impl<S: Sink> SinkStage<S> {
    pub(crate) fn new(sink: Arc<S>, name: OperatorName) -> Self {
        Self {
            sink,
            name,
            writer: None,
        }
    }
}

/// What a sink's subtask knows about itself.
pub(crate) fn sink_context(name: &OperatorName, task: &TaskContext) -> SinkContext {
    SinkContext {
        job_name: task.job.job_name.clone(),
        job_id: task.job.job_id.clone(),
        attempt: task.job.attempt,
        operator: name.id.uid().to_owned(),
        subtask: task.subtask,
        parallelism: task.parallelism,
        lineage: task.job.lineage.clone(),
        restored_checkpoint: task.job.restored_checkpoint(),
    }
}

impl<S: Sink> Stage<S::Input> for SinkStage<S> {
    fn batch(&mut self, batch: &mut Batch<S::Input>, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        if let Some(writer) = &mut self.writer {
            JobMetrics::add(&task.job.metrics.sink_records, batch.records.len());
            writer.write(&mut batch.records)?;
        }
        batch.clear();
        Ok(())
    }
}

impl<S: Sink> StageControl for SinkStage<S>
where
    S::Input: Data,
{
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        None
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        self.writer = Some(self.sink.writer(&sink_context(&self.name, task))?);
        Ok(())
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        match &mut self.writer {
            Some(writer) if watermark == WATERMARK_MAX => writer.flush(),
            _ => Ok(()),
        }
    }

    fn snapshot(&mut self, _snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        self.writer.as_mut().map_or(Ok(()), SinkWriter::flush)
    }
}
