//! Kills of a job with several sources, exchanges and parallelisms.

use crate::harness::{FILES, HEAP, Program, Random, Settings, finished_lines, number};
use std::collections::BTreeMap;

const RECORDS: u64 = 20_000;
const KEYS: u64 = 50;

#[test]
fn both_counts_of_every_number_are_there_once_after_kills() {
    kill_loop("pipeline", HEAP, 5);
}

#[test]
fn both_counts_of_every_number_are_there_once_after_kills_on_mapped_files() {
    kill_loop("pipeline on files", FILES, 3);
}

/// A job that is killed `kills` times, unless `MILLPOND_KILLS` says otherwise, and what it has written at last.
pub(crate) fn kill_loop(name: &str, settings: Settings, kills: u64) {
    let kills = number("MILLPOND_KILLS", kills);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let program = Program::subject(&folder.path().join("logs"), "pipeline")
        .option("output", folder.path().join("output").display())
        .option("records", RECORDS)
        .option("rate", RECORDS * 1000 / (kills * 250))
        .set_all(settings)
        .durable(folder.path(), 50);
    let mut finished = false;
    for _ in 0..kills {
        let mut running = program.clone().option("parallelism", 1 + random.below(4)).start();
        finished = running.ends_within(random.milliseconds(20..900));
        if finished {
            running.wait().expect_code(0);
            break;
        }
        running.kill();
    }
    if !finished {
        program.option("parallelism", 2).run().expect_code(0);
    }
    check(&finished_lines(&folder.path().join("output")));
}

/// Each key has the counts 1, 2, 3, ..., and so has each pair of key and last digit.
fn check(lines: &[Vec<u8>]) {
    let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut by_digit: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
    for line in lines {
        let line = String::from_utf8(line.clone()).unwrap();
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [key, count, digit, seen] = numbers[..] else {
            panic!("{line}")
        };
        by_key.entry(key).or_default().push(count);
        by_digit.entry((key, digit)).or_default().push(seen);
    }
    assert_eq!(by_key.len() as u64, KEYS);
    for (key, mut counts) in by_key {
        counts.sort_unstable();
        let expected: Vec<_> = (1..=RECORDS * 3 / 2 / KEYS).collect();
        assert_eq!(counts, expected, "key {key}");
    }
    for (pair, mut seen) in by_digit {
        seen.sort_unstable();
        let expected: Vec<_> = (1..=seen.len() as u64).collect();
        assert_eq!(seen, expected, "key and digit {pair:?}");
    }
}
