//! How many files are on their way to or from the checkpoint storage at once: so many for each subtask, or for all of the process.

use crate::options::TransferThreads;
use millpond_backend_api::BackendResult;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

/// What bounds the transfers of a subtask.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    threads: usize,
    /// What bounds those of all subtasks together.
    shared: Option<Arc<Permits>>,
}

/// As many as may be at work at once, in the whole process.
#[derive(Debug)]
struct Permits {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

/// Gives its permit back when it is dropped.
struct Permit<'p>(&'p Permits);

/// The permits that somebody uses.
static PERMITS: Mutex<Vec<Weak<Permits>>> = Mutex::new(Vec::new());

impl Transfers {
    /// The transfers that the options describe: all subtasks that share so many threads have the same ones.
    pub(crate) fn of(threads: TransferThreads) -> Self {
        match threads {
            TransferThreads::PerSubtask(threads) => Self {
                threads,
                shared: None,
            },
            TransferThreads::Shared(threads) => Self {
                threads,
                shared: Some(Permits::of(threads)),
            },
        }
    }

    /// Does `each` for all of `items`, several at once, and gives what came out in the order of the items. After an error no other one is begun.
    ///
    /// # Errors
    /// That of the first of the items, in their order, that failed.
    pub(crate) fn run<T: Sync, R: Send>(
        &self,
        items: &[T],
        each: impl Fn(&T) -> BackendResult<R> + Sync,
    ) -> BackendResult<Vec<R>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let work = || {
            while let number = next.fetch_add(1, Ordering::Relaxed)
                && let Some(item) = items.get(number)
            {
                let permit = self.shared.as_deref().map(Permits::take);
                let result = each(item);
                drop(permit);
                if result.is_err() {
                    // The others need not begin any more.
                    next.store(items.len(), Ordering::Relaxed);
                }
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push((number, result));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(items.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

impl Permits {
    fn of(all: usize) -> Arc<Self> {
        let mut known = PERMITS.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|permits| permits.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade);
        if let Some(permits) = same.into_iter().find(|permits| permits.all == all) {
            return permits;
        }
        let permits = Arc::new(Self {
            all,
            free: Mutex::new(all),
            freed: Condvar::new(),
        });
        known.push(Arc::downgrade(&permits));
        permits
    }

    /// Waits until one is free.
    fn take(&self) -> Permit<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::{BackendError, BackendErrorKind};
    use std::sync::Barrier;

    #[test]
    fn a_subtask_brings_as_many_at_once_as_it_has_threads() {
        let transfers = Transfers::of(TransferThreads::PerSubtask(3));
        // Nobody goes on until all three are there.
        let together = Barrier::new(3);
        let done = transfers.run(&[1, 2, 3, 4, 5, 6], |number| {
            together.wait();
            Ok(number * 10)
        });
        assert_eq!(done.unwrap(), [10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn threads_of_one_subtask_are_not_those_of_another() {
        let together = Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let transfers = Transfers::of(TransferThreads::PerSubtask(1));
                    transfers.run(&[(); 5], |()| {
                        together.wait();
                        Ok(())
                    })
                });
            }
        });
    }

    #[test]
    fn all_subtasks_together_bring_no_more_at_once_than_they_share() {
        let at_work = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let together = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let transfers = Transfers::of(TransferThreads::Shared(2));
                    // So that each has them while the others do.
                    together.wait();
                    let done = transfers.run(&[(); 200], |()| {
                        most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        at_work.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    });
                    assert_eq!(done.unwrap().len(), 200);
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
    }

    #[test]
    fn after_an_error_no_other_one_is_begun() {
        let transfers = Transfers::of(TransferThreads::Shared(1));
        let begun = AtomicUsize::new(0);
        let failed = transfers.run(&[1, 2, 3], |number| {
            begun.fetch_add(1, Ordering::SeqCst);
            match number {
                2 => Err(BackendError::new(BackendErrorKind::Io, "two")),
                _ => Ok(()),
            }
        });
        assert_eq!(failed.unwrap_err().message(), "two");
        assert_eq!(begun.into_inner(), 2);
    }
}
