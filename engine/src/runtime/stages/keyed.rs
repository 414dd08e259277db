//! Functions with keyed state, as a stage.

use super::keyed_storage::{StorageSink, keyed_handle, restore_handles};
use super::operator_state::{
    PlannedStates, Planning, failed_to_open, open_operator_state, write_operator_state,
};
use super::outputs::Outputs;
use crate::api::{Data, TimestampMs, WATERMARK_MIN};
use crate::backend::adapter::OpenSubtask;
use crate::backend::blank;
use crate::checkpoint::{CheckpointId, StateDescription};
use crate::codec::{CodecId, TypeShape, shape_of};
use crate::runtime::batch::{BATCH_RECORDS, Batch};
use crate::runtime::metrics::BackendFigures;
use crate::runtime::port::Prepare;
use crate::runtime::snapshot::{OperatorName, SnapshotContext};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::{TaskContext, now_ms};
use crate::state::ttl::SystemTtlTime;
use crate::state::{
    DueTimer, FunctionInitializationContext, FunctionSnapshotContext, Hasher, KeyedContext, Opening,
    StateCodec, StateRegistry, TimerDomain, check_keys,
};
use crate::{Error, ErrorKind, Result, codec};
use millpond_backend_api::{CheckpointEvent, KeyGroupRange, StateDescriptor, StateKind};
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

/// What a keyed operator does apart from taking records; the [`KeyedStage`] around it has everything else that keyed state needs. `T` is what it reads: the
/// type of its records, or of those of both inputs.
pub(crate) trait KeyedLogic<T, U>: 'static {
    /// The shape of the keys that state is stored under.
    fn key_shape(&self) -> TypeShape;

    /// Asks for operator states.
    fn initialize_state(&mut self, _context: &mut FunctionInitializationContext<'_>) -> Result<()> {
        Ok(())
    }

    /// The operator states are about to be written.
    fn snapshot_state(&mut self, _context: &mut FunctionSnapshotContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Registers the states.
    fn open(&mut self, states: &mut StateRegistry<'_>) -> Result<()>;

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

/// What a keyed operator does with the records of its one input.
pub(crate) trait KeyedBatch<T, U>: KeyedLogic<T, U> {
    /// Takes the records of a batch.
    fn batch(
        &mut self,
        batch: &mut Batch<T>,
        context: &mut KeyedContext,
        outputs: &mut Outputs<U>,
        task: &TaskContext,
    ) -> Result<()>;
}

/// Has the operator register its states with nothing behind them, to find out what would become of those that are stored.
pub(crate) fn plan_keyed<T, U>(
    mut logic: impl KeyedLogic<T, U>,
    planning: &Planning<'_>,
) -> Result<PlannedStates> {
    let operator = planning.operator_states(|context| logic.initialize_state(context))?;
    let stored = planning.stored.iter().flat_map(|stored| &stored.states);
    let stored = stored.filter_map(descriptor).collect();
    let shape = logic.key_shape();
    let key = CodecId::of_shape(&shape);
    let opening = Opening::to_plan(planning.name.to_owned(), stored);
    let clock = Arc::new(SystemTtlTime);
    let mut context = KeyedContext::new(blank(planning.uid)?, key_width(&shape), 1, clock, opening);
    check_keys(&context, &key)?;
    logic.open(&mut StateRegistry::new(&mut context, key))?;
    Ok(PlannedStates {
        keyed: context.opening.take().map(Opening::into_plan).unwrap_or_default(),
        operator: Some(operator),
    })
}

/// What was stored with a state, as far as metadata tells.
fn descriptor(state: &StateDescription) -> Option<StateDescriptor> {
    let kinds = [
        StateKind::Value,
        StateKind::List,
        StateKind::Map,
        StateKind::SortedMap,
    ];
    let kind = kinds.into_iter().find(|kind| kind.name() == state.kind)?;
    let mut descriptor = StateDescriptor::new(&*state.name, kind, state.width.unwrap_or(0));
    if let Some(codec) = &state.codec {
        descriptor.codec = codec::to_vec(codec).ok()?.into();
    }
    Some(descriptor)
}

/// A keyed operator: its state, snapshots and timers.
pub(crate) struct KeyedStage<T, U: Data, L> {
    name: OperatorName,
    max_parallelism: u32,
    logic: L,
    context: Option<KeyedContext>,
    last_savepoint: Option<CheckpointId>,
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
            last_savepoint: None,
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
        let source = Arc::new(source);
        let open = OpenSubtask {
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
            source,
        };
        let empty = open.without_state("-migrated");
        let mut backend = task.job.backend.open_keyed(open)?;
        let job = Arc::clone(&task.job);
        let opening = Opening::new(
            self.name.name.to_string(),
            backend.states()?,
            Box::new(move || job.backend.open_keyed(empty)),
        );
        let shape = self.logic.key_shape();
        let clock = Arc::clone(&task.job.ttl_clock);
        let mut context = KeyedContext::new(backend, key_width(&shape), self.max_parallelism, clock, opening);
        context.operator =
            open_operator_state(&self.name, task, |context| self.logic.initialize_state(context))?;
        let key = CodecId::of_shape(&shape);
        check_keys(&context, &key)?;
        self.logic
            .open(&mut StateRegistry::new(&mut context, key.clone()))?;
        context.opened(&StateCodec::of_timers(key))?;
        context.watermark = WATERMARK_MIN;
        self.context = Some(context);
        Ok(())
    }

    /// Has `call` take the records of a batch, at first a few at a time.
    pub(super) fn take<R>(
        &mut self,
        batch: &mut Batch<R>,
        task: &TaskContext,
        mut call: impl FnMut(
            &mut L,
            &mut Batch<R>,
            &mut KeyedContext,
            &mut Outputs<U>,
            &TaskContext,
        ) -> Result<()>,
    ) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        if let Some(context) = &mut self.context {
            while self.portion < batch.records.len().min(BATCH_RECORDS) {
                let mut first = batch.take_first(self.portion);
                self.portion *= 2;
                call(&mut self.logic, &mut first, context, &mut self.outputs, task)?;
            }
            call(&mut self.logic, batch, context, &mut self.outputs, task)?;
        }
        batch.clear();
        self.outputs.flush(task)?;
        self.arm(task);
        Ok(())
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

impl<T: Data, U: Data, L: KeyedBatch<T, U>> Stage<T> for KeyedStage<T, U, L> {
    fn batch(&mut self, batch: &mut Batch<T>, task: &TaskContext) -> Result<()> {
        self.take(batch, task, L::batch)
    }
}

impl<T: Data, U: Data, L: KeyedLogic<T, U>> StageControl for KeyedStage<T, U, L> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        Some(&mut self.outputs)
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        self.outputs.open(task)?;
        let _entered = task.enter(&self.name.name);
        self.open_state(task).map_err(failed_to_open)?;
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
            self.logic.snapshot_state(&mut FunctionSnapshotContext {
                states: &mut context.operator,
                checkpoint: snapshot.id,
            })?;
            let operator_state = context.operator.encode()?;
            let writer = context.snapshot(snapshot.id.0, may_share, snapshot.form())?;
            let is_checkpoint = snapshot.options.kind.savepoint().is_none();
            if !is_checkpoint {
                self.last_savepoint = Some(snapshot.id);
            }
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
                    write_operator_state(operator_state, run, part)
                })),
            );
        }
        self.outputs.snapshot(snapshot, task)
    }

    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        if let Some(context) = &mut self.context {
            // Sinks commit by the savepoint that the job stops with, but its files are not the job's, so nothing builds on them.
            let event = match self.last_savepoint == Some(id) {
                true => CheckpointEvent::Aborted,
                false => CheckpointEvent::Completed,
            };
            context.notify(id.0, event)?;
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
    StateDescription {
        name: state.name.to_string(),
        kind: state.kind.name().to_owned(),
        codec: codec::decode::<StateCodec>(&state.codec).ok(),
        width: Some(state.value_width).filter(|width| *width > 0),
    }
}
