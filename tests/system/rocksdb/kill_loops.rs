//! `kill -9` of jobs whose state lies in RocksDB, whose databases and working files are gone each time.

use crate::harness::{ROCKSDB, ROCKSDB_LITTLE_MEMORY, ROCKSDB_NO_MEMORY, has_rocksdb};
use crate::increments::INTERVAL_MS;
use crate::kill_loop::{CHANGING, KillLoop};
use crate::{increments, numbered_events, pipeline};

#[test]
fn every_line_is_written_once_at_parallelism_1() {
    if has_rocksdb() {
        KillLoop::on_files("kill_loop on RocksDB at parallelism 1", ROCKSDB, &[1]).exactly_once();
    }
}

#[test]
fn every_line_is_written_once_at_parallelism_2() {
    if has_rocksdb() {
        KillLoop::on_files("kill_loop on RocksDB at parallelism 2", ROCKSDB, &[2]).exactly_once();
    }
}

#[test]
fn every_line_is_written_once_at_parallelism_4() {
    if has_rocksdb() {
        KillLoop::on_files("kill_loop on RocksDB at parallelism 4", ROCKSDB, &[4]).exactly_once();
    }
}

#[test]
fn every_line_is_written_once_when_the_parallelism_changes() {
    if has_rocksdb() {
        let mut on_rocksdb =
            KillLoop::on_files("kill_loop on RocksDB at changing parallelism", ROCKSDB, CHANGING);
        on_rocksdb.kills = 5;
        on_rocksdb.exactly_once();
    }
}

#[test]
fn every_line_is_written_once_in_little_memory() {
    if has_rocksdb() {
        KillLoop::on_files(
            "kill_loop on RocksDB in little memory",
            ROCKSDB_LITTLE_MEMORY,
            CHANGING,
        )
        .exactly_once();
    }
}

#[test]
fn every_event_is_seen_once_and_in_order() {
    if has_rocksdb() {
        numbered_events::exactly_once("numbered events on RocksDB", ROCKSDB, 4);
    }
}

#[test]
fn every_event_is_seen_once_and_in_order_without_memory() {
    if has_rocksdb() {
        let name = "numbered events on RocksDB without memory";
        numbered_events::exactly_once(name, ROCKSDB_NO_MEMORY, 3);
    }
}

#[test]
fn both_counts_of_every_number_are_there_once() {
    if has_rocksdb() {
        pipeline::kill_loop("pipeline on RocksDB", ROCKSDB, 3);
    }
}

#[test]
fn what_was_deleted_stays_deleted_over_kills_and_rescaling() {
    if has_rocksdb() {
        increments::kill_loop("churn on RocksDB", ROCKSDB, INTERVAL_MS, 4);
    }
}

#[test]
fn what_was_deleted_stays_deleted_in_little_memory() {
    if has_rocksdb() {
        let name = "churn on RocksDB in little memory";
        increments::kill_loop(name, ROCKSDB_LITTLE_MEMORY, INTERVAL_MS, 3);
    }
}
