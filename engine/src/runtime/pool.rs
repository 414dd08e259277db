//! The memory of batches, used again.
//!
//! A batch leaves its sender with its memory. Without a way back every batch would be new memory: at a hundred kilobytes each that is what the allocator gives back to the
//! system and the system hands out again page by page. So each edge keeps the emptied batches that arrived over it on a worker, for those that leave over it there: with one
//! subtask they are the same, and with several as many come as go.

use super::batch::{BATCH_RECORDS, Batch};
use std::cell::RefCell;
use std::rc::Rc;

/// How many batches an edge keeps on a worker: about as many as a source emits in one round.
const KEPT_MAX: usize = 8;
/// A batch with room for fewer records is not worth keeping.
const ROOM_MIN: usize = BATCH_RECORDS / 4;
/// Nor is one that has grown far beyond the others.
const ROOM_MAX: usize = 4 * BATCH_RECORDS;

/// The empty batches of one edge on one worker.
pub(crate) struct BatchPool<T>(Rc<RefCell<Vec<Batch<T>>>>);

impl<T> Clone for BatchPool<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> BatchPool<T> {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    /// An empty batch, with the memory of one that was given back if there is any. The last one comes first: it is still in the cache.
    pub(crate) fn take(&self) -> Batch<T> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the memory of `batch`, whose records are dropped.
    pub(crate) fn give(&self, mut batch: Batch<T>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT_MAX && (ROOM_MIN..=ROOM_MAX).contains(&batch.records.capacity()) {
            batch.clear();
            kept.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::batch::Mark;

    fn with_room(records: usize) -> Batch<u64> {
        Batch {
            records: Vec::with_capacity(records),
            ..Batch::default()
        }
    }

    #[test]
    fn a_batch_comes_back_empty_with_its_memory() {
        let pool = BatchPool::new();
        let mut batch = with_room(BATCH_RECORDS);
        batch.records.push(1);
        batch.hashes.push(2);
        batch.timestamps.push(3);
        batch.copies = 4;
        batch.mark = Some(Mark {
            from: 0,
            watermark: 5,
            idle: false,
            targets: 1,
        });
        let memory = batch.records.as_ptr();
        pool.clone().give(batch);
        let again = pool.take();
        assert_eq!(again.records.as_ptr(), memory);
        assert!(again.records.is_empty() && again.hashes.is_empty() && again.timestamps.is_empty());
        assert_eq!((again.mark, again.copies), (None, 1));
        assert_eq!(pool.take().records.capacity(), 0);
    }

    #[test]
    fn neither_scraps_nor_giants_nor_too_many_are_kept() {
        let pool = BatchPool::new();
        pool.give(with_room(0));
        pool.give(with_room(ROOM_MIN - 1));
        pool.give(with_room(2 * ROOM_MAX));
        assert_eq!(pool.take().records.capacity(), 0);
        for _ in 0..2 * KEPT_MAX {
            pool.give(with_room(BATCH_RECORDS));
        }
        let with_memory = (0..2 * KEPT_MAX).filter(|_| pool.take().records.capacity() > 0);
        assert_eq!(with_memory.count(), KEPT_MAX);
    }
}
