//! The rules as scripts: each line is a time in milliseconds, an event, and the actions that it must lead to.

use super::trigger::QUEUE_MAX;
use super::*;
use crate::checkpoint::coordinator::{PersistFailure, Report};
use crate::checkpoint::{
    Ack, Command, DeclineKind, FileLocation, FileRef, KeyedHandle, OperatorId, OperatorMetadata, Retention,
    SavepointFormat, SavepointOptions, StopMode, SubtaskSnapshot,
};
use proptest::prelude::*;

#[path = "tests/savepoints.rs"]
mod savepoints;
#[path = "tests/shared_files.rs"]
mod shared_files;

fn settings(interval_ms: u64) -> CheckpointSettings {
    CheckpointSettings {
        interval: (interval_ms > 0).then(|| Duration::from_millis(interval_ms)),
        timeout: Duration::from_millis(1000),
        ..CheckpointSettings::default()
    }
}

fn store(settings: &CheckpointSettings) -> CompletedStore {
    CompletedStore::new(settings.num_retained, Vec::new(), None).unwrap()
}

fn coordinator(settings: CheckpointSettings) -> Coordinator {
    let store = store(&settings);
    Coordinator::new(
        settings,
        "job",
        JobId::random(),
        Lineage::new(),
        CheckpointId::FIRST,
        store,
    )
}

fn operator() -> OperatorId {
    OperatorId::new("a")
}

fn snapshot(file: Option<&str>) -> SubtaskSnapshot {
    let mut snapshot = SubtaskSnapshot::empty(operator(), "A", 0);
    if let Some(path) = file {
        snapshot.keyed.push(KeyedHandle {
            backend: "b".into(),
            key_groups: (0, 127),
            kind: "k".into(),
            files: path
                .split(',')
                .map(|path| FileRef {
                    location: FileLocation::File(path.into()),
                    size: 1,
                    crc32: 1,
                    shared: true,
                })
                .collect(),
            payload: Vec::new(),
            state_bytes: 1,
            new_bytes: 1,
        });
    }
    snapshot
}

fn decline(kind: &str) -> Ack {
    let kind = match kind {
        "storage" => DeclineKind::Storage,
        "too-large" => DeclineKind::StateTooLarge,
        "not-ready" => DeclineKind::NotReady,
        other => panic!("{other}"),
    };
    Ack::Decline {
        operator: operator(),
        operator_name: "A".into(),
        subtask: 0,
        reason: "because".into(),
        kind,
    }
}

fn event(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let number = || words[1].parse().unwrap();
    let id = || CheckpointId(number());
    match words[0] {
        "start" => Event::AttemptStarted {
            attempt: number(),
            operators: vec![OperatorInfo {
                id: operator(),
                name: "A".into(),
                parallelism: 1,
                max_parallelism: 128,
            }],
            first_delay: words.get(2).map_or(1.0, |delay| delay.parse().unwrap()),
        },
        "failed" => Event::AttemptFailed,
        "cancel" => Event::Cancel,
        "tick" => Event::Tick,
        "sources-ended" => Event::AllSourcesFinished,
        "epoch" => Event::SourceNeedsEpoch { epoch: number() },
        "user" => Event::UserTrigger {
            request: RequestId(number()),
            kind: SnapshotKind::Checkpoint,
        },
        "savepoint" | "stop" | "drain" => Event::UserTrigger {
            request: RequestId(number()),
            kind: SnapshotKind::Savepoint(SavepointOptions {
                folder: format!("/s/{}", number()),
                format: SavepointFormat::Canonical,
                stop: match words[0] {
                    "stop" => Some(StopMode::Suspend),
                    "drain" => Some(StopMode::Drain),
                    _ => None,
                },
            }),
        },
        "acks" => Event::Acks {
            id: id(),
            acks: match words.get(2) {
                None => vec![Ack::Snapshot(snapshot(None))],
                Some(&"none") => Vec::new(),
                Some(path) if path.contains('/') => vec![Ack::Snapshot(snapshot(Some(path)))],
                Some(kind) => vec![Ack::Snapshot(snapshot(None)), decline(kind)],
            },
        },
        "early" => Event::EarlyDecline {
            id: id(),
            ack: decline(words[2]),
        },
        "persisted" => Event::Persisted {
            id: id(),
            result: Ok(None),
        },
        "not-persisted" | "maybe-persisted" => Event::Persisted {
            id: id(),
            result: Err(PersistFailure {
                reason: "disk full".into(),
                unknown_outcome: words[0] == "maybe-persisted",
            }),
        },
        "not-reserved" => Event::ReserveFailed {
            reason: "disk full".into(),
        },
        other => panic!("{other}"),
    }
}

fn render(action: &Action) -> Option<String> {
    Some(match action {
        Action::Send(Command::Trigger { id, options, .. }) => {
            let kind = match &options.kind {
                SnapshotKind::Checkpoint => "",
                SnapshotKind::FullCheckpoint => "-full",
                SnapshotKind::Savepoint(savepoint) => match savepoint.stop {
                    None => "-savepoint",
                    Some(StopMode::Suspend) => "-stop",
                    Some(StopMode::Drain) => "-drain",
                },
                SnapshotKind::CommitOnly => "-commit",
            };
            let last = if options.is_final { "-final" } else { "" };
            format!("trigger{kind}{last} {id}")
        }
        Action::Send(Command::Complete { id }) => format!("complete {id}"),
        Action::Send(Command::Abort { id, latest_completed }) => match latest_completed {
            None => format!("abort {id}"),
            Some(latest) => format!("abort {id} after {latest}"),
        },
        Action::Send(Command::AdvanceEpoch { to }) => format!("advance {to}"),
        Action::Send(Command::Stop) => "stop".into(),
        // Tested on its own.
        Action::ReserveIds { .. } => return None,
        Action::Persist {
            metadata, retained, ..
        } => {
            let retained: Vec<_> = retained.iter().map(ToString::to_string).collect();
            format!("persist {} keep {}", metadata.id, retained.join(" "))
        }
        Action::PersistSavepoint {
            metadata,
            savepoint,
            retained,
        } => {
            assert!(metadata.is_savepoint);
            let keep = retained.iter().flat_map(|(ids, _)| ids);
            let keep: Vec<_> = keep.map(|id| format!(" keep {id}")).collect();
            format!("save {} {}{}", metadata.id, savepoint.folder, keep.concat())
        }
        Action::DiscardSavepoint(folder) => format!("remove {folder}"),
        Action::DiscardCheckpoint(id) => format!("discard {id}"),
        Action::DiscardClaimed(metadata) => format!("dispose {metadata}"),
        Action::DiscardFiles(files) => format!("delete {}", files.join(" ")),
        Action::Fail(cause) => format!("fail {:?}", cause.kind),
        Action::Reply { request, result } => match result {
            Ok((id, _)) => format!("reply {} checkpoint {id}", request.0),
            Err(_) => format!("reply {} failed", request.0),
        },
        Action::Report(Report::LateAcks(id)) => format!("late {id}"),
        Action::Report(_) => return None,
    })
}

fn run(coordinator: &mut Coordinator, script: &[(u64, &str, &str)]) {
    for (line, (ms, text, expected)) in script.iter().enumerate() {
        let now = Now {
            ms: *ms,
            unix_ms: 1_000_000 + ms,
        };
        let actions = coordinator.on(now, event(text));
        let found: Vec<_> = actions.iter().filter_map(render).collect();
        assert_eq!(found.join(", "), *expected, "line {line}: at {ms}: {text}");
    }
}

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
fn first_trigger_comes_between_pause_and_period() {
    for (first_delay, due) in [("0", 40), ("0.5", 70), ("1", 100)] {
        let mut settings = settings(100);
        settings.min_pause = Duration::from_millis(40);
        let mut coordinator = coordinator(settings);
        let start = format!("start 1 {first_delay}");
        run(&mut coordinator, &[(0, &start, "")]);
        assert_eq!(coordinator.next_wakeup(), Some(due));
        run(
            &mut coordinator,
            &[(due - 1, "tick", ""), (due, "tick", "trigger 1")],
        );
    }
}

#[test]
fn period_is_at_least_the_pause() {
    let mut settings = settings(10);
    settings.min_pause = Duration::from_millis(500);
    let mut coordinator = coordinator(settings);
    run(&mut coordinator, &[(0, "start 1 1", "")]);
    assert_eq!(coordinator.next_wakeup(), Some(500));
}

#[test]
fn pause_is_counted_from_the_last_completion() {
    let mut settings = settings(100);
    settings.min_pause = Duration::from_millis(60);
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1 1", ""),
            (100, "tick", "trigger 1"),
            (180, "acks 1", "persist 1 keep 1"),
            (190, "persisted 1", "complete 1"),
            (200, "tick", ""),
        ],
    );
    assert_eq!(coordinator.next_wakeup(), Some(250));
    run(&mut coordinator, &[(249, "tick", ""), (250, "tick", "trigger 2")]);
}

#[test]
fn missed_periods_are_not_made_up_for() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (200, "tick", ""),
            (300, "tick", ""),
            (450, "acks 1", "persist 1 keep 1"),
            (455, "persisted 1", "complete 1, trigger 2"),
            (460, "acks 2", "persist 2 keep 2"),
            (465, "persisted 2", "complete 2, discard 1"),
            (499, "tick", ""),
            (500, "tick", "trigger 3"),
        ],
    );
}

#[test]
fn never_more_than_max_concurrent_are_under_way() {
    for (max, expected) in [
        (1, ["trigger 1", "", ""]),
        (2, ["trigger 1", "trigger 2", ""]),
        (5, ["trigger 1", "trigger 2", "trigger 3"]),
    ] {
        let mut settings = settings(100);
        settings.max_concurrent = max;
        let mut coordinator = coordinator(settings);
        run(
            &mut coordinator,
            &[
                (0, "start 1", ""),
                (100, "tick", expected[0]),
                (200, "tick", expected[1]),
                (300, "tick", expected[2]),
            ],
        );
        if max > 1 {
            // A slot that becomes free is used by what is already due.
            let next = format!("complete 1{}", if max == 2 { ", trigger 3" } else { "" });
            run(
                &mut coordinator,
                &[(310, "acks 1", "persist 1 keep 1"), (311, "persisted 1", &next)],
            );
        }
    }
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
fn expired_checkpoint_is_aborted_and_its_late_acks_are_discarded() {
    let mut settings = settings(10_000);
    settings.tolerable_failures = 1;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[(0, "start 1 0", "trigger 1"), (0, "tick", "")],
    );
    assert_eq!(coordinator.next_wakeup(), Some(1000));
    run(
        &mut coordinator,
        &[
            (999, "tick", ""),
            (1000, "tick", "abort 1, discard 1"),
            (1001, "acks 1", "late 1, discard 1"),
        ],
    );
    assert!(
        coordinator
            .stats()
            .last_failure
            .unwrap()
            .contains("execution.checkpointing.timeout")
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
fn decline_aborts_and_counts_by_its_reason() {
    let mut settings = settings(100);
    settings.tolerable_failures = 1;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 storage", "abort 1, discard 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 2 not-ready", "abort 2, discard 2"),
            (300, "tick", "trigger 3"),
            (310, "acks 3 too-large", "abort 3, discard 3, fail StateTooLarge"),
            (400, "tick", ""),
        ],
    );
    assert_eq!(coordinator.next_wakeup(), None);
}

#[test]
fn success_resets_the_budget() {
    let mut settings = settings(100);
    settings.tolerable_failures = 1;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 storage", "abort 1, discard 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 2", "persist 2 keep 2"),
            (220, "persisted 2", "complete 2"),
            (300, "tick", "trigger 3"),
            (310, "acks 3 storage", "abort 3 after 2, discard 3"),
            (400, "tick", "trigger 4"),
            (410, "not-persisted 4", "abort 4 after 2, discard 4, fail Storage"),
        ],
    );
}

#[test]
fn failure_names_its_last_reason_and_the_option() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[(0, "start 1", ""), (100, "tick", "trigger 1")],
    );
    let now = Now { ms: 110, unix_ms: 0 };
    let actions = coordinator.on(now, event("acks 1 storage"));
    let cause = actions
        .iter()
        .find_map(|action| match action {
            Action::Fail(cause) => Some(cause.message.clone()),
            _ => None,
        })
        .unwrap();
    for part in ["checkpoint 1", "'A'", "because", "tolerable-failed-checkpoints"] {
        assert!(cause.contains(part), "{part}: {cause}");
    }
}

#[test]
fn early_decline_aborts_at_once_and_the_rest_is_discarded_when_it_comes() {
    let mut settings = settings(100);
    settings.tolerable_failures = 5;
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "early 1 storage", "abort 1, discard 1"),
            (111, "early 1 storage", ""),
            (120, "acks 1 storage", "late 1, discard 1"),
            (121, "early 7 storage", ""),
        ],
    );
}

#[test]
fn missing_acknowledgement_fails_the_checkpoint() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1 none", "abort 1, discard 1, fail Storage"),
        ],
    );
}

#[test]
fn passed_epoch_without_checkpoint_is_no_news() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (10, "acks 1 none", ""),
            (11, "acks 9 none", ""),
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
fn numbers_rise_over_attempts_and_nothing_is_sent_between_them() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (111, "persisted 1", "complete 1"),
            (200, "tick", "trigger 2"),
            (210, "failed", "discard 2"),
            (220, "acks 2", "late 2, discard 2"),
            (300, "tick", ""),
            (400, "start 2", ""),
            (500, "tick", "trigger 3"),
        ],
    );
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
fn cancel_ends_everything() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (101, "user 5", ""),
            (110, "cancel", "discard 1, reply 5 failed"),
            (300, "tick", ""),
            (301, "user 6", "reply 6 failed"),
        ],
    );
    assert_eq!(coordinator.next_wakeup(), None);
}

#[test]
fn users_go_before_the_period_and_ignore_the_pause() {
    let mut settings = settings(100);
    settings.min_pause = Duration::from_millis(100);
    run(
        &mut coordinator(settings),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (150, "user 7", ""),
            (160, "acks 1", "persist 1 keep 1"),
            (200, "persisted 1", "complete 1, trigger 2"),
            (210, "acks 2", "persist 2 keep 2"),
            (220, "persisted 2", "complete 2, reply 7 checkpoint 2, discard 1"),
        ],
    );
}

#[test]
fn queue_of_requests_has_a_bound() {
    let mut coordinator = coordinator(settings(0));
    run(
        &mut coordinator,
        &[(0, "start 1", ""), (0, "user 0", "trigger 1")],
    );
    for request in 1..=QUEUE_MAX {
        run(&mut coordinator, &[(1, &format!("user {request}"), "")]);
    }
    run(&mut coordinator, &[(1, "user 5000", "reply 5000 failed")]);
}

#[test]
fn end_of_input_takes_a_last_checkpoint_at_once_then_stops() {
    run(
        &mut coordinator(settings(10_000)),
        &[
            (0, "start 1", ""),
            (50, "sources-ended", "trigger-final 1"),
            (51, "sources-ended", ""),
            (52, "user 3", "reply 3 failed"),
            (60, "acks 1", "persist 1 keep 1"),
            (70, "persisted 1", "complete 1, stop"),
            (20_000, "tick", ""),
        ],
    );
}

#[test]
fn last_checkpoint_does_not_wait_for_one_under_way() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "sources-ended", "trigger-final 2"),
            (120, "acks 1", "persist 1 keep 1"),
            (130, "acks 2", ""),
            (140, "persisted 1", "complete 1, persist 2 keep 2"),
            (150, "persisted 2", "complete 2, stop, discard 1"),
        ],
    );
}

#[test]
fn last_checkpoint_that_fails_is_tried_again_within_the_budget() {
    let mut settings = settings(100);
    settings.tolerable_failures = 1;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (10, "sources-ended", "trigger-final 1"),
            (20, "acks 1 storage", "abort 1, discard 1"),
        ],
    );
    assert_eq!(coordinator.next_wakeup(), Some(20 + FINAL_RETRY_MS));
    run(
        &mut coordinator,
        &[
            (120, "tick", "trigger-final 2"),
            (130, "acks 2 storage", "abort 2, discard 2, fail Storage"),
            (500, "tick", ""),
        ],
    );
}

#[test]
fn job_without_checkpoints_commits_at_its_end_without_writing_state() {
    run(
        &mut coordinator(settings(0)),
        &[
            (0, "start 1", ""),
            (5000, "tick", ""),
            (5001, "sources-ended", "trigger-commit-final 1"),
            (5002, "acks 1", "complete 1, stop"),
        ],
    );
}

#[test]
fn source_that_runs_out_of_ticks_gets_an_epoch_once() {
    run(
        &mut coordinator(settings(100)),
        &[
            (0, "start 1", ""),
            (10, "epoch 1", "advance 2"),
            (11, "epoch 1", ""),
            (100, "tick", "trigger 2"),
            // The trigger has brought epoch 3 already.
            (110, "epoch 2", ""),
            (120, "epoch 3", "advance 4"),
            (130, "acks 2", "persist 2 keep 2"),
            (140, "persisted 2", "complete 2"),
            (200, "tick", "trigger 4"),
        ],
    );
}

#[test]
fn numbers_are_recorded_before_they_are_used_and_not_each_time() {
    let mut coordinator = coordinator(settings(0));
    let mut recorded = 0;
    let mut times = 0;
    run(&mut coordinator, &[(0, "start 1", "")]);
    for n in 1..100 {
        let now = Now { ms: n, unix_ms: n };
        for action in coordinator.on(now, event(&format!("user {n}"))) {
            match action {
                Action::ReserveIds { below } => {
                    recorded = below.0;
                    times += 1;
                }
                Action::Send(Command::Trigger { id, .. }) => {
                    assert!(id.0 < recorded, "{id} used, recorded below {recorded}");
                }
                _ => {}
            }
        }
        run(
            &mut coordinator,
            &[(
                n,
                &format!("acks {n} not-ready"),
                &format!("abort {n}, reply {n} failed, discard {n}"),
            )],
        );
    }
    assert_eq!(times, 6);
}

#[test]
fn trigger_whose_number_is_not_recorded_never_started() {
    let mut settings = settings(100);
    settings.tolerable_failures = 0;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (101, "not-reserved", ""),
            (200, "tick", "trigger 2"),
        ],
    );
    assert_eq!(coordinator.stats().failed, 1);
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

/// One step of a random history. Numbers are reduced to something that exists.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Start,
    AttemptFailed,
    User,
    Acks(usize, bool),
    EarlyDecline(usize),
    Persisted(u8),
    SourcesEnded,
    Epoch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..300).prop_map(Step::Wait),
        1 => Just(Step::Start),
        1 => Just(Step::AttemptFailed),
        1 => Just(Step::User),
        4 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(id, decline)| Step::Acks(id, decline)),
        1 => any::<usize>().prop_map(Step::EarlyDecline),
        4 => (0u8..4).prop_map(Step::Persisted),
        1 => Just(Step::SourcesEnded),
        1 => Just(Step::Epoch),
    ]
}

/// What must hold in every history, watched from outside.
#[derive(Default)]
struct Watch {
    running: bool,
    attempt: u64,
    triggered: Vec<u64>,
    answered: BTreeSet<u64>,
    persisting: Option<u64>,
    persisted: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
    named: Vec<u64>,
    highest: u64,
    recorded: u64,
}

impl Watch {
    fn see(&mut self, action: &Action, max_concurrent: usize) {
        match action {
            Action::ReserveIds { below } => self.recorded = below.0,
            Action::Send(command) => {
                assert!(self.running, "{command:?} without an attempt");
                match command {
                    Command::Trigger { id, options, .. } => {
                        assert!(id.0 > self.highest, "numbers rise");
                        assert!(id.0 < self.recorded, "numbers are recorded");
                        self.highest = id.0;
                        self.triggered.push(id.0);
                        self.under_way.insert(id.0);
                        assert!(options.is_final || self.under_way.len() <= max_concurrent);
                    }
                    Command::AdvanceEpoch { to } => {
                        assert!(*to > self.highest + 1);
                        self.highest = to - 1;
                    }
                    Command::Complete { id } => assert!(self.persisted.contains(&id.0), "{id}"),
                    Command::Abort { id, .. } => {
                        assert!(self.triggered.contains(&id.0), "{id}");
                        self.under_way.remove(&id.0);
                        assert!(!self.persisted.contains(&id.0), "{id} was complete");
                    }
                    Command::Stop => {}
                }
            }
            Action::Persist {
                metadata, retained, ..
            } => {
                assert_eq!(self.persisting, None, "one at a time");
                assert!(self.answered.contains(&metadata.id.0));
                assert!(retained.is_sorted() && retained.last() == Some(&metadata.id));
                self.persisting = Some(metadata.id.0);
                self.named = retained.iter().map(|id| id.0).collect();
            }
            Action::DiscardCheckpoint(id) => {
                let kept = self.persisted.contains(&id.0) && self.named.contains(&id.0);
                assert!(!kept, "{id} is still named");
                self.under_way.remove(&id.0);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_only_persisted_checkpoints_complete(
        steps in prop::collection::vec(step(), 1..120),
        max_concurrent in 1u32..4,
        num_retained in 1usize..4,
    ) {
        let mut settings = settings(100);
        settings.max_concurrent = max_concurrent;
        settings.num_retained = num_retained;
        settings.tolerable_failures = 2;
        let mut coordinator = coordinator(settings);
        let mut watch = Watch::default();
        let mut now = Now { ms: 0, unix_ms: 0 };
        for step in steps {
            let event = match step {
                Step::Wait(ms) => {
                    now.ms += ms;
                    Event::Tick
                }
                Step::Start => {
                    watch.attempt += 1;
                    event(&format!("start {}", watch.attempt))
                }
                Step::AttemptFailed => Event::AttemptFailed,
                Step::User => event("user 1"),
                Step::Acks(index, decline) => {
                    let Some(id) = watch.triggered.get(index % (watch.triggered.len() + 1)).copied() else { continue };
                    watch.answered.insert(id);
                    event(&format!("acks {id}{}", if decline { " storage" } else { "" }))
                }
                Step::EarlyDecline(index) => {
                    let Some(id) = watch.triggered.get(index % (watch.triggered.len() + 1)).copied() else { continue };
                    event(&format!("early {id} storage"))
                }
                Step::Persisted(outcome) => {
                    let Some(id) = watch.persisting.take() else { continue };
                    watch.under_way.remove(&id);
                    match outcome {
                        0 => event(&format!("not-persisted {id}")),
                        1 => event(&format!("maybe-persisted {id}")),
                        _ => {
                            watch.persisted.insert(id);
                            event(&format!("persisted {id}"))
                        }
                    }
                }
                Step::SourcesEnded => Event::AllSourcesFinished,
                Step::Epoch => Event::SourceNeedsEpoch { epoch: watch.highest + 1 },
            };
            match &event {
                Event::AttemptStarted { .. } => watch.running = true,
                Event::AttemptFailed => watch.running = false,
                _ => {}
            }
            for action in coordinator.on(now, event) {
                watch.see(&action, usize::try_from(max_concurrent).unwrap());
            }
            // What is restored is the newest that was persisted, always.
            let latest = coordinator.latest().map(|latest| latest.id().0);
            prop_assert_eq!(latest, watch.persisted.last().copied());
        }
    }
}
