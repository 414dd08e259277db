//! Damage in the latest checkpoint of a job with every kind of state that goes on at another parallelism, in one process or several: it is refused, or the job goes back if that is wanted.
//!
//! Every kind of damage is tried at one parallelism in `flipped_bytes`.

use crate::harness::{
    Random, Settings, assert_exactly, checkpoints_below, has_redb, has_rocksdb, latest_checkpoint,
};
use crate::soak::{Job, Processes, undisturbed};
use millpond_engine::checkpoint::{FileLocation, restore};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.num-retained", "3"),
];
/// Compressed increments, of which the small ones ride in the metadata.
const COMPRESSED_AND_INLINE: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.snapshot-compression", "true"),
    ("execution.checkpointing.data-inline-threshold", "2 kb"),
    ("execution.checkpointing.num-retained", "3"),
];
const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins");
const ROCKSDB: Settings = &[
    ("state.backend", "rocksdb"),
    ("plugins.dir", PLUGINS),
    ("execution.checkpointing.incremental", "true"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.num-retained", "3"),
];
const REDB: Settings = &[
    ("state.backend", "redb"),
    ("plugins.dir", PLUGINS),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.num-retained", "3"),
];

/// Processes, and slots of each.
type Shape = (usize, usize);

/// The files of keyed state that the latest checkpoint has and none before it.
fn newest_files(checkpoints: &Path) -> Vec<PathBuf> {
    let files_of = |checkpoint: &Path| -> BTreeSet<PathBuf> {
        let loaded = restore::load(checkpoint).unwrap();
        let job = checkpoint.parent().unwrap();
        let subtasks = loaded.metadata.subtasks();
        let files = subtasks.flat_map(|subtask| subtask.keyed.iter().flat_map(|keyed| &keyed.files));
        files
            .filter(|file| file.size > 0)
            .filter_map(|file| match &file.location {
                FileLocation::File(path) => Some(job.join(path)),
                FileLocation::Inline(_) => None,
            })
            .collect()
    };
    let latest = latest_checkpoint(checkpoints);
    let mut files = files_of(&latest);
    for (_, older) in checkpoints_below(checkpoints) {
        if older != latest {
            files = &files - &files_of(&older);
        }
    }
    files.into_iter().collect()
}

/// Runs until some checkpoints are there, is killed, and loses a file or a byte of one; then it is started in another shape.
fn damaged(name: &'static str, settings: Settings, before: Shape, after: Shape) {
    for flips in [true, false] {
        let mut random = Random::of_test(name);
        let mut job = Job::new(name, settings);
        // A kill may have come between two files of a checkpoint, but what is complete has all of them.
        let mut cluster = Processes::start(&job, before.0, before.1);
        cluster.wait_for_checkpoints(5);
        let logs = cluster.kill_all();
        job.look(&logs[0]);
        let files = newest_files(&job.checkpoints());
        assert!(
            !files.is_empty(),
            "{name}: the latest checkpoint has no file of its own"
        );
        let file = files[random.index(files.len())].clone();
        let mut bytes = fs::read(&file).unwrap();
        // Mapped files are never written, so it is another one.
        fs::remove_file(&file).unwrap();
        if flips {
            let at = bytes.len() / 2;
            bytes[at] ^= 4;
            fs::write(&file, &bytes).unwrap();
        }
        let what = format!("{name}, {} flipped: {flips}", file.display());

        let mut refused = Processes::start(&job, after.0, after.1);
        let named = file.file_name().unwrap().to_str().unwrap();
        refused.first().wait_for("on-damage=previous");
        let ended = refused.wait();
        assert!(ended[0].log.contains(named), "{what}:\n{}", ended[0].log);
        for ended in &ended {
            // Found before anything runs, or by whoever reads it first.
            assert!(
                matches!(ended.status.code(), Some(1 | 2)),
                "{what}:\n{}",
                ended.log
            );
            assert!(!ended.log.contains("panicked"), "{what}:\n{}", ended.log);
            assert!(!ended.log.contains("FAULT"), "{what}:\n{}", ended.log);
        }

        job.may_go_back();
        let mut cluster = Processes::start(&job, after.0, after.1);
        cluster.wait_for_checkpoints(2);
        let logs = cluster.kill_all();
        assert!(logs[0].contains("previous"), "{what}:\n{}", logs[0]);
        for log in &logs {
            assert!(!log.contains("FAULT"), "{what}:\n{log}");
        }
        let (found, events) = job.end(2);
        assert_exactly(&found, &undisturbed(events), &what);
    }
}

#[test]
fn damage_is_found_where_one_program_goes_on_with_more_subtasks() {
    damaged("damage, then 3 subtasks", FILES, (1, 2), (1, 3));
}

#[test]
fn damage_is_found_where_one_program_goes_on_with_fewer_subtasks_on_compressed_and_inlined_state() {
    damaged(
        "compressed damage, then 2 subtasks",
        COMPRESSED_AND_INLINE,
        (1, 3),
        (1, 2),
    );
}

#[test]
fn damage_is_found_by_whichever_process_reads_it() {
    damaged("damage, then 3 processes", FILES, (2, 1), (3, 1));
}

#[test]
fn damage_is_found_by_whichever_process_reads_it_on_rocksdb() {
    if has_rocksdb() {
        damaged("damage on RocksDB, then 3 processes", ROCKSDB, (2, 1), (3, 1));
    }
}

#[test]
fn damage_is_found_by_whichever_process_reads_it_on_redb() {
    if has_redb() {
        damaged("damage on redb, then 2 processes", REDB, (3, 1), (2, 1));
    }
}
