//! What checkpoints share.

use crate::backend::Event;
use crate::job::{Run, assert_no_orphans, checkpoints, named, only_job};

#[test]
fn nothing_is_lost_or_left_over_failures_and_a_retained_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let first = Run::new(root.path())
        .set("restart-strategy.fixed-delay.attempts", 2)
        .at_records(|number, times| {
            assert!(!matches!((number, times), (500 | 1500, 1)), "told to fail once");
            assert!(number != 2500, "told to fail");
        })
        .run();
    assert!(first.result.is_err());
    assert_eq!(checkpoints(root.path()).len(), 3);
    assert_no_orphans(root.path());
    let longest = first.events.all().into_iter().filter_map(|event| match event {
        Event::Wrote { files, .. } => Some(files.len()),
        _ => None,
    });
    assert_eq!(longest.max(), Some(5), "chains grew");

    // Another job starts from it: its own first checkpoint is whole, and it leaves the other's files alone.
    let latest = checkpoints(root.path()).pop().unwrap();
    let theirs = named(&latest);
    let second_root = tempfile::tempdir().unwrap();
    let second = Run::new(second_root.path())
        .set("execution.state-recovery.path", latest.display())
        .run();
    second.assert_exact_after(Some(&first));
    for file in theirs {
        assert!(only_job(root.path()).join(&file).exists(), "{file}");
    }
    for events in second.events.of_each() {
        let asked = events.iter().filter_map(|event| match event {
            Event::Asked { may_share, .. } => Some(*may_share),
            _ => None,
        });
        let asked: Vec<_> = asked.collect();
        assert!(!asked[0] && asked[asked.len() - 1], "{asked:?}");
        for event in &events {
            if let Event::Wrote { files, .. } = event {
                assert!(files.iter().all(|file| !file.starts_with('/')), "{files:?}");
            }
        }
    }
    assert_eq!(std::fs::read_dir(second_root.path()).unwrap().count(), 0);
}

#[test]
fn a_subtask_hears_of_a_completion_before_it_is_asked_for_the_next_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let ended = Run::new(root.path()).run();
    ended.assert_exact();
    let mut asked = 0;
    for events in ended.events.of_each() {
        let is_asked = |event: &&Event| matches!(event, Event::Asked { .. });
        let last_asked = events.iter().rev().find(is_asked).cloned();
        let mut last = None;
        for event in events {
            match event {
                // The job's last checkpoint waits for nothing.
                Event::Asked { .. } if last_asked.as_ref() == Some(&event) => last = None,
                Event::Asked { id, .. } => {
                    assert_eq!(
                        last, None,
                        "{id} is asked for, and nothing was said of the one before"
                    );
                    last = Some(id);
                    asked += 1;
                }
                Event::Completed(id) | Event::Aborted(id) => {
                    assert!(last.is_none_or(|last| last == id));
                    last = None;
                }
                Event::Opened { .. } | Event::Wrote { .. } | Event::Damaged => {}
            }
        }
    }
    assert!(asked > 10, "{asked}");
}

#[test]
fn without_incremental_checkpoints_and_with_the_old_key_every_snapshot_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let ended = Run::new(root.path())
        .set("state.backend.incremental", false)
        .run();
    ended.assert_exact();
    assert!(ended.asked().iter().all(|(_, may_share)| !may_share));
    let ended = Run::new(root.path()).run();
    assert!(ended.asked().iter().any(|(_, may_share)| *may_share));
}

#[test]
fn snapshots_in_the_memory_of_the_coordinator_are_whole() {
    let root = tempfile::tempdir().unwrap();
    let ended = Run::new(root.path())
        .set("execution.checkpointing.storage", "jobmanager")
        .at_records(|number, times| assert!((number, times) != (1500, 1), "told to fail once"))
        .run();
    ended.assert_exact();
    assert!(ended.asked().iter().all(|(_, may_share)| !may_share));
}

#[test]
fn checkpoints_that_overlap_share_and_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let ended = Run::new(root.path())
        .set("execution.checkpointing.interval", "10 ms")
        .set("execution.checkpointing.max-concurrent-checkpoints", 3)
        .set("execution.checkpointing.num-retained", 1)
        .fails_at(2900)
        .run();
    assert!(ended.result.is_err());
    assert_no_orphans(root.path());
    let latest = checkpoints(root.path()).pop().unwrap();
    let second = tempfile::tempdir().unwrap();
    Run::new(second.path())
        .set("execution.state-recovery.path", latest.display())
        .run()
        .assert_exact_after(Some(&ended));
}
