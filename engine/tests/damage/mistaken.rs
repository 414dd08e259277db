//! Files that are whole but not the right ones: missing, in each other's place, or older ones under a newer name.

use crate::checkpoint::Checkpoint;
use crate::everywhere::flaw;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILES: (&str, &str) = ("execution.checkpointing.data-inline-threshold", "0 b");
const COMPRESSED: (&str, &str) = ("execution.checkpointing.snapshot-compression", "true");

/// All files of all checkpoints but metadata, by their paths in the job's folder.
fn shared_files(checkpoint: &Checkpoint) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = checkpoint.path(Path::new("shared"));
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .map(|name| Path::new("shared").join(name))
        .map(|file| (file.clone(), fs::read(checkpoint.path(&file)).unwrap()))
        .collect()
}

/// Restores, which must fail with an error about `file`, and repairs it.
#[track_caller]
fn expect_refusal(checkpoint: &Checkpoint, file: &Path, what: &str) -> String {
    let error = checkpoint.restore(&what).unwrap_err();
    assert_eq!(flaw(&error, file), None, "{what}: {error}");
    checkpoint.repair(file);
    error.to_string()
}

#[test]
fn a_file_that_is_missing_is_told() {
    let checkpoint = Checkpoint::take(&[FILES]);
    for file in checkpoint
        .files
        .keys()
        .filter(|file| !file.ends_with("_metadata"))
    {
        fs::remove_file(checkpoint.path(file)).unwrap();
        let error = checkpoint.restore(file).unwrap_err().to_string();
        for part in [
            file.file_name().unwrap().to_str().unwrap(),
            "cannot open",
            "--from-savepoint",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        checkpoint.repair(file);
    }
    checkpoint.restore(&"repaired").unwrap();
}

#[test]
fn metadata_that_is_missing_is_told() {
    let checkpoint = Checkpoint::take(&[]);
    let metadata = checkpoint
        .files
        .keys()
        .find(|file| file.ends_with("_metadata"))
        .unwrap();
    fs::remove_file(checkpoint.path(metadata)).unwrap();
    let error = checkpoint.restore(metadata).unwrap_err().to_string();
    for part in ["has no file '_metadata'", "--from-savepoint"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn files_in_each_others_place_are_told() {
    let checkpoint = Checkpoint::take_until(&[FILES], |taken| taken.files.len() >= 4);
    let mut pairs = 0;
    for file in checkpoint.files.keys() {
        for (other, bytes) in checkpoint.files.iter().filter(|(other, _)| *other < file) {
            checkpoint.replace(other, &checkpoint.files[file]);
            checkpoint.replace(file, bytes);
            let error = checkpoint.restore(&"swapped").unwrap_err();
            let of_either = [file, other].map(|file| flaw(&error, file));
            assert!(of_either.contains(&None), "{error}");
            checkpoint.repair(file);
            checkpoint.repair(other);
            pairs += 1;
        }
    }
    assert!(pairs >= 6, "{pairs} pairs");
    checkpoint.restore(&"repaired").unwrap();
}

/// Puts each file of older checkpoints in the place of each of the latest; returns how many had the same length.
fn put_older_files_under_newer_names(checkpoint: &Checkpoint) -> u32 {
    let all = shared_files(checkpoint);
    let mut same_length = 0;
    let newest = checkpoint
        .files
        .iter()
        .filter(|(file, _)| !file.ends_with("_metadata"));
    for (file, bytes) in newest {
        for (_, older) in all.iter().filter(|(_, older)| *older != bytes) {
            checkpoint.replace(file, older);
            let error = expect_refusal(checkpoint, file, "an older file");
            if older.len() == bytes.len() {
                same_length += 1;
                assert!(error.contains("whose directory has CRC32"), "{error}");
            }
        }
    }
    checkpoint.restore(&"repaired").unwrap();
    same_length
}

#[test]
fn an_older_file_under_a_newer_name_is_told_also_if_it_has_the_same_length() {
    let checkpoint = Checkpoint::take_until(&[FILES], |taken| {
        let all = shared_files(taken);
        let is_alike = |file, bytes: &Vec<u8>| {
            let mut others = all.iter().filter(|(other, _)| *other != file);
            others.any(|(_, other)| other.len() == bytes.len() && other != bytes)
        };
        taken.files.iter().any(|(file, bytes)| is_alike(file, bytes))
    });
    assert!(put_older_files_under_newer_names(&checkpoint) > 0);
}

#[test]
fn an_older_compressed_file_under_a_newer_name_is_told() {
    put_older_files_under_newer_names(&Checkpoint::take(&[FILES, COMPRESSED]));
}

#[test]
fn metadata_of_another_checkpoint_is_told() {
    let checkpoint = Checkpoint::take(&[]);
    let metadata = checkpoint
        .files
        .keys()
        .find(|file| file.ends_with("_metadata"))
        .unwrap();
    let older = fs::read(checkpoint.path(Path::new("chk-1/_metadata"))).unwrap();
    checkpoint.replace(metadata, &older);
    let error = expect_refusal(&checkpoint, metadata, "older metadata");
    assert!(error.contains("found that of 1"), "{error}");
    checkpoint.restore(&"repaired").unwrap();
}
