//! When a checkpoint starts, and how many at once.

use super::*;

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

/// As many as may be under way may also be on their way out, and no more.
#[test]
fn checkpoints_wait_while_deleting_does_not_keep_up_and_savepoints_do_not() {
    let mut coordinator = coordinator(settings(100));
    run(
        &mut coordinator,
        &[
            (0, "start 1", ""),
            (100, "tick", "trigger 1"),
            (110, "acks 1", "persist 1 keep 1"),
            (120, "persisted 1", "complete 1"),
            (200, "tick", "trigger 2"),
            (210, "acks 2", "persist 2 keep 2"),
            (220, "persisted 2", "complete 2, discard 1"),
            (300, "tick", "trigger 3"),
            (310, "acks 3", "persist 3 keep 3"),
            (320, "persisted 3", "complete 3, discard 2"),
            (400, "tick", ""),
            (410, "user 1", ""),
            (415, "savepoint 2", "trigger-savepoint 4"),
            (420, "acks 4", "save 4 /s/2"),
            (430, "persisted 4", "abort 4 after 3, reply 2 checkpoint 4"),
            (440, "tick", ""),
            (450, "cleaned", "trigger 5"),
            (460, "acks 5", "persist 5 keep 5"),
            (470, "persisted 5", "complete 5, reply 1 checkpoint 5, discard 3"),
            (480, "tick", ""),
            (490, "cleaned", "trigger 6"),
        ],
    );
}
