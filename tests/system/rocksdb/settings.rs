//! Settings of RocksDB that cannot be: one clear message by key and value, with exit code 2, and nothing is written; what there was is restored with better ones.
//! And some that can be, and are not meant.

use crate::bad_input::Case;
use crate::faults_of_storage::{assert_output, paced_program};
use crate::harness::{JobFolder, ROCKSDB, Random, SmallDisk, has_rocksdb, job_folders};
use std::fs;

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

#[test]
fn a_folder_of_databases_that_is_relative() {
    refused(
        "state.backend.rocksdb.localdir",
        "databases",
        &["an absolute path", "'databases' is relative"],
    );
}

#[test]
fn what_a_job_has_left_is_restored_after_starts_with_settings_that_cannot_be() {
    if !has_rocksdb() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let what = "settings that cannot be";
    let program = paced_program(folder.path(), ROCKSDB, &mut Random::of_test(what), 1500);
    let mut running = program.start();
    running.wait_for("checkpoint completed checkpoint=5 ");
    running.kill();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let disk = SmallDisk::mount("1m");
    if let Some(disk) = &disk {
        disk.make_read_only();
    }
    let read_only = disk.as_ref().map(|disk| disk.path().to_str().unwrap());
    let prefix = "state.backend.rocksdb.";
    let settings = [
        ("predefined-options", Some("FLASH"), "expected one of"),
        ("memory.write-buffer-ratio", Some("1.1"), "a share from 0 to 1"),
        ("memory.fixed-per-slot", Some("0"), "a size of more than 0"),
        ("localdir", file.to_str(), "is a file"),
        ("localdir", read_only, "Read-only file system"),
        ("localdir", Some("databases"), "an absolute path"),
        ("thread.num", Some("0"), "at least 1"),
        (
            "compression.per.level",
            Some("ZLIB_COMPRESSION"),
            "a list of compressions",
        ),
    ];
    for (name, value, part) in settings {
        let Some(value) = value else {
            println!("nothing can be mounted here: no read-only file system is tried");
            continue;
        };
        let key = format!("{prefix}{name}");
        let ended = program.clone().set(&key, value).run();
        ended.expect_code(2).expect_output(&[&key, value, part]);
        for job in job_folders(&folder.path().join("checkpoints")) {
            JobFolder::read(&job).assert_whole(&key);
        }
    }
    program
        .run()
        .expect_code(0)
        .expect_output(&["starts from checkpoint"]);
    assert_output(folder.path(), what);
}

/// A word count on RocksDB with `settings`, which ends well and warns by `parts`.
#[track_caller]
fn works_with_a_warning(settings: &[(&str, &str)], parts: &[&str]) {
    if !has_rocksdb() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "a budget that is not meant";
    paced_program(folder.path(), ROCKSDB, &mut Random::of_test(name), 20_000)
        .set_all(settings)
        .run()
        .expect_code(0)
        .expect_output(&["WARN"])
        .expect_output(parts);
    assert_output(folder.path(), name);
}

#[test]
fn a_budget_of_one_byte_works_and_is_told() {
    works_with_a_warning(
        &[("state.backend.rocksdb.memory.fixed-per-slot", "1 b")],
        &["state.backend.rocksdb.memory.fixed-per-slot: '1 bytes' is less than 8 mb"],
    );
}

#[test]
fn a_budget_larger_than_the_machine_works_and_is_told() {
    works_with_a_warning(
        &[("taskmanager.memory.managed.size", "100 tb")],
        &[
            "taskmanager.memory.managed.size: '100 tb' is more than the",
            "MiB of memory that there are",
        ],
    );
}
