//! What a program tells of a savepoint before it starts from it.

use super::golden::golden;
use super::{Backend, backends, evolving};
use crate::harness::{Ended, FILES, HEAP};
use std::fs;
use std::path::Path;

/// Asks the job in its release `schema` for the plan, and makes sure that nothing was done.
fn plan(backend: &Backend, schema: u8, savepoint: &Path, more: &[(&str, &str)]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        names
    };
    let before = names(savepoint);
    let program = evolving(folder.path(), schema, 100, 7)
        .option("rate", 1_000_000)
        .option("parallelism", 3)
        .option("from-savepoint", savepoint.display())
        .arg("--restore-plan")
        .set("io.tmp.dirs", work.display())
        .set_all(more);
    let ended = backend.of(program.durable(folder.path(), 50)).run();
    assert_eq!(names(savepoint), before);
    assert_eq!(names(&work), Vec::<std::path::PathBuf>::new(), "{}", ended.log);
    let left = names(folder.path());
    let expected = ["logs", "work"].map(|name| folder.path().join(name));
    assert_eq!(left, expected, "nothing was written but the log: {}", ended.log);
    ended
}

#[test]
fn a_plan_tells_what_is_found_new_and_migrated_and_starts_nothing() {
    for backend in backends() {
        plan(&backend, 2, &golden("heap-canonical"), &[])
            .expect_code(0)
            .expect_output(&[
                "restore plan: savepoint ",
                "of job 'evolving'",
                "operator 'Evolving' (uid 'evolving'): found, ",
                "parallelism 2 -> 3 of at most 8",
                "key groups: 3 of 8 go to another subtask: 1 from 0 to 1, 2 from 1 to 2",
                "keyed state 'visits' (value): found, migrates by a function of the program",
                "keyed state 'total' (value): found, migrates by field names and defaults",
                "keyed state 'given up' (value): found, not registered: stays as it is",
                "keyed state '_timers/event-time' (sorted map): found, as it is",
                "operator 'events' (uid 'events'): found, ",
                "operator state 'splits' (list): found, as it is; ",
                "operator state 'pending-commits' (union list): found, as it is; ",
                "operator state 'writer' (union list): found, as it is; 2 elements, all of them to each subtask",
                "The job would start from it, if its files are whole",
            ]);
    }
}

#[test]
fn a_plan_of_a_job_that_could_not_start_ends_with_1_and_tells_everything_that_stands_in_the_way() {
    let heap = Backend::new("heap", HEAP);
    let canonical = golden("heap-canonical");
    plan(&heap, 3, &canonical, &[]).expect_code(1).expect_output(&[
        "keyed state 'total' (value): found, migrates",
        "keyed state 'visits' (value): found, incompatible: its value is stored as",
        "The job would not start from it:",
        "value state 'visits'",
    ]);
    plan(&heap, 1, &canonical, &[("pipeline.max-parallelism", "16")])
        .expect_code(1)
        .expect_output(&["its state has 8 key groups, but the maximal parallelism is set to 16"]);
    let files = Backend::new("filesystem", FILES);
    let native = golden("rocksdb-native");
    plan(&files, 1, &native, &[])
        .expect_code(1)
        .expect_output(&["take a canonical savepoint to change the backend"]);
}

#[test]
fn a_plan_tells_of_state_that_is_left_behind_and_of_files_that_are_gone() {
    let heap = Backend::new("heap", HEAP);
    let canonical = golden("filesystem-canonical");
    let folder = tempfile::tempdir().unwrap();
    let savepoint = folder.path().join("savepoint");
    fs::create_dir(&savepoint).unwrap();
    for file in fs::read_dir(&canonical).unwrap() {
        let file = file.unwrap();
        // The other files are gone.
        if file.file_name() == "_metadata" {
            fs::copy(file.path(), savepoint.join("_metadata")).unwrap();
        }
    }
    let refused = plan(&heap, 1, &savepoint, &[]).expect_code(1);
    refused.expect_output(&[
        "keyed state 'visits' (value): found, as it is",
        "The job would not start from it:",
        savepoint.to_str().unwrap(),
    ]);
}
