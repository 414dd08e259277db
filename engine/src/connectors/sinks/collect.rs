//! A sink into memory.

use crate::Result;
use crate::api::{Committer, Data, PreCommit, SinkContext, TwoPhaseCommitSink, TwoPhaseCommitWriter};
use crate::checkpoint::CheckpointId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Collects records in memory, each once: what was taken is visible when the checkpoint that holds it is complete.
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
    records: Vec<T>,
    /// Which transactions are in `records`, by subtask and sequence number.
    done: BTreeSet<(u32, u64)>,
}

impl<T: Data> CollectSink<T> {
    /// A sink without records.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Mutex::new(Committed {
                records: Vec::new(),
                done: BTreeSet::new(),
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
        lock(&self.shared).records.clone()
    }

    /// Takes the records committed so far out of the sink.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut lock(&self.shared).records)
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
    sequence: u64,
    records: Vec<T>,
}

impl<T: Data> TwoPhaseCommitSink for CollectSink<T> {
    type Input = T;
    type Committable = CollectCommittable<T>;
    /// The sequence number of the next transaction, the highest of all subtasks counts.
    type WriterState = u64;
    type Writer = CollectWriter<T>;
    type Committer = CollectCommitter<T>;

    fn check_fresh_start(&self) -> Result<()> {
        Ok(())
    }

    fn writer(
        &self,
        context: &SinkContext,
        restored: Vec<u64>,
        _: &[CollectCommittable<T>],
    ) -> Result<CollectWriter<T>> {
        // Behind what is committed, should the job have gone back to an older checkpoint: a number that is known would be taken for a repeated commit.
        let committed = &lock(&self.shared).done;
        let behind_committed = committed
            .iter()
            .filter(|(subtask, _)| *subtask == context.subtask)
            .map(|(_, sequence)| sequence + 1);
        Ok(CollectWriter {
            subtask: context.subtask,
            sequence: restored.into_iter().chain(behind_committed).max().unwrap_or(0),
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
    sequence: u64,
    records: Vec<T>,
}

impl<T: Data> TwoPhaseCommitWriter for CollectWriter<T> {
    type Input = T;
    type Committable = CollectCommittable<T>;
    type WriterState = u64;

    fn write(&mut self, records: &mut Vec<T>) -> Result<()> {
        self.records.append(records);
        Ok(())
    }

    fn pre_commit(&mut self, _: Option<CheckpointId>) -> Result<PreCommit<CollectCommittable<T>, u64>> {
        let mut committables = Vec::new();
        if !self.records.is_empty() {
            committables.push(CollectCommittable {
                subtask: self.subtask,
                sequence: self.sequence,
                records: std::mem::take(&mut self.records),
            });
            self.sequence += 1;
        }
        Ok(PreCommit {
            committables,
            state: self.sequence,
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
        let mut committed = lock(&self.shared);
        for committable in committables {
            if committed.done.insert((committable.subtask, committable.sequence)) {
                committed.records.extend(committable.records);
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
    use crate::connectors::sinks::testing::context;

    #[test]
    fn records_are_visible_once_however_often_they_are_committed() {
        let sink = CollectSink::new();
        let results = sink.results();
        let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
        writer.write(&mut vec![1, 2]).unwrap();
        let first = writer.pre_commit(Some(CheckpointId(1))).unwrap();
        assert!(results.snapshot().is_empty());

        let mut committer = sink.committer(&context(0, 1, 1)).unwrap();
        committer.commit(first.committables.clone()).unwrap();
        committer.commit(first.committables).unwrap();
        assert_eq!(results.snapshot(), [1, 2]);

        // What comes after the checkpoint is lost with the attempt and comes again in the next one, under the same number.
        writer.write(&mut vec![3]).unwrap();
        drop(writer.pre_commit(Some(CheckpointId(2))).unwrap());
        let mut writer = sink.writer(&context(0, 2, 2), vec![first.state, 0], &[]).unwrap();
        writer.write(&mut vec![3, 4]).unwrap();
        let second = writer.pre_commit(Some(CheckpointId(3))).unwrap();
        committer.commit(second.committables).unwrap();
        assert_eq!(results.take(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_written_after_going_back_to_an_older_checkpoint_is_committed_too() {
        let sink = CollectSink::new();
        let results = sink.results();
        let mut committer = sink.committer(&context(0, 1, 1)).unwrap();
        let mut writer = sink.writer(&context(0, 1, 1), Vec::new(), &[]).unwrap();
        let mut states = Vec::new();
        for record in [1, 2] {
            writer.write(&mut vec![record]).unwrap();
            let prepared = writer.pre_commit(Some(CheckpointId(record))).unwrap();
            committer.commit(prepared.committables).unwrap();
            states.push(prepared.state);
        }
        let mut writer = sink.writer(&context(0, 2, 1), vec![states[0]], &[]).unwrap();
        writer.write(&mut vec![20]).unwrap();
        let prepared = writer.pre_commit(Some(CheckpointId(3))).unwrap();
        committer.commit(prepared.committables).unwrap();
        assert_eq!(results.take(), [1, 2, 20]);
    }

    #[test]
    fn nothing_is_committed_when_nothing_was_written() {
        let sink = CollectSink::<u64>::new();
        let mut writer = sink.writer(&context(0, 1, 1), vec![5], &[]).unwrap();
        let pre_commit = writer.pre_commit(None).unwrap();
        assert!(pre_commit.committables.is_empty());
        assert_eq!(pre_commit.state, 5);
    }
}
