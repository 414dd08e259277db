//! The rules of savepoints, and of the one that a job stops with.

use super::*;

#[test]
fn savepoint_is_no_checkpoint() {
    let mut settings = settings(100);
    settings.num_retained = 2;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (120, "persisted 1", "complete 1"),
            (130, "savepoint 7", "trigger-savepoint 2"),
            (140, "acks 2", "save 2 /s/7"),
            // No sink commits by it, it is not kept, and it takes nobody's place.
            (150, "persisted 2", "abort 2 after 1, reply 7 checkpoint 2"),
            (200, "tick", "trigger 3"),
            (210, "acks 3", "persist 3 keep 1 3"),
            (220, "persisted 3", "complete 3"),
        ],
    );
    let stats = coordinator.stats();
    assert_eq!((stats.completed, stats.savepoints, stats.failed), (2, 1, 0));
    assert_eq!(stats.last_savepoint.as_deref(), Some("/s/7"));
    assert_eq!(stats.last_completed_id, Some(CheckpointId(3)));
}

#[test]
fn savepoints_do_not_wait_for_checkpoints_but_checkpoints_for_them() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "user 6", ""),
            (120, "savepoint 7", "trigger-savepoint 2"),
            (130, "savepoint 8", "trigger-savepoint 3"),
            (140, "acks 1", "persist 1 keep 1"),
            // Only checkpoints are subsumed, and savepoints count as under way.
            (150, "persisted 1", "complete 1"),
            (160, "acks 2", "save 2 /s/7"),
            (170, "persisted 2", "abort 2 after 1, reply 7 checkpoint 2"),
            (180, "acks 3", "save 3 /s/8"),
            (
                190,
                "persisted 3",
                "abort 3 after 1, reply 8 checkpoint 3, trigger 4",
            ),
        ],
    );
}

#[test]
fn savepoint_is_subsumed_by_nothing() {
    let mut settings = settings(0);
    settings.max_concurrent = 3;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (0, "savepoint 7", "trigger-savepoint 1"),
            (0, "user 8", "trigger 2"),
            (0, "user 9", "trigger 3"),
            (10, "acks 3", "persist 3 keep 3"),
            (
                20,
                "persisted 3",
                "complete 3, reply 9 checkpoint 3, abort 2 after 3, reply 8 failed, discard 2",
            ),
            (30, "acks 1", "save 1 /s/7"),
            (40, "persisted 1", "abort 1 after 3, reply 7 checkpoint 1"),
        ],
    );
}

#[test]
fn savepoint_needs_a_running_attempt_and_leaves_no_folder_without_one() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "savepoint 7", "remove /s/7, reply 7 failed"),
            (0, "start 1", ""),
            (10, "sources-ended", "trigger-final 1"),
            (20, "savepoint 8", "remove /s/8, reply 8 failed"),
            (20, "stop 9", "remove /s/9, reply 9 failed"),
        ],
    );
}

/// Not one of them is tolerable for checkpoints here.
#[test]
fn failed_savepoint_never_counts_and_its_folder_goes() {
    for (ms, event, actions) in [
        (20, "early 1 storage", "abort 1, remove /s/7, reply 7 failed"),
        (20, "acks 1 storage", "abort 1, remove /s/7, reply 7 failed"),
        (1000, "tick", "abort 1, remove /s/7, reply 7 failed"),
        // Whoever still wrote has stopped.
        (30, "failed", "remove /s/7, reply 7 failed"),
        (30, "cancel", "remove /s/7, reply 7 failed"),
    ] {
        let mut coordinator = coordinator(settings(0));
        run(
            &mut coordinator,
            &[
                (0, "start 1", ""),
                (0, "savepoint 7", "trigger-savepoint 1"),
                (ms, event, actions),
            ],
        );
        assert_eq!(coordinator.stats().failed, 0, "{event}");
    }
    run(
        &mut coordinator(settings(0)),
        &[
            (0, "start 1", ""),
            (0, "savepoint 7", "trigger-savepoint 1"),
            (10, "acks 1", "save 1 /s/7"),
            (20, "not-persisted 1", "abort 1, remove /s/7, reply 7 failed"),
        ],
    );
}

#[test]
fn folder_of_a_given_up_savepoint_goes_again_when_nobody_writes_to_it() {
    run(
        &mut coordinator(settings(0)),
        &[
            (0, "start 1", ""),
            (0, "savepoint 7", "trigger-savepoint 1"),
            (10, "early 1 storage", "abort 1, remove /s/7, reply 7 failed"),
            (20, "acks 1 storage", "late 1, remove /s/7"),
            (30, "savepoint 8", "trigger-savepoint 2"),
            (40, "failed", "remove /s/8, reply 8 failed"),
            (50, "start 2", "remove /s/8"),
        ],
    );
}

#[test]
fn whole_savepoint_survives_its_attempt() {
    run(
        &mut coordinator(settings(0)),
        &[
            (0, "start 1", ""),
            (0, "savepoint 7", "trigger-savepoint 1"),
            (10, "acks 1", "save 1 /s/7"),
            (20, "failed", ""),
            (30, "persisted 1", "reply 7 checkpoint 1"),
        ],
    );
}

#[test]
fn savepoint_takes_the_pause_of_periodic_checkpoints_but_not_their_failures() {
    let mut settings = settings(100);
    settings.min_pause = Duration::from_millis(60);
    settings.tolerable_failures = 1;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 storage", "abort 1, discard 1"),
            (180, "savepoint 7", "trigger-savepoint 2"),
            (190, "acks 2", "save 2 /s/7"),
            (199, "persisted 2", "abort 2, reply 7 checkpoint 2"),
            (200, "tick", ""),
            (259, "tick", "trigger 3"),
            (270, "acks 3 storage", "abort 3, discard 3, fail Storage"),
        ],
    );
}

#[test]
fn job_stops_with_its_savepoint_which_is_its_last_checkpoint() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (120, "persisted 1", "complete 1"),
            (150, "stop 7", "trigger-stop 2"),
            // Nothing is started any more.
            (160, "user 8", "reply 8 failed"),
            (200, "tick", ""),
            (210, "acks 2", "save 2 /s/7 keep 2"),
            (220, "persisted 2", "complete 2, stop, discard 1"),
            (300, "tick", ""),
        ],
    );
    // A restart would begin from it, and its files are not the job's.
    let latest = coordinator.latest().unwrap();
    assert_eq!(
        (latest.id(), latest.metadata.is_savepoint),
        (CheckpointId(2), true)
    );
    let (end, actions) = coordinator.finished();
    assert_eq!(end, JobEnd::Stopped);
    let answers: Vec<_> = actions.iter().filter_map(render).collect();
    assert_eq!(answers, ["reply 7 checkpoint 2"]);
    assert_eq!(coordinator.stats().stopped_with.as_deref(), Some("/s/7"));
}

#[test]
fn files_of_the_last_savepoint_are_named_where_they_are_and_not_the_jobs() {
    let mut coordinator = coordinator(settings(0));
    let now = Now { ms: 0, unix_ms: 0 };
    run(
        &mut coordinator,
        &[(0, "start 1", ""), (0, "stop 7", "trigger-stop 1")],
    );
    let mut answer = snapshot(Some("state"));
    answer.keyed[0].files[0].shared = false;
    let _ = coordinator.on(
        now,
        Event::Acks {
            id: CheckpointId(1),
            acks: vec![Ack::Snapshot(answer)],
        },
    );
    run(&mut coordinator, &[(0, "persisted 1", "complete 1, stop")]);
    let latest = coordinator.latest().unwrap();
    let files: Vec<_> = latest
        .metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .collect();
    assert_eq!(files[0].location, FileLocation::File("/s/7/state".into()));
}

#[test]
fn job_that_did_not_stop_with_its_savepoint_goes_on() {
    for (event, kind) in [("stop 7", "stop"), ("drain 7", "drain")] {
        let trigger = format!("trigger-{kind} 1");
        let given_up = match kind {
            "stop" => "abort 1, remove /s/7, reply 7 failed",
            // The end of event time cannot be taken back.
            _ => "abort 1, remove /s/7, reply 7 failed, fail Storage",
        };
        let next = if kind == "stop" { "trigger 2" } else { "" };
        run(
            &mut coordinator(settings(100)),
            &[
                (0, "start 1", ""),
                (50, event, &trigger),
                (60, "early 1 storage", given_up),
                (100, "tick", next),
            ],
        );
    }
}

#[test]
fn sources_that_ended_while_the_job_was_to_stop_are_not_forgotten() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (50, "stop 7", "trigger-stop 1"),
            (60, "sources-ended", ""),
            (
                70,
                "acks 1 storage",
                "abort 1, remove /s/7, reply 7 failed, trigger-final 2",
            ),
        ],
    );
}

#[test]
fn attempt_that_fails_while_it_stops_is_followed_by_one_from_the_savepoint() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (50, "stop 7", "trigger-stop 1"),
            (60, "acks 1", "save 1 /s/7 keep 1"),
            (70, "persisted 1", "complete 1, stop"),
            (80, "failed", "reply 7 failed"),
        ],
    );
    assert_eq!(
        coordinator.latest().map(CompletedCheckpoint::id),
        Some(CheckpointId(1))
    );
    run(
        &mut coordinator,
        &[
            (90, "start 2", ""),
            (190, "tick", "trigger 2"),
            (200, "acks 2", "persist 2 keep 2"),
            (210, "persisted 2", "complete 2, discard 1"),
        ],
    );
    assert_eq!(coordinator.finished().0, JobEnd::Finished);
}

#[test]
fn number_that_cannot_be_recorded_leaves_sources_reading() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (50, "drain 7", "trigger-drain 1"),
            (50, "not-reserved", "remove /s/7, reply 7 failed"),
            (100, "tick", "trigger 2"),
        ],
    );
}
