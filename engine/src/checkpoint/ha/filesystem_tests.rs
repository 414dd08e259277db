use super::*;
use crate::checkpoint::ha::pointer;
use crate::checkpoint::ha::term::newest_pointer;
use crate::checkpoint::storage::CheckpointPaths;
use crate::checkpoint::{CheckpointMetadata, CheckpointingMode, metadata};

const JOB: &str = "word count";

fn open(root: &Path) -> Result<FilesystemHa> {
    FilesystemHa::open(root, "/default", JOB)
}

fn metadata(session: &FilesystemHa, id: u64) -> CheckpointMetadata {
    CheckpointMetadata {
        job_name: JOB.into(),
        job_id: session.job_id().clone(),
        id: CheckpointId(id),
        lineage: session.lineage().clone(),
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
    let pointer = newest_pointer(session.folder()).unwrap().unwrap();
    let in_the_way = CheckpointPaths::temporary(&pointer);
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
    session.finish(JobEnd::Finished, &[]).unwrap();
    assert!(checkpoint_files(&session).is_empty());
    drop(session);
    let session = open(dir.path()).unwrap();
    assert!(session.finished());
    assert!(session.recovered().is_empty());
}

#[test]
fn failed_or_cancelled_job_starts_as_a_new_run() {
    for (end, kept) in [
        (JobEnd::Failed, vec![]),
        (JobEnd::Failed, vec![CheckpointId(1)]),
        (JobEnd::Cancelled, vec![CheckpointId(1)]),
        (JobEnd::Stopped, vec![]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut session = open(dir.path()).unwrap();
        session.begin_attempt(1).unwrap();
        publish(&mut session, 1, &[1]).unwrap();
        let job_id = session.job_id().clone();
        session.finish(end, &kept).unwrap();
        assert!(checkpoint_files(&session).is_empty());
        drop(session);
        let mut session = open(dir.path()).unwrap();
        assert!(!session.finished());
        // What it was to delete may still be there.
        assert_eq!(session.ended(), kept.is_empty().then_some(&job_id));
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
    let path = newest_pointer(session.folder()).unwrap().unwrap();
    let session_folder = &session.folder().to_owned();
    drop(session);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        assert_refused(dir.path(), &path);
    }
    fs::remove_file(&path).unwrap();
    assert_refused(dir.path(), session_folder);
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
        take_over: false,
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
    session.finish(JobEnd::Stopped, &[]).unwrap();
    refuse(&named).unwrap();
}

fn take_over(root: &Path) -> FilesystemHa {
    FilesystemHa::open_or_go_back(root, "/default", JOB, OnDamage::Fail, true).unwrap()
}

fn assert_fenced<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{what}: {error}");
    assert!(
        error.to_string().contains("taken the job over"),
        "{what}: {error}"
    );
}

#[test]
fn former_leader_can_neither_move_the_pointer_nor_delete_anything() {
    let dir = tempfile::tempdir().unwrap();
    let mut former = open(dir.path()).unwrap();
    former.begin_attempt(1).unwrap();
    publish(&mut former, 1, &[1]).unwrap();
    former.check().unwrap();
    let mut leader = take_over(dir.path());
    assert_eq!(recovered(&leader), ids(&[1]));
    assert_eq!(leader.begin_attempt(1).unwrap(), 2);
    publish(&mut leader, 2, &[1, 2]).unwrap();

    assert_fenced(former.check(), "check");
    assert_fenced(former.begin_attempt(1), "attempt");
    assert_fenced(former.reserve_ids(CheckpointId(50)), "numbers");
    let failed = publish(&mut former, 3, &[3]).unwrap_err();
    assert!(failed.unknown_outcome, "the new leader may have read it");
    assert_fenced::<()>(Err(failed.error), "checkpoint");
    assert_fenced(former.go_back(&[], Lineage::new()), "going back");
    assert_fenced(former.finish(JobEnd::Failed, &[]), "end");
    drop(former);

    leader.check().unwrap();
    publish(&mut leader, 4, &[2, 4]).unwrap();
    assert_eq!(checkpoint_files(&leader), ids(&[2, 4]));
    // The lock is the new leader's, whatever becomes of the former one.
    assert_eq!(open(dir.path()).unwrap_err().kind(), ErrorKind::Configuration);
    drop(leader);
    let session = open(dir.path()).unwrap();
    assert_eq!(recovered(&session), ids(&[2, 4]));
    assert_eq!(session.next_id(), CheckpointId(5));
}

/// What the former leader writes after the claim and before the new leader looks is read, or not; it is never told that it is complete.
#[test]
fn pointer_that_is_written_while_the_job_is_taken_over_is_not_relied_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut former = open(dir.path()).unwrap();
    former.begin_attempt(1).unwrap();
    publish(&mut former, 1, &[1]).unwrap();
    let claimed = Term::claim(former.folder()).unwrap();
    let failed = publish(&mut former, 2, &[2]).unwrap_err();
    assert!(failed.unknown_outcome);
    assert_fenced::<()>(Err(failed.error), "checkpoint");
    // Both are there: the one that the former leader relies on, and the one that the pointer names.
    assert_eq!(checkpoint_files(&former), ids(&[1, 2]));
    // The one who claimed dies before it has written anything.
    drop((former, claimed));
    let session = open(dir.path()).unwrap();
    assert_eq!(recovered(&session), ids(&[2]));
}

#[test]
fn two_who_claim_at_once_have_two_terms_and_the_higher_one_leads() {
    let dir = tempfile::tempdir().unwrap();
    let terms: Vec<Term> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Term::claim(dir.path()).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let leading = terms.iter().filter(|term| term.check().is_ok()).count();
    assert_eq!(leading, 1);
    let pointers: Vec<_> = terms.iter().map(|_| pointer::Pointer::new()).collect();
    let published: Vec<_> = terms
        .iter()
        .zip(&pointers)
        .map(|(term, pointer)| term.publish(pointer))
        .collect();
    let mut held = published
        .iter()
        .zip(&pointers)
        .filter(|(result, _)| result.is_ok());
    let (_, expected) = held.next().unwrap();
    assert!(held.next().is_none());
    let path = newest_pointer(dir.path()).unwrap().unwrap();
    assert_eq!(
        pointer::Pointer::decode(&fs::read(&path).unwrap(), &path).unwrap(),
        *expected
    );
}

#[test]
fn damaged_or_missing_pointer_gives_way_to_the_newest_checkpoint_if_that_is_wanted() {
    for damage in ["flipped", "empty", "missing"] {
        let dir = tempfile::tempdir().unwrap();
        let mut session = open(dir.path()).unwrap();
        session.begin_attempt(1).unwrap();
        publish(&mut session, 1, &[1]).unwrap();
        publish(&mut session, 2, &[1, 2]).unwrap();
        let (job_id, lineage) = (session.job_id().clone(), session.lineage().clone());
        let path = newest_pointer(session.folder()).unwrap().unwrap();
        let newest = session
            .folder()
            .join(CHECKPOINTS)
            .join(checkpoint_name(CheckpointId(2)));
        drop(session);
        match damage {
            "flipped" => {
                let mut bytes = fs::read(&path).unwrap();
                bytes[20] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
            "empty" => fs::write(&path, b"").unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let error = open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        for part in ["on-damage=previous", "checkpoint 2"] {
            assert!(error.to_string().contains(part), "{damage}: {error}");
        }
        // The newest one that is whole.
        let whole = fs::read(&newest).unwrap();
        fs::write(&newest, &whole[..whole.len() - 1]).unwrap();
        let go_back =
            || FilesystemHa::open_or_go_back(dir.path(), "/default", JOB, OnDamage::Previous, false);
        let mut session = go_back().unwrap();
        assert_eq!(recovered(&session), ids(&[1]), "{damage}");
        assert_eq!(*session.job_id(), job_id);
        assert!(session.next_id() > CheckpointId(1000), "{damage}");
        assert!(session.lineage().id().is_related(lineage.id()) && session.lineage().id() != lineage.id());
        assert!(session.begin_attempt(1).unwrap() > 1000, "{damage}");
        drop(session);
        open(dir.path()).unwrap();
    }
}
