//! The same kills with RocksDB linked into the programs: few of them, since what differs is how the backend was found.

use crate::harness::{Program, ROCKSDB_NO_MEMORY, Settings};
use crate::kill_loop::{CHANGING, KillLoop};
use crate::numbered_events;

/// No library is asked for.
const LINKED: Settings = &[
    ("state.backend", "rocksdb"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];

#[test]
fn rocksdb_static_is_the_one_that_is_linked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text"), "a b a\n").unwrap();
    Program::word_count(&folder.path().join("logs"))
        .option("input", folder.path().join("text").display())
        .option("output", folder.path().join("output").display())
        .set_all(LINKED)
        .run()
        .expect_code(0)
        .expect_output(&["state backend millpond::RocksDbStateBackendFactory", "built in"]);
}

#[test]
fn rocksdb_static_writes_every_line_once_when_the_parallelism_changes() {
    KillLoop::on_files("kill_loop on linked RocksDB", LINKED, CHANGING).exactly_once();
}

#[test]
fn rocksdb_static_sees_every_event_once_and_in_order_without_memory() {
    numbered_events::exactly_once("numbered events on linked RocksDB", ROCKSDB_NO_MEMORY, 2);
}
