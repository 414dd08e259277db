//! Two-phase-commit sinks, as a stage: what was written is pre-committed with a checkpoint and committed after it is complete.
//!
//! Everything that was pre-committed and is not known to be committed goes into every snapshot, so a commit is never forgotten; a commit that
//! is done twice is the committer's business. Commits run beside the worker, one after the other in the order of the checkpoints.

use super::operator_state::Planning;
use super::sink::sink_context;
use crate::api::{Committer, TwoPhaseCommitSink, TwoPhaseCommitWriter};
use crate::checkpoint::{CheckpointId, OperatorStateSnapshot, Redistribution};
use crate::codec::CodecId;
use crate::runtime::batch::Batch;
use crate::runtime::metrics::JobMetrics;
use crate::runtime::snapshot::{OperatorName, SnapshotContext};
use crate::runtime::stage::{Stage, StageControl};
use crate::runtime::task::TaskContext;
use crate::state::PlannedOperatorState;
use crate::{Error, ErrorKind, Result, codec};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// The names of the operator states of a sink.
const PENDING: &str = "pending-commits";
const WRITER: &str = "writer";

/// Writes to a [`TwoPhaseCommitSink`].
pub(crate) struct TwoPhaseStage<S: TwoPhaseCommitSink> {
    sink: Arc<S>,
    name: OperatorName,
    writer: Option<S::Writer>,
    committer: Option<S::Committer>,
    /// What was pre-committed and is not known to be committed, by checkpoint.
    pending: BTreeMap<CheckpointId, Vec<S::Committable>>,
    /// The highest checkpoint that is complete and not yet committed.
    to_commit: Option<CheckpointId>,
    /// The commit that runs, up to this checkpoint; its committer comes back.
    committing: Option<(CheckpointId, CommitResult<S::Committer>)>,
    /// Those of what is pending and of the writer's state.
    codecs: (CodecId, CodecId),
}

type CommitResult<C> = mpsc::Receiver<(C, Result<()>)>;

impl<S: TwoPhaseCommitSink> TwoPhaseStage<S> {
    pub(crate) fn new(sink: Arc<S>, name: OperatorName) -> Self {
        Self {
            sink,
            name,
            writer: None,
            committer: None,
            pending: BTreeMap::new(),
            to_commit: None,
            committing: None,
            codecs: (CodecId::of::<S::Committable>(), CodecId::of::<S::WriterState>()),
        }
    }

    /// What would become of what is stored: what is pending is committed before anything else.
    pub(crate) fn planned_states(planning: &Planning<'_>) -> Vec<PlannedOperatorState> {
        let union = |name, codec| planning.own_state(name, Redistribution::Union, &codec);
        vec![
            union(PENDING, CodecId::of::<S::Committable>()),
            union(WRITER, CodecId::of::<S::WriterState>()),
        ]
    }

    /// Takes back a commit that has ended, and starts the next one.
    fn advance(&mut self, task: &TaskContext) -> Result<()> {
        if let Some((id, result)) = &self.committing {
            match result.try_recv() {
                Ok((committer, result)) => {
                    let id = *id;
                    self.committing = None;
                    self.committer = Some(committer);
                    result.map_err(|error| error.context(format!("the commit of checkpoint {id}")))?;
                    self.pending = self.pending.split_off(&id.next());
                }
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
                Err(mpsc::TryRecvError::Disconnected) => {
                    return Err(Error::new(
                        ErrorKind::UserCode,
                        format!(
                            "the committer of sink '{}' panicked; see the log above",
                            self.name.name
                        ),
                    ));
                }
            }
        }
        let Some(id) = self.to_commit.take() else {
            return Ok(());
        };
        let committables: Vec<_> = self
            .pending
            .range(..=id)
            .flat_map(|(_, all)| all.iter().cloned())
            .collect();
        let Some(mut committer) = self.committer.take_if(|_| !committables.is_empty()) else {
            self.pending = self.pending.split_off(&id.next());
            return Ok(());
        };
        let (sender, receiver) = mpsc::channel();
        let waker = task.waker();
        self.committing = Some((id, receiver));
        task.job.tokio.spawn_blocking(move || {
            // Wakes the task also when the committer panics, after the sender has been dropped.
            let _wake = WakeOnDrop(waker);
            let sender = sender;
            let result = committer.commit(committables);
            // The receiver is gone when the attempt has ended; the next one commits again.
            let _ = sender.send((committer, result));
        });
        Ok(())
    }
}

struct WakeOnDrop(crate::runtime::task::Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl<S: TwoPhaseCommitSink> Stage<S::Input> for TwoPhaseStage<S> {
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

impl<S: TwoPhaseCommitSink> StageControl for TwoPhaseStage<S> {
    fn behind(&mut self) -> Option<&mut dyn StageControl> {
        None
    }

    fn open(&mut self, task: &TaskContext) -> Result<()> {
        let _entered = task.enter(&self.name.name);
        let context = sink_context(&self.name, task);
        let mut committer = self.sink.committer(&context)?;
        let share = task
            .job
            .restored_share(&self.name.id, task.subtask)
            .unwrap_or_default();
        // Every subtask is told of all that is pending, so that none of it is taken for a leftover, and commits its part.
        let all: Vec<S::Committable> = task.job.elements(&share, PENDING)?;
        let states: Vec<S::WriterState> = task.job.elements(&share, WRITER)?;
        let step = task.parallelism.max(1) as usize;
        let own: Vec<_> = all
            .iter()
            .skip(task.subtask as usize)
            .step_by(step)
            .cloned()
            .collect();
        if !own.is_empty() {
            committer
                .commit(own)
                .map_err(|error| error.context("the commit of a restored checkpoint"))?;
        }
        self.writer = Some(self.sink.writer(&context, states, &all)?);
        self.committer = Some(committer);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &mut SnapshotContext, task: &TaskContext) -> Result<()> {
        let started = Instant::now();
        let _entered = task.enter(&self.name.name);
        self.advance(task)?;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let prepared = writer.pre_commit(task.job.lineage.checkpoint(snapshot.id))?;
        if let Some(finish) = prepared.finish {
            let name = self.name.name.to_string();
            snapshot.must_finish(Box::new(move || {
                finish().map_err(|error| error.context(format!("the pre-commit of sink '{name}'")))
            }));
        }
        self.pending
            .entry(snapshot.id)
            .or_default()
            .extend(prepared.committables);
        let items = self
            .pending
            .values()
            .flatten()
            .map(codec::to_vec)
            .collect::<Result<Vec<_>, _>>()?;
        let mut part = self.name.snapshot(task);
        let (pending_codec, writer_codec) = self.codecs.clone();
        let union =
            |name, codec, items| OperatorStateSnapshot::inline(name, Redistribution::Union, codec, items);
        part.operator_state.push(union(PENDING, pending_codec, items));
        let state = vec![codec::to_vec(&prepared.state)?];
        part.operator_state.push(union(WRITER, writer_codec, state));
        snapshot.add(part, started, None);
        Ok(())
    }

    fn complete(&mut self, id: CheckpointId, task: &TaskContext) -> Result<()> {
        self.to_commit = self.to_commit.max(Some(id));
        self.advance(task)
    }

    fn poll(&mut self, task: &TaskContext) -> Result<bool> {
        self.advance(task)?;
        Ok(self.committing.is_some() || self.to_commit.is_some())
    }
}
