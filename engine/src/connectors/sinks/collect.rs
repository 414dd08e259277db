//! A sink into memory.

use crate::Result;
use crate::api::{Committer, Data, PreCommit, SinkContext, TwoPhaseCommitSink, TwoPhaseCommitWriter};
use crate::checkpoint::CheckpointKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Collects records in memory, each once: what was taken is visible when the checkpoint that holds it is complete. When the job goes back to an older checkpoint, what
/// was collected after that one is dropped, since it comes again.
///
/// For tests, and for results that fit memory: between two checkpoints the records are part of the checkpoint.
///
/// ```
/// use millpond_engine::connectors::sinks::CollectSink;
///
/// let sink = CollectSink::<u64>::new();
/// let results = sink.results();
/// // ... a job with this sink ...
/// assert!(results.snapshot().is_empty());
/// ```
pub struct CollectSink<T> {
    shared: Arc<Mutex<Committed<T>>>,
}

struct Committed<T> {
    /// What was committed and not taken out, in the order of commits, by the number of the commit.
    records: BTreeMap<u64, Vec<T>>,
    /// The transactions that were committed, by checkpoint and subtask, each with the number of its commit.
    done: BTreeMap<(CheckpointKey, u32), u64>,
    /// The number of the next commit.
    next: u64,
}

impl<T: Data> CollectSink<T> {
    /// A sink without records.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Mutex::new(Committed {
                records: BTreeMap::new(),
                done: BTreeMap::new(),
                next: 0,
            })),
        }
    }

    /// Gives the committed records, during the job and after it.
    #[must_use]
    pub fn results(&self) -> CollectedResults<T> {
        CollectedResults {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T: Data> Default for CollectSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for CollectSink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CollectSink")
    }
}

/// The committed records of a [`CollectSink`].
pub struct CollectedResults<T> {
    shared: Arc<Mutex<Committed<T>>>,
}

impl<T: Clone> CollectedResults<T> {
    /// The records committed so far: those of a subtask in order, those of different subtasks mixed.
    #[must_use]
    pub fn snapshot(&self) -> Vec<T> {
        lock(&self.shared).records.values().flatten().cloned().collect()
    }

    /// Takes the records committed so far out of the sink.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let records = std::mem::take(&mut lock(&self.shared).records);
        records.into_values().flatten().collect()
    }
}

impl<T> Clone for CollectedResults<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> std::fmt::Debug for CollectedResults<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CollectedResults")
    }
}

/// The records that one subtask took between two checkpoints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollectCommittable<T> {
    subtask: u32,
    checkpoint: CheckpointKey,
    records: Vec<T>,
}

impl<T: Data> TwoPhaseCommitSink for CollectSink<T> {
    type Input = T;
    type Committable = CollectCommittable<T>;
    type WriterState = ();
    type Writer = CollectWriter<T>;
    type Committer = CollectCommitter<T>;

    fn check_fresh_start(&self) -> Result<()> {
        Ok(())
    }

    fn writer(
        &self,
        context: &SinkContext,
        _: Vec<()>,
        _: &[CollectCommittable<T>],
    ) -> Result<CollectWriter<T>> {
        let Committed { records, done, .. } = &mut *lock(&self.shared);
        done.retain(|(checkpoint, _), commit| {
            let has_left = context.lineage.has_left(*checkpoint);
            if has_left {
                records.remove(commit);
            }
            !has_left
        });
        Ok(CollectWriter {
            subtask: context.subtask,
            records: Vec::new(),
        })
    }

    fn committer(&self, _: &SinkContext) -> Result<CollectCommitter<T>> {
        Ok(CollectCommitter {
            shared: Arc::clone(&self.shared),
        })
    }
}

/// Collects the records of one subtask.
#[derive(Debug)]
pub struct CollectWriter<T> {
    subtask: u32,
    records: Vec<T>,
}

impl<T: Data> TwoPhaseCommitWriter for CollectWriter<T> {
    type Input = T;
    type Committable = CollectCommittable<T>;
    type WriterState = ();

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        self.records.append(records);
        Ok(())
    }

    fn pre_commit(&mut self, checkpoint: CheckpointKey) -> Result<PreCommit<CollectCommittable<T>, ()>> {
        let mut committables = Vec::new();
        if !self.records.is_empty() {
            committables.push(CollectCommittable {
                subtask: self.subtask,
                checkpoint,
                records: std::mem::take(&mut self.records),
            });
        }
        Ok(PreCommit {
            committables,
            state: (),
            finish: None,
        })
    }
}

/// Makes records of a [`CollectSink`] visible.
pub struct CollectCommitter<T> {
    shared: Arc<Mutex<Committed<T>>>,
}

impl<T> std::fmt::Debug for CollectCommitter<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CollectCommitter")
    }
}

impl<T: Data> Committer for CollectCommitter<T> {
    type Committable = CollectCommittable<T>;

    fn commit(&mut self, committables: Vec<CollectCommittable<T>>) -> Result<()> {
        let Committed { records, done, next } = &mut *lock(&self.shared);
        for committable in committables {
            let commit = *next;
            if let Entry::Vacant(vacant) = done.entry((committable.checkpoint, committable.subtask)) {
                vacant.insert(commit);
                *next += 1;
                records.insert(commit, committable.records);
            }
        }
        Ok(())
    }
}

fn lock<T>(shared: &Mutex<Committed<T>>) -> MutexGuard<'_, Committed<T>> {
    // Nothing under the lock runs foreign code that could panic half-way and matter.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{CheckpointId, Lineage};
    use crate::connectors::sinks::testing::{context, context_on};

    #[test]
    fn records_are_visible_once_however_often_they_are_committed() {
        let sink = CollectSink::new();
        let results = sink.results();
        let lineage = Lineage::new();
        let key = |id| lineage.checkpoint(CheckpointId(id));
        let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
        writer.write(&mut vec![1, 2]).unwrap();
        let first = writer.pre_commit(key(1)).unwrap();
        assert!(results.snapshot().is_empty());

        let mut committer = sink.committer(&context(0, 1, 1)).unwrap();
        committer.commit(first.committables.clone()).unwrap();
        committer.commit(first.committables).unwrap();
        assert_eq!(results.snapshot(), [1, 2]);

        // What comes after the checkpoint is lost with the attempt and comes again in the next one.
        writer.write(&mut vec![3]).unwrap();
        drop(writer.pre_commit(key(2)).unwrap());
        let mut writer = sink.writer(&context(0, 2, 2), Vec::new(), &[]).unwrap();
        writer.write(&mut vec![3, 4]).unwrap();
        let second = writer.pre_commit(key(3)).unwrap();
        committer.commit(second.committables).unwrap();
        assert_eq!(results.take(), [1, 2, 3, 4]);
        assert!(results.take().is_empty());
    }

    #[test]
    fn going_back_drops_what_comes_again_and_a_number_that_comes_again_is_another_commit() {
        let sink = CollectSink::new();
        let results = sink.results();
        let first = Lineage::new();
        let mut committer = sink.committer(&context(0, 1, 1)).unwrap();
        let mut run = |lineage: &Lineage, records: [u64; 2]| {
            let context = context_on(lineage, 0, 1, 1);
            let mut writer = sink.writer(&context, Vec::new(), &[]).unwrap();
            for record in records {
                writer.write(&mut vec![record]).unwrap();
                let key = lineage.checkpoint(CheckpointId(record % 10));
                let prepared = writer.pre_commit(key).unwrap();
                committer.commit(prepared.committables).unwrap();
            }
        };
        run(&first, [1, 2]);
        let second = first.branch(CheckpointId(1));
        run(&second, [12, 13]);
        assert_eq!(results.snapshot(), [1, 12, 13]);
        run(&second.branch(CheckpointId(2)), [23, 24]);
        assert_eq!(results.take(), [1, 12, 23, 24]);
    }

    #[test]
    fn nothing_is_committed_when_nothing_was_written() {
        let sink = CollectSink::<u64>::new();
        let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
        let key = Lineage::new().checkpoint(CheckpointId(1));
        assert!(writer.pre_commit(key).unwrap().committables.is_empty());
    }
}
