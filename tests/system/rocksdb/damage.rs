//! Damage in each kind of file that a database in a checkpoint consists of, whatever the job does with it: goes on, changes its parallelism, or has merged several.

use crate::flipped_bytes::{Left, cut, fails_and_goes_back_when_told, flip, name};
use crate::harness::{Program, ROCKSDB, has_rocksdb};
use millpond_engine::checkpoint::CheckpointMetadata;
use std::fs;
use std::path::PathBuf;

/// What points to the manifest, the manifest, the options, and a file of sorted entries for each state that was changed.
fn newest_files(left: &Left) -> Vec<PathBuf> {
    let files = left.newest_files();
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// Flips, cuts and removes each of the newest files: each time the program is refused and says which file it is. Then what it says works.
fn every_damage_is_refused(left: &Left, what: &str) {
    let files = newest_files(left);
    for file in &files {
        let whole = fs::read(file).unwrap();
        let repair = || {
            let _ = fs::remove_file(file); // it may be missing
            fs::write(file, &whole).unwrap();
        };
        let damages: [(&dyn Fn(), &str); 3] = [
            (&|| flip(file, |bytes| bytes.len() / 2), "expected"),
            (&|| cut(file), "expected"),
            (&|| fs::remove_file(file).unwrap(), "cannot open"),
        ];
        for (damage, part) in damages {
            damage();
            left.run_again(|program| program).expect_code(2).expect_output(&[
                name(file),
                part,
                "on-damage=previous",
            ]);
            repair();
        }
    }
    flip(&files[0], |bytes| bytes.len() - 1);
    let parts = [name(&files[0]), "expected", "found"];
    fails_and_goes_back_when_told(left, 2, &parts, what);
}

#[test]
fn damage_in_any_file_of_a_database_is_found_before_anything_runs() {
    if has_rocksdb() {
        every_damage_is_refused(&Left::durable(ROCKSDB), "damage in a file of a database");
    }
}

fn with_parallelism(parallelism: usize) -> impl Fn(Program) -> Program {
    move |program| program.option("parallelism", parallelism)
}

#[test]
fn damage_is_found_when_two_subtasks_divide_a_database() {
    if !has_rocksdb() {
        return;
    }
    let mut left = Left::durable(ROCKSDB);
    left.program = with_parallelism(2)(left.program);
    every_damage_is_refused(&left, "damage in a database that two divide");
}

/// The number of databases with keyed state, and of subtasks that have some.
fn databases(checkpoint: &CheckpointMetadata) -> (usize, usize) {
    let subtasks = checkpoint.subtasks().filter(|subtask| !subtask.keyed.is_empty());
    let of_each: Vec<_> = subtasks.map(|subtask| subtask.keyed.len()).collect();
    (of_each.iter().sum(), of_each.len())
}

#[test]
fn damage_is_found_in_a_database_that_several_were_merged_into() {
    if !has_rocksdb() {
        return;
    }
    let left = Left::durable(ROCKSDB)
        .run_until(with_parallelism(2), |checkpoint| databases(checkpoint) == (2, 2))
        .run_until(|program| program, |checkpoint| databases(checkpoint) == (1, 1));
    every_damage_is_refused(&left, "damage in a merged database");
}

/// A file of more than a mebibyte is not read as a whole before the job begins.
#[test]
fn damage_that_the_running_job_comes_upon_costs_that_checkpoint() {
    if !has_rocksdb() {
        return;
    }
    for parallelism in [1, 2] {
        let mut left = Left::with_long_texts(ROCKSDB);
        left.program = with_parallelism(parallelism)(left.program);
        let files = newest_files(&left);
        let large = |file: &&PathBuf| fs::metadata(file).unwrap().len() > 1 << 20;
        let file = files.iter().find(large).unwrap_or_else(|| panic!("{files:?}"));
        flip(file, |bytes| bytes.len() / 2);
        fails_and_goes_back_when_told(&left, 1, &[name(file)], "damage in a block");
    }
}
