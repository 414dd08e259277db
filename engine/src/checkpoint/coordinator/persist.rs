//! Making checkpoints and savepoints durable: the metadata first, then what names it.

use super::PersistFailure;
use crate::checkpoint::ha::HaSession;
use crate::checkpoint::storage::{CheckpointStorage, publish_savepoint};
use crate::checkpoint::{CheckpointId, CheckpointMetadata, SavepointOptions, metadata, restore};
use crate::{Error, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The hold on the job, which calls of several threads share.
pub(super) type Session = Arc<Mutex<Box<dyn HaSession>>>;

/// Publishes the metadata of a checkpoint in its folder, and has high availability name exactly `retained`.
pub(super) async fn checkpoint(
    storage: Arc<dyn CheckpointStorage>,
    session: Session,
    metadata: Arc<CheckpointMetadata>,
    retained: Vec<CheckpointId>,
    next_id: CheckpointId,
) -> Result<Option<String>, PersistFailure> {
    on_a_thread(move || {
        let still_leads = session.lock().unwrap_or_else(PoisonError::into_inner).check();
        still_leads.map_err(|error| nothing_visible(&error))?;
        let bytes = metadata::encode(&metadata).map_err(|error| nothing_visible(&error))?;
        let path = storage
            .publish_metadata(metadata.id, &bytes)
            .map_err(|error| nothing_visible(&error))?;
        publish(&session, metadata.id, &bytes, &retained, next_id)?;
        Ok(path.map(|path| path.display().to_string()))
    })
    .await
}

/// Publishes the metadata of a savepoint in its folder; with `retained`, high availability names it like a checkpoint.
pub(super) async fn savepoint(
    session: Session,
    metadata: Arc<CheckpointMetadata>,
    savepoint: SavepointOptions,
    retained: Option<(Vec<CheckpointId>, CheckpointId)>,
) -> Result<Option<String>, PersistFailure> {
    on_a_thread(move || {
        let folder = Path::new(&savepoint.folder);
        metadata::encode(&metadata)
            .and_then(|bytes| publish_savepoint(folder, &bytes))
            .map_err(|error| nothing_visible(&error))?;
        if let Some((retained, next_id)) = retained {
            // Whoever finds it by high availability does not find it by its folder.
            let absolute = restore::with_absolute_paths(&metadata, folder);
            let bytes = metadata::encode(&absolute).map_err(|error| nothing_visible(&error))?;
            publish(&session, metadata.id, &bytes, &retained, next_id)?;
        }
        Ok(Some(savepoint.folder))
    })
    .await
}

/// Has high availability name the checkpoints `retained`, of which `id` is new.
fn publish(
    session: &Session,
    id: CheckpointId,
    bytes: &[u8],
    retained: &[CheckpointId],
    next_id: CheckpointId,
) -> Result<(), PersistFailure> {
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    session
        .publish(id, bytes, retained, next_id)
        .map_err(|failed| PersistFailure {
            reason: failed.error.to_string(),
            unknown_outcome: failed.unknown_outcome,
            fenced: failed.error.kind() == ErrorKind::Fenced,
        })
}

async fn on_a_thread(
    persist: impl FnOnce() -> Result<Option<String>, PersistFailure> + Send + 'static,
) -> Result<Option<String>, PersistFailure> {
    let done = tokio::task::spawn_blocking(persist).await;
    done.unwrap_or_else(|error| {
        Err(PersistFailure {
            reason: error.to_string(),
            unknown_outcome: true,
            fenced: false,
        })
    })
}

fn nothing_visible(error: &Error) -> PersistFailure {
    PersistFailure {
        reason: error.to_string(),
        unknown_outcome: false,
        fenced: error.kind() == ErrorKind::Fenced,
    }
}
