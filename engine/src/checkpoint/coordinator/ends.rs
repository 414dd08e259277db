//! Between and after attempts: going back to an older checkpoint, deleting what nobody knows of, and the end of the job.

use super::Event;
use super::cleaner::Clean;
use super::driver::Driver;
use crate::checkpoint::ha::JobEnd;
use crate::checkpoint::restore;
use crate::checkpoint::store::CompletedCheckpoint;
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

impl Driver {
    pub(super) fn kept(&self) -> Vec<CompletedCheckpoint> {
        let own: Vec<_> = self.core.store().iter().cloned().collect();
        if own.is_empty() {
            return self.core.store().initial().cloned().into_iter().collect();
        }
        own
    }

    pub(super) async fn go_back(&mut self) -> Result<Option<CompletedCheckpoint>> {
        // Nothing of the attempt that found the damage is under way any more.
        self.handle(Event::AttemptFailed).await;
        let kept = self.kept();
        let Some((damaged, older)) = kept.split_last() else {
            return Ok(None);
        };
        let is_own = self.core.store().contains(damaged.id());
        let (storage, older) = (Arc::clone(&self.storage), older.to_vec());
        let damaged = damaged.path.clone();
        let found = tokio::task::spawn_blocking(move || {
            let is_whole = |candidate: &CompletedCheckpoint| {
                let verified = restore::verify_bytes(storage.as_ref(), &candidate.metadata);
                if let Err(error) = &verified {
                    tracing::warn!(checkpoint = %candidate.id(), %error, "an older checkpoint is damaged too");
                }
                verified.is_ok()
            };
            if is_own {
                return older.into_iter().rev().find(is_whole);
            }
            let beside = damaged.map(|path| restore::older_than(Path::new(&path)));
            let loaded = beside.into_iter().flatten().filter_map(|path| {
                restore::load(&path)
                    .inspect_err(|error| tracing::warn!(%error, "an older checkpoint is damaged too"))
                    .ok()
            });
            loaded.into_iter().find(is_whole)
        })
        .await
        .map_err(|error| {
            Error::new(ErrorKind::Bug, "the search for a checkpoint that is whole did not come back")
                .with_source(error)
        })?;
        let Some(to) = found else {
            return Ok(None);
        };
        let lineage = to.metadata.lineage.branch(to.id());
        let own = kept.iter().filter(|_| is_own).map(CompletedCheckpoint::id);
        let retained: Vec<_> = own.filter(|id| *id <= to.id()).collect();
        let recorded = lineage.clone();
        // The pointer goes first: a crash from here on goes on from the older one, too.
        self.with_session(move |session| session.go_back(&retained, recorded))
            .await?;
        self.core.go_back(to.clone(), lineage);
        Ok(Some(to))
    }

    /// Between attempts nothing is under way, so what nobody names now was left by a crash, or its acknowledgement was lost with the last attempt.
    pub(super) async fn delete_orphans(&mut self) {
        let store = self.core.store();
        let mut retained = store.retained();
        // Files of checkpoints that were given up are not needed either: a full disk is emptied by this.
        let shared = store.needed_files(self.core.left_behind().min());
        retained.extend(self.core.left_behind());
        let next_id = self.core.next_id();
        let (storage, session) = (Arc::clone(&self.storage), Arc::clone(&self.session));
        let task = tokio::task::spawn_blocking(move || {
            let still_leads = || session.lock().unwrap_or_else(PoisonError::into_inner).check();
            storage.delete_orphans(&retained, next_id, &shared, &still_leads)
        });
        if let Ok(Err(error)) = task.await {
            tracing::warn!(%error, "files that nobody knows of could not be deleted");
        }
    }

    pub(super) async fn finish(&mut self, end: JobEnd) -> Result<()> {
        let (end, replies) = match end {
            JobEnd::Finished => self.core.finished(),
            end => (end, Vec::new()),
        };
        self.handle(Event::Cancel).await;
        // The pointer goes first: what it names is there, always.
        let kept = self.core.kept_after(end);
        self.with_session(move |session| session.finish(end, &kept))
            .await?;
        self.carry_out(replies, &mut VecDeque::new()).await;
        let actions = self.core.finish(end);
        self.carry_out(actions, &mut VecDeque::new()).await;
        let (done, cleaned) = oneshot::channel();
        self.clean(Clean::Barrier(done));
        let _ = cleaned.await;
        self.delete_orphans().await;
        let storage = Arc::clone(&self.storage);
        let removed = tokio::task::spawn_blocking(move || storage.remove_empty_folders()).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "an empty folder is left");
        }
        Ok(())
    }
}
