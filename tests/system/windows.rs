//! Kills of jobs with windows: by hand with timers, maps and lists, and by the API.

use crate::harness::{
    COMPRESSED, FILES, FILES_AND_INLINE, HEAP, Program, ROCKSDB, Random, Settings, finished_lines,
    has_rocksdb, number,
};

const RECORDS: u64 = 12_000;
const KEYS: u64 = 40;
const WINDOW_MS: u64 = 200;

/// By how much the windows of the API begin later.
const OFFSET_MS: u64 = 30;

/// A job of the test subject with windows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    ByHand,
    Api,
}

fn kill_loop(job: Job, name: &str, settings: Settings, kills: u64) {
    let kills = number("MILLPOND_KILLS", kills);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let subject = if job == Job::Api { "tumbling" } else { "windows" };
    let mut program = Program::subject(&folder.path().join("logs"), subject)
        .option("output", folder.path().join("output").display())
        .option("records", RECORDS)
        .option("keys", KEYS)
        .option("window-ms", WINDOW_MS)
        .option("rate", RECORDS * 1000 / (kills * 500))
        .set_all(settings)
        .durable(folder.path(), 50);
    if job == Job::Api {
        program = program.option("offset-ms", OFFSET_MS);
    }
    let mut finished = false;
    for _ in 0..kills {
        let mut running = program.clone().option("parallelism", 1 + random.below(4)).start();
        finished = running.ends_within(random.milliseconds(100..900));
        let ended = if finished {
            running.wait().expect_code(0)
        } else {
            running.kill()
        };
        assert!(!ended.log.contains("FAULT"), "{}", ended.log);
        if finished {
            break;
        }
    }
    if !finished {
        let ended = program.option("parallelism", 2).run().expect_code(0);
        assert!(!ended.log.contains("FAULT"), "{}", ended.log);
    }
    let found: Vec<String> = finished_lines(&folder.path().join("output"))
        .into_iter()
        .map(|line| String::from_utf8(line).unwrap())
        .collect();
    let expected = match job {
        Job::ByHand => expected(),
        Job::Api => expected_of_api(),
    };
    assert!(
        found == expected,
        "{name}: {} windows of {}",
        found.len(),
        expected.len()
    );
}

/// Each window of each key with its events, once, in the order of the windows.
fn expected() -> Vec<String> {
    let mut lines = Vec::new();
    for window in 0..RECORDS / WINDOW_MS {
        let start = window * WINDOW_MS;
        for key in 0..KEYS {
            let times: Vec<u64> = (start..start + WINDOW_MS)
                .filter(|time| time % KEYS == key)
                .collect();
            lines.push(format!(
                "{key} {} {} {} {window}",
                start + WINDOW_MS - 1,
                times.len(),
                times.iter().sum::<u64>(),
            ));
        }
    }
    lines.sort_unstable();
    lines
}

/// Each window of each number and word with its events, once.
fn expected_of_api() -> Vec<String> {
    let mut windows = std::collections::BTreeMap::<(u64, i64), (u64, u64)>::new();
    for time in 0..RECORDS {
        let into = (time + WINDOW_MS - OFFSET_MS) % WINDOW_MS;
        let start = time.cast_signed() - into.cast_signed();
        let window = windows.entry((time % KEYS, start)).or_default();
        *window = (window.0 + 1, window.1 + time);
    }
    let mut lines = Vec::new();
    for ((key, start), (count, times)) in windows {
        lines.push(format!("{key} {start} {count} {times}"));
        let word = "w".repeat(usize::try_from(key).unwrap());
        lines.push(format!("{word} {start} {count} {times}"));
    }
    lines.sort_unstable();
    lines
}

#[test]
fn every_window_is_closed_once_and_in_order_after_kills() {
    kill_loop(Job::ByHand, "windows", HEAP, 3);
}

#[test]
fn every_window_is_closed_once_and_in_order_after_kills_on_mapped_files() {
    kill_loop(Job::ByHand, "windows on files", FILES, 3);
}

#[test]
fn every_window_is_closed_once_and_in_order_when_increments_ride_in_the_metadata() {
    kill_loop(Job::ByHand, "windows on files and metadata", FILES_AND_INLINE, 2);
}

#[test]
fn every_window_is_closed_once_and_in_order_on_compressed_files() {
    kill_loop(Job::ByHand, "windows on compressed files", COMPRESSED, 2);
}

#[test]
fn tumbling_windows_are_exact_after_kills() {
    kill_loop(Job::Api, "tumbling windows", HEAP, 3);
}

#[test]
fn tumbling_windows_are_exact_after_kills_on_mapped_files() {
    kill_loop(Job::Api, "tumbling windows on files", FILES, 3);
}

#[test]
fn tumbling_windows_are_exact_after_kills_on_rocksdb() {
    if has_rocksdb() {
        kill_loop(Job::Api, "tumbling windows on RocksDB", ROCKSDB, 3);
    }
}
