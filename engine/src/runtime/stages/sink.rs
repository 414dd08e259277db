//! Sinks without transactions, as a stage.

use super::operator_state::{failed_to_open, open_operator_state, write_operator_state};
use crate::Result;
use crate::api::{Data, Sink, SinkContext, SinkWriter, TimestampMs, WATERMARK_MAX};
use crate::runtime::batch::Batch;
use crate::runtime::metrics::JobMetrics;
use crate::runtime::snapshot::{OperatorName, SnapshotContext, Upload};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::TaskContext;
use crate::state::{FunctionSnapshotContext, OperatorStates};
use std::sync::Arc;
use std::time::Instant;

/// Writes to a [`Sink`].
pub(crate) struct SinkStage<S: Sink> {
    sink: Arc<S>,
    name: OperatorName,
    writer: Option<S::Writer>,
    states: OperatorStates,
}

impl<S: Sink> SinkStage<S> {
    pub(crate) fn new(sink: Arc<S>, name: OperatorName) -> Self {
        Self {
            sink,
            name,
            writer: None,
            states: OperatorStates::default(),
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
        let writer = self
            .writer
            .insert(self.sink.writer(&sink_context(&self.name, task))?);
        self.states = open_operator_state(&self.name, task, |context| writer.initialize_state(context))
            .map_err(failed_to_open)?;
        Ok(())
    }

    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        match &mut self.writer {
            Some(writer) if watermark == WATERMARK_MAX => writer.flush(),
            _ => Ok(()),
        }
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        let started = Instant::now();
        let _entered = task.enter(&self.name.name);
        let mut upload: Option<Upload> = None;
        if let Some(writer) = &mut self.writer {
            writer.flush()?;
            if snapshot.writes_state() {
                writer.snapshot_state(&mut FunctionSnapshotContext {
                    states: &mut self.states,
                    checkpoint: snapshot.id,
                })?;
                let states = self.states.encode()?;
                upload = Some(Box::new(move |run, part| write_operator_state(states, run, part)));
            }
        }
        snapshot.add(self.name.snapshot(task), started, upload);
        Ok(())
    }
}
