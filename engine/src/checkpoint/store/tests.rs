use super::*;
use crate::checkpoint::{
    CheckpointingMode, FileLocation, FileRef, JobId, KeyedHandle, OperatorId, OperatorMetadata,
    SubtaskSnapshot,
};

fn file(path: &str, crc32: u32) -> FileRef {
    FileRef {
        location: FileLocation::File(path.into()),
        size: 10,
        crc32,
        shared: path.contains("shared"),
    }
}

fn checkpoint(id: u64, files: &[FileRef]) -> CompletedCheckpoint {
    let mut subtask = SubtaskSnapshot::empty(OperatorId::new("a"), "A", 0);
    subtask.keyed.push(KeyedHandle {
        backend: "memory".into(),
        key_groups: (0, 127),
        kind: "incremental".into(),
        files: files.to_vec(),
        payload: Vec::new(),
        state_bytes: 10,
        new_bytes: 10,
    });
    CompletedCheckpoint {
        path: None,
        metadata: Arc::new(CheckpointMetadata {
            job_name: "job".into(),
            job_id: JobId::random(),
            id: CheckpointId(id),
            lineage: crate::checkpoint::Lineage::new(),
            attempt: 1,
            mode: CheckpointingMode::ExactlyOnce,
            epoch: id,
            timestamp_ms: 0,
            is_savepoint: false,
            operators: vec![OperatorMetadata {
                id: OperatorId::new("a"),
                name: "A".into(),
                parallelism: 1,
                max_parallelism: 128,
                states: Vec::new(),
                subtasks: vec![subtask],
            }],
        }),
    }
}

fn add(store: &mut CompletedStore, checkpoint: CompletedCheckpoint) -> Unused {
    store
        .registry_mut()
        .register(checkpoint.id(), checkpoint.metadata.subtasks())
        .unwrap();
    let next = checkpoint.id().next();
    Unused {
        claimed: None,
        checkpoints: store.add(checkpoint),
        files: store.take_unused_files(next),
    }
}

fn ids(ids: &[u64]) -> Vec<CheckpointId> {
    ids.iter().copied().map(CheckpointId).collect()
}

#[test]
fn newest_are_kept_and_older_ones_dropped() {
    for (keep, expected) in [
        (0, vec![vec![], vec![1], vec![2]]),
        (1, vec![vec![], vec![1], vec![2]]),
        (2, vec![vec![], vec![], vec![1]]),
        (5, vec![vec![], vec![], vec![]]),
    ] {
        let mut store = CompletedStore::new(keep, Vec::new(), None).unwrap();
        for (id, dropped) in (1..).zip(expected) {
            let retained = store.retained_with(CheckpointId(id));
            let unused = add(&mut store, checkpoint(id, &[]));
            assert_eq!(unused.checkpoints, ids(&dropped), "keep {keep}, add {id}");
            let left: Vec<_> = store.completed.iter().map(CompletedCheckpoint::id).collect();
            assert_eq!(retained, left, "what was announced is what is kept");
        }
    }
}

#[test]
fn shared_file_goes_with_the_last_checkpoint_that_names_it() {
    let mut store = CompletedStore::new(1, Vec::new(), None).unwrap();
    let (a, b) = (file("shared/a", 1), file("shared/b", 2));
    add(&mut store, checkpoint(1, std::slice::from_ref(&a)));
    let unused = add(&mut store, checkpoint(2, &[a, b.clone()]));
    assert_eq!(unused.files, Vec::<String>::new());
    let unused = add(&mut store, checkpoint(3, &[b]));
    assert_eq!(unused.files, ["shared/a"]);
}

#[test]
fn shared_files_of_a_lost_checkpoint_go_when_a_newer_one_completes() {
    let mut store = CompletedStore::new(1, Vec::new(), None).unwrap();
    let lost = checkpoint(1, &[file("shared/lost", 1)]);
    store
        .registry_mut()
        .register(lost.id(), lost.metadata.subtasks())
        .unwrap();
    assert_eq!(add(&mut store, checkpoint(2, &[])).files, ["shared/lost"]);
}

#[test]
fn files_of_others_and_exclusive_files_are_not_registered() {
    let mut store = CompletedStore::new(1, Vec::new(), None).unwrap();
    let files = [file("/other/job/shared/a", 1), file("chk-1/x", 2)];
    add(&mut store, checkpoint(1, &files));
    assert_eq!(
        store.finish(JobEnd::Finished, Retention::NoExternalized),
        Unused {
            claimed: None,
            checkpoints: ids(&[1]),
            files: Vec::new()
        }
    );
}

#[test]
fn one_name_for_two_contents_is_a_conflict() {
    let recovered = vec![
        checkpoint(1, &[file("shared/a", 1)]),
        checkpoint(2, &[file("shared/a", 9)]),
    ];
    let conflict = CompletedStore::new(2, recovered, None).unwrap_err();
    assert_eq!(
        (conflict.known, conflict.named, conflict.by),
        ((10, 1), (10, 9), CheckpointId(2))
    );
}

#[test]
fn recovered_shared_files_live_until_the_last_user_is_gone() {
    let recovered = vec![checkpoint(4, &[file("shared/a", 1), file("shared/b", 1)])];
    let mut store = CompletedStore::new(1, recovered, None).unwrap();
    let unused = add(&mut store, checkpoint(5, &[file("shared/b", 1)]));
    assert_eq!(unused.checkpoints, ids(&[4]));
    assert_eq!(unused.files, ["shared/a"]);
}

#[test]
fn foreign_snapshot_is_the_restore_point_until_there_is_an_own_one_and_is_never_unused() {
    let initial = checkpoint(40, &[file("/other/shared/a", 1)]);
    let mut store = CompletedStore::new(1, Vec::new(), Some(initial)).unwrap();
    assert_eq!(
        store.latest().map(CompletedCheckpoint::id),
        Some(CheckpointId(40))
    );
    assert_eq!(store.latest_own(), None);
    let unused = add(&mut store, checkpoint(41, &[]));
    assert_eq!(unused, Unused::default());
    assert_eq!(
        store.latest().map(CompletedCheckpoint::id),
        Some(CheckpointId(41))
    );
}

#[test]
fn retention_by_end() {
    use JobEnd::{Cancelled, Failed, Finished, Stopped};
    use Retention::{DeleteOnCancellation, NoExternalized, RetainOnCancellation};
    for (retention, end, keeps) in [
        (NoExternalized, Finished, false),
        (NoExternalized, Failed, false),
        (NoExternalized, Cancelled, false),
        (DeleteOnCancellation, Finished, false),
        (DeleteOnCancellation, Failed, true),
        (DeleteOnCancellation, Cancelled, false),
        (RetainOnCancellation, Finished, false),
        (RetainOnCancellation, Failed, true),
        (RetainOnCancellation, Cancelled, true),
        (NoExternalized, Stopped, false),
        (DeleteOnCancellation, Stopped, false),
        (RetainOnCancellation, Stopped, false),
    ] {
        assert_eq!(retention.keeps(end), keeps, "{retention:?} {end:?}");
        let mut store = CompletedStore::new(2, Vec::new(), None).unwrap();
        add(&mut store, checkpoint(1, &[file("shared/a", 1)]));
        add(&mut store, checkpoint(2, &[file("shared/a", 1)]));
        let unused = store.finish(end, retention);
        assert_eq!(unused.checkpoints, ids(if keeps { &[] } else { &[1, 2] }));
        assert_eq!(unused.files.len(), usize::from(!keeps));
    }
}

#[test]
fn files_of_a_checkpoint_that_was_given_up_are_not_needed_between_attempts() {
    let mut store = CompletedStore::new(2, Vec::new(), None).unwrap();
    add(
        &mut store,
        checkpoint(3, &[file("shared/base", 1), file("shared/d3", 2)]),
    );
    for (id, name) in [(4, "shared/of-unknown-outcome"), (5, "shared/declined")] {
        let given_up = checkpoint(id, &[file("shared/base", 1), file(name, 3)]);
        let registry = store.registry_mut();
        registry
            .register(CheckpointId(id), given_up.metadata.subtasks())
            .unwrap();
    }
    let needed = |left_behind: Option<u64>| {
        let mut needed: Vec<_> = store
            .needed_files(left_behind.map(CheckpointId))
            .into_iter()
            .collect();
        needed.sort_unstable();
        needed
    };
    assert_eq!(needed(None), ["shared/base", "shared/d3"]);
    assert_eq!(needed(Some(5)), ["shared/base", "shared/d3", "shared/declined"]);
    assert_eq!(
        needed(Some(4)),
        [
            "shared/base",
            "shared/d3",
            "shared/declined",
            "shared/of-unknown-outcome"
        ]
    );
}

#[test]
fn claimed_snapshot_goes_when_enough_others_are_kept() {
    for keep in 1..4 {
        let initial = checkpoint(1, &[file("/other/savepoint/a", 1)]);
        let mut store = CompletedStore::new(keep, Vec::new(), Some(initial))
            .unwrap()
            .claiming(Some("/other/savepoint/_metadata".into()));
        for id in 2.. {
            assert!(store.needs_initial());
            add(&mut store, checkpoint(id, &[]));
            let own = store.retained().len();
            match store.take_claimed() {
                Some(path) => {
                    assert_eq!((own, path.as_str()), (keep, "/other/savepoint/_metadata"));
                    break;
                }
                None => assert!(own < keep, "{own} of {keep}"),
            }
        }
        assert!(!store.needs_initial());
        assert_eq!(store.take_claimed(), None);
    }
}

#[test]
fn claimed_snapshot_outlives_a_job_that_did_not_get_anywhere() {
    use JobEnd::{Cancelled, Failed, Finished, Stopped};
    for (retention, own, end, goes) in [
        (Retention::NoExternalized, 0, Finished, true),
        (Retention::NoExternalized, 0, Failed, false),
        (Retention::NoExternalized, 0, Cancelled, false),
        (Retention::NoExternalized, 2, Failed, true),
        (Retention::NoExternalized, 1, Failed, false),
        (Retention::NoExternalized, 2, Stopped, true),
        (Retention::RetainOnCancellation, 0, Finished, true),
        (Retention::RetainOnCancellation, 2, Cancelled, false),
    ] {
        let mut store = CompletedStore::new(2, Vec::new(), Some(checkpoint(1, &[])))
            .unwrap()
            .claiming(Some("/s/_metadata".into()));
        for id in 0..own {
            add(&mut store, checkpoint(2 + id, &[]));
        }
        let unused = store.finish(end, retention);
        assert_eq!(
            unused.claimed.is_some(),
            goes,
            "{retention:?}, {own} own, {end:?}"
        );
    }
}
