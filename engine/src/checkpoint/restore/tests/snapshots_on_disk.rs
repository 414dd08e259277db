//! Several snapshots in a folder: which is the latest, and what goes with one that is deleted.

use super::*;
use crate::checkpoint::FileLocation;
use crate::checkpoint::hold::SnapshotHold;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Writes a snapshot into `folder` that names `files` (paths that start at `base`), each of which is made if it is missing.
fn write(base: &Path, folder: &Path, id: u64, timestamp_ms: u64, is_savepoint: bool, files: &[&str]) {
    let mut stored = operator("op", 1, 128, &[]);
    stored.subtasks[0].keyed[0].files = files
        .iter()
        .map(|name| {
            let path = base.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "state").unwrap();
            FileRef {
                location: FileLocation::File((*name).into()),
                shared: name.starts_with("shared/"),
                ..FileRef::inline(b"state".to_vec())
            }
        })
        .collect();
    let metadata = CheckpointMetadata {
        id: CheckpointId(id),
        timestamp_ms,
        is_savepoint,
        ..snapshot(vec![stored])
    };
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("_metadata"), metadata::encode(&metadata).unwrap()).unwrap();
}

fn checkpoint(job: &Path, id: u64, timestamp_ms: u64, files: &[&str]) -> PathBuf {
    let folder = job.join(format!("chk-{id}"));
    write(job, &folder, id, timestamp_ms, false, files);
    folder
}

fn savepoint(target: &Path, name: &str, id: u64, timestamp_ms: u64, files: &[&str]) -> PathBuf {
    let folder = target.join(name);
    write(&folder, &folder, id, timestamp_ms, true, files);
    folder
}

fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(
                files_below(&entry.path())
                    .iter()
                    .map(|below| format!("{name}/{below}")),
            );
        } else {
            found.insert(name);
        }
    }
    found
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn latest_is_the_highest_number_of_a_job_and_the_last_one_triggered_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("c/a"), dir.path().join("c/b"));
    checkpoint(&a, 9, 300, &[]);
    checkpoint(&a, 10, 100, &[]);
    checkpoint(&b, 2, 200, &[]);
    // Not complete.
    fs::create_dir_all(b.join("chk-11")).unwrap();
    let savepoints = dir.path().join("s");
    savepoint(&savepoints, "savepoint-012345-a", 7, 50, &[]);
    savepoint(&savepoints, "savepoint-012345-b", 3, 60, &[]);
    fs::create_dir_all(savepoints.join("savepoint-012345-c")).unwrap();
    for (folder, expected) in [
        (&a, a.join("chk-10")),
        (&b, b.join("chk-2")),
        (&dir.path().join("c"), b.join("chk-2")),
        (&savepoints, savepoints.join("savepoint-012345-b")),
    ] {
        let found = locate(&folder.join("latest")).unwrap();
        assert_eq!(found, expected.join("_metadata"), "{}", folder.display());
    }
    // Something of that name is itself.
    let named = checkpoint(&dir.path().join("named"), 1, 0, &[]);
    let latest = named.with_file_name("latest");
    fs::rename(named, &latest).unwrap();
    assert_eq!(locate(&latest).unwrap(), latest.join("_metadata"));
}

#[test]
fn latest_of_nothing_and_latest_that_cannot_be_told_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for folder in [dir.path().to_owned(), dir.path().join("missing")] {
        let error = locate(&folder.join("latest")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
    }
    savepoint(dir.path(), "savepoint-012345-a", 7, 50, &[]);
    let damaged = savepoint(dir.path(), "savepoint-012345-b", 8, 60, &[]);
    fs::write(damaged.join("_metadata"), "no metadata").unwrap();
    let error = locate(&dir.path().join("latest")).unwrap_err();
    assert!(error.to_string().contains(damaged.to_str().unwrap()), "{error}");
}

#[test]
fn savepoint_is_disposed_of_with_its_folder_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let other = savepoint(dir.path(), "savepoint-012345-a", 7, 50, &["x"]);
    let folder = savepoint(dir.path(), "savepoint-012345-b", 8, 60, &["x", "y"]);
    let disposed = dispose(&folder).unwrap();
    assert_eq!((disposed.files, disposed.folder_left), (3, false));
    assert!(!folder.exists());
    assert_eq!(files_below(&other), names(&["_metadata", "x"]));
    // What somebody has put there is not the savepoint's.
    fs::write(other.join("notes"), "mine").unwrap();
    let disposed = dispose(&other).unwrap();
    assert!(disposed.folder_left);
    assert_eq!(files_below(&other), names(&["notes"]));
}

#[test]
fn checkpoint_is_disposed_of_without_the_files_that_others_name() {
    let dir = tempfile::tempdir().unwrap();
    let job = dir.path().join("job");
    let first = checkpoint(&job, 1, 0, &["chk-1/a", "shared/both", "shared/first"]);
    let second = checkpoint(&job, 2, 0, &["chk-2/b", "shared/both"]);
    let disposed = dispose(&first).unwrap();
    assert_eq!((disposed.files, disposed.shared_left), (3, 1));
    assert_eq!(
        files_below(&job),
        names(&["chk-2/_metadata", "chk-2/b", "shared/both"])
    );
    dispose(&second.join("_metadata")).unwrap();
    assert_eq!(files_below(&job), BTreeSet::new());
    assert!(!job.join("shared").exists() && !second.exists());
}

#[test]
fn checkpoint_beside_a_damaged_one_leaves_all_shared_files() {
    let dir = tempfile::tempdir().unwrap();
    let first = checkpoint(dir.path(), 1, 0, &["shared/first"]);
    let second = checkpoint(dir.path(), 2, 0, &[]);
    fs::write(second.join("_metadata"), "damaged").unwrap();
    let disposed = dispose(&first).unwrap();
    assert_eq!((disposed.files, disposed.shared_left), (1, 1));
    assert!(dir.path().join("shared/first").exists());
}

#[test]
fn what_is_no_snapshot_or_reaches_out_of_its_folder_or_is_in_use_is_not_disposed_of() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |folder: &Path, part: &str| {
        let before = files_below(dir.path());
        let error = dispose(folder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(files_below(dir.path()), before);
    };
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("file"), "").unwrap();
    refused(&plain, "_metadata");
    refused(&dir.path().join("missing"), "missing");
    fs::write(
        plain.join("_metadata"),
        "no metadata at all, but long enough to be one",
    )
    .unwrap();
    refused(&plain, "plain/_metadata");
    let outside = savepoint(dir.path(), "savepoint-012345-a", 7, 50, &["../victim"]);
    refused(&outside, "../victim");
    let used = savepoint(dir.path(), "savepoint-012345-b", 7, 50, &["x"]);
    let hold = SnapshotHold::shared(&used.join("_metadata")).unwrap();
    refused(&used, "in use");
    drop(hold);
    dispose(&used).unwrap();
}
