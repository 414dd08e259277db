//! What a completed checkpoint leads to, and what is kept.

use super::*;

#[test]
fn checkpoint_is_complete_for_operators_only_after_it_is_persisted() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (99, "tick", ""),
            (100, "tick", "trigger 1"),
            (130, "acks 1", "persist 1 keep 1"),
            (150, "persisted 1", "complete 1"),
            (200, "tick", "trigger 2"),
            (230, "acks 2", "persist 2 keep 2"),
            (250, "persisted 2", "complete 2, discard 1"),
        ],
    );
    let stats = coordinator.stats();
    assert_eq!((stats.completed, stats.failed, stats.in_progress), (2, 0, 0));
    assert_eq!(stats.last_completed_id, Some(CheckpointId(2)));
    assert_eq!(stats.last_duration_ms, 50);
}

#[test]
fn concurrent_checkpoints_are_written_one_after_the_other() {
    let mut settings = settings(100);
    settings.max_concurrent = 2;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 1", "persist 1 keep 1"),
            (211, "acks 2", ""),
            (220, "persisted 1", "complete 1, persist 2 keep 2"),
            (230, "persisted 2", "complete 2, discard 1"),
        ],
    );
}

#[test]
fn newer_checkpoint_subsumes_older_ones_under_way() {
    let mut settings = settings(100);
    settings.max_concurrent = 2;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 2", "persist 2 keep 2"),
            (220, "persisted 2", "complete 2, abort 1 after 2, discard 1"),
            (230, "acks 1", "late 1, discard 1"),
        ],
    );
}

#[test]
fn checkpoint_that_is_being_written_does_not_expire() {
    run(
        &mut coordinator(settings(10_000)),
        &[
            (0, "start 1 0", "trigger 1"),
            (999, "acks 1", "persist 1 keep 1"),
            (5000, "tick", ""),
            (5001, "persisted 1", "complete 1"),
        ],
    );
}

#[test]
fn failed_metadata_discards_but_unknown_outcome_keeps_until_it_is_settled() {
    let mut settings = settings(100);
    settings.tolerable_failures = 9;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (120, "not-persisted 1", "abort 1, discard 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 2", "persist 2 keep 2"),
            (220, "maybe-persisted 2", "abort 2"),
            (300, "tick", "trigger 3"),
            (310, "acks 3", "persist 3 keep 3"),
            (320, "persisted 3", "complete 3, discard 2"),
        ],
    );
}

#[test]
fn beginning_a_new_attempt_settles_what_is_uncertain() {
    let mut settings = settings(100);
    settings.tolerable_failures = 9;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (120, "maybe-persisted 1", "abort 1"),
            (130, "failed", ""),
        ],
    );
    assert_eq!(
        coordinator.settled(),
        [Action::DiscardCheckpoint(CheckpointId(1))]
    );
    assert_eq!(coordinator.settled(), []);
}

#[test]
fn checkpoint_that_was_whole_when_the_attempt_failed_is_not_lost() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (111, "failed", ""),
            // No operator is left to be told.
            (112, "persisted 1", ""),
        ],
    );
    assert_eq!(
        coordinator.latest().map(CompletedCheckpoint::id),
        Some(CheckpointId(1))
    );
}

#[test]
fn completion_of_an_older_attempt_is_not_told_to_the_next() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (111, "failed", ""),
            (112, "start 2", ""),
            (113, "persisted 1", ""),
        ],
    );
}

#[test]
fn started_from_foreign_snapshot_the_first_checkpoint_is_full() {
    let settings = settings(100);
    let foreign = CheckpointMetadata {
        job_name: "other".into(),
        job_id: JobId::random(),
        id: CheckpointId(40),
        lineage: crate::checkpoint::Lineage::new(),
        attempt: 1,
        mode: settings.mode,
        epoch: 40,
        timestamp_ms: 0,
        is_savepoint: false,
        operators: vec![OperatorMetadata {
            id: operator(),
            name: "A".into(),
            parallelism: 1,
            max_parallelism: 128,
            states: Vec::new(),
            subtasks: vec![snapshot(Some("/other/shared/x"))],
        }],
    };
    let initial = CompletedCheckpoint {
        metadata: Arc::new(foreign),
        path: None,
    };
    let store = CompletedStore::new(1, Vec::new(), Some(initial)).unwrap();
    let mut coordinator = Coordinator::new(
        settings,
        "job",
        JobId::random(),
        Lineage::new(),
        CheckpointId::FIRST,
        store,
    );
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger-full 41"),
            (110, "acks 41 shared/y", "persist 41 keep 41"),
            (120, "persisted 41", "complete 41"),
            (200, "tick", "trigger 42"),
        ],
    );
}

#[test]
fn end_of_job_discards_by_retention() {
    for (retention, end, expected) in [
        (Retention::NoExternalized, JobEnd::Finished, "discard 1"),
        (Retention::RetainOnCancellation, JobEnd::Cancelled, ""),
    ] {
        let mut settings = settings(100);
        settings.retention = retention;
        let mut coordinator = coordinator(settings);
        run(
            &mut coordinator,
            &[
                (0, "start 1", ""),
                (100, "tick", "trigger 1"),
                (110, "acks 1", "persist 1 keep 1"),
                (120, "persisted 1", "complete 1"),
            ],
        );
        let found: Vec<_> = coordinator.finish(end).iter().filter_map(render).collect();
        assert_eq!(found.join(", "), expected);
    }
}
