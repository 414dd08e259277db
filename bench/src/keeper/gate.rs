//! Lets checkpoints complete or holds one open, so that the program says when checkpoints are taken.
//!
//! The engine takes checkpoints by the clock only, one at a time. A sink that does not finish its pre-commit keeps the running one open, and
//! no other starts meanwhile: while the gate is closed one more checkpoint starts, is written by everybody else and stays incomplete. When it
//! opens that one completes, and the next starts at once.

use millpond_engine::Result;
use millpond_engine::api::{Committer, PreCommit, SinkContext, TwoPhaseCommitSink, TwoPhaseCommitWriter};
use millpond_engine::checkpoint::{CheckpointId, CheckpointKey};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

#[derive(Debug, Default)]
struct Inner {
    is_closed: bool,
    /// The checkpoint that waits, and since when.
    waiting: Option<(CheckpointId, Instant)>,
}

/// Where checkpoints wait.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    inner: Mutex<Inner>,
    opened: Condvar,
}

impl Gate {
    /// Holds the next checkpoint that comes.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Lets checkpoints pass.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
        self.opened.notify_all();
    }

    /// The checkpoint that is held, and since when.
    pub(crate) fn waiting(&self) -> Option<(CheckpointId, Instant)> {
        self.lock().waiting
    }

    fn pass(&self, id: CheckpointId) {
        let mut inner = self.lock();
        inner.waiting = Some((id, Instant::now()));
        while inner.is_closed {
            inner = self.opened.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.waiting = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink that drops what it is given, and whose pre-commits wait at the gate.
#[derive(Debug)]
pub(crate) struct GateSink(pub(crate) Arc<Gate>);

impl TwoPhaseCommitSink for GateSink {
    type Input = u64;
    type Committable = ();
    type WriterState = ();
    type Writer = GateWriter;
    type Committer = NoCommitter;

    fn check_fresh_start(&self) -> Result<()> {
        Ok(())
    }

    fn writer(&self, _: &SinkContext, _: Vec<()>, _: &[()]) -> Result<GateWriter> {
        Ok(GateWriter(Arc::clone(&self.0)))
    }

    fn committer(&self, _: &SinkContext) -> Result<NoCommitter> {
        Ok(NoCommitter)
    }
}

/// The writer of a [`GateSink`]. Goes with the dataflow, also when the attempt fails; the gate is open from then on, or the engine would wait
/// for the held checkpoint for ever.
#[derive(Debug)]
pub(crate) struct GateWriter(Arc<Gate>);

impl Drop for GateWriter {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl TwoPhaseCommitWriter for GateWriter {
    type Input = u64;
    type Committable = ();
    type WriterState = ();

    fn write(&mut self, records: &mut Vec<u64>) -> Result<()> {
        records.clear();
        Ok(())
    }

    fn pre_commit(&mut self, checkpoint: CheckpointKey) -> Result<PreCommit<(), ()>> {
        let gate = Arc::clone(&self.0);
        Ok(PreCommit {
            committables: Vec::new(),
            state: (),
            finish: Some(Box::new(move || {
                gate.pass(checkpoint.id);
                Ok(())
            })),
        })
    }
}

/// There is nothing to commit.
#[derive(Debug)]
pub(crate) struct NoCommitter;

impl Committer for NoCommitter {
    type Committable = ();

    fn commit(&mut self, _: Vec<()>) -> Result<()> {
        Ok(())
    }
}
