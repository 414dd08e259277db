//! Savepoints on disk.

use super::*;
use crate::checkpoint::storage::{SavepointStorage, create_savepoint_folder};
use crate::checkpoint::{FileLocation, SavepointFormat, SavepointOptions, StopMode, restore};

/// Asks for a savepoint; returns its folder, and the answer to come.
fn ask(
    job: &Job,
    target: &Path,
    stop: Option<StopMode>,
) -> (
    String,
    tokio::task::JoinHandle<Result<(CheckpointId, Option<String>)>>,
) {
    let folder = create_savepoint_folder(target, job.handle.job_id()).unwrap();
    let kind = SnapshotKind::Savepoint(SavepointOptions {
        folder: folder.clone(),
        format: SavepointFormat::Canonical,
        stop,
    });
    let handle = job.handle.clone();
    (folder, tokio::spawn(async move { handle.trigger(kind).await }))
}

/// Does what an operator does for a savepoint.
fn snapshot(folder: &str, id: CheckpointId) -> Ack {
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let storage = SavepointStorage::new(folder, options);
    let mut stream = storage
        .open_stream(id, Scope::Exclusive, &StreamHint::default())
        .unwrap();
    stream.write(b"state").unwrap();
    ack(stream.finish().unwrap())
}

async fn started(root: &Path, session: Box<dyn HaSession>) -> Job {
    let job = job(root, settings(3_600_000), session);
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    job
}

#[tokio::test]
async fn savepoint_has_its_metadata_beside_its_files_and_names_them_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = started(&dir.path().join("c"), Box::new(NoHa::new())).await;
    let (folder, answer) = ask(&job, &dir.path().join("s"), None);
    let id = job.triggered().await;
    job.handle.acks(id, vec![snapshot(&folder, id)]);
    assert_eq!(answer.await.unwrap().unwrap(), (id, Some(folder.clone())));
    let metadata = metadata::read_file(&Path::new(&folder).join(CheckpointPaths::METADATA)).unwrap();
    assert!(metadata.is_savepoint);
    let file = metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .next()
        .unwrap();
    assert!(Path::new(&folder).join(file.owned_path().unwrap()).is_file());
    job.handle.finish(JobEnd::Finished).await.unwrap();
    assert!(restore::load(folder.as_ref()).is_ok(), "it outlives its job");
}

#[tokio::test]
async fn folder_of_a_failed_savepoint_is_gone_when_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("s");
    let mut job = started(&dir.path().join("c"), Box::new(NoHa::new())).await;
    // Its metadata cannot be written.
    let (folder, answer) = ask(&job, &target, None);
    let id = job.triggered().await;
    fs::create_dir_all(Path::new(&folder).join(CheckpointPaths::METADATA).join("x")).unwrap();
    job.handle.acks(id, vec![snapshot(&folder, id)]);
    let error = answer.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("_metadata"), "{error}");
    // Its attempt failed.
    let (folder, answer) = ask(&job, &target, Some(StopMode::Suspend));
    assert!(matches!(job.command().await, Command::Abort { id: aborted, .. } if aborted == id));
    let id = job.triggered().await;
    let _ = snapshot(&folder, id);
    job.handle.attempt_failed();
    answer.await.unwrap().unwrap_err();
    assert!(!Path::new(&folder).exists());
    // None runs.
    let (folder, answer) = ask(&job, &target, None);
    answer.await.unwrap().unwrap_err();
    assert!(!Path::new(&folder).exists());
}

#[tokio::test]
async fn killed_while_it_stops_a_job_goes_on_from_the_savepoint_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (root, ha) = (dir.path().join("c"), dir.path().join("ha"));
    let open = || Box::new(FilesystemHa::open(&ha, "/default", "job").unwrap());
    let mut job = started(&root, open()).await;
    let (folder, answer) = ask(&job, &dir.path().join("s"), Some(StopMode::Suspend));
    let id = job.triggered().await;
    job.handle.acks(id, vec![snapshot(&folder, id)]);
    // Sinks commit now, so it must be what a restart begins from.
    assert_eq!(job.command().await, Command::Complete { id });
    let kept = job.handle.kept().await.unwrap();
    assert_eq!(kept.len(), 1);
    // The coordinator ends when nobody is left who could talk to it.
    let mut stats = job.handle.stats();
    answer.abort();
    drop(job);
    while stats.changed().await.is_ok() {}
    let session = FilesystemHa::open(&ha, "/default", "job").unwrap();
    let recovered = session.recovered().last().unwrap();
    assert_eq!(recovered.metadata.id, id);
    let file = recovered
        .metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .next()
        .unwrap();
    let FileLocation::File(path) = &file.location else {
        panic!("{file:?}")
    };
    assert_eq!(fs::read(path).unwrap(), b"state");
    assert!(Path::new(path).starts_with(&folder));
}

#[tokio::test]
async fn stopped_job_answers_when_it_has_ended_and_the_next_start_is_a_new_run() {
    let dir = tempfile::tempdir().unwrap();
    let (root, ha) = (dir.path().join("c"), dir.path().join("ha"));
    let session = Box::new(FilesystemHa::open(&ha, "/default", "job").unwrap());
    let mut job = started(&root, session).await;
    let run = job.handle.job_id().clone();
    let (folder, answer) = ask(&job, &dir.path().join("s"), Some(StopMode::Drain));
    let id = job.triggered().await;
    job.handle.acks(id, vec![snapshot(&folder, id)]);
    assert_eq!(job.command().await, Command::Complete { id });
    assert_eq!(job.command().await, Command::Stop);
    assert!(!answer.is_finished());
    job.handle.finish(JobEnd::Finished).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), (id, Some(folder.clone())));
    restore::load(folder.as_ref()).unwrap();
    let session = FilesystemHa::open(&ha, "/default", "job").unwrap();
    assert!(!session.finished() && session.recovered().is_empty());
    assert_ne!(*session.job_id(), run);
}
