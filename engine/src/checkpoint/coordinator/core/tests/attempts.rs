//! Attempts, and numbers over all of them.

use super::*;

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
