use super::*;
use crate::checkpoint::CheckpointingMode;

const JOB: &str = "word count";

fn open(root: &Path) -> Result<FilesystemHa> {
    FilesystemHa::open(root, "/default", JOB)
}

fn metadata(session: &FilesystemHa, id: u64) -> CheckpointMetadata {
    CheckpointMetadata {
        job_name: JOB.into(),
        job_id: session.job_id().clone(),
        id: CheckpointId(id),
        lineage: crate::checkpoint::Lineage::new(),
        attempt: 1,
        mode: CheckpointingMode::ExactlyOnce,
        epoch: id,
        timestamp_ms: 0,
        is_savepoint: false,
        operators: Vec::new(),
    }
}

fn ids(ids: &[u64]) -> Vec<CheckpointId> {
    ids.iter().copied().map(CheckpointId).collect()
}

fn publish(session: &mut FilesystemHa, id: u64, retained: &[u64]) -> Result<(), PublishError> {
    let bytes = metadata::encode(&metadata(session, id)).unwrap();
    session.publish(CheckpointId(id), &bytes, &ids(retained), CheckpointId(id + 1))
}

fn recovered(session: &FilesystemHa) -> Vec<CheckpointId> {
    session
        .recovered()
        .iter()
        .map(|checkpoint| checkpoint.metadata.id)
        .collect()
}

fn checkpoint_files(session: &FilesystemHa) -> Vec<CheckpointId> {
    let mut found: Vec<_> = fs::read_dir(session.folder().join(CHECKPOINTS))
        .unwrap()
        .map(|entry| parse_checkpoint_name(entry.unwrap().file_name().to_str().unwrap()).unwrap())
        .collect();
    found.sort();
    found
}

#[test]
fn killed_program_finds_its_checkpoints_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    assert!(session.recovered().is_empty());
    assert_eq!(session.begin_attempt(1).unwrap(), 1);
    publish(&mut session, 1, &[1]).unwrap();
    publish(&mut session, 2, &[1, 2]).unwrap();
    let job_id = session.job_id().clone();
    drop(session);

    let mut session = open(dir.path()).unwrap();
    assert_eq!(*session.job_id(), job_id);
    assert_eq!(recovered(&session), ids(&[1, 2]));
    assert_eq!(session.next_id(), CheckpointId(3));
    assert!(!session.finished());
    assert_eq!(session.begin_attempt(1).unwrap(), 2);
}

#[test]
fn attempts_rise_over_programs_and_respect_the_peers() {
    let dir = tempfile::tempdir().unwrap();
    for (at_least, expected) in [(0, 1), (1, 2), (10, 10), (3, 11)] {
        let mut session = open(dir.path()).unwrap();
        assert_eq!(session.begin_attempt(at_least).unwrap(), expected);
    }
}

#[test]
fn second_program_is_refused_and_told_who_holds_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let session = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for part in [
        JOB,
        &format!("pid {}", std::process::id()),
        "on host",
        session.folder().to_str().unwrap(),
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    // Another job, and the same name in another cluster, are free.
    FilesystemHa::open(dir.path(), "/default", "other").unwrap();
    FilesystemHa::open(dir.path(), "/other", JOB).unwrap();
    drop(session);
    open(dir.path()).unwrap();
}

#[test]
fn dropped_checkpoints_are_deleted_after_the_pointer() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    publish(&mut session, 2, &[2]).unwrap();
    assert_eq!(checkpoint_files(&session), ids(&[2]));
}

#[test]
fn bytes_without_a_pointer_are_no_checkpoint_and_go_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    let folder = session.folder().join(CHECKPOINTS);
    fs::write(folder.join(checkpoint_name(CheckpointId(2))), b"half").unwrap();
    fs::write(
        folder.join(format!(".{}.tmp", checkpoint_name(CheckpointId(3)))),
        b"ha",
    )
    .unwrap();
    drop(session);
    let session = open(dir.path()).unwrap();
    assert_eq!(recovered(&session), ids(&[1]));
    assert_eq!(checkpoint_files(&session), ids(&[1]));
}

#[test]
fn pointer_that_cannot_be_replaced_leaves_the_old_checkpoint_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    // A folder in the place of the temporary pointer.
    let in_the_way = session.folder().join(".pointer.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let failed = publish(&mut session, 2, &[2]).unwrap_err();
    assert!(!failed.unknown_outcome);
    assert_eq!(failed.error.kind(), ErrorKind::Storage);
    assert_eq!(checkpoint_files(&session), ids(&[1]));
    assert_eq!(session.begin_attempt(1).unwrap_err().kind(), ErrorKind::Storage);
    fs::remove_dir(&in_the_way).unwrap();
    // The number that may have been written is not given out again.
    assert_eq!(session.begin_attempt(1).unwrap(), 3);
    drop(session);
    assert_eq!(recovered(&open(dir.path()).unwrap()), ids(&[1]));
}

#[test]
fn beginning_an_attempt_takes_back_what_was_not_certain() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    // What a failed sync of the folder leaves: the new pointer and its bytes are there, but the session does not know.
    let before = session.pointer.clone();
    publish(&mut session, 2, &[1, 2]).unwrap();
    session.pointer = before;
    session.begin_attempt(1).unwrap();
    assert_eq!(checkpoint_files(&session), ids(&[1]));
    drop(session);
    assert_eq!(recovered(&open(dir.path()).unwrap()), ids(&[1]));
}

#[test]
fn used_numbers_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.reserve_ids(CheckpointId(17)).unwrap();
    session.reserve_ids(CheckpointId(5)).unwrap();
    drop(session);
    assert_eq!(open(dir.path()).unwrap().next_id(), CheckpointId(17));
}

#[test]
fn finished_job_stays_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    session.finish(JobEnd::Finished).unwrap();
    assert!(checkpoint_files(&session).is_empty());
    drop(session);
    let session = open(dir.path()).unwrap();
    assert!(session.finished());
    assert!(session.recovered().is_empty());
}

#[test]
fn failed_or_cancelled_job_starts_as_a_new_run() {
    for end in [JobEnd::Failed, JobEnd::Cancelled, JobEnd::Stopped] {
        let dir = tempfile::tempdir().unwrap();
        let mut session = open(dir.path()).unwrap();
        session.begin_attempt(1).unwrap();
        publish(&mut session, 1, &[1]).unwrap();
        let job_id = session.job_id().clone();
        session.finish(end).unwrap();
        drop(session);
        let mut session = open(dir.path()).unwrap();
        assert!(!session.finished());
        assert!(session.recovered().is_empty());
        assert_ne!(*session.job_id(), job_id);
        assert_eq!(session.next_id(), CheckpointId::FIRST);
        assert_eq!(session.begin_attempt(1).unwrap(), 2);
    }
}

/// The start is refused, naming the file and what can be done.
fn assert_refused(root: &Path, file: &Path) {
    let error = open(root).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Restore);
    for part in [file.to_str().unwrap(), "--from-savepoint", "move the folder"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn damaged_or_missing_pointer_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    let path = session.folder().join(POINTER);
    drop(session);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        assert_refused(dir.path(), &path);
    }
    fs::remove_file(&path).unwrap();
    assert_refused(dir.path(), &path);
    fs::write(&path, bytes).unwrap();
    assert_eq!(recovered(&open(dir.path()).unwrap()), ids(&[1]));
}

#[test]
fn damaged_missing_or_swapped_checkpoint_stops_the_start_and_is_never_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = open(dir.path()).unwrap();
    session.begin_attempt(1).unwrap();
    publish(&mut session, 1, &[1]).unwrap();
    publish(&mut session, 2, &[1, 2]).unwrap();
    let folder = session.folder().join(CHECKPOINTS);
    drop(session);
    let older = fs::read(folder.join(checkpoint_name(CheckpointId(1)))).unwrap();
    let newest = folder.join(checkpoint_name(CheckpointId(2)));
    let bytes = fs::read(&newest).unwrap();

    for len in 0..bytes.len() {
        fs::write(&newest, &bytes[..len]).unwrap();
        assert_refused(dir.path(), &newest);
    }
    fs::write(&newest, older).unwrap();
    assert_refused(dir.path(), &newest);
    fs::remove_file(&newest).unwrap();
    assert_refused(dir.path(), &newest);
    fs::write(&newest, bytes).unwrap();
    assert_eq!(recovered(&open(dir.path()).unwrap()), ids(&[1, 2]));
}

#[test]
fn storage_folder_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = open(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for part in ["high-availability.storageDir", file.to_str().unwrap()] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn names_stay_inside_their_folder_and_apart() {
    for (text, name) in [
        ("word_count-2", "word_count-2"),
        ("word count", "word%20count"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".", "%2E"),
        ("", "%"),
        ("%", "%25"),
        ("v1.2", "v1.2"),
        ("ü", "%C3%BC"),
    ] {
        assert_eq!(escape(text), name);
    }
    let (long, longer) = ("x".repeat(300), "x".repeat(301));
    assert!(escape(&long).len() < 255);
    assert_ne!(escape(&long), escape(&longer));
}

#[test]
fn checkpoint_that_a_job_resumes_from_is_known_by_its_pointer() {
    let dir = tempfile::tempdir().unwrap();
    let settings = crate::checkpoint::ha::HaSettings::Filesystem {
        storage_dir: dir.path().to_owned(),
        cluster_id: "/default".into(),
    };
    let mut session = open(dir.path()).unwrap();
    let named = metadata(&session, 3);
    session.begin_attempt(1).unwrap();
    publish(&mut session, 3, &[3]).unwrap();
    let refuse = |metadata: &CheckpointMetadata| crate::checkpoint::ha::refuse_if_named(&settings, metadata);
    assert_eq!(refuse(&named).unwrap_err().kind(), ErrorKind::Restore);
    refuse(&metadata(&session, 2)).unwrap();
    let of_another_run = CheckpointMetadata {
        job_id: JobId::random(),
        ..named.clone()
    };
    refuse(&of_another_run).unwrap();
    session.finish(JobEnd::Stopped).unwrap();
    refuse(&named).unwrap();
}
