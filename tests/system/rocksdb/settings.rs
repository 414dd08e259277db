//! Settings of RocksDB that cannot be: one clear message by key and value, with exit code 2, and nothing is written.

use crate::bad_input::Case;
use crate::harness::{ROCKSDB, has_rocksdb};

/// A word count on RocksDB with one more setting, `FOLDER` in its value being a folder with the file `text`. Refused with all of `parts`.
#[track_caller]
fn refused(key: &str, value: &str, parts: &[&str]) {
    if !has_rocksdb() {
        return;
    }
    let case = Case::new();
    let value = value.replace("FOLDER", case.path().to_str().unwrap());
    let case = case.with(|program, _| program.set_all(ROCKSDB).set(key, &value));
    let mut expected = vec![key, &value];
    expected.extend(parts);
    case.refused(&expected);
}

#[test]
fn an_unknown_predefined_set_with_those_there_are() {
    refused(
        "state.backend.rocksdb.predefined-options",
        "FLASH_SSD_OPTIMISED",
        &["expected one of", "`FLASH_SSD_OPTIMIZED`"],
    );
}

#[test]
fn a_share_above_one() {
    refused(
        "state.backend.rocksdb.memory.write-buffer-ratio",
        "1.5",
        &["a share from 0 to 1"],
    );
    refused(
        "state.backend.rocksdb.memory.high-prio-pool-ratio",
        "-0.1",
        &["a share from 0 to 1"],
    );
}

#[test]
fn a_size_that_is_none() {
    refused("state.backend.rocksdb.memory.fixed-per-tm", "much", &["size"]);
}

#[test]
fn a_folder_of_databases_that_is_a_file() {
    refused("state.backend.rocksdb.localdir", "FOLDER/text", &["is a file"]);
    refused(
        "state.backend.rocksdb.localdir",
        "FOLDER/text/below",
        &["is a file"],
    );
}

#[test]
fn a_folder_of_databases_where_nothing_can_be_written() {
    refused(
        "state.backend.rocksdb.localdir",
        "/proc/nowhere",
        &["cannot be made"],
    );
    refused(
        "state.backend.rocksdb.localdir",
        "/proc/self/fdinfo",
        &["cannot be"],
    );
}

#[test]
fn a_folder_of_databases_on_another_machine() {
    refused(
        "state.backend.rocksdb.localdir",
        "s3://bucket/databases",
        &["a folder of this machine"],
    );
}
