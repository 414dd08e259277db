//! A job with every kind of state, timers and a two-phase commit, to which one thing after the other is done: its output is that of a run that was left alone.
//!
//! A *life* is one start of the program and what is done to it: killed at any moment, made to panic, stopped with a savepoint in either format, asked for a savepoint,
//! its checkpoints made to expire, its disk filled, its checkpoints damaged after its death. Each life has another parallelism than the one before. Every kind of
//! life comes once, in random order, then they come at random until the time is up: `MILLPOND_SOAK_SECONDS`, 20 unless it is set; 300 is a soak in full. The
//! sequence follows from the seed alone, which is printed and can be given by `MILLPOND_SEED`.
//!
//! How far a life goes is counted in checkpoints, not in time; only kills come at random moments.

mod faults;
mod job;
mod process;
mod processes;

use crate::harness::{
    FILES, HEAP, REDB, ROCKSDB, Random, Settings, assert_exactly, has_redb, has_rocksdb, number,
};
use faults::Fault;
use std::time::{Duration, Instant};

pub(crate) use job::{Job, PATIENCE, events_in, undisturbed, wait_for_checkpoints, wait_until};
pub(crate) use processes::Processes;

/// What is done to the program in one life, and how it is started.
#[derive(Clone, Copy, Debug)]
struct Life {
    fault: Fault,
    parallelism: u64,
    /// Of what is random within the life.
    seed: u64,
}

/// The lives, one after the other, without end: every kind once, then any.
fn lives(mut random: Random) -> impl Iterator<Item = Life> {
    let mut first: Vec<_> = Fault::ALL.to_vec();
    let mut parallelism = 0;
    std::iter::from_fn(move || {
        let fault = if first.is_empty() {
            random.pick(&Fault::ALL)
        } else {
            first.swap_remove(random.index(first.len()))
        };
        // Another one each time, of 1 to 4.
        parallelism = 1 + (parallelism + random.below(3)) % 4;
        Some(Life {
            fault,
            parallelism,
            seed: random.next(),
        })
    })
}

fn soak(name: &'static str, settings: Settings) {
    let begun = Instant::now();
    let time = Duration::from_secs(number("MILLPOND_SOAK_SECONDS", 20));
    let mut job = Job::new(name, settings);
    let mut lived = 0;
    let mut last = 1;
    for life in lives(Random::of_test(name)) {
        if lived >= Fault::ALL.len() && begun.elapsed() >= time {
            last = life.parallelism;
            break;
        }
        lived += 1;
        eprintln!("{name}: life {lived} at {:?}: {life:?}", begun.elapsed());
        let log = life.fault.happens_to(&mut job, life);
        job.look(&log);
    }
    let (found, events) = job.end(last);
    eprintln!("{name}: {lived} lives, {events} events");
    assert_exactly(&found, &undisturbed(events), name);
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_the_heap() {
    soak("soak on the heap", HEAP);
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_files() {
    soak("soak on files", FILES);
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_rocksdb() {
    if has_rocksdb() {
        soak("soak on RocksDB", ROCKSDB);
    }
}

#[test]
fn the_output_is_that_of_an_undisturbed_run_on_redb() {
    if has_redb() {
        soak("soak on redb", REDB);
    }
}

#[test]
fn the_same_seed_gives_the_same_lives_with_every_fault_among_the_first() {
    let some = |seed| -> Vec<_> { lives(Random::new(seed)).take(40).collect() };
    for seed in 0..20 {
        let lives = some(seed);
        assert_eq!(format!("{lives:?}"), format!("{:?}", some(seed)));
        for fault in Fault::ALL {
            assert!(lives[..Fault::ALL.len()].iter().any(|life| life.fault == fault));
        }
        for pair in lives.windows(2) {
            assert_ne!(pair[0].parallelism, pair[1].parallelism);
        }
    }
}
