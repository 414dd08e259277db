use super::*;
use crate::ErrorKind;
use crate::checkpoint::storage::{
    CheckpointPaths, CheckpointStorage, FileStorage, FileStorageOptions, JobManagerStorage, Scope,
    StreamHint, read_all,
};
use crate::checkpoint::{
    CheckpointId, CheckpointMetadata, CheckpointingMode, FileRef, JobId, KeyedHandle, OperatorId,
    OperatorMetadata, OperatorStateSnapshot, Redistribution, SubtaskSnapshot, metadata,
};
use crate::codec::CodecId;
use millpond_backend_api::{KeyGroupRange, owner};
use std::fs;

#[path = "tests/operator_state.rs"]
mod operator_state;
#[path = "tests/snapshots_on_disk.rs"]
mod snapshots_on_disk;

/// An operator with one keyed handle a subtask, and three kinds of operator state.
fn operator(uid: &str, parallelism: u32, max_parallelism: u32, items: &[&[&str]]) -> OperatorMetadata {
    let id = OperatorId::new(uid);
    let subtasks = (0..parallelism)
        .map(|index| {
            let mut subtask = SubtaskSnapshot::empty(id.clone(), uid, index);
            let first = (index * max_parallelism).div_ceil(parallelism);
            let last = ((index + 1) * max_parallelism - 1) / parallelism;
            subtask.keyed.push(KeyedHandle {
                backend: "b".into(),
                key_groups: (u16::try_from(first).unwrap(), u16::try_from(last).unwrap()),
                kind: "full".into(),
                files: vec![FileRef::inline(format!("{index}").into_bytes())],
                payload: Vec::new(),
                state_bytes: 1,
                new_bytes: 1,
            });
            let own = items.get(index as usize).copied().unwrap_or_default();
            for (name, redistribution) in [
                ("split", Redistribution::Split),
                ("union", Redistribution::Union),
                ("broadcast", Redistribution::Broadcast),
            ] {
                subtask.operator_state.push(OperatorStateSnapshot::inline(
                    name,
                    redistribution,
                    CodecId::of::<String>(),
                    own.iter().map(|item| item.as_bytes().to_vec()),
                ));
            }
            subtask
        })
        .collect();
    OperatorMetadata {
        id,
        name: uid.to_uppercase(),
        parallelism,
        max_parallelism,
        states: Vec::new(),
        subtasks,
    }
}

fn snapshot(operators: Vec<OperatorMetadata>) -> CheckpointMetadata {
    CheckpointMetadata {
        job_name: "job".into(),
        job_id: JobId::random(),
        id: CheckpointId(7),
        lineage: crate::checkpoint::Lineage::new(),
        attempt: 1,
        mode: CheckpointingMode::ExactlyOnce,
        epoch: 7,
        timestamp_ms: 0,
        is_savepoint: false,
        operators,
    }
}

fn plan(uid: &str, parallelism: u32, max_parallelism: u32, is_set: bool) -> OperatorPlan {
    OperatorPlan {
        id: OperatorId::new(uid),
        name: uid.to_uppercase(),
        parallelism,
        max_parallelism,
        max_parallelism_is_set: is_set,
        sources: Vec::new(),
    }
}

/// `a b|c`: the items of subtask 0, then those of subtask 1.
fn dealt(plan: &RestorePlan, uid: &str, name: &str) -> String {
    let subtasks = &plan.operator(&OperatorId::new(uid)).unwrap().subtasks;
    let items: Vec<String> = subtasks
        .iter()
        .map(|subtask| {
            let state = subtask
                .operator_state
                .iter()
                .find(|state| state.name == name)
                .unwrap();
            let mut items = Vec::new();
            let storage = JobManagerStorage::new(1024, 1024);
            let read = state.read(&storage, &mut |item| {
                items.push(String::from_utf8(item.to_vec()).unwrap());
                Ok(())
            });
            read.unwrap();
            items.join(" ")
        })
        .collect();
    items.join("|")
}

#[test]
fn operator_state_is_dealt_out_by_its_kind() {
    let items: &[&[&str]] = &[&["a", "b", "c"], &["d"]];
    for (new, split, union, broadcast) in [
        (1, "a b c d", "a b c d", "a b c"),
        (2, "a b c|d", "a b c d|a b c d", "a b c|d"),
        (3, "a b|c|d", "a b c d|a b c d|a b c d", "a b c|d|a b c"),
        (
            5,
            "a|b|c|d|",
            "a b c d|a b c d|a b c d|a b c d|a b c d",
            "a b c|d|a b c|d|a b c",
        ),
    ] {
        let snapshot = snapshot(vec![operator("op", 2, 128, items)]);
        let plan = assign(&snapshot, &[plan("op", new, 128, false)], false).unwrap();
        assert_eq!(dealt(&plan, "op", "split"), split, "parallelism {new}");
        assert_eq!(dealt(&plan, "op", "union"), union, "parallelism {new}");
        assert_eq!(dealt(&plan, "op", "broadcast"), broadcast, "parallelism {new}");
    }
}

#[test]
fn every_key_group_finds_its_owner_and_no_handle_is_given_without_need() {
    let id = OperatorId::new("op");
    for old in 1..=128 {
        let snapshot = snapshot(vec![operator("op", old, 128, &[])]);
        // All pairs are those of the ranges below; these take a while.
        for new in [1, 2, 3, 7, 37, 127, 128] {
            let plan = assign(&snapshot, &[plan("op", new, 128, false)], false).unwrap();
            let mut owned = 0;
            for subtask in 0..new {
                let handles = &plan.subtask(&id, subtask).unwrap().keyed;
                let (first, last) = ((subtask * 128).div_ceil(new), ((subtask + 1) * 128 - 1) / new);
                // One behind the other from below the first group to above the last one: each group is in one handle, and no handle is there for nothing.
                let mut next = first * old / 128;
                for handle in handles {
                    assert_eq!(
                        handle.files[0],
                        FileRef::inline(format!("{next}").into_bytes()),
                        "{old} -> {new}, subtask {subtask}"
                    );
                    next += 1;
                }
                assert_eq!(next, last * old / 128 + 1, "{old} -> {new}, subtask {subtask}");
                owned += last + 1 - first;
            }
            assert_eq!(owned, 128, "{old} -> {new}");
        }
    }
}

#[test]
fn ranges_of_any_parallelism_take_those_of_any_other_apart_without_a_gap() {
    let range = |subtask, parallelism| KeyGroupRange::of_subtask(subtask, parallelism, 128).unwrap();
    for old in 1..=128 {
        for new in 1..=128 {
            let mut next = 0;
            for subtask in 0..new {
                let own = range(subtask, new);
                let owners = owner(own.first, old, 128)..=owner(own.last, old, 128);
                for from in owners {
                    let part = own.intersection(&range(from, old)).unwrap();
                    assert_eq!(part.first.0, next, "{old} -> {new}, {from} -> {subtask}");
                    next = part.last.0 + 1;
                }
            }
            assert_eq!(next, 128, "{old} -> {new}");
        }
    }
}

#[test]
fn maximal_parallelism_is_adopted_unless_it_was_set() {
    let snapshot = snapshot(vec![operator("op", 2, 64, &[])]);
    for (parallelism, max, is_set, expected) in [
        (2, 128, false, Ok(64)),
        (2, 64, true, Ok(64)),
        (64, 128, false, Ok(64)),
        (2, 128, true, Err("set to 128; set it to 64")),
        (65, 128, false, Err("too few for a parallelism of 65")),
    ] {
        let result = assign(&snapshot, &[plan("op", parallelism, max, is_set)], false);
        match expected {
            Ok(max) => {
                let plan = result.unwrap();
                assert_eq!(
                    plan.operator(&OperatorId::new("op")).unwrap().max_parallelism,
                    max
                );
            }
            Err(text) => {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Restore);
                assert!(error.to_string().contains(text), "{error}");
                assert!(error.to_string().contains("'OP' (uid 'op')"), "{error}");
            }
        }
    }
}

#[test]
fn state_of_an_operator_that_the_job_lacks_is_named_unless_ignored() {
    let mut empty = operator("empty", 1, 128, &[]);
    empty.subtasks[0].keyed.clear();
    let snapshot = snapshot(vec![
        operator("a", 1, 128, &[]),
        operator("gone", 1, 128, &[]),
        empty,
    ]);
    let job = [plan("a", 1, 128, false), plan("new", 1, 128, false)];
    let error = assign(&snapshot, &job, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Restore);
    for part in [
        "'GONE' (uid 'gone')",
        "ignore-unclaimed-state",
        "'new'",
        "checkpoint 7",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(!error.to_string().contains("EMPTY"), "{error}");

    let plan = assign(&snapshot, &job, true).unwrap();
    assert!(plan.operator(&OperatorId::new("a")).is_some());
    assert!(plan.operator(&OperatorId::new("new")).is_none());
    assert!(plan.operator(&OperatorId::new("gone")).is_none());
}

#[test]
fn operator_is_finished_only_if_all_its_subtasks_were() {
    for (finished, expected) in [([true, true], true), ([true, false], false)] {
        let mut stored = operator("op", 2, 128, &[]);
        for (subtask, finished) in stored.subtasks.iter_mut().zip(finished) {
            subtask.finished = finished;
        }
        let plan = assign(&snapshot(vec![stored]), &[plan("op", 2, 128, false)], false).unwrap();
        assert_eq!(plan.operator(&OperatorId::new("op")).unwrap().finished, expected);
    }
}

/// The operator `op` had processed all its input, that of `done`; `more` had not given everything.
#[test]
fn a_finished_operator_is_not_restored_behind_a_source_that_has_more() {
    let mut stored = [
        operator("done", 2, 128, &[]),
        operator("more", 2, 128, &[]),
        operator("op", 2, 128, &[]),
    ];
    for finished in [0, 2] {
        stored[finished]
            .subtasks
            .iter_mut()
            .for_each(|subtask| subtask.finished = true);
    }
    stored[1].subtasks[0].finished = true;
    let snapshot = snapshot(stored.to_vec());
    let restored = |sources: &[&str]| {
        let mut job = vec![plan("done", 2, 128, false), plan("more", 2, 128, false)];
        let mut op = plan("op", 3, 128, false);
        op.sources = sources.iter().map(|uid| OperatorId::new(*uid)).collect();
        job.push(op);
        assign(&snapshot, &job, false)
    };
    restored(&["done"]).unwrap();
    for (sources, part) in [
        (vec!["done", "more"], "'more', which had more to read"),
        (vec!["new"], "'new', which is new"),
    ] {
        let error = restored(&sources).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        for part in [
            part,
            "'OP' (uid 'op')",
            "all its input",
            "--allow-non-restored-state",
        ] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert!(!error.to_string().contains("'done'"), "{error}");
    }
}

struct Stored {
    dir: tempfile::TempDir,
    storage: FileStorage,
}

/// A checkpoint 7 with one file in it, on disk.
fn stored() -> Stored {
    let dir = tempfile::tempdir().unwrap();
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let storage = FileStorage::new(dir.path(), &JobId::random(), options).unwrap();
    let mut stream = storage
        .open_stream(CheckpointId(7), Scope::Exclusive, &StreamHint::default())
        .unwrap();
    stream.write(b"state").unwrap();
    let file = stream.finish().unwrap();
    let mut stored = operator("op", 1, 128, &[]);
    stored.subtasks[0].keyed[0].files = vec![file];
    let bytes = metadata::encode(&snapshot(vec![stored])).unwrap();
    storage.publish_metadata(CheckpointId(7), &bytes).unwrap();
    Stored { dir, storage }
}

#[test]
fn folder_and_file_mean_the_same_and_files_are_those_of_somebody_else() {
    let stored = stored();
    let folder = stored.storage.paths().checkpoint(CheckpointId(7));
    let ours = FileStorage::new(stored.dir.path(), &JobId::random(), FileStorageOptions::default()).unwrap();
    for path in [folder.clone(), folder.join("_metadata")] {
        let loaded = load(&path).unwrap();
        let file = loaded
            .metadata
            .subtasks()
            .flat_map(|subtask| subtask.files())
            .next()
            .unwrap();
        assert_eq!(file.owned_path(), None);
        assert_eq!(read_all(&ours, file).unwrap(), b"state");
        verify_files(&ours, &loaded.metadata).unwrap();
    }
}

#[test]
fn moved_job_folder_can_still_be_restored() {
    let stored = stored();
    let moved = stored.dir.path().join("moved");
    fs::rename(stored.storage.paths().job(), &moved).unwrap();
    let loaded = load(&moved.join("chk-7")).unwrap();
    verify_files(&stored.storage, &loaded.metadata).unwrap();
}

#[test]
fn lost_snapshot_file_is_named_before_anything_runs() {
    let stored = stored();
    let loaded = load(&stored.storage.paths().checkpoint(CheckpointId(7))).unwrap();
    let file = loaded
        .metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .next()
        .unwrap();
    let path = stored.storage.local_path(file).unwrap();
    fs::remove_file(&path).unwrap();
    let error = verify_files(&stored.storage, &loaded.metadata).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn folder_without_metadata_is_refused_and_lists_the_checkpoints_below() {
    let stored = stored();
    let paths = stored.storage.paths();
    fs::create_dir(paths.checkpoint(CheckpointId(8))).unwrap();
    fs::create_dir(paths.checkpoint(CheckpointId(10))).unwrap();
    fs::copy(paths.metadata(CheckpointId(7)), paths.metadata(CheckpointId(10))).unwrap();
    for folder in [paths.job(), stored.dir.path()] {
        let error = load(folder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        let text = error.to_string();
        assert!(text.contains(folder.to_str().unwrap()), "{text}");
        let (seven, ten) = (text.find("chk-7'").unwrap(), text.find("chk-10'").unwrap());
        assert!(ten < seven, "newest first: {text}");
        assert!(!text.contains("chk-8"), "incomplete: {text}");
    }
    let error = load(&paths.checkpoint(CheckpointId(8))).unwrap_err();
    assert!(error.to_string().contains(CheckpointPaths::METADATA), "{error}");
    let error = load(&stored.dir.path().join("nothing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Restore);
    assert!(error.to_string().contains("/nothing'"), "{error}");
}
