//! The same with the filesystem backend that is built in.

use crate::job::{Run, assert_no_orphans, checkpoints, damage, named, only_job};
use millpond_engine::ErrorKind;
use std::path::Path;

fn run(root: &Path) -> Run {
    Run::new(root)
        .set("state.backend.type", "filesystem")
        .set("execution.checkpointing.data-inline-threshold", "0 b")
}

#[test]
fn increments_are_shared_restored_and_cleaned_up() {
    for threshold in ["0 b", "1 kb", "1 mb"] {
        let root = tempfile::tempdir().unwrap();
        let first = run(root.path())
            .set("execution.checkpointing.data-inline-threshold", threshold)
            .set("restart-strategy.fixed-delay.attempts", 2)
            .at_records(|number, times| {
                assert!(!matches!((number, times), (500 | 1500, 1)), "told to fail once");
                assert!(number != 2500, "told to fail");
            })
            .run();
        assert!(
            first.error().to_string().contains("told to fail"),
            "{}",
            first.error()
        );
        assert_no_orphans(root.path());
        let latest = checkpoints(root.path()).pop().unwrap();
        let second_root = tempfile::tempdir().unwrap();
        run(second_root.path())
            .set("execution.state-recovery.path", latest.display())
            .run()
            .assert_exact_after(Some(&first));
    }
}

#[test]
fn damage_ends_the_job_or_has_it_go_back() {
    let root = tempfile::tempdir().unwrap();
    let first = run(root.path())
        .set("execution.checkpointing.incremental", false)
        .fails_at(2000)
        .run();
    assert!(first.result.is_err());
    let kept = checkpoints(root.path());
    let newest = kept.last().unwrap();
    for file in named(newest) {
        let path = only_job(root.path()).join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let own = tempfile::tempdir().unwrap();
    let again = || run(own.path()).set("execution.state-recovery.path", newest.display());
    let failed = again().run();
    let text = failed.error().to_string();
    assert!(
        matches!(failed.error().kind(), ErrorKind::Damaged | ErrorKind::Restore),
        "{text}"
    );
    assert!(
        text.contains("is damaged") && text.contains("--from-savepoint"),
        "{text}"
    );
    let ended = again()
        .set("execution.state-recovery.on-damage", "previous")
        .run();
    ended.assert_exact_after(Some(&first));
    assert_eq!(ended.finished().checkpoints.went_back, 1);
    damage(&newest.join("_metadata"));
    again()
        .set("execution.state-recovery.on-damage", "previous")
        .run()
        .assert_exact_after(Some(&first));
}
