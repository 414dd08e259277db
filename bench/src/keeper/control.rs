//! What the program and its running job tell each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// What the source emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    Pause,
    /// Each key once: makes its value.
    Fill,
    /// Random keys for ever: each changes its value.
    Update,
    /// So many distinct random keys: each changes its value.
    UpdateDistinct(u64),
    /// Each key up to so many once: reads its value.
    Read(u64),
    /// The end of the input.
    End,
}

/// A number that one thread writes and others look at, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    #[inline]
    pub(crate) fn set(&self, number: u64) {
        // Release: who sees the number sees what was done before.
        self.0.store(number, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a source subtask tells.
#[derive(Debug, Default)]
pub(crate) struct SourceGauges {
    /// The number of the phase that it has seen, see [`Control::begin`].
    pub(crate) phase: Gauge,
    /// The number of the phase that it has emitted everything of.
    pub(crate) done: Gauge,
    /// Records that it has emitted.
    pub(crate) emitted: Gauge,
}

/// What a subtask of the keyed function tells.
#[derive(Debug, Default)]
pub(crate) struct KeeperGauges {
    /// Records that it has processed.
    pub(crate) processed: Gauge,
    /// The sum of the numbers of writes that these told.
    pub(crate) writes_read: Gauge,
}

/// When a subtask of the keyed function came to be, as far as its first read of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// The engine made the function, before it opened the state handles.
    pub(crate) made: Instant,
    /// The engine called `open`, after it had opened the state handles.
    pub(crate) opened: Instant,
    /// The value of the first record had been read and checked.
    pub(crate) first_read: Instant,
}

/// Shared by the program and all subtasks of one job.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) keys: u64,
    phase: Mutex<(u64, Phase)>,
    /// The number of the phase, to be looked at without the lock.
    number: Gauge,
    sources: Mutex<Vec<Arc<SourceGauges>>>,
    keepers: Mutex<Vec<Arc<KeeperGauges>>>,
    opened: Mutex<Vec<Opened>>,
    /// Values that have been read and checked in [`Phase::Read`].
    read: AtomicU64,
    /// How many that are when all are.
    to_read: AtomicU64,
    all_read: OnceLock<Instant>,
    failure: Mutex<Option<String>>,
}

impl Control {
    /// The control of a job over `keys` keys that begins with `phase`.
    pub(crate) fn new(keys: u64, phase: Phase) -> Self {
        let control = Self {
            keys,
            phase: Mutex::new((1, phase)),
            number: Gauge::default(),
            sources: Mutex::default(),
            keepers: Mutex::default(),
            opened: Mutex::default(),
            read: AtomicU64::new(0),
            to_read: AtomicU64::new(to_read(phase)),
            all_read: OnceLock::new(),
            failure: Mutex::default(),
        };
        control.number.set(1);
        control
    }

    /// Begins a phase and returns its number.
    pub(crate) fn begin(&self, phase: Phase) -> u64 {
        let mut current = lock(&self.phase);
        self.to_read.store(to_read(phase), Ordering::Relaxed);
        *current = (current.0 + 1, phase);
        self.number.set(current.0);
        current.0
    }

    /// The number of the running phase.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number.get()
    }

    /// The running phase with its number.
    pub(crate) fn phase(&self) -> (u64, Phase) {
        *lock(&self.phase)
    }

    pub(crate) fn add_source(&self) -> Arc<SourceGauges> {
        let gauges = Arc::<SourceGauges>::default();
        lock(&self.sources).push(Arc::clone(&gauges));
        gauges
    }

    pub(crate) fn add_keeper(&self) -> Arc<KeeperGauges> {
        let gauges = Arc::<KeeperGauges>::default();
        lock(&self.keepers).push(Arc::clone(&gauges));
        gauges
    }

    pub(crate) fn add_opened(&self, opened: Opened) {
        lock(&self.opened).push(opened);
    }

    pub(crate) fn opened(&self) -> Vec<Opened> {
        lock(&self.opened).clone()
    }

    /// Why a value was wrong or could not be had; the first time counts.
    pub(crate) fn fail(&self, why: &str) {
        lock(&self.failure).get_or_insert_with(|| why.to_owned());
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Whether all of `subtasks` sources are in phase `number`.
    pub(crate) fn have_begun(&self, number: u64, subtasks: usize) -> bool {
        let sources = lock(&self.sources);
        sources.len() == subtasks && sources.iter().all(|source| source.phase.get() >= number)
    }

    /// Whether all of `subtasks` sources have emitted everything of phase `number`.
    pub(crate) fn are_done(&self, number: u64, subtasks: usize) -> bool {
        let sources = lock(&self.sources);
        sources.len() == subtasks && sources.iter().all(|source| source.done.get() >= number)
    }

    pub(crate) fn emitted(&self) -> u64 {
        lock(&self.sources)
            .iter()
            .map(|source| source.emitted.get())
            .sum()
    }

    pub(crate) fn processed(&self) -> u64 {
        self.sum(|keeper| &keeper.processed)
    }

    /// Notes that one more value has been read and checked.
    #[inline]
    pub(crate) fn add_read(&self) {
        // AcqRel: who sees the number sees what was noted before.
        if self.read.fetch_add(1, Ordering::AcqRel) + 1 == self.to_read.load(Ordering::Relaxed) {
            self.all_read.get_or_init(Instant::now);
        }
    }

    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    /// When the last value of all was read.
    pub(crate) fn all_read(&self) -> Option<Instant> {
        self.all_read.get().copied()
    }

    pub(crate) fn writes_read(&self) -> u64 {
        self.sum(|keeper| &keeper.writes_read)
    }

    fn sum(&self, gauge: impl Fn(&KeeperGauges) -> &Gauge) -> u64 {
        lock(&self.keepers).iter().map(|keeper| gauge(keeper).get()).sum()
    }
}

/// How many values are read in `phase`.
fn to_read(phase: Phase) -> u64 {
    match phase {
        Phase::Read(keys) => keys,
        _ => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
