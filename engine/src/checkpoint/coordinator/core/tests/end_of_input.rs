//! The last checkpoint of a job.

use super::*;

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
