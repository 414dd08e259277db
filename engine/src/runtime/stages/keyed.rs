//! Functions with keyed state, as a stage.

use super::keyed_storage::{StorageSink, keyed_handle, restore_handles};
use super::outputs::Outputs;
use crate::api::{Data, KeyedProcessFunction, ProcessContext, Timer, TimestampMs, WATERMARK_MIN};
use crate::backend::adapter::OpenSubtask;
use crate::checkpoint::{CheckpointId, StateDescription};
use crate::codec::{CodecId, TypeShape, shape_of};
use crate::runtime::batch::{BATCH_RECORDS, Batch};
use crate::runtime::port::Prepare;
use crate::runtime::snapshot::{OperatorName, SnapshotContext};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::{TaskContext, now_ms};
use crate::state::{Hasher, KeyedContext, StateCodec, StateRegistry, TimerDomain};
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

/// Calls a [`KeyedProcessFunction`] record by record.
pub(crate) struct KeyedStage<T, K, U: Data, S, F> {
    name: OperatorName,
    max_parallelism: u32,
    select: S,
    function: F,
    context: Option<KeyedContext>,
    outputs: Outputs<U>,
    /// The most records that are handed to the backend at once. The first batch begins with few: restored state may have to come from the disk for each
    /// key, and the first result need not wait for all of them.
    portion: usize,
    types: PhantomData<fn(T, K)>,
}

impl<T, K, U, S, F> KeyedStage<T, K, U, S, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: KeyedProcessFunction<K, T, U>,
{
    pub(crate) fn new(
        name: OperatorName,
        max_parallelism: u32,
        select: S,
        function: F,
        outputs: Outputs<U>,
    ) -> Self {
        Self {
            name,
            max_parallelism,
            select,
            function,
            context: None,
            outputs,
            portion: 1,
            types: PhantomData,
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
        let shape = shape_of::<K>();
        let clock = Arc::clone(&task.job.ttl_clock);
        let mut context = KeyedContext::new(backend, key_width(&shape), self.max_parallelism, clock);
        let mut registry = StateRegistry::new(&mut context, CodecId::of_shape(&shape));
        self.function.open(&mut registry)?;
        context.timers.open(&mut context.backend)?;
        context.watermark = WATERMARK_MIN;
        self.context = Some(context);
        Ok(())
    }

    /// Processes the records of a batch.
    fn process(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        let Self {
            select,
            function,
            context: Some(context),
            outputs,
            ..
        } = self
        else {
            return Ok(());
        };
        context.keys.set(&batch.records, &*select, &mut batch.hashes)?;
        let is_stamped = !batch.timestamps.is_empty();
        outputs.collector.timestamp = None;
        for (index, record) in batch.records.drain(..).enumerate() {
            context.select(index);
            let timestamp = if is_stamped {
                batch.timestamps.get(index).copied()
            } else {
                None
            };
            if is_stamped {
                outputs.collector.timestamp = timestamp;
            }
            let mut process = ProcessContext::new(context, timestamp);
            function.process_element(record, &mut process, &mut outputs.collector)?;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        context.end_batch()
    }

    fn fire(&mut self, domain: TimerDomain, until: TimestampMs, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        let Self {
            function,
            context: Some(context),
            outputs,
            ..
        } = self
        else {
            return Ok(());
        };
        while let Some(due) = context.timers.pop_due(&mut context.backend, domain, until)? {
            context.keys.push_encoded(&due.key);
            context.select(0);
            outputs.collector.timestamp = Some(due.time);
            let timer = Timer {
                timestamp: due.time,
                domain,
            };
            let mut process = ProcessContext::new(context, Some(due.time));
            function.on_timer(timer, &mut process, &mut outputs.collector)?;
            context.end_batch()?;
            if outputs.collector.is_full() {
                outputs.flush(task)?;
            }
        }
        outputs.flush(task)
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

impl<T, K, U, S, F> Stage<T> for KeyedStage<T, K, U, S, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: KeyedProcessFunction<K, T, U>,
{
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

impl<T, K, U, S, F> StageControl for KeyedStage<T, K, U, S, F>
where
    T: Data,
    K: Data,
    U: Data,
    S: KeySelector<T, K>,
    F: KeyedProcessFunction<K, T, U>,
{
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
