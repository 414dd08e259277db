//! What has expired goes by itself, and nothing else does.

use crate::job::{Job, Op};
use millpond_engine::state::StateTtlConfig;
use millpond_engine::state::ttl::{ManualTtlTime, StateTtlConfigBuilder};
use std::path::Path;
use std::time::Duration;

const BEGIN: i64 = 1_000_000;
/// Keys that expire while others live on.
const KEYS: u64 = 400;
const LIVE: std::ops::Range<u64> = KEYS..KEYS + 20;

fn ttl_100() -> StateTtlConfigBuilder {
    StateTtlConfig::new_builder(Duration::from_millis(100))
}

fn fill(job: &Job, key: u64) {
    job.expect(key, Op::SetNumber(key), "done");
    job.expect(key, Op::SetText(format!("text {key}")), "done");
    job.expect(key, Op::Put(7, format!("entry {key}")), "done");
    job.expect(key, Op::Push(format!("element {key}")), "done");
}

fn expect_live(job: &Job) {
    for key in LIVE {
        job.expect(key, Op::Number, &format!("Some({key})"));
        job.expect(key, Op::Text, &format!("Some(\"text {key}\")"));
        job.expect(key, Op::Entries, &format!("[(7, \"entry {key}\")]"));
        job.expect(key, Op::List, &format!("[\"element {key}\"]"));
    }
}

/// A job whose state has keys that live and many more that have expired; and the bytes of its checkpoints before these had.
fn with_expired(backend: &str, folder: &Path, ttl: &StateTtlConfigBuilder) -> (Job, u64) {
    let clock = ManualTtlTime::at(BEGIN);
    let job = Job::start(backend, folder, None, Some(&ttl.build().unwrap()), &clock);
    (0..KEYS).for_each(|key| fill(&job, key));
    clock.set(BEGIN + 60);
    LIVE.for_each(|key| fill(&job, key));
    let before = job.next_checkpoint_bytes();
    clock.set(BEGIN + 100);
    (job, before)
}

/// What the live keys may take of what all took.
fn is_small(bytes: u64, before: u64) -> bool {
    bytes > 0 && bytes < before / 8
}

#[test]
fn a_full_snapshot_leaves_out_what_has_expired_and_the_state_goes_on() {
    let ttl = ttl_100().disable_cleanup_in_background().cleanup_full_snapshot();
    for backend in ["hashmap", "filesystem, full"] {
        let folder = tempfile::tempdir().unwrap();
        let (job, before) = with_expired(backend, folder.path(), &ttl);
        let after = job.next_checkpoint_bytes();
        assert!(is_small(after, before), "{backend}: {before} bytes, then {after}");
        expect_live(&job);
        let checkpoint = job.end();
        // The clock goes back, so that what was still there would be seen.
        let clock = ManualTtlTime::at(BEGIN + 60);
        let again = tempfile::tempdir().unwrap();
        let ttl = ttl.build().unwrap();
        let job = Job::start(backend, again.path(), Some(&checkpoint), Some(&ttl), &clock);
        expect_live(&job);
        for key in 0..KEYS {
            job.expect(key, Op::Number, "None");
            job.expect(key, Op::Text, "None");
            job.expect(key, Op::IsEmpty, "true");
            job.expect(key, Op::List, "[]");
        }
        job.end();
    }
}

#[test]
fn without_a_cleanup_nothing_goes_until_it_is_read() {
    let ttl = ttl_100().disable_cleanup_in_background();
    for backend in ["hashmap", "filesystem"] {
        let folder = tempfile::tempdir().unwrap();
        let (job, before) = with_expired(backend, folder.path(), &ttl);
        expect_live(&job);
        assert_eq!(job.next_checkpoint_bytes(), before, "{backend}");
        for key in 0..KEYS {
            job.expect(key, Op::Number, "None");
            job.expect(key, Op::Text, "None");
            job.expect(key, Op::Entries, "[]");
            job.expect(key, Op::List, "[]");
        }
        let after = job.next_checkpoint_bytes();
        assert!(is_small(after, before), "{backend}: {before} bytes, then {after}");
        expect_live(&job);
        job.end();
    }
}

#[test]
fn records_that_use_the_state_clean_up_in_passing() {
    for backend in ["hashmap", "filesystem"] {
        let folder = tempfile::tempdir().unwrap();
        let (job, before) = with_expired(backend, folder.path(), &ttl_100());
        // Each looks at five cells of each state; freed places and heads of maps count, too, and pages are looked at as a whole.
        for _ in 0..KEYS * 2 {
            job.expect(LIVE.start, Op::Number, &format!("Some({})", LIVE.start));
        }
        let after = job.next_checkpoint_bytes();
        assert!(is_small(after, before), "{backend}: {before} bytes, then {after}");
        expect_live(&job);
        let checkpoint = job.end();
        let clock = ManualTtlTime::at(BEGIN + 60);
        let again = tempfile::tempdir().unwrap();
        let ttl = ttl_100().build().unwrap();
        let job = Job::start(backend, again.path(), Some(&checkpoint), Some(&ttl), &clock);
        expect_live(&job);
        job.expect(0, Op::Number, "None");
        job.end();
    }
}

#[test]
fn records_that_do_not_use_the_state_clean_up_if_that_is_wanted() {
    for (every_record, is_cleaned) in [(true, true), (false, false)] {
        let folder = tempfile::tempdir().unwrap();
        let ttl = ttl_100().cleanup_incrementally(1000, every_record);
        let (job, before) = with_expired("hashmap", folder.path(), &ttl);
        for _ in 0..20 {
            job.expect(LIVE.start, Op::Nothing, "done");
        }
        let after = job.next_checkpoint_bytes();
        assert_eq!(
            is_small(after, before),
            is_cleaned,
            "{before} bytes, then {after}"
        );
        expect_live(&job);
        job.end();
    }
}
