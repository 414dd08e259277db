use super::*;
use crate::checkpoint::coordinator::{CoordinatorConfig, CoordinatorHandle, OperatorInfo, spawn};
use crate::checkpoint::ha::{FilesystemHa, NoHa};
use crate::checkpoint::metadata;
use crate::checkpoint::storage::{CheckpointPaths, FileStorage, FileStorageOptions, Scope, StreamHint};
use crate::checkpoint::{
    Ack, CheckpointSettings, Command, FileRef, KeyedHandle, OperatorId, Retention, SubtaskSnapshot,
};
use std::fs;
use std::path::Path;
use tokio::runtime::Handle;

#[path = "driver_tests/savepoints.rs"]
mod savepoints;

/// A coordinator over real files, with the test in the place of the dataflow.
struct Job {
    handle: CoordinatorHandle,
    outputs: mpsc::UnboundedReceiver<Output>,
    storage: Arc<FileStorage>,
}

fn job(root: &Path, settings: CheckpointSettings, session: Box<dyn HaSession>) -> Job {
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let storage = Arc::new(FileStorage::new(root, session.job_id(), options).unwrap());
    let (sender, outputs) = mpsc::unbounded_channel();
    let config = CoordinatorConfig {
        job_name: "job".into(),
        settings,
        storage: Arc::clone(&storage) as Arc<dyn CheckpointStorage>,
        session,
        initial: None,
        claimed: None,
        went_back: 0,
    };
    let handle = spawn(&Handle::current(), config, move |output| {
        let _ = sender.send(output);
    })
    .unwrap();
    Job {
        handle,
        outputs,
        storage,
    }
}

fn settings(interval_ms: u64) -> CheckpointSettings {
    CheckpointSettings {
        interval: Some(Duration::from_millis(interval_ms)),
        ..CheckpointSettings::default()
    }
}

fn plan() -> Vec<OperatorInfo> {
    vec![OperatorInfo {
        id: OperatorId::new("a"),
        name: "A".into(),
        parallelism: 1,
        max_parallelism: 128,
        sources: Vec::new(),
    }]
}

impl Job {
    async fn command(&mut self) -> Command {
        match self.outputs.recv().await {
            Some(Output::Command(command)) => command,
            other => panic!("{other:?}"),
        }
    }

    async fn triggered(&mut self) -> CheckpointId {
        match self.command().await {
            Command::Trigger { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Does what an operator does.
    fn snapshot(&self, id: CheckpointId, state: &[u8]) -> Ack {
        let mut stream = self
            .storage
            .open_stream(id, Scope::Exclusive, &StreamHint::default())
            .unwrap();
        stream.write(state).unwrap();
        ack(stream.finish().unwrap())
    }

    fn metadata_path(&self, id: CheckpointId) -> std::path::PathBuf {
        self.storage.paths().metadata(id)
    }
}

fn ack(file: FileRef) -> Ack {
    let mut snapshot = SubtaskSnapshot::empty(OperatorId::new("a"), "A", 0);
    snapshot.keyed.push(KeyedHandle {
        backend: "b".into(),
        key_groups: (0, 127),
        kind: "full".into(),
        state_bytes: file.size,
        new_bytes: file.size,
        files: vec![file],
        payload: Vec::new(),
    });
    Ack::Snapshot(snapshot)
}

#[tokio::test]
async fn metadata_is_on_disk_before_operators_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(5), Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    assert_eq!((start.attempt, start.first_epoch), (1, 1));
    assert!(start.restored.is_none());
    job.handle.attempt_started(start.attempt, plan());

    let id = job.triggered().await;
    job.handle.acks(id, vec![job.snapshot(id, b"state")]);
    assert_eq!(job.command().await, Command::Complete { id });
    let metadata = metadata::read_file(&job.metadata_path(id)).unwrap();
    assert_eq!((metadata.id, metadata.attempt), (id, 1));
    assert_eq!(metadata.state_bytes(), 5);

    let mut stats = job.handle.stats();
    let stats = stats.wait_for(|stats| stats.completed == 1).await.unwrap();
    assert_eq!(stats.last_completed_id, Some(id));
    assert_eq!(stats.last_size_bytes, 5);
    let path = job.metadata_path(id).display().to_string();
    assert_eq!(stats.last_path.as_deref(), Some(path.as_str()));
}

#[tokio::test]
async fn next_attempt_begins_from_the_checkpoint_that_was_just_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(5), Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    let id = job.triggered().await;
    job.handle.acks(id, vec![job.snapshot(id, b"state")]);
    job.handle.attempt_failed();
    let start = job.handle.begin_attempt(7).await.unwrap();
    assert_eq!(start.attempt, 7);
    assert_eq!(start.first_epoch, id.0 + 1);
    assert_eq!(start.restored.unwrap().id(), id);
    job.handle.attempt_started(start.attempt, plan());
    loop {
        match job.command().await {
            Command::Trigger { id: next, .. } => break assert!(next > id),
            // Sent before the attempt failed.
            Command::Complete { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn subsumed_checkpoints_are_deleted_and_the_end_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(5), Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    let mut last = None;
    for _ in 0..3 {
        let id = job.triggered().await;
        job.handle.acks(id, vec![job.snapshot(id, b"state")]);
        assert_eq!(job.command().await, Command::Complete { id });
        last = Some(id);
    }
    job.handle.finish(JobEnd::Finished).await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{last:?}");
    let gone = job.handle.begin_attempt(1).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn cancelled_job_keeps_its_newest_checkpoint_if_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(5);
    settings.retention = Retention::RetainOnCancellation;
    let mut job = job(dir.path(), settings, Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    for _ in 0..2 {
        let id = job.triggered().await;
        job.handle.acks(id, vec![job.snapshot(id, b"state")]);
        assert_eq!(job.command().await, Command::Complete { id });
    }
    job.handle.finish(JobEnd::Cancelled).await.unwrap();
    let names: Vec<_> = fs::read_dir(job.storage.paths().job())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        names,
        [CheckpointPaths::checkpoint_name(CheckpointId(2)).as_str()]
    );
}

#[tokio::test]
async fn metadata_that_cannot_be_written_fails_the_attempt_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(5), Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    let id = job.triggered().await;
    let ack = job.snapshot(id, b"state");
    // A folder in the place of the file.
    fs::create_dir_all(job.metadata_path(id).join("x")).unwrap();
    job.handle.acks(id, vec![ack]);
    assert!(matches!(job.command().await, Command::Abort { id: aborted, .. } if aborted == id));
    match job.outputs.recv().await {
        Some(Output::Fail(error)) => {
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.to_string().contains("_metadata"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn checkpoint_on_request_comes_back_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(3_600_000), Box::new(NoHa::new()));
    let early = job.handle.trigger(SnapshotKind::Checkpoint).await.unwrap_err();
    assert!(early.to_string().contains("not all subtasks run"), "{early}");

    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    let handle = job.handle.clone();
    let asked = tokio::spawn(async move { handle.trigger(SnapshotKind::Checkpoint).await });
    let id = job.triggered().await;
    job.handle.acks(id, vec![job.snapshot(id, b"state")]);
    let (found, path) = asked.await.unwrap().unwrap();
    assert_eq!(found, id);
    assert_eq!(path.unwrap(), job.metadata_path(id).display().to_string());
}

#[tokio::test]
async fn end_of_input_completes_then_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(3_600_000), Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    job.handle.all_sources_finished();
    let id = job.triggered().await;
    job.handle.acks(id, vec![job.snapshot(id, b"state")]);
    assert_eq!(job.command().await, Command::Complete { id });
    assert_eq!(job.command().await, Command::Stop);
}

#[tokio::test]
async fn killed_program_goes_on_from_what_was_complete_and_leaves_no_orphans() {
    let dir = tempfile::tempdir().unwrap();
    let (checkpoints, ha) = (dir.path().join("checkpoints"), dir.path().join("ha"));
    let session = || Box::new(FilesystemHa::open(&ha, "/default", "job").unwrap());
    let mut first = job(&checkpoints, settings(5), session());
    let start = first.handle.begin_attempt(1).await.unwrap();
    first.handle.attempt_started(start.attempt, plan());
    let complete = first.triggered().await;
    first
        .handle
        .acks(complete, vec![first.snapshot(complete, b"state")]);
    assert_eq!(first.command().await, Command::Complete { id: complete });
    // The next one is under way when the program dies.
    let lost = first.triggered().await;
    first.snapshot(lost, b"lost");
    let Job {
        handle,
        mut outputs,
        storage,
    } = first;
    drop(handle);
    while outputs.recv().await.is_some() {}
    assert!(storage.paths().checkpoint(lost).is_dir());

    let mut second = job(&checkpoints, settings(5), session());
    let start = second.handle.begin_attempt(1).await.unwrap();
    assert_eq!(start.attempt, 2);
    let restored = start.restored.unwrap();
    assert_eq!(restored.id(), complete);
    let file = restored
        .metadata
        .subtasks()
        .flat_map(|subtask| subtask.files())
        .next()
        .unwrap()
        .clone();
    let state = crate::checkpoint::storage::read_all(second.storage.as_ref(), &file).unwrap();
    assert_eq!(state, b"state");
    assert!(!second.storage.paths().checkpoint(lost).exists());
    second.handle.attempt_started(start.attempt, plan());
    assert!(second.triggered().await > lost, "a number never comes twice");

    second.handle.finish(JobEnd::Finished).await.unwrap();
    assert_eq!(fs::read_dir(&checkpoints).unwrap().count(), 0);
    assert!(session().finished());
}

fn shared_file(job: &Job, id: CheckpointId) -> FileRef {
    let mut stream = job
        .storage
        .open_stream(id, Scope::Shared, &StreamHint::default())
        .unwrap();
    stream.write(b"shared").unwrap();
    stream.finish().unwrap()
}

fn shared_names(job: &Job) -> usize {
    fs::read_dir(job.storage.paths().shared()).map_or(0, Iterator::count)
}

#[tokio::test]
async fn shared_files_whose_acknowledgement_was_lost_with_the_attempt_are_deleted_before_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), settings(5), Box::new(NoHa::new()));
    let start = job.handle.begin_attempt(1).await.unwrap();
    job.handle.attempt_started(start.attempt, plan());
    let complete = job.triggered().await;
    let named = shared_file(&job, complete);
    job.handle.acks(complete, vec![ack(named.clone())]);
    assert_eq!(job.command().await, Command::Complete { id: complete });
    let lost = job.triggered().await;
    shared_file(&job, lost);
    assert_eq!(shared_names(&job), 2);

    job.handle.attempt_failed();
    job.handle.begin_attempt(2).await.unwrap();
    assert_eq!(shared_names(&job), 1);
    assert!(job.storage.local_path(&named).unwrap().exists());
}

#[tokio::test]
async fn the_end_of_a_job_leaves_only_what_its_retained_checkpoints_name() {
    for (retention, left) in [
        (Retention::RetainOnCancellation, 1),
        (Retention::NoExternalized, 0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let settings = CheckpointSettings {
            retention,
            ..settings(5)
        };
        let mut job = job(dir.path(), settings, Box::new(NoHa::new()));
        let start = job.handle.begin_attempt(1).await.unwrap();
        job.handle.attempt_started(start.attempt, plan());
        let complete = job.triggered().await;
        let named = shared_file(&job, complete);
        job.handle.acks(complete, vec![ack(named)]);
        assert_eq!(job.command().await, Command::Complete { id: complete });
        let lost = job.triggered().await;
        shared_file(&job, lost);
        job.handle.finish(JobEnd::Cancelled).await.unwrap();
        assert_eq!(shared_names(&job), left, "{retention:?}");
    }
}
