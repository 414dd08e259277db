//! Functions with keyed state, as a stage.

use super::keyed_storage::{StorageSink, keyed_handle, restore_handles};
use super::outputs::Outputs;
use crate::api::{Data, TimestampMs, WATERMARK_MIN};
use crate::backend::adapter::OpenSubtask;
use crate::checkpoint::{CheckpointId, StateDescription};
use crate::codec::{CodecId, TypeShape, shape_of};
use crate::runtime::batch::{BATCH_RECORDS, Batch};
use crate::runtime::metrics::BackendFigures;
use crate::runtime::port::Prepare;
use crate::runtime::snapshot::{OperatorName, SnapshotContext};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::{TaskContext, now_ms};
use crate::state::{DueTimer, Hasher, KeyedContext, StateCodec, StateRegistry, TimerDomain};
use crate::{Error, ErrorKind, Result, codec};
use millpond_backend_api::{CheckpointEvent, KeyGroupRange, StateDescriptor};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Tells the key of a record.
pub(crate) trait KeySelector<T, K>: Fn(&T) -> K + Clone + Send + Sync + 'static {}

impl<T, K, F: Fn(&T) -> K + Clone + Send + Sync + 'static> KeySelector<T, K> for F {}

/// What an edge into a keyed operator does with a batch: the hash of each record's key, computed once and carried with the record.
pub(crate) fn hash_keys<T: Data, K: Data>(select: impl KeySelector<T, K>) -> Prepare<T> {
    let mut hasher = Hasher::new(key_width(&shape_of::<K>()));
    Box::new(move |batch: &mut Batch<T>| {
        let Batch { records, hashes, .. } = batch;
        hashes.clear();
        hashes.reserve(records.len());
        for record in records.iter() {
            hashes.push(hasher.hash(&select(record))?);
        }
        Ok(())
    })
}

fn key_width(shape: &TypeShape) -> Option<usize> {
    shape.fixed_width().filter(|width| *width > 0)
}

/// What a keyed operator does with records and timers; the [`KeyedStage`] around it has everything else that keyed state needs.
pub(crate) trait KeyedLogic<T, U>: 'static {
    /// The shape of the keys that state is stored under.
    fn key_shape(&self) -> TypeShape;

    /// Registers the states.
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()>;

    /// Takes the records of a batch.
    fn batch(
        &mut self,
        batch: &mut Batch<T>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()>;

    /// A timer is due.
    fn timer(
        &mut self,
        domain: TimerDomain,
        due: &DueTimer,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()>;
}

/// A keyed operator: its state, snapshots and timers.
pub(crate) struct KeyedStage<T, U: Data, L> {
    name: OperatorName,
    max_parallelism: u32,
    logic: L,
    context: Option<KeyedContext>,
    outputs: Outputs<U>,
    /// The most records that are handed to the backend at once. The first batch begins with few: restored state may have to come from the disk for each
    /// key, and the first result need not wait for all of them.
    portion: usize,
    records: PhantomData<fn(T)>,
}

impl<T: Data, U: Data, L: KeyedLogic<T, U>> KeyedStage<T, U, L> {
    pub(crate) fn new(name: OperatorName, max_parallelism: u32, logic: L, outputs: Outputs<U>) -> Self {
        Self {
            name,
            max_parallelism,
            logic,
            context: None,
            outputs,
            portion: 1,
            records: PhantomData,
        }
    }

    /// Opens the keyed state, with what the subtask restores, and the function with it.
    fn open_state(&mut self, task: &TaskContext) -> Result<()> {
        let key_groups = KeyGroupRange::of_subtask(task.subtask, task.parallelism, self.max_parallelism)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Bug,
                    format!(
                        "subtask {} of {} has no key groups of {}",
                        task.subtask, task.parallelism, self.max_parallelism
                    ),
                )
            })?;
        let share = task
            .job
            .restored_share(&self.name.id, task.subtask)
            .unwrap_or_default();
        let (restore, source) = restore_handles(&task.job.storage, share.keyed);
        let backend = task.job.backend.open_keyed(OpenSubtask {
            job: task.job.job_name.clone(),
            operator: self.name.id.uid().to_owned(),
            subtask: task.subtask,
            parallelism: task.parallelism,
            max_parallelism: self.max_parallelism,
            key_groups,
            local_dir: task
                .job
                .local_dir
                .join(format!("{:016x}-{}", self.name.id.hash(), task.subtask)),
            restore,
            source: Arc::new(source),
        })?;
        let shape = self.logic.key_shape();
        let clock = Arc::clone(&task.job.ttl_clock);
        let mut context = KeyedContext::new(backend, key_width(&shape), self.max_parallelism, clock);
        let mut registry = StateRegistry::new(&mut context, CodecId::of_shape(&shape));
        self.logic.open(&mut registry)?;
        context.timers.open(&mut context.backend)?;
        context.watermark = WATERMARK_MIN;
        self.context = Some(context);
        Ok(())
    }

    /// Processes the records of a batch.
    fn process(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        match &mut self.context {
            Some(context) => self.logic.batch(batch, context, &mut self.outputs, task),
            None => Ok(()),
        }
    }

    fn fire(&mut self, domain: TimerDomain, until: TimestampMs, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        let Some(context) = &mut self.context else {
            return Ok(());
        };
        while let Some(due) = context.timers.pop_due(&mut context.backend, domain, until)? {
            self.outputs.collector.timestamp = Some(due.time);
            self.logic.timer(domain, &due, context, &mut self.outputs, task)?;
            if self.outputs.collector.is_full() {
                self.outputs.flush(task)?;
            }
        }
        self.outputs.flush(task)
    }

    /// Has the task woken for the first processing-time timer.
    fn arm(&self, task: &TaskContext) {
        if let Some(first) = self
            .context
            .as_ref()
            .and_then(|context| context.timers.first(TimerDomain::ProcessingTime))
        {
            task.wake_at(first);
        }
    }
}

impl<T: Data, U: Data, L: KeyedLogic<T, U>> Stage<T> for KeyedStage<T, U, L> {
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        while self.portion < batch.records.len().min(BATCH_RECORDS) {
            let mut first = batch.take_first(self.portion);
            self.portion *= 2;
            self.process(&mut first, task)?;
        }
        self.process(batch, task)?;
        batch.clear();
        self.outputs.flush(task)?;
        self.arm(task);
        Ok(())
    }
}

impl<T: Data, U: Data, L: KeyedLogic<T, U>> StageControl for KeyedStage<T, U, L> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        Some(&mut self.outputs)
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.outputs.open(task)?;
        let _entered = task.enter(&self.name.name);
        self.open_state(task).map_err(|error| match error.kind() {
            // What is stored does not fit what the program has, or is not what was written: the attempt has not begun.
            ErrorKind::State | ErrorKind::Damaged => Error::new(ErrorKind::Restore, error.to_string()),
            _ => error,
        })?;
        self.arm(task);
        Ok(())
    }
    fn watermark(&mut self, watermark: TimestampMs, task: &TaskContext) -> Result<()> {
        if let Some(context) = &mut self.context {
            context.watermark = watermark;
        }
        self.fire(TimerDomain::EventTime, watermark, task)?;
        self.outputs.watermark(watermark, task)
    }

    fn processing_time(&mut self, now: TimestampMs, task: &TaskContext) -> Result<()> {
        self.fire(TimerDomain::ProcessingTime, now.max(now_ms()), task)?;
        self.arm(task);
        self.outputs.processing_time(now, task)
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        let started = Instant::now();
        if !snapshot.writes_state() {
            snapshot.add(self.name.snapshot(task), started, None);
        } else if let Some(context) = &mut self.context {
            let _entered = task.enter(&self.name.name);
            let may_share = snapshot.may_share() && task.job.incremental;
            let writer = context.snapshot(snapshot.id.0, may_share, snapshot.form())?;
            let is_checkpoint = snapshot.options.kind.savepoint().is_none();
            let mut part = self.name.snapshot(task);
            part.states = context.backend.states()?.iter().map(describe).collect();
            let name = Rc::clone(&self.name.name).to_string();
            let subtask = task.subtask;
            let backend = task.job.backend.name().to_owned();
            snapshot.add(
                part,
                started,
                Some(Box::new(move |run, part| {
                    let sink = StorageSink {
                        storage: Arc::clone(&run.storage),
                        id: run.id,
                        operator: name,
                        subtask,
                        may_share: is_checkpoint,
                        written: run.written.clone(),
                    };
                    let handles = writer.write(Arc::new(sink), run.cancelled.clone())?;
                    part.keyed = handles
                        .into_iter()
                        .map(|handle| keyed_handle(&backend, handle))
                        .collect();
                    Ok(())
                })),
            );
        }
        self.outputs.snapshot(snapshot, task)
    }

    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        if let Some(context) = &mut self.context {
            context.notify(id.0, CheckpointEvent::Completed)?;
            let said = BackendFigures {
                operator: self.name.name.to_string(),
                subtask: task.subtask,
                checkpoint: id.0,
                figures: context.backend.metrics()?,
            };
            task.job.metrics.note_backend(&self.name.id, said);
        }
        self.outputs.complete(id, task)
    }

    fn aborted(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        if let Some(context) = &mut self.context {
            context.notify(id.0, CheckpointEvent::Aborted)?;
        }
        self.outputs.aborted(id, task)
    }
}

/// A state as the metadata describes it.
fn describe(state: &StateDescriptor) -> StateDescription {
    let codec = codec::decode::<StateCodec>(&state.codec).map_or_else(
        |_| String::new(),
        |codec| {
            let map_key = codec
                .map_key
                .map(|key| format!("{} -> ", key.shape))
                .unwrap_or_default();
            let ttl = if codec.ttl { ", with TTL" } else { "" };
            format!(
                "key {}, {map_key}value {}{ttl}",
                codec.key.shape, codec.value.shape
            )
        },
    );
    StateDescription {
        name: state.name.to_string(),
        kind: state.kind.name().to_owned(),
        codec,
        width: Some(state.value_width).filter(|width| *width > 0),
    }
}
