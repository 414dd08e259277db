//! State with a TTL over a restore.

use crate::job::{Job, Op};
use millpond_engine::ErrorKind;
use millpond_engine::state::ttl::ManualTtlTime;
use millpond_engine::state::{StateTtlConfig, TtlUpdate};
use std::time::Duration;

const BACKENDS: [&str; 2] = ["hashmap", "filesystem"];
const BEGIN: i64 = 1_000_000;

fn of_ms(ms: u64) -> StateTtlConfig {
    StateTtlConfig::new_builder(Duration::from_millis(ms))
        .build()
        .unwrap()
}

#[test]
fn values_keep_their_times_over_a_restore_and_a_changed_duration_counts_from_them() {
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualTtlTime::at(BEGIN);
        let job = Job::start(backend, folder.path(), None, Some(&of_ms(100)), &clock);
        job.expect(1, Op::SetNumber(7), "done");
        job.expect(1, Op::Put(1, "one".to_owned()), "done");
        clock.set(BEGIN + 60);
        job.expect(1, Op::Push("late".to_owned()), "done");
        job.expect(2, Op::SetText("late".to_owned()), "done");
        let checkpoint = job.end();

        for (ttl, now, number, list) in [
            (100, 99, "Some(7)", "[\"late\"]"),
            (100, 100, "None", "[\"late\"]"),
            (100, 160, "None", "[]"),
            (1000, 999, "Some(7)", "[\"late\"]"),
            (40, 99, "None", "[\"late\"]"),
        ] {
            let again = tempfile::tempdir().unwrap();
            clock.set(BEGIN + now);
            let job = Job::start(
                backend,
                again.path(),
                Some(&checkpoint),
                Some(&of_ms(ttl)),
                &clock,
            );
            job.expect(1, Op::Number, number);
            job.expect(1, Op::Has(1), &number.starts_with("Some").to_string());
            job.expect(1, Op::List, list);
            let is_there = list != "[]";
            job.expect(2, Op::Text, if is_there { "Some(\"late\")" } else { "None" });
            job.end();
        }
    }
}

#[test]
fn a_ttl_switched_on_or_off_over_a_restore_is_refused_and_both_are_named() {
    let disabled = StateTtlConfig::new_builder(Duration::from_millis(100))
        .update_type(TtlUpdate::Disabled)
        .build()
        .unwrap();
    let with = of_ms(100);
    for backend in BACKENDS {
        for (before, after) in [
            (Some(&with), None),
            (Some(&with), Some(&disabled)),
            (None, Some(&with)),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let clock = ManualTtlTime::at(BEGIN);
            let job = Job::start(backend, folder.path(), None, before, &clock);
            job.expect(1, Op::SetNumber(7), "done");
            let checkpoint = job.end();
            let job = Job::start(backend, folder.path(), Some(&checkpoint), after, &clock);
            let error = job.failure();
            let shown = format!("{error}");
            let (stored, registered) = if before.is_some() {
                ("stored with a TTL", "registered without a TTL")
            } else {
                ("stored without a TTL", "registered with a TTL")
            };
            for named in ["'number'", "uid 'worker'", stored, registered] {
                assert!(shown.contains(named), "{named} is not in: {shown}");
            }
            assert_eq!(error.kind(), ErrorKind::Restore, "{shown}");
            // As it is stored, it goes on.
            let job = Job::start(backend, folder.path(), Some(&checkpoint), before, &clock);
            job.expect(1, Op::Number, "Some(7)");
            job.end();
        }
    }
}

#[test]
fn a_ttl_that_is_disabled_is_none() {
    let disabled = StateTtlConfig::new_builder(Duration::from_millis(100))
        .update_type(TtlUpdate::Disabled)
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualTtlTime::at(BEGIN);
    let job = Job::start("hashmap", folder.path(), None, Some(&disabled), &clock);
    job.expect(1, Op::SetNumber(7), "done");
    clock.set(i64::MAX);
    job.expect(1, Op::Number, "Some(7)");
    let checkpoint = job.end();
    let job = Job::start("hashmap", folder.path(), Some(&checkpoint), None, &clock);
    job.expect(1, Op::Number, "Some(7)");
    job.end();
}
