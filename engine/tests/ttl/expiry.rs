//! What is seen of values before, when and after they expire.

use crate::job::{Job, Op};
use millpond_engine::state::ttl::{ManualTtlTime, StateTtlConfigBuilder};
use millpond_engine::state::{StateTtlConfig, StateVisibility, TtlUpdate};
use std::time::Duration;

const BACKENDS: [&str; 2] = ["hashmap", "filesystem"];
/// What the clock shows at first.
const BEGIN: i64 = 1_000_000;

fn ttl_100() -> StateTtlConfigBuilder {
    // Nobody but reads removes anything, so that what is hidden is hidden by the read.
    StateTtlConfig::new_builder(Duration::from_millis(100)).disable_cleanup_in_background()
}

/// Runs `test` with each backend.
fn with_backends(ttl: &StateTtlConfigBuilder, test: impl Fn(&Job)) {
    let ttl = ttl.build().unwrap();
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualTtlTime::at(BEGIN);
        let job = Job::start(backend, folder.path(), None, Some(&ttl), &clock);
        test(&job);
        job.end();
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// Writes something to each state of `key`.
fn write_all(job: &Job, key: u64) {
    for op in [
        Op::SetNumber(7),
        Op::SetText(text("seven")),
        Op::Push(text("one")),
        Op::Put(1, text("one")),
        Op::Join(text("one")),
    ] {
        job.expect(key, op, "done");
    }
    job.expect(key, Op::Sum(7), "7");
}

/// Reads each state of `key`, which all have what [`write_all`] wrote.
fn expect_all(job: &Job, key: u64) {
    job.expect(key, Op::Number, "Some(7)");
    job.expect(key, Op::Text, "Some(\"seven\")");
    job.expect(key, Op::List, "[\"one\"]");
    job.expect(key, Op::Get(1), "Some(\"one\")");
    job.expect(key, Op::GetSum, "Some(7)");
    job.expect(key, Op::GetJoined, "Some(\"one\")");
}

fn expect_nothing(job: &Job, key: u64) {
    job.expect(key, Op::Number, "None");
    job.expect(key, Op::Text, "None");
    job.expect(key, Op::List, "[]");
    job.expect(key, Op::Get(1), "None");
    job.expect(key, Op::GetSum, "None");
    job.expect(key, Op::GetJoined, "None");
}

#[test]
fn values_of_every_kind_expire_when_their_time_has_come_and_not_before() {
    with_backends(&ttl_100(), |job| {
        expect_nothing(job, 5);
        write_all(job, 5);
        job.clock.set(BEGIN + 50);
        write_all(job, 6);
        job.clock.set(BEGIN + 99);
        expect_all(job, 5);
        // A read is no write: the key goes at the time it would have gone.
        job.clock.set(BEGIN + 100);
        expect_nothing(job, 5);
        expect_all(job, 6);
        job.clock.set(BEGIN + 150);
        expect_nothing(job, 6);
        // What was removed by a read can be written again.
        write_all(job, 5);
        job.clock.set(BEGIN + 249);
        expect_all(job, 5);
    });
}

#[test]
fn with_update_on_read_a_value_lives_on_when_it_is_read() {
    with_backends(&ttl_100().update_type(TtlUpdate::OnReadAndWrite), |job| {
        write_all(job, 5);
        for round in 1..=5 {
            job.clock.set(BEGIN + round * 99);
            expect_all(job, 5);
        }
        job.clock.set(BEGIN + 5 * 99 + 100);
        expect_nothing(job, 5);
        // An iteration over a map is a read of its entries.
        job.expect(5, Op::Put(1, text("one")), "done");
        for (round, op) in [Op::Keys, Op::Values, Op::Entries, Op::Has(1)]
            .into_iter()
            .enumerate()
        {
            job.clock.set(BEGIN + 1000 + 99 * i64::try_from(round).unwrap());
            if round == 0 {
                job.expect(5, Op::Put(1, text("one")), "done");
            }
            assert!(!matches!(job.ask(5, op).as_str(), "[]" | "false"), "{round}");
        }
        // To ask whether there is any is none.
        job.expect(5, Op::IsEmpty, "false");
        job.clock.set(BEGIN + 1000 + 99 * 3 + 100);
        job.expect(5, Op::IsEmpty, "true");
    });
}

#[test]
fn what_has_expired_and_is_still_there_is_shown_once_if_that_is_wanted() {
    let ttl = ttl_100().state_visibility(StateVisibility::ReturnExpiredIfNotCleanedUp);
    with_backends(&ttl, |job| {
        write_all(job, 5);
        job.expect(6, Op::Put(1, text("one")), "done");
        job.expect(6, Op::Put(2, text("two")), "done");
        job.clock.set(BEGIN + 100_000);
        expect_all(job, 5);
        // The read removed it.
        expect_nothing(job, 5);
        job.expect(6, Op::IsEmpty, "false");
        job.expect(6, Op::Keys, "[1, 2]");
        job.expect(6, Op::Keys, "[]");
        job.expect(6, Op::IsEmpty, "true");
    });
}

#[test]
fn elements_of_a_list_and_entries_of_a_map_expire_each_by_itself() {
    with_backends(&ttl_100(), |job| {
        for (number, name) in [(0_u32, "zero"), (1, "one"), (2, "two")] {
            job.clock.set(BEGIN + i64::from(number) * 10);
            job.expect(5, Op::Push(text(name)), "done");
            job.expect(5, Op::Put(number, text(name)), "done");
        }
        job.clock.set(BEGIN + 109);
        job.expect(5, Op::List, "[\"one\", \"two\"]");
        job.expect(5, Op::Entries, "[(1, \"one\"), (2, \"two\")]");
        job.clock.set(BEGIN + 110);
        job.expect(5, Op::List, "[\"two\"]");
        job.expect(5, Op::Keys, "[2]");
        job.expect(5, Op::Values, "[\"two\"]");
        job.expect(5, Op::Has(1), "false");
        job.expect(5, Op::Has(2), "true");
        // An entry that is written again lives on, and the others do not.
        job.expect(5, Op::Put(2, text("again")), "done");
        job.expect(5, Op::Push(text("three")), "done");
        job.clock.set(BEGIN + 209);
        job.expect(5, Op::List, "[\"three\"]");
        job.expect(5, Op::Get(2), "Some(\"again\")");
        job.expect(5, Op::Remove(2), "true");
        job.expect(5, Op::Put(3, text("three")), "done");
        job.clock.set(BEGIN + 400);
        // What nobody can see is not there to be removed.
        job.expect(5, Op::Remove(3), "false");
        job.expect(5, Op::IsEmpty, "true");
    });
}

#[test]
fn a_map_is_empty_when_all_of_many_entries_have_expired_and_not_before() {
    with_backends(&ttl_100(), |job| {
        for number in 0..50 {
            job.expect(5, Op::Put(number, number.to_string()), "done");
        }
        job.clock.set(BEGIN + 60);
        job.expect(5, Op::Put(25, text("later")), "done");
        job.clock.set(BEGIN + 120);
        job.expect(5, Op::IsEmpty, "false");
        job.expect(5, Op::Entries, "[(25, \"later\")]");
        job.clock.set(BEGIN + 160);
        job.expect(5, Op::IsEmpty, "true");
    });
}

#[test]
fn folds_begin_anew_with_what_comes_after_the_end() {
    with_backends(&ttl_100(), |job| {
        job.expect(5, Op::Count, "1");
        job.expect(5, Op::Extend(text("a")), "a");
        job.expect(5, Op::Sum(3), "3");
        job.expect(5, Op::Join(text("a")), "done");
        // Each of these writes, and a write makes the value live on.
        job.clock.set(BEGIN + 99);
        job.expect(5, Op::Count, "2");
        job.expect(5, Op::Extend(text("b")), "ab");
        job.expect(5, Op::Sum(4), "7");
        job.expect(5, Op::Join(text("b")), "done");
        job.clock.set(BEGIN + 198);
        job.expect(5, Op::Number, "Some(2)");
        job.expect(5, Op::GetJoined, "Some(\"a+b\")");
        job.clock.set(BEGIN + 199);
        job.expect(5, Op::Count, "1");
        job.expect(5, Op::Extend(text("c")), "c");
        job.expect(5, Op::Sum(5), "5");
        job.expect(5, Op::Join(text("c")), "done");
        job.expect(5, Op::GetJoined, "Some(\"c\")");
        job.expect(5, Op::ClearBoth, "done");
        job.expect(5, Op::Number, "None");
        job.expect(5, Op::Text, "None");
    });
}

#[test]
fn a_clock_that_goes_back_shows_what_had_expired_only_if_nobody_removed_it() {
    with_backends(&ttl_100(), |job| {
        write_all(job, 5);
        write_all(job, 6);
        job.clock.set(BEGIN + 100);
        expect_nothing(job, 5);
        job.clock.set(BEGIN + 99);
        expect_nothing(job, 5);
        expect_all(job, 6);
        job.clock.set(BEGIN - 1000);
        expect_all(job, 6);
    });
}

#[test]
fn a_ttl_as_long_as_can_be_never_ends() {
    let ttl = StateTtlConfig::new_builder(Duration::from_millis(i64::MAX.unsigned_abs()));
    with_backends(&ttl, |job| {
        write_all(job, 5);
        job.clock.set(i64::MAX);
        expect_all(job, 5);
        write_all(job, 6);
        expect_all(job, 6);
    });
}

/// A checkpoint compares the cells that it finds with those that were counted, and the job ends if they differ.
#[test]
fn values_that_are_removed_and_written_again_between_checkpoints_are_counted_right() {
    for backend in BACKENDS {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualTtlTime::at(BEGIN);
        let job = Job::start(backend, folder.path(), None, None, &clock);
        for _ in 0..500 {
            job.expect(1, Op::SetNumber(7), "done");
            job.expect(1, Op::Number, "Some(7)");
            job.expect(1, Op::ClearBoth, "done");
            job.expect(1, Op::Number, "None");
        }
        job.end();
    }
}
