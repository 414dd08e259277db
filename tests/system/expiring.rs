//! State with a TTL in jobs that are killed: what lives is never lost, what has expired never comes back, and the state stays as small as what lives.

use crate::harness::{
    FILES, HEAP, Program, ROCKSDB, ROCKSDB_LITTLE_MEMORY, Random, Settings, WHOLE_FILES, assert_exactly,
    finished_lines, has_rocksdb, number,
};

/// For how many records a key lives, give or take those of a batch.
const TTL: u64 = 4000;
const NEAR: u64 = 301;
const FAR: u64 = 12_002;
const RECORDS_A_LIFE: u64 = 16_000;

/// What the job writes where keys that are read late are found in so many states.
fn expected(records: u64, late: u64) -> Vec<Vec<u8>> {
    // Nobody wrote what would lie before the first record.
    let found = |record: u64, distance, states| if record < distance { 0 } else { states };
    let mut lines: Vec<_> = (0..records)
        .map(|record| match record % 3 {
            0 => format!("{record} new"),
            1 => format!("{record} {}", found(record, NEAR, 4)),
            _ => format!("{record} {}", found(record, FAR, late)),
        })
        .map(String::into_bytes)
        .collect();
    lines.sort_unstable();
    lines
}

/// Runs the job with some kills and returns the bytes of state in its last checkpoint. `late` is in how many states a key is found that is read late.
fn run(name: &str, settings: Settings, ttl: u64, late: u64) -> u64 {
    let kills = number("MILLPOND_KILLS", 2);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::of_test(name);
    let records = (kills + 1) * RECORDS_A_LIFE;
    let program = Program::subject(&folder.path().join("logs"), "expiring")
        .option("output", folder.path().join("output").display())
        .option("records", records)
        .option("rate", RECORDS_A_LIFE)
        .option("ttl", ttl)
        .option("near", NEAR)
        .option("far", FAR)
        .set_all(settings)
        .durable(folder.path(), 50);
    let mut ended = None;
    for _ in 0..kills {
        let mut running = program.start();
        if running.ends_within(random.milliseconds(200..1400)) {
            ended = Some(running.wait());
            break;
        }
        running.kill();
    }
    let ended = ended.unwrap_or_else(|| program.run()).expect_code(0);
    let lines = finished_lines(&folder.path().join("output"));
    assert_exactly(&lines, &expected(records, late), name);
    let mut bytes = ended
        .log
        .lines()
        .filter_map(|line| line.split_once("bytes of state: "));
    let bytes = bytes.next_back().unwrap().1.trim().parse().unwrap();
    eprintln!("{name}: {bytes} bytes of state");
    bytes
}

/// A TTL that ends, on backends that clean up by themselves. `lives` is how many lots of live keys there may be, dead ones among them.
fn a_short_ttl(name: &str, settings: Settings, lives: u64) {
    let bytes = run(name, settings, TTL, 0);
    // A third of the records write a key, each some 130 bytes in four states.
    let live = TTL / 3 * 130;
    assert!(
        (live / 2..live * lives).contains(&bytes),
        "{name}: {bytes} bytes of state, and live keys take {live}"
    );
}

#[test]
fn over_kills_what_lives_is_found_and_what_has_expired_is_not_and_goes() {
    a_short_ttl("expiring on the heap", HEAP, 3);
}

#[test]
fn over_kills_what_has_expired_goes_from_files() {
    a_short_ttl("expiring in whole files", WHOLE_FILES, 12);
    a_short_ttl("expiring in increments", FILES, 12);
}

#[test]
fn over_kills_what_has_expired_in_a_database_is_not_found() {
    if has_rocksdb() {
        run("expiring on RocksDB", ROCKSDB, TTL, 0);
        run(
            "expiring on RocksDB, little memory",
            ROCKSDB_LITTLE_MEMORY,
            TTL,
            0,
        );
    }
}

#[test]
fn over_kills_nothing_is_lost_of_a_ttl_that_never_ends() {
    let for_ever = 1 << 50;
    run("a long TTL in files", FILES, for_ever, 4);
    run("a long TTL in whole files", WHOLE_FILES, for_ever, 4);
    if has_rocksdb() {
        run("a long TTL on RocksDB", ROCKSDB_LITTLE_MEMORY, for_ever, 4);
    }
}
