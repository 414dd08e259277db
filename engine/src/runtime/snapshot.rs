//! Snapshots of a task: the stages add their synchronous results, and what is slow runs beside the worker.

use super::stages::SharedFilesWritten;
use super::task::{TaskContext, Waker};
use crate::backend::adapter::CancelFlag;
use crate::checkpoint::storage::{CheckpointStorage, check_ack};
use crate::checkpoint::{
    Ack, CheckpointId, DeclineKind, OperatorId, SavepointFormat, SnapshotKind, SnapshotOptions,
    SubtaskSnapshot,
};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::SnapshotForm;
use std::collections::VecDeque;

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

/// Collects what the stages of one task contribute to one checkpoint.
pub(crate) struct SnapshotContext {
    /// The checkpoint.
    pub(crate) id: CheckpointId,
    /// What kind of snapshot is asked for.
    pub(crate) options: SnapshotOptions,
    /// Time between the first and the last input that reached the barrier.
    pub(crate) alignment_ms: f64,
    parts: Vec<Part>,
    must_finish: Vec<MustFinish>,
}

/// The slow part of a stage's snapshot: fills in what the synchronous part left open.
pub(crate) type Upload = Box<dyn FnOnce(&SnapshotRun, &mut SubtaskSnapshot) -> Result<()> + Send>;

/// Work that makes what was pre-committed durable. It is done even if the checkpoint is given up, since the next one builds on it.
pub(crate) type MustFinish = Box<dyn FnOnce() -> Result<()> + Send>;

struct Part {
    snapshot: SubtaskSnapshot,
    upload: Option<Upload>,
}

/// What an upload needs to know.
pub(crate) struct SnapshotRun {
    /// The checkpoint.
    pub(crate) id: CheckpointId,
    /// Set when the checkpoint was given up.
    pub(crate) cancelled: CancelFlag,
    /// Where it is written to.
    pub(crate) storage: Arc<dyn CheckpointStorage>,
    /// The files that nobody but this task knows of yet.
    pub(crate) written: SharedFilesWritten,
}

impl SnapshotContext {
    pub(crate) fn new(id: CheckpointId, options: SnapshotOptions, alignment_ms: f64) -> Self {
        Self {
            id,
            options,
            alignment_ms,
            parts: Vec::new(),
            must_finish: Vec::new(),
        }
    }

    /// Whether states are to be written at all.
    pub(crate) fn writes_state(&self) -> bool {
        self.options.kind.writes_state()
    }

    /// Whether the snapshot may refer to files of earlier checkpoints.
    pub(crate) fn may_share(&self) -> bool {
        self.options.kind == SnapshotKind::Checkpoint
    }

    /// How keyed state is written.
    pub(crate) fn form(&self) -> SnapshotForm {
        match self.options.kind.savepoint().map(|savepoint| savepoint.format) {
            Some(SavepointFormat::Canonical) => SnapshotForm::Canonical,
            Some(SavepointFormat::Native) | None => SnapshotForm::Native,
        }
    }

    /// Adds the snapshot of one operator, whose synchronous part began at `started`.
    pub(crate) fn add(&mut self, mut snapshot: SubtaskSnapshot, started: Instant, upload: Option<Upload>) {
        snapshot.sync_ms = started.elapsed().as_secs_f64() * 1e3;
        snapshot.alignment_ms = self.alignment_ms;
        self.parts.push(Part { snapshot, upload });
    }

    /// Adds work that has to be done before this or any later checkpoint is acknowledged.
    pub(crate) fn must_finish(&mut self, work: MustFinish) {
        self.must_finish.push(work);
    }
}

/// The snapshots of one task that are being written.
pub(crate) struct Uploads {
    results: (mpsc::Sender<Uploaded>, mpsc::Receiver<Uploaded>),
    running: Vec<(CheckpointId, CancelFlag)>,
    /// Shared by all uploads of the task, so that a later checkpoint cannot overtake the work of an earlier one.
    must_finish: Arc<Mutex<VecDeque<MustFinish>>>,
    waker: Waker,
}

/// An upload that ended.
pub(crate) struct Uploaded {
    /// The checkpoint.
    pub(crate) id: CheckpointId,
    /// What to answer.
    pub(crate) acks: Vec<Ack>,
    /// The attempt has to end, whatever becomes of the checkpoint.
    pub(crate) fatal: Option<Error>,
}

impl Uploads {
    pub(crate) fn new(task: &TaskContext) -> Self {
        Self {
            results: mpsc::channel(),
            running: Vec::new(),
            must_finish: Arc::default(),
            waker: task.waker(),
        }
    }

    /// Runs the slow parts of `snapshot` on a thread of the runtime. Whether there is anything to wait for.
    pub(crate) fn start(&mut self, snapshot: SnapshotContext, task: &TaskContext) -> bool {
        if snapshot.parts.is_empty() && snapshot.must_finish.is_empty() {
            return false;
        }
        let cancelled = CancelFlag::new();
        self.running.push((snapshot.id, cancelled.clone()));
        self.must_finish
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(snapshot.must_finish);
        let (must_finish, sender, waker) = (
            Arc::clone(&self.must_finish),
            self.results.0.clone(),
            self.waker.clone(),
        );
        let run = SnapshotRun {
            id: snapshot.id,
            cancelled,
            storage: task.job.storage_of(&snapshot.options.kind),
            written: SharedFilesWritten::default(),
        };
        let parts = snapshot.parts;
        task.job.tokio.spawn_blocking(move || {
            let uploaded = upload(&run, parts, &must_finish);
            let comes_to_nothing = uploaded.acks.iter().any(|ack| matches!(ack, Ack::Decline { .. }));
            // The receiver is gone when the attempt has ended; then nobody wants the result.
            if sender.send(uploaded).is_err() || comes_to_nothing {
                run.written.delete(run.storage.as_ref());
            }
            waker.wake();
        });
        true
    }

    /// An upload that has ended, if there is one.
    pub(crate) fn take(&mut self) -> Option<Uploaded> {
        let uploaded = self.results.1.try_recv().ok()?;
        self.running.retain(|(id, _)| *id != uploaded.id);
        Some(uploaded)
    }

    /// Has the upload of a checkpoint stop.
    pub(crate) fn cancel(&self, id: CheckpointId) {
        for (_, cancelled) in self.running.iter().filter(|(running, _)| *running == id) {
            cancelled.cancel();
        }
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        for (_, cancelled) in &self.running {
            cancelled.cancel();
        }
    }
}

fn upload(run: &SnapshotRun, parts: Vec<Part>, must_finish: &Mutex<VecDeque<MustFinish>>) -> Uploaded {
    if let Err(error) = finish_all(must_finish) {
        let acks = parts
            .into_iter()
            .map(|part| decline(&part.snapshot, &error))
            .collect();
        return Uploaded {
            id: run.id,
            acks,
            fatal: Some(error),
        };
    }
    let mut fatal = None;
    let acks = parts
        .into_iter()
        .map(|part| {
            let mut snapshot = part.snapshot;
            match upload_part(run, part.upload, &mut snapshot) {
                Ok(()) => Ack::Snapshot(snapshot),
                Err(error) => {
                    let ack = decline(&snapshot, &error);
                    // What cannot be read for a snapshot is state that the job needs.
                    if error.kind() == ErrorKind::Damaged {
                        fatal = Some(error);
                    }
                    ack
                }
            }
        })
        .collect();
    Uploaded {
        id: run.id,
        acks,
        fatal,
    }
}

/// Does, in order, all work that has to be done. The lock is held meanwhile: whoever comes second finds nothing left and may go on.
fn finish_all(must_finish: &Mutex<VecDeque<MustFinish>>) -> Result<()> {
    let mut queue = must_finish.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(work) = queue.pop_front() {
        work()?;
    }
    Ok(())
}

fn upload_part(run: &SnapshotRun, upload: Option<Upload>, snapshot: &mut SubtaskSnapshot) -> Result<()> {
    let started = Instant::now();
    let result = match upload {
        Some(upload) => upload(run, snapshot),
        None => Ok(()),
    };
    snapshot.async_ms = started.elapsed().as_secs_f64() * 1e3;
    result.and_then(|()| check_ack(run.storage.as_ref(), snapshot))
}

fn decline(snapshot: &SubtaskSnapshot, error: &Error) -> Ack {
    Ack::Decline {
        operator: snapshot.operator.clone(),
        operator_name: snapshot.operator_name.clone(),
        subtask: snapshot.subtask,
        reason: error.to_string(),
        kind: DeclineKind::of(error),
    }
}

/// The uid and the name of an operator: what its snapshots are found by, and what people read.
#[derive(Clone, Debug)]
pub(crate) struct OperatorName {
    /// Found by this in checkpoints.
    pub(crate) id: OperatorId,
    /// Shown to people.
    pub(crate) name: std::rc::Rc<str>,
}

impl OperatorName {
    /// An empty snapshot of the operator in this task.
    pub(crate) fn snapshot(&self, task: &TaskContext) -> SubtaskSnapshot {
        SubtaskSnapshot::empty(self.id.clone(), self.name.to_string(), task.subtask)
    }
}
