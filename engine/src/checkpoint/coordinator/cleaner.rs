//! Deleting beside the coordinator, so that a slow disk does not hold checkpoints up.

use crate::checkpoint::CheckpointId;
use crate::checkpoint::restore;
use crate::checkpoint::storage::{CheckpointPaths, CheckpointStorage, discard_savepoint, in_use_by_others};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// What to delete, in the order given.
#[derive(Debug)]
pub(super) enum Clean {
    Checkpoint(CheckpointId),
    /// The folder of a savepoint that came to nothing.
    Savepoint(String),
    /// A snapshot of somebody else that the job has claimed, by its metadata file.
    Claimed(String),
    Files(Vec<String>),
    /// Answered when everything before is done.
    Barrier(oneshot::Sender<()>),
}

/// Starts the task; it ends when the sender is dropped. `cleaned` is called when a checkpoint has been dealt with.
///
/// Deleting is best effort: nothing names the files any more, so a failure costs space and is logged. What another program has been started from is left to it, as
/// long as the lock on the metadata says so.
pub(super) fn spawn(
    runtime: &Handle,
    storage: Arc<dyn CheckpointStorage>,
    cleaned: impl Fn() + Send + 'static,
) -> mpsc::UnboundedSender<Clean> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    runtime.spawn(async move {
        let mut left = Vec::new();
        while let Some(clean) = receiver.recv().await {
            let storage = Arc::clone(&storage);
            let is_checkpoint = matches!(clean, Clean::Checkpoint(_));
            let known = std::mem::take(&mut left);
            let done = tokio::task::spawn_blocking(move || clean_one(storage.as_ref(), clean, known)).await;
            match done {
                Ok(still_left) => left = still_left,
                Err(error) => tracing::warn!(%error, "a deletion was not carried out"),
            }
            if is_checkpoint {
                cleaned();
            }
        }
    });
    sender
}

/// A checkpoint that is not deleted since another program needs it, and shared files that go with it.
struct Left {
    id: CheckpointId,
    metadata: PathBuf,
    needed: HashSet<String>,
    withheld: Vec<String>,
}

/// What of `left` nobody needs any more is deleted, the rest is returned.
fn clean_left(storage: &dyn CheckpointStorage, left: Vec<Left>) -> Vec<Left> {
    let (still, free): (Vec<_>, Vec<_>) = left
        .into_iter()
        .partition(|left| in_use_by_others(&left.metadata).is_some());
    for Left { id, withheld, .. } in free {
        discard_checkpoint(storage, id);
        let is_needed = |file: &String| still.iter().any(|other| other.needed.contains(file));
        discard_files(storage, withheld.into_iter().filter(|file| !is_needed(file)));
    }
    still
}

fn discard_checkpoint(storage: &dyn CheckpointStorage, id: CheckpointId) {
    if let Err(error) = storage.discard_checkpoint(id) {
        tracing::warn!(checkpoint = %id, %error, "a checkpoint that nobody needs could not be deleted");
    }
}

fn discard_files(storage: &dyn CheckpointStorage, files: impl IntoIterator<Item = String>) {
    for file in files {
        if let Err(error) = storage.discard_file(&file) {
            tracing::warn!(%file, %error, "a shared file that nobody needs could not be deleted");
        }
    }
}

fn clean_one(storage: &dyn CheckpointStorage, clean: Clean, left: Vec<Left>) -> Vec<Left> {
    let mut left = clean_left(storage, left);
    match clean {
        Clean::Checkpoint(id) => {
            let folder = storage.job_folder();
            let metadata = folder.map(|folder| {
                let folder = folder.join(CheckpointPaths::checkpoint_name(id));
                folder.join(CheckpointPaths::METADATA)
            });
            match metadata.and_then(|metadata| Some((in_use_by_others(&metadata)?, metadata))) {
                Some((needed, metadata)) => {
                    tracing::info!(checkpoint = %id, "another program was started from the checkpoint and needs it still, so it is not deleted yet");
                    let withheld = Vec::new();
                    left.push(Left {
                        id,
                        metadata,
                        needed,
                        withheld,
                    });
                }
                None => discard_checkpoint(storage, id),
            }
        }
        Clean::Savepoint(folder) => {
            if let Err(error) = discard_savepoint(Path::new(&folder)) {
                tracing::warn!(%folder, %error, "a savepoint that came to nothing could not be deleted");
            }
        }
        Clean::Claimed(metadata) => match restore::dispose(Path::new(&metadata)) {
            Ok(disposed) => {
                tracing::info!(folder = %disposed.folder.display(), "the claimed snapshot is not needed any more and was deleted");
            }
            Err(error) => {
                tracing::warn!(%metadata, %error, "a claimed snapshot that nobody needs could not be deleted");
            }
        },
        Clean::Files(files) => {
            let mut free = Vec::new();
            for file in files {
                match left.iter_mut().find(|left| left.needed.contains(&file)) {
                    Some(left) => left.withheld.push(file),
                    None => free.push(file),
                }
            }
            discard_files(storage, free);
        }
        Clean::Barrier(done) => {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
    left
}
