//! A source that emits what the running phase asks for.
//!
//! What it emits follows the clock, so a job that uses it must not be restarted: the bench runs it without a restart strategy.

use super::control::{Control, Phase, SourceGauges};
use crate::generate::splitmix64;
use millpond_engine::Result;
use millpond_engine::api::{Boundedness, ReaderContext, ReaderStatus, Source, SourceOutput, SourceReader};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How often a source with nothing to emit looks for the next phase.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The lowest bit of the number that a record carries above its key.
const WHAT_SHIFT: u32 = 62;

/// A key, and what to do with its value, in one number: what is exchanged is as small as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// There is none yet: make it.
    Make,
    /// There is one: write it once more.
    Change,
    /// There is one: read it.
    Read,
}

impl Task {
    /// The largest number of keys.
    pub(crate) const KEYS_MAX: u64 = 1 << WHAT_SHIFT;

    #[inline]
    fn record(self, key: u64) -> u64 {
        let what = match self {
            Self::Make => 0,
            Self::Change => 1,
            Self::Read => 2,
        };
        key | (what << WHAT_SHIFT)
    }

    /// What a record asks for.
    #[inline]
    pub(crate) fn of(record: u64) -> Self {
        match record >> WHAT_SHIFT {
            0 => Self::Make,
            1 => Self::Change,
            _ => Self::Read,
        }
    }

    /// The key of a record.
    #[inline]
    pub(crate) fn key(record: u64) -> u64 {
        record & (Self::KEYS_MAX - 1)
    }
}

/// The source of one job.
#[derive(Debug)]
pub(crate) struct PhasedSource(pub(crate) Arc<Control>);

impl Source for PhasedSource {
    type Record = u64;
    type Split = ();
    type Reader = PhasedReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<()>> {
        Ok(vec![(); parallelism as usize])
    }

    fn reader(&self, context: ReaderContext, _: Vec<()>) -> Result<PhasedReader> {
        Ok(PhasedReader {
            gauges: self.0.add_source(),
            control: Arc::clone(&self.0),
            subtask: u64::from(context.subtask),
            step: u64::from(context.parallelism.max(1)),
            phase: (0, Phase::Pause),
            next: 0,
            taken: HashSet::new(),
            random: splitmix64(u64::from(context.subtask)),
            emitted: 0,
        })
    }
}

/// The reader of a [`PhasedSource`].
#[derive(Debug)]
pub(crate) struct PhasedReader {
    control: Arc<Control>,
    gauges: Arc<SourceGauges>,
    subtask: u64,
    step: u64,
    phase: (u64, Phase),
    /// The next key of a phase that goes over all of them.
    next: u64,
    /// The keys that a phase of distinct keys has emitted.
    taken: HashSet<u64>,
    random: u64,
    emitted: u64,
}

impl PhasedReader {
    fn enter_phase(&mut self) {
        if self.control.number() != self.phase.0 {
            self.phase = self.control.phase();
            self.next = self.subtask;
            self.taken = HashSet::new();
            self.gauges.phase.set(self.phase.0);
        }
    }

    #[inline]
    fn random_key(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        // A product of 128 bits in place of a remainder (Lemire, "Fast random integer generation in an interval", 2019).
        let product = u128::from(splitmix64(self.random)) * u128::from(self.control.keys);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Emits the first `keys` keys in their order; whether any are left.
    fn all_keys(&mut self, task: Task, keys: u64, count: u64, output: &mut SourceOutput<u64>) -> bool {
        for _ in 0..count {
            if self.next >= keys {
                return false;
            }
            output.collect(task.record(self.next));
            self.next += self.step;
        }
        self.next < keys
    }

    /// Emits keys that this phase has not emitted yet, all in the first subtask; whether any are left.
    fn distinct_keys(&mut self, all: u64, count: u64, output: &mut SourceOutput<u64>) -> bool {
        let all = if self.subtask == 0 {
            all.min(self.control.keys)
        } else {
            0
        };
        for _ in 0..count {
            if self.taken.len() as u64 >= all {
                return false;
            }
            let mut key = self.random_key();
            while !self.taken.insert(key) {
                key = self.random_key();
            }
            output.collect(Task::Change.record(key));
        }
        (self.taken.len() as u64) < all
    }
}

impl SourceReader for PhasedReader {
    type Record = u64;
    type Split = ();

    fn poll(&mut self, max_records: usize, output: &mut SourceOutput<u64>) -> Result<ReaderStatus> {
        self.enter_phase();
        let (number, phase) = self.phase;
        let count = max_records as u64;
        let before = output.records().len();
        let more = match phase {
            Phase::Pause => false,
            Phase::Fill => self.all_keys(Task::Make, self.control.keys, count, output),
            Phase::Read(keys) => self.all_keys(Task::Read, keys, count, output),
            Phase::UpdateDistinct(all) => self.distinct_keys(all, count, output),
            Phase::Update => {
                for _ in 0..count {
                    let key = self.random_key();
                    output.collect(Task::Change.record(key));
                }
                true
            }
            Phase::End => return Ok(ReaderStatus::Finished),
        };
        self.emitted += (output.records().len() - before) as u64;
        self.gauges.emitted.set(self.emitted);
        if more {
            return Ok(ReaderStatus::More);
        }
        self.gauges.done.set(number);
        Ok(ReaderStatus::IdleFor(LOOK_EVERY))
    }

    fn snapshot(&mut self) -> Result<Vec<()>> {
        Ok(vec![()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_engine::api::SourceWaker;

    fn reader(control: &Arc<Control>, subtask: u32, parallelism: u32) -> PhasedReader {
        let context = ReaderContext {
            subtask,
            parallelism,
            waker: SourceWaker::new(|| {}),
        };
        let source = PhasedSource(Arc::clone(control));
        source.reader(context, vec![()]).unwrap()
    }

    fn drain(reader: &mut PhasedReader) -> Vec<u64> {
        let mut output = SourceOutput::new();
        while reader.poll(7, &mut output).unwrap() == ReaderStatus::More {}
        output.records().to_vec()
    }

    #[test]
    fn a_fill_has_each_key_once_over_all_subtasks() {
        let control = Arc::new(Control::new(100, Phase::Fill));
        let mut keys: Vec<u64> = (0..3)
            .flat_map(|subtask| drain(&mut reader(&control, subtask, 3)))
            .map(|record| {
                assert_eq!(Task::of(record), Task::Make);
                Task::key(record)
            })
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..100).collect::<Vec<_>>());
        assert!(control.are_done(1, 3));
        assert_eq!(control.emitted(), 100);
    }

    #[test]
    fn distinct_keys_are_distinct_and_as_many_as_asked_for() {
        let control = Arc::new(Control::new(50, Phase::Pause));
        let (mut first, mut second) = (reader(&control, 0, 2), reader(&control, 1, 2));
        for (asked, given) in [(20, 20), (50, 50), (60, 50)] {
            control.begin(Phase::UpdateDistinct(asked));
            let keys: HashSet<u64> = drain(&mut first).into_iter().map(Task::key).collect();
            assert_eq!(keys.len(), given);
            assert!(keys.iter().all(|key| *key < 50));
            assert!(drain(&mut second).is_empty());
        }
    }

    #[test]
    fn a_record_carries_its_task_and_key() {
        for task in [Task::Make, Task::Change, Task::Read] {
            let record = task.record(Task::KEYS_MAX - 1);
            assert_eq!((Task::of(record), Task::key(record)), (task, Task::KEYS_MAX - 1));
        }
    }
}
