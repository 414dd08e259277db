//! The same work written by hand on timely: what is left to win when an engine costs nothing.
//!
//! No checkpoints, no key groups, no state backend: a hash map in the operator, keys as they are, outputs summed where they arise.

use crate::generate::{Tally, key_of, splitmix64};
use crate::probe::Probe;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Input, Probe as _};

/// Records that a source emits in one go, as the engine's do.
const BATCH_RECORDS: usize = 4096;
/// Batches of one tick: what is counted together in progress tracking.
const BATCHES_PER_TICK: u64 = 16;
/// How many ticks a source is ahead at most: 256 Ki records on their way in each subtask, the engine's largest window.
const TICKS_AHEAD: u64 = 4;

/// What the limit is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitRun {
    pub(crate) records: u64,
    pub(crate) keys: u64,
    pub(crate) parallelism: u32,
    /// Count the records of each key; otherwise only exchange them.
    pub(crate) count: bool,
    /// Look at the outputs.
    pub(crate) emit: bool,
}

#[derive(Default)]
struct Counter {
    counts: HashMap<u64, u64, FixedState>,
    tally: Tally,
}

impl Counter {
    #[inline]
    fn take(&mut self, keys: &mut Vec<u64>, run: LimitRun) {
        let mut tally = self.tally;
        if !run.count && !run.emit {
            tally.outputs += keys.len() as u64;
        } else if run.count {
            for &key in keys.iter() {
                let count = self.counts.entry(key).or_insert(0);
                *count += 1;
                if run.emit {
                    tally.add(key, *count);
                } else {
                    tally.outputs += 1;
                }
            }
        } else {
            for &key in keys.iter() {
                tally.add(key, 0);
            }
        }
        keys.clear();
        self.tally = tally;
    }
}

/// Runs it to its end.
///
/// # Errors
/// When timely's workers cannot be started, or one panicked.
pub(crate) fn run(run: LimitRun, probe: &Arc<Probe>) -> Result<(), String> {
    let config = match run.parallelism {
        1 => timely::Config::thread(),
        more => timely::Config::process(more as usize),
    };
    let probe = Arc::clone(probe);
    let workers = timely::execute(config, move |worker| work(worker, run, &probe))?;
    workers.join().into_iter().collect()
}

fn work(worker: &mut timely::worker::Worker, run: LimitRun, probe: &Probe) {
    let (subtask, step) = (worker.index() as u64, worker.peers() as u64);
    // Outside of the dataflow, so that it is not the end of the dataflow that has to free it.
    let counter = Rc::new(RefCell::new(Counter::default()));
    let progress = ProbeHandle::new();
    let mut input = worker.dataflow::<u64, _, _>(|scope| {
        let (input, keys) = scope.new_input::<Vec<u64>>();
        let counter = Rc::clone(&counter);
        let by_key = Exchange::new(|key: &u64| splitmix64(*key));
        let counted = keys.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(by_key, "Count", |_, _| {
            move |input, _| {
                let mut counter = counter.borrow_mut();
                input.for_each(|_, keys| counter.take(keys, run));
            }
        });
        let _ = counted.probe_with(&progress);
        input
    });

    probe.started();
    let mut batch = Vec::with_capacity(BATCH_RECORDS);
    let (mut next, mut batches, mut tick) = (subtask, 0, 0);
    while next < run.records {
        let left = (run.records - next).div_ceil(step);
        let count = left.min(BATCH_RECORDS as u64);
        batch.extend((0..count).map(|n| key_of(next + n * step, run.keys)));
        next += count * step;
        input.send_batch(&mut batch);
        worker.step();
        batches += 1;
        if batches % BATCHES_PER_TICK == 0 {
            tick += 1;
            input.advance_to(tick);
            while progress.less_than(&tick.saturating_sub(TICKS_AHEAD)) {
                worker.step_or_park(None);
            }
        }
    }
    input.close();
    while !progress.done() {
        worker.step_or_park(None);
    }
    probe.wrote(counter.borrow().tally);
}
