//! What a subtask has in RocksDB, and the order in which snapshots bring the tables' changes into it.
//!
//! A database is a state at one moment, and moves on. So that each snapshot gets the moment it was taken at, whichever writer runs first, the
//! frozen tables wait in a queue: whoever wants one of them brings in all that were frozen before it, in order, and takes RocksDB's
//! checkpoint (files that are shared, not copied) of each for its writer. A snapshot that was given up is left out; its changes come with
//! the next one.

use crate::database::Database;
use crate::folder::Folder;
use crate::ingest::Ingestion;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult, KeyGroup, KeyGroupRange};
use millpond_backend_memory::snapshot::FrozenState;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A database and the key groups that are asked of it.
///
/// There is one, until a subtask takes over the key groups of several others: it goes on with their databases beside each other, since
/// none of them has keys of another one's groups.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) groups: KeyGroupRange,
    pub(crate) database: Database,
}

/// What a subtask has in RocksDB. Shared by its tables, its snapshots' writers, and what brings changes in.
#[derive(Debug)]
pub(crate) struct Store {
    range: KeyGroupRange,
    parts: Vec<Part>,
    queue: Mutex<Queue>,
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

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Weak<Frozen>>,
    /// The epoch up to which changes are in the databases.
    to: u32,
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
    /// The key groups that count.
    pub(crate) groups: KeyGroupRange,
    /// Which of the store's parts it is of.
    pub(crate) part: usize,
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
            parts,
            queue: Mutex::default(),
            below: AtomicU32::new(0),
            names: AtomicU64::new(0),
            links: AtomicBool::new(true),
            holding: Arc::new(()),
            folder,
        }
    }

    /// The databases.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The database that has `group`.
    pub(crate) fn part_of(&self, group: KeyGroup) -> Option<&Part> {
        self.parts.iter().find(|part| part.groups.contains(group))
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
        locked(&self.queue).waiting.push_back(Arc::downgrade(&frozen));
        frozen
    }

    /// Brings everything up to `frozen` into the databases, and gives their checkpoints if they are wanted. `check` is asked from time to time
    /// whether to go on.
    ///
    /// # Errors
    /// RocksDB's, those of the file system, and that of `check`. Nothing is lost then: the changes are in the tables, and come with a later one.
    pub(crate) fn bring_in(
        &self,
        frozen: &Arc<Frozen>,
        check: &dyn Fn() -> BackendResult<()>,
    ) -> BackendResult<Vec<LocalCheckpoint>> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(done) = frozen.take_done() {
                return done;
            }
            check()?;
            let Some(first) = queue.waiting.front() else {
                return Err(never_waited());
            };
            if let Some(first) = first.upgrade() {
                self.bring_in_first(&mut queue, &first, check)?;
            }
            queue.waiting.pop_front();
        }
    }

    /// Brings in the first of the queue and keeps for it what came out. Fails only where it can be tried again.
    fn bring_in_first(
        &self,
        queue: &mut Queue,
        first: &Frozen,
        check: &dyn Fn() -> BackendResult<()>,
    ) -> BackendResult<()> {
        let mut progress = locked(&first.progress);
        let Progress::Waiting { states, .. } = &*progress else {
            return Ok(());
        };
        let ingested = self.ingest(states, queue.to, check);
        if let Err(error) = &ingested
            && error.kind() == BackendErrorKind::Cancelled
        {
            return Err(error.clone());
        }
        if ingested.is_ok() {
            queue.to = first.to;
            self.below.store(first.to, Ordering::Release);
        }
        let checkpoints = ingested.and_then(|()| {
            let wanted = self.parts.iter().filter(|_| first.wanted).enumerate();
            wanted
                .map(|(number, part)| self.checkpoint(number, part))
                .collect()
        });
        // The pages that are shared go with this.
        *progress = Progress::Done(checkpoints);
        Ok(())
    }

    fn ingest(
        &self,
        states: &[FrozenState],
        since: u32,
        check: &dyn Fn() -> BackendResult<()>,
    ) -> BackendResult<()> {
        for part in &self.parts {
            for state in states {
                let mut ingestion = Ingestion::new(state, self.range, since);
                ingestion.run(part, || self.new_path("changes"), check)?;
            }
        }
        Ok(())
    }

    fn checkpoint(&self, number: usize, part: &Part) -> BackendResult<LocalCheckpoint> {
        let folder = Folder::reserve(self.new_path("checkpoint"))?;
        part.database.checkpoint(&folder)?;
        Ok(LocalCheckpoint {
            groups: part.groups,
            part: number,
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
