//! How an edge spreads the records of an upstream subtask over the downstream subtasks.

use super::batch::{BATCH_RECORDS, Batch};
use super::pool::BatchPool;
use crate::api::Data;
use crate::state::group_hashes;
use millpond_backend_api::{KeyGroup, owner};
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::progress::Stamp;

/// The rule of an edge. Subtask i runs on worker i, so a target is a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitioning {
    /// To the subtask with the same number, in the same thread.
    Forward,
    /// By the key group of the record's key.
    KeyGroups {
        /// The number of key groups of the downstream operator.
        max_parallelism: u32,
    },
    /// Evenly, round robin by runs of records.
    Rebalance,
    /// Every record to every subtask.
    Broadcast,
}

impl Partitioning {
    /// To how many subtasks a record goes.
    pub(crate) fn copies(self, parallelism: u32) -> u32 {
        if self == Self::Broadcast { parallelism } else { 1 }
    }

    /// To how many subtasks a mark goes.
    pub(crate) fn mark_targets(self, parallelism: u32) -> u32 {
        if self == Self::Forward { 1 } else { parallelism }
    }
}

/// Spreads batches over the workers of an exchange. One for each upstream subtask and edge.
pub(crate) struct Router<T> {
    rule: Partitioning,
    parallelism: u32,
    /// Where the next run of records goes under [`Partitioning::Rebalance`].
    next: usize,
    buffers: Vec<Batch<T>>,
    /// The subtask of each key group, under [`Partitioning::KeyGroups`].
    owners: Vec<u32>,
    /// The key groups of the records of a batch.
    groups: Vec<KeyGroup>,
    /// Where buffers get their memory from.
    pool: BatchPool<T>,
}

impl<T> Router<T> {
    /// A router of the upstream subtask `subtask` to `parallelism` subtasks among `peers` workers.
    pub(crate) fn new(
        rule: Partitioning,
        subtask: usize,
        parallelism: u32,
        peers: usize,
        pool: BatchPool<T>,
    ) -> Self {
        let buffers = std::iter::repeat_with(Batch::default).take(peers).collect();
        let groups = match rule {
            Partitioning::KeyGroups { max_parallelism } => max_parallelism,
            _ => 0,
        };
        let owner_of = |group| owner(KeyGroup(group), parallelism, groups);
        Self {
            owners: (0..).map(owner_of).take(groups as usize).collect(),
            groups: Vec::new(),
            rule,
            parallelism,
            next: subtask % (parallelism.max(1) as usize),
            buffers,
            pool,
        }
    }
}

fn send<T, S: Clone, P: Push<Message<S, Batch<T>>>>(buffer: &mut Batch<T>, stamp: &Stamp<S>, pusher: &mut P) {
    Message::push_at(buffer, stamp.clone(), pusher);
    buffer.clear();
}

/// Gives a buffer without memory that of another one, or its own in one piece, not by doubling.
fn renew<T>(buffer: &mut Batch<T>, pool: &BatchPool<T>, expected: usize) {
    if buffer.records.capacity() == 0 {
        *buffer = pool.take();
        buffer.records.reserve(expected);
    }
}

impl<T: Data> Router<T> {
    /// Gives the buffers room for a part of `batch`: one that was sent left its memory with the receiver.
    fn make_room(&mut self, batch: &Batch<T>) {
        let expected = batch.records.len().min(BATCH_RECORDS);
        for buffer in self.buffers.iter_mut().take(self.parallelism as usize) {
            renew(buffer, &self.pool, expected);
        }
    }

    /// Spreads records, whose hashes and groups are known, over the owners of their keys. `also` does with the record's index what else there is to do.
    #[expect(
        clippy::indexing_slicing,
        reason = "an owner is below the parallelism, which is at most the number of workers"
    )]
    #[inline]
    fn by_key<S: Clone, P: Push<Message<S, Batch<T>>>>(
        &mut self,
        batch: &mut Batch<T>,
        stamp: &Stamp<S>,
        pushers: &mut [P],
        also: impl Fn(&mut Batch<T>, usize),
    ) {
        let Self {
            buffers,
            owners,
            groups,
            pool,
            ..
        } = self;
        let records = batch.records.len();
        assert_eq!(
            (batch.hashes.len(), groups.len()),
            (records, records),
            "each key has its hash"
        );
        let keys = batch.hashes.iter().zip(&*groups);
        for (index, (record, (hash, group))) in batch.records.drain(..).zip(keys).enumerate() {
            let target = owners[group.index()] as usize;
            let buffer = &mut buffers[target];
            buffer.records.push(record);
            buffer.hashes.push(*hash);
            also(buffer, index);
            if buffer.records.len() >= BATCH_RECORDS {
                send(buffer, stamp, &mut pushers[target]);
                renew(buffer, pool, records.min(BATCH_RECORDS));
            }
        }
    }

    /// Sends runs of records to one subtask after the other.
    #[expect(
        clippy::indexing_slicing,
        reason = "the next one is below the parallelism, which is at most the number of workers"
    )]
    fn in_turn<S: Clone, P: Push<Message<S, Batch<T>>>>(
        &mut self,
        batch: &mut Batch<T>,
        stamp: &Stamp<S>,
        pushers: &mut [P],
    ) {
        let expected = batch.records.len().min(BATCH_RECORDS);
        let mut timestamps = batch.timestamps.drain(..);
        for record in batch.records.drain(..) {
            let buffer = &mut self.buffers[self.next];
            buffer.records.push(record);
            buffer.timestamps.extend(timestamps.next());
            if buffer.records.len() >= BATCH_RECORDS {
                send(buffer, stamp, &mut pushers[self.next]);
                renew(buffer, &self.pool, expected);
                self.next = (self.next + 1) % self.parallelism as usize;
            }
        }
        // A short batch is a run too: a trickle of records reaches every subtask. One that filled the buffer was counted already.
        if !self.buffers[self.next].records.is_empty() {
            self.next = (self.next + 1) % self.parallelism as usize;
        }
    }
}

impl<T: Data> Distributor<Batch<T>> for Router<T> {
    #[expect(
        clippy::indexing_slicing,
        reason = "targets are below the parallelism, which is at most the number of workers"
    )]
    fn partition<S: Clone, P: Push<Message<S, Batch<T>>>>(
        &mut self,
        batch: &mut Batch<T>,
        stamp: &Stamp<S>,
        pushers: &mut [P],
    ) {
        match self.rule {
            Partitioning::Broadcast => {
                for (buffer, pusher) in self
                    .buffers
                    .iter_mut()
                    .zip(pushers.iter_mut())
                    .take(self.parallelism as usize)
                {
                    buffer.records.extend(batch.records.iter().cloned());
                    buffer.hashes.extend_from_slice(&batch.hashes);
                    buffer.timestamps.extend_from_slice(&batch.timestamps);
                    if buffer.records.len() >= BATCH_RECORDS {
                        send(buffer, stamp, pusher);
                    }
                }
                batch.records.clear();
            }
            Partitioning::KeyGroups { max_parallelism } => {
                self.groups.clear();
                group_hashes(&batch.hashes, max_parallelism, &mut self.groups);
                self.make_room(batch);
                if batch.timestamps.is_empty() {
                    self.by_key(batch, stamp, pushers, |_, _| {});
                } else {
                    let timestamps = std::mem::take(&mut batch.timestamps);
                    self.by_key(batch, stamp, pushers, |buffer, index| {
                        buffer.timestamps.push(timestamps[index]);
                    });
                    batch.timestamps = timestamps;
                }
            }
            Partitioning::Rebalance | Partitioning::Forward => {
                self.make_room(batch);
                self.in_turn(batch, stamp, pushers);
            }
        }
        if let Some(mark) = batch.mark {
            for (buffer, pusher) in self
                .buffers
                .iter_mut()
                .zip(pushers.iter_mut())
                .take(self.parallelism as usize)
            {
                buffer.mark = Some(super::batch::Mark { targets: 1, ..mark });
                send(buffer, stamp, pusher);
            }
        }
        batch.clear();
    }

    fn flush<S: Clone, P: Push<Message<S, Batch<T>>>>(&mut self, stamp: &Stamp<S>, pushers: &mut [P]) {
        for (buffer, pusher) in self.buffers.iter_mut().zip(pushers) {
            if !buffer.records.is_empty() {
                send(buffer, stamp, pusher);
            }
        }
    }

    fn relax(&mut self) {
        for buffer in &mut self.buffers {
            self.pool.give(std::mem::take(buffer));
        }
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
