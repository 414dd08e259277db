//! Many timers and lists that are appended to, larger together than the memory, in jobs that are killed.

use crate::harness::{
    Program, ROCKSDB, ROCKSDB_LITTLE_MEMORY, ROCKSDB_NO_MEMORY, Random, Settings, assert_exactly,
    finished_lines, has_rocksdb, number,
};

/// How many records there are for each kill.
const RECORDS_A_LIFE: u64 = 16_000;
const LIFE_MS: u64 = 700;

/// A job whose events wait for `delay` others, each life with another parallelism.
fn kill_loop(name: &str, settings: Settings, keys: u64, delay: u64) {
    let kills = number("MILLPOND_KILLS", 3);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let records = (kills + 1) * RECORDS_A_LIFE;
    let program = Program::subject(&folder.path().join("logs"), "backlog")
        .option("output", folder.path().join("output").display())
        .option("records", records)
        .option("keys", keys)
        .option("delay", delay)
        .option("rate", RECORDS_A_LIFE * 1000 / LIFE_MS)
        .set_all(settings)
        .durable(folder.path(), 50);
    let mut finished = false;
    for _ in 0..kills {
        let mut running = program.clone().option("parallelism", 1 + random.below(3)).start();
        finished = running.ends_within(random.milliseconds(200..1400));
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
    let mut expected: Vec<_> = (0..records)
        .map(|number| format!("{} {number}", number % keys).into_bytes())
        .collect();
    expected.sort_unstable();
    let lines = finished_lines(&folder.path().join("output"));
    assert_exactly(&lines, &expected, name);
}

#[test]
fn every_event_is_taken_out_once_and_in_order() {
    if has_rocksdb() {
        kill_loop("backlog on RocksDB", ROCKSDB, 500, 12_000);
    }
}

#[test]
fn every_event_is_taken_out_once_and_in_order_in_little_memory() {
    if has_rocksdb() {
        let name = "backlog on RocksDB in little memory";
        kill_loop(name, ROCKSDB_LITTLE_MEMORY, 2_000, 20_000);
    }
}

#[test]
fn every_event_is_taken_out_once_and_in_order_in_no_memory() {
    if has_rocksdb() {
        let name = "backlog on RocksDB in no memory";
        kill_loop(name, ROCKSDB_NO_MEMORY, 50, 1_000);
    }
}
