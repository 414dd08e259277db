//! Checkpoints that fail, and what their failures count.

use super::*;

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

/// Whatever is tolerable: another program leads the job. Nothing is deleted, since that program may have read what was written.
#[test]
fn a_job_that_was_taken_over_ends_at_once_and_deletes_nothing() {
    let mut settings = settings(100);
    settings.tolerable_failures = 100;
    let mut coordinator = coordinator(settings);
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (120, "persisted-fenced 1", "fail Fenced, abort 1"),
            (200, "tick", ""),
            (300, "failed", ""),
        ],
    );
}

#[test]
fn a_job_that_was_taken_over_is_noticed_when_numbers_run_out() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (100, "not-reserved-fenced", "fail Fenced"),
            (200, "tick", ""),
        ],
    );
}
