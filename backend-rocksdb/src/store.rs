//! What a subtask has in RocksDB, and the order in which snapshots bring the tables' changes into it.
//!
//! A database is a state at one moment, and moves on. So that each snapshot gets the moment it was taken at, whichever writer runs first, the
//! frozen tables wait in a queue: whoever wants one of them brings in all that were frozen before it, in order, and takes RocksDB's
//! checkpoint (files that are shared, not copied) of each for its writer. A snapshot that was given up is left out; its changes come with
//! the next one.

use crate::database::Database;
use crate::folder::Folder;
use crate::ingest::Ingestion;
use crate::upload::Renamed;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyGroup, KeyGroupRange};
use millpond_backend_memory::snapshot::FrozenState;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

/// A database and the key groups that are asked of it.
#[derive(Debug)]
pub(crate) struct Part {
    /// No other part of the store has it, or had it before.
    pub(crate) number: usize,
    pub(crate) groups: KeyGroupRange,
    pub(crate) database: Database,
    /// What the files were called that came from parts that were there before.
    pub(crate) renamed: Renamed,
}

/// The databases of a store at one time.
///
/// There is one, until a subtask takes over the key groups of several others: it begins with their databases beside each other, since
/// none of them has keys of another one's groups, and [merges](crate::merge) them beside the job.
#[derive(Clone, Debug)]
pub(crate) struct Parts(Arc<[Arc<Part>]>);

impl Parts {
    /// The database that has `group`.
    pub(crate) fn of(&self, group: KeyGroup) -> Option<&Part> {
        let part = self.0.iter().find(|part| part.groups.contains(group));
        part.map(AsRef::as_ref)
    }

    /// Which of them [has](Self::of) `group`.
    pub(crate) fn position(&self, group: KeyGroup) -> Option<usize> {
        self.0.iter().position(|part| part.groups.contains(group))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Part>> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a subtask has in RocksDB. Shared by its tables, its snapshots' writers, and what brings changes in.
#[derive(Debug)]
pub(crate) struct Store {
    range: KeyGroupRange,
    /// Never locked for long: they are looked at with every read.
    parts: RwLock<Parts>,
    /// Frozen tables on their way, oldest first. Never locked for long: the worker adds to it.
    waiting: Mutex<VecDeque<Weak<Frozen>>>,
    /// The epoch up to which changes are in the databases. Locked while changes are brought in.
    ingested: Mutex<u32>,
    /// The epoch up to which changes are in the databases.
    below: AtomicU32,
    /// How many folders and files were named.
    names: AtomicU64,
    /// Whether the checkpoint storage may take links to files.
    links: AtomicBool,
    /// Shared by each of the frozen tables that are not in the databases yet.
    holding: Arc<()>,
    // Dropped last: everything else lies in it.
    folder: Folder,
}

/// The tables as they were at one moment, on their way into the databases.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// The epoch that ended with them.
    to: u32,
    /// Whether somebody wants the databases as they are then.
    wanted: bool,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
enum Progress {
    Waiting {
        states: Vec<FrozenState>,
        /// See [`Store::holding`].
        _holding: Arc<()>,
    },
    Done(BackendResult<Vec<LocalCheckpoint>>),
    Taken,
}

/// A database as it was at one moment, in a folder that goes with this.
#[derive(Debug)]
pub(crate) struct LocalCheckpoint {
    /// What it is of.
    pub(crate) part: Arc<Part>,
    pub(crate) folder: Folder,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// A store of `parts`, which have all groups of `range`, with working files in `folder`.
    pub(crate) fn new(range: KeyGroupRange, parts: Vec<Part>, folder: Folder) -> Self {
        Self {
            range,
            parts: RwLock::new(Parts(parts.into_iter().map(Arc::new).collect())),
            waiting: Mutex::default(),
            ingested: Mutex::default(),
            below: AtomicU32::new(0),
            names: AtomicU64::new(0),
            links: AtomicBool::new(true),
            holding: Arc::new(()),
            folder,
        }
    }

    /// The databases.
    pub(crate) fn parts(&self) -> Parts {
        self.parts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the part that `merge` makes of all others in their place. Nothing is brought into them meanwhile; reads go on, and who has the old ones keeps
    /// them.
    ///
    /// # Errors
    /// That of `merge`; nothing is changed then.
    pub(crate) fn replace_parts(
        &self,
        merge: impl FnOnce(&Parts, KeyGroupRange) -> BackendResult<Part>,
    ) -> BackendResult<()> {
        let _nothing_comes_in = locked(&self.ingested);
        let merged = merge(&self.parts(), self.range)?;
        let parts = Parts([Arc::new(merged)].into());
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = parts;
        Ok(())
    }

    /// The epoch up to which changes are in the databases.
    pub(crate) fn below(&self) -> u32 {
        self.below.load(Ordering::Acquire)
    }

    /// Whether frozen tables that are not in the databases yet hold pages.
    pub(crate) fn holds_pages(&self) -> bool {
        Arc::strong_count(&self.holding) > 1
    }

    /// Whether the checkpoint storage may take links to files; to be set to false when it takes none.
    pub(crate) fn links(&self) -> &AtomicBool {
        &self.links
    }

    /// A path for a working file or folder that nothing has.
    pub(crate) fn new_path(&self, kind: &str) -> PathBuf {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{kind}-{number}"))
    }

    /// Puts the tables as they were when epoch `to` ended into the queue. With `wanted` somebody will ask for the databases as they are
    /// then ([`bring_in`](Self::bring_in)).
    pub(crate) fn wait_for(&self, to: u32, states: Vec<FrozenState>, wanted: bool) -> Arc<Frozen> {
        let frozen = Arc::new(Frozen {
            to,
            wanted,
            progress: Mutex::new(Progress::Waiting {
                states,
                _holding: Arc::clone(&self.holding),
            }),
        });
        locked(&self.waiting).push_back(Arc::downgrade(&frozen));
        frozen
    }

    /// Brings everything up to `frozen` into the databases, and gives their checkpoints if they are wanted. `check` is asked whether to go on before
    /// each that is brought in: what was frozen is given up bit by bit then.
    ///
    /// # Errors
    /// RocksDB's, those of the file system, and that of `check`. Nothing is lost then: the changes are in the tables, and come with a later one.
    pub(crate) fn bring_in(
        &self,
        frozen: &Arc<Frozen>,
        check: &dyn Fn() -> BackendResult<()>,
    ) -> BackendResult<Vec<LocalCheckpoint>> {
        let mut ingested = locked(&self.ingested);
        loop {
            if let Some(done) = frozen.take_done() {
                return done;
            }
            check()?;
            let Some(first) = locked(&self.waiting).front().map(Weak::upgrade) else {
                return Err(never_waited());
            };
            if let Some(first) = first {
                self.bring_in_first(&mut ingested, &first);
            }
            locked(&self.waiting).pop_front();
        }
    }

    /// Brings in the first of the queue and keeps for it what came out.
    fn bring_in_first(&self, to: &mut u32, first: &Frozen) {
        let mut progress = locked(&first.progress);
        let Progress::Waiting { states, .. } = &mut *progress else {
            return;
        };
        let ingested = self.ingest(states, *to, first.to);
        if ingested.is_ok() {
            *to = first.to;
            self.below.store(first.to, Ordering::Release);
        }
        let checkpoints = ingested.and_then(|()| {
            let parts = self.parts();
            let wanted = parts.iter().filter(|_| first.wanted);
            wanted.map(|part| self.checkpoint(part)).collect()
        });
        // The pages that are shared go with this, at the latest.
        *progress = Progress::Done(checkpoints);
    }

    fn ingest(&self, states: &mut [FrozenState], since: u32, to: u32) -> BackendResult<()> {
        for part in self.parts().iter() {
            for state in states.iter_mut() {
                let mut ingestion = Ingestion::new(state, self.range, since, to);
                ingestion.run(part, &|| self.new_path("changes"))?;
            }
        }
        Ok(())
    }

    fn checkpoint(&self, part: &Arc<Part>) -> BackendResult<LocalCheckpoint> {
        let folder = Folder::reserve(self.new_path("checkpoint"))?;
        part.database.checkpoint(&folder)?;
        Ok(LocalCheckpoint {
            part: Arc::clone(part),
            folder,
        })
    }
}

impl Frozen {
    fn take_done(&self) -> Option<BackendResult<Vec<LocalCheckpoint>>> {
        let mut progress = locked(&self.progress);
        match std::mem::replace(&mut *progress, Progress::Taken) {
            Progress::Done(done) => Some(done),
            Progress::Taken => Some(Err(never_waited())),
            waiting @ Progress::Waiting { .. } => {
                *progress = waiting;
                None
            }
        }
    }
}

#[cold]
fn never_waited() -> BackendError {
    BackendError::new(
        BackendErrorKind::Misuse,
        "what a snapshot froze can be asked for once, and was asked for before",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Setup;
    use crate::options::{Memory, Options};
    use millpond_backend_api::BackendConfig;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const RANGE: KeyGroupRange = KeyGroupRange {
        first: KeyGroup(0),
        last: KeyGroup(3),
    };

    fn store(folder: &std::path::Path) -> Arc<Store> {
        let options = Options::read(&BackendConfig::default()).unwrap();
        let setup = Setup {
            memory: Memory::of(&options.memory),
            options: Arc::new(options),
            expiries: Arc::default(),
        };
        let folder = Folder::make(folder.join("store")).unwrap();
        let database = Folder::make(folder.path().join("db-0")).unwrap();
        let part = Part {
            number: 0,
            groups: RANGE,
            renamed: Renamed::new(),
            database: Database::open(database, crate::origins::Origins::default(), &setup).unwrap(),
        };
        Arc::new(Store::new(RANGE, vec![part], folder))
    }

    fn go_on() -> BackendResult<()> {
        Ok(())
    }

    #[test]
    fn the_worker_is_not_held_up_while_changes_are_brought_in() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let first = store.wait_for(1, Vec::new(), true);
        let (at_work, is_at_work) = channel();
        let (release, released) = channel::<()>();
        let writer = {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                store.bring_in(&first, &|| {
                    at_work.send(()).unwrap();
                    // Ends at once when the other end is gone.
                    let _ = released.recv();
                    Ok(())
                })
            })
        };
        is_at_work.recv().unwrap();
        let (taken, is_taken) = channel();
        let worker = {
            let store = Arc::clone(&store);
            std::thread::spawn(move || taken.send(store.wait_for(2, Vec::new(), true)).unwrap())
        };
        let second = is_taken.recv_timeout(Duration::from_secs(60));
        drop(release);
        assert_eq!(writer.join().unwrap().unwrap().len(), 1);
        worker.join().unwrap();
        let second = second.expect("the worker waited for what another snapshot brings in");
        assert_eq!(store.bring_in(&second, &go_on).unwrap().len(), 1);
        assert_eq!(store.below(), 2);
    }

    #[test]
    fn whoever_comes_first_brings_in_what_was_frozen_before_and_leaves_out_what_was_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let first = store.wait_for(1, Vec::new(), true);
        drop(store.wait_for(2, Vec::new(), true));
        let third = store.wait_for(3, Vec::new(), false);
        assert!(store.holds_pages());
        assert!(
            store.bring_in(&third, &go_on).unwrap().is_empty(),
            "nobody wants it"
        );
        assert_eq!(store.below(), 3);
        assert!(!store.holds_pages());
        // Its checkpoint was taken in passing.
        assert_eq!(store.bring_in(&first, &go_on).unwrap().len(), 1);
        assert!(store.bring_in(&first, &go_on).is_err(), "it was given out");
    }

    #[test]
    fn what_is_cancelled_can_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let first = store.wait_for(1, Vec::new(), true);
        let cancelled = || Err(BackendError::new(BackendErrorKind::Cancelled, "cancelled"));
        assert!(store.bring_in(&first, &cancelled).is_err());
        assert_eq!((store.below(), store.holds_pages()), (0, true));
        assert_eq!(store.bring_in(&first, &go_on).unwrap().len(), 1);
    }
}
