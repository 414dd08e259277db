//! Files of checkpoints that are damaged.

use crate::backend::Event;
use crate::job::{Run, assert_no_orphans, checkpoints, damage, named, only_job};
use millpond_engine::ErrorKind;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that the newest of the retained checkpoints has and the one before has not, and the folders of both.
fn newest_file(root: &Path) -> Option<(PathBuf, PathBuf, PathBuf)> {
    let kept = checkpoints(root);
    let [.., before, newest] = kept.as_slice() else {
        return None;
    };
    let file = named(newest).difference(&named(before)).next().cloned()?;
    Some((only_job(root).join(file), newest.clone(), before.clone()))
}

/// Leaves three checkpoints of a run that failed, the newest with a file of its own.
fn left_by_a_failure(root: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let ended = Run::new(root)
        // Whole checkpoints, so that each has files of its own.
        .set("execution.checkpointing.incremental", false)
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        .fails_at(2000)
        .run();
    assert!(ended.result.is_err());
    newest_file(root).unwrap()
}

/// A run that goes on from what is below `root`, in a folder of its own.
fn from_there(root: &Path, checkpoint: &Path) -> Run {
    Run::new(root).set("execution.state-recovery.path", checkpoint.display())
}

fn with_ha(root: &Path) -> Run {
    Run::new(&root.join("checkpoints"))
        .set("high-availability.type", "filesystem")
        .set("high-availability.storageDir", root.join("ha").display())
        .set("execution.checkpointing.incremental", false)
        .set("execution.checkpointing.data-inline-threshold", "0 b")
}

/// A run that damages the newest file of its own checkpoints and then fails, so that it is restored.
///
/// A checkpoint that was nearly complete may still become the newest before the job fails. Then it is that one which is restored and has to be damaged
/// instead, and the job to fail again.
///
/// The number is how often it fails.
fn damages_itself(root: &Path, run: Run) -> (Run, Arc<AtomicUsize>) {
    let root = root.to_owned();
    let failures = Arc::new(AtomicUsize::new(0));
    let (count, events) = (Arc::clone(&failures), run.events.clone());
    // The subtasks run on several threads.
    let damaged: Mutex<Option<PathBuf>> = Mutex::new(None);
    let run = run.at_records(move |number, times| {
        let mut damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
        // Between two checkpoints there may be a moment with fewer than two of them.
        if number > 1500
            && (damaged.is_none() || times > 1)
            && !events.all().contains(&Event::Damaged)
            && let Some((file, ..)) = newest_file(&root)
            && damaged.as_ref() != Some(&file)
        {
            if let Some(before) = damaged.take() {
                // The same bit again.
                damage(&before);
            }
            damage(&file);
            *damaged = Some(file);
            count.fetch_add(1, Ordering::Relaxed);
            panic!("told to fail");
        }
    });
    (run, failures)
}

#[test]
fn damage_that_shows_while_the_job_runs_ends_it_with_the_way_out() {
    let root = tempfile::tempdir().unwrap();
    let (file, newest, before) = left_by_a_failure(root.path());
    damage(&file);
    let own = tempfile::tempdir().unwrap();
    let ended = from_there(own.path(), &newest).run();
    let error = ended.error();
    assert_eq!(
        (error.kind(), error.exit_code()),
        (ErrorKind::Damaged, 1),
        "{error}"
    );
    for part in [
        file.display().to_string(),
        "operator 'counts' (subtask".to_owned(),
        format!("({}) is damaged", quoted(&newest)),
        format!("--from-savepoint {}", quoted(&before)),
        "committed".to_owned(),
    ] {
        assert!(error.to_string().contains(&part), "{part}: {error}");
    }
    // What it says works.
    let fresh = tempfile::tempdir().unwrap();
    from_there(fresh.path(), &before).run().assert_exact();
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[test]
fn on_demand_a_job_goes_back_to_the_checkpoint_beside_the_one_it_was_started_from() {
    let root = tempfile::tempdir().unwrap();
    let (file, newest, before) = left_by_a_failure(root.path());
    damage(&file);
    let own = tempfile::tempdir().unwrap();
    let previous = || from_there(own.path(), &newest).set("execution.state-recovery.on-damage", "previous");
    let ended = previous().run();
    ended.assert_exact();
    assert_eq!(ended.finished().checkpoints.went_back, 1);
    // The metadata itself, and a file that is gone.
    let metadata = newest.join("_metadata");
    let whole = std::fs::read(&metadata).unwrap();
    damage(&metadata);
    let ended = previous().run();
    ended.assert_exact();
    assert_eq!(ended.finished().checkpoints.went_back, 1);
    let error = from_there(own.path(), &newest).run();
    assert_eq!(error.error().exit_code(), 2);
    let way_out = format!("--from-savepoint {}", quoted(&before));
    assert!(error.error().to_string().contains(&way_out), "{}", error.error());
    std::fs::write(&metadata, whole).unwrap();
    std::fs::remove_file(&file).unwrap();
    previous().run().assert_exact();
    let error = from_there(own.path(), &newest).run();
    assert_eq!(error.error().exit_code(), 2);
    assert!(error.error().to_string().contains(&way_out), "{}", error.error());
}

#[test]
fn recovery_goes_back_by_itself_while_the_job_runs() {
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(root.path())
        .set("execution.checkpointing.incremental", false)
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        .set("execution.state-recovery.on-damage", "previous");
    let (run, _) = damages_itself(root.path(), run);
    let ended = run.run();
    ended.assert_exact();
    assert_eq!(ended.finished().checkpoints.went_back, 1);
    let mut asked: Vec<u64> = ended.asked().iter().map(|(id, _)| *id).collect();
    let subtasks = 2;
    asked.sort_unstable();
    assert!(
        asked.chunk_by(|a, b| a == b).all(|same| same.len() <= subtasks),
        "a number is never used again: {asked:?}"
    );
}

#[test]
fn without_leave_to_go_back_the_same_damage_ends_the_job_and_keeps_everything() {
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(root.path())
        .set("execution.checkpointing.incremental", false)
        .set("execution.checkpointing.data-inline-threshold", "0 b")
        // What is deleted at the end of a job is not deleted at this one.
        .set(
            "execution.checkpointing.externalized-checkpoint-retention",
            "NO_EXTERNALIZED_CHECKPOINTS",
        );
    let (run, failures) = damages_itself(root.path(), run);
    let ended = run.run();
    let error = ended.error();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    let kept = checkpoints(root.path());
    assert!(kept.len() >= 2, "{kept:?}");
    let way_out = format!("--from-savepoint {}", quoted(&kept[kept.len() - 2]));
    assert!(error.to_string().contains(&way_out), "{error}");
    let opened = ended.events.of_each().len();
    // Two subtasks, which are also opened again after each failure, and once more after damage.
    assert!(
        opened <= 2 * (failures.load(Ordering::Relaxed) + 2),
        "{opened} states were opened: the restart was repeated"
    );
}

#[test]
fn when_none_is_left_to_go_back_to_the_job_ends_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (_, newest, _) = left_by_a_failure(root.path());
    for checkpoint in checkpoints(root.path()) {
        for file in named(&checkpoint) {
            damage(&only_job(root.path()).join(file));
        }
    }
    let own = tempfile::tempdir().unwrap();
    let ended = from_there(own.path(), &newest)
        .set("execution.state-recovery.on-damage", "previous")
        .run();
    let text = ended.error().to_string();
    assert!(text.contains("there is none to go back to"), "{text}");
}

#[test]
fn damage_that_the_slow_part_of_a_snapshot_finds_ends_the_attempt_as_damage() {
    let root = tempfile::tempdir().unwrap();
    let ended = {
        let folder = root.path().to_owned();
        // Each file once. A chain that is whole again soon is not read, so one after the other.
        let damaged = Mutex::new(HashSet::new());
        Run::new(root.path())
            .set("chain.verify", "writer")
            .set("execution.checkpointing.data-inline-threshold", "0 b")
            .set("execution.checkpointing.tolerable-failed-checkpoints", 1_000_000)
            .at_records(move |number, _| {
                if number > 1500 && number.is_multiple_of(20) {
                    let mut damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
                    for file in checkpoints(&folder)
                        .last()
                        .map(|newest| named(newest))
                        .unwrap_or_default()
                    {
                        if damaged.insert(file.clone()) {
                            damage(&only_job(&folder).join(file));
                        }
                    }
                }
            })
            .run()
    };
    assert_eq!(ended.error().kind(), ErrorKind::Damaged, "{}", ended.error());
}

#[test]
fn a_killed_job_goes_back_at_its_next_start_whether_metadata_or_state_is_damaged() {
    for what in ["metadata", "state", "missing"] {
        let root = tempfile::tempdir().unwrap();
        let job_root = root.path().join("checkpoints");
        // Ends in a way that leaves everything in place, as a kill does.
        let killed = with_ha(root.path()).set("execution.state-recovery.on-damage", "fail");
        let killed = damages_itself(&job_root, killed).0.run();
        assert_eq!(killed.error().kind(), ErrorKind::Damaged, "{what}");
        let kept = checkpoints(&job_root);
        let (file, ..) = newest_file(&job_root).unwrap();
        match what {
            "metadata" => {
                damage(&file);
                let copies = root.path().join("ha");
                let newest = walk(&copies).into_iter().filter(|path| {
                    path.file_name()
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .starts_with("completedCheckpoint-")
                });
                damage(&newest.max().unwrap());
            }
            "missing" => std::fs::remove_file(&file).unwrap(),
            _ => {}
        }
        let refused = with_ha(root.path()).run();
        let text = refused.error().to_string();
        assert!(text.contains("on-damage=previous"), "{what}: {text}");
        assert_eq!(
            refused.error().exit_code(),
            if what == "state" { 1 } else { 2 },
            "{what}"
        );
        assert_eq!(checkpoints(&job_root), kept, "{what}: nothing is thrown away");

        let ended = with_ha(root.path())
            .set("execution.state-recovery.on-damage", "previous")
            .at_records(|number, _| assert!(number != 2900, "told to fail"))
            .set("restart-strategy.type", "none")
            .run();
        assert!(
            ended.error().to_string().contains("told to fail"),
            "{what}: {}",
            ended.error()
        );
        assert!(
            ended.events.all().contains(&Event::Opened { handles: 1 }),
            "{what}"
        );
        assert_no_orphans(&job_root);
        let lowest = ended.asked().iter().map(|(id, _)| *id).min().unwrap();
        let highest = killed.asked().iter().map(|(id, _)| *id).max().unwrap();
        assert!(lowest > highest, "{what}: a number is never used again");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}
