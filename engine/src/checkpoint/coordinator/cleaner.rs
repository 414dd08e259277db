//! Deleting beside the coordinator, so that a slow disk does not hold checkpoints up.

use crate::checkpoint::CheckpointId;
use crate::checkpoint::restore;
use crate::checkpoint::storage::{CheckpointStorage, discard_savepoint};
use std::path::Path;
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

/// Starts the task; it ends when the sender is dropped.
///
/// Deleting is best effort: nothing names the files any more, so a failure costs space and is logged.
pub(super) fn spawn(runtime: &Handle, storage: Arc<dyn CheckpointStorage>) -> mpsc::UnboundedSender<Clean> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    runtime.spawn(async move {
        while let Some(clean) = receiver.recv().await {
            let storage = Arc::clone(&storage);
            let done = tokio::task::spawn_blocking(move || clean_one(storage.as_ref(), clean)).await;
            if let Err(error) = done {
                tracing::warn!(%error, "a deletion was not carried out");
            }
        }
    });
    sender
}

fn clean_one(storage: &dyn CheckpointStorage, clean: Clean) {
    match clean {
        Clean::Checkpoint(id) => {
            if let Err(error) = storage.discard_checkpoint(id) {
                tracing::warn!(checkpoint = %id, %error, "a checkpoint that nobody needs could not be deleted");
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
            for file in files {
                if let Err(error) = storage.discard_file(&file) {
                    tracing::warn!(%file, %error, "a shared file that nobody needs could not be deleted");
                }
            }
        }
        Clean::Barrier(done) => {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}
