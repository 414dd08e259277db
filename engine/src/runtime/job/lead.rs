//! The coordinator's side of a job, in the first process only: what attempts start from, and what follows when a checkpoint is damaged.

use super::damage::{self, DamageLog, Files, Finding, Verdict};
use super::prepare::Prepared;
use super::shared::JobShared;
use crate::checkpoint::coordinator::{self, CoordinatorConfig, CoordinatorHandle, Output};
use crate::checkpoint::ha;
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::metadata;
use crate::checkpoint::storage::CheckpointStorage;
use crate::checkpoint::store::{CompletedCheckpoint, shared_files};
use crate::checkpoint::{CheckpointId, JobId, Lineage, OperatorId};
use crate::cluster::{AttemptControl, AttemptNumber, AttemptPlan, FailureCause};
use crate::config::OnDamage;
use crate::runtime::control::CommandInlet;
use crate::{Error, ErrorKind, Result, codec};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

/// What the coordinator's process tells the others of an attempt beside the checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AttemptExtra {
    pub(super) first_epoch: u64,
    pub(super) lineage: Lineage,
    /// The splits of each source at a fresh start, by uid.
    pub(super) splits: Vec<(String, Vec<Vec<u8>>)>,
}

/// The way from the coordinator into the attempt that runs.
#[derive(Default)]
pub(super) struct Route {
    pub(super) inlet: Option<Arc<CommandInlet>>,
    pub(super) control: Option<AttemptControl>,
}

/// The coordinator's side, in the first process only.
pub(super) struct Lead {
    pub(super) coordinator: CoordinatorHandle,
    pub(super) storage: Arc<dyn CheckpointStorage>,
    pub(super) damage: DamageLog,
    pub(super) route: Arc<Mutex<Route>>,
    pub(super) splits: Option<Vec<(String, Vec<Vec<u8>>)>>,
    pub(super) checked_sinks: bool,
}

/// What follows an attempt that has ended, or could not begin.
pub(super) enum Next {
    /// Another one, at once.
    Attempt,
    /// The end of the job.
    End(Error),
    /// What the restart strategy says of this failure.
    Failure(Error),
}

/// Deletes what an earlier run of the job has left besides the checkpoints that can be restored. Whether it was done: where one of them cannot be read,
/// nobody knows what it needs.
fn sweep(session: &dyn ha::HaSession, storage: &dyn CheckpointStorage) -> bool {
    if !session.unreadable().is_empty() {
        return false;
    }
    let kept = session.recovered();
    let retained: Vec<CheckpointId> = kept.iter().map(|recovered| recovered.metadata.id).collect();
    let shared = shared_files(kept.iter().map(|recovered| &*recovered.metadata));
    let swept = storage.delete_orphans(&retained, CheckpointId(u64::MAX), &shared, &|| session.check());
    if let Err(error) = &swept {
        tracing::warn!(%error, "what an earlier run has left could not be deleted");
    }
    swept.is_ok()
}

/// Deletes all checkpoints of a run of the job that has ended and keeps none, but those that other programs need. Best effort; the next start tries again.
pub(super) fn delete_run(prepared: &Prepared, session: &dyn ha::HaSession, run: &JobId, runtime: &Runtime) {
    let storage = prepared.storage.storage(run, runtime.handle());
    let deleted = storage.and_then(|storage| {
        storage.delete_orphans(&[], CheckpointId(u64::MAX), &HashSet::new(), &|| session.check())?;
        storage.remove_empty_folders()
    });
    if let Err(error) = deleted {
        tracing::warn!(%error, "checkpoints of a run that has ended could not be deleted");
    }
}

impl Lead {
    pub(super) fn new(
        prepared: &Prepared,
        session: Box<dyn ha::HaSession>,
        runtime: &Runtime,
        shared: &JobShared,
    ) -> Result<Self> {
        if let Some(run) = session.ended() {
            // What the job is told to start from is not deleted under it, whoever it belonged to.
            let _needed = prepared.initial.as_ref().and_then(|initial| {
                let metadata = initial.path.as_deref()?;
                SnapshotHold::shared(Path::new(metadata)).ok()
            });
            delete_run(prepared, session.as_ref(), run, runtime);
        }
        let storage = prepared.storage.storage(session.job_id(), runtime.handle())?;
        if let Err(error) = storage.probe() {
            // What a killed run has left may be what takes the room.
            if !sweep(session.as_ref(), storage.as_ref()) {
                return Err(error);
            }
            storage.probe()?;
        }
        for recovered in session.recovered().iter().rev().take(1) {
            prepared.restore_plan(&recovered.metadata)?;
        }
        let route = Arc::new(Mutex::new(Route::default()));
        let output = Arc::clone(&route);
        let found = session.recovered().last().map(|recovered| recovered.metadata.id);
        match (&prepared.initial, &prepared.initial_error) {
            (None, Some(error)) if found.is_none() => {
                return Err(Error::new(error.kind(), error.to_string()));
            }
            (None, None) => {}
            _ if found.is_some() => tracing::info!(
                "the job goes on from its own latest checkpoint, not from the snapshot that it was told to start from"
            ),
            _ => {}
        }
        // Not in a later start: a path such as `<folder>/latest` may be another snapshot by now.
        let claimed = prepared
            .initial
            .as_ref()
            .filter(|_| prepared.claims && found.is_none());
        if let Some(initial) = claimed {
            ha::refuse_if_named(&prepared.ha, &initial.metadata)?;
        }
        let claimed = claimed.and_then(|initial| initial.path.clone());
        let passed_over = session.unreadable().iter().any(|id| Some(*id) > found);
        let config = CoordinatorConfig {
            job_name: prepared.job_name.clone(),
            settings: prepared.checkpoints.clone(),
            storage: Arc::clone(&storage),
            went_back: u64::from(passed_over) + prepared.went_back,
            session,
            initial: prepared.initial.clone(),
            claimed: claimed.map(PathBuf::from),
        };
        #[cfg(test)]
        let job_name = prepared.job_name.clone();
        let coordinator = coordinator::spawn(runtime.handle(), config, move |what| {
            let route = output.lock().unwrap_or_else(PoisonError::into_inner);
            match what {
                #[cfg(test)]
                Output::Command(command) if super::lost::loses(&job_name, &command) => {}
                Output::Command(command) => {
                    if let Some(inlet) = &route.inlet {
                        inlet.send(command);
                    }
                }
                Output::Fail(error) => {
                    if let Some(control) = &route.control {
                        control.fail(FailureCause::of(&error));
                    }
                }
            }
        })?;
        shared.set_stats(coordinator.stats());
        Ok(Self {
            coordinator,
            storage,
            damage: DamageLog::default(),
            route,
            splits: None,
            checked_sinks: false,
        })
    }

    /// Decides what the next attempt starts from.
    pub(super) fn plan_attempt(
        &mut self,
        prepared: &Prepared,
        runtime: &Runtime,
        floor: AttemptNumber,
    ) -> Result<AttemptPlan> {
        let start = runtime.block_on(self.coordinator.begin_attempt(floor.0))?;
        let mut extra = AttemptExtra {
            first_epoch: start.first_epoch,
            lineage: start.lineage,
            splits: Vec::new(),
        };
        let restore = match &start.restored {
            Some(restored) => {
                // Nothing runs yet: it is refused, unless there is another one.
                damage::verify_lengths(&prepared.storage, self.storage.as_ref(), restored)
                    .map_err(|error| Error::new(ErrorKind::Restore, error.to_string()))?;
                let place = restored.path.as_deref().unwrap_or("memory");
                tracing::info!(
                    "attempt {} starts from checkpoint {} ({place})",
                    start.attempt,
                    restored.id()
                );
                let knows = |uid: &str| {
                    let id = OperatorId::new(uid);
                    restored.metadata.operator(&id).is_some()
                };
                extra.splits = self.splits_of(prepared, |uid| !knows(uid))?;
                Some(metadata::encode(&restored.metadata)?)
            }
            None => {
                tracing::info!(
                    "attempt {} starts empty: there is no checkpoint yet",
                    start.attempt
                );
                if !std::mem::replace(&mut self.checked_sinks, true) {
                    prepared.check_fresh_start()?;
                }
                extra.splits = self.splits_of(prepared, |_| true)?;
                None
            }
        };
        Ok(AttemptPlan {
            attempt: AttemptNumber(start.attempt),
            job_id: self.coordinator.job_id().as_str().to_owned(),
            restore,
            extra: codec::to_vec(&extra)?,
        })
    }

    /// Decides what follows a report of damage.
    pub(super) fn answer_damage(
        &mut self,
        prepared: &Prepared,
        runtime: &Runtime,
        cause: Error,
    ) -> Result<Next> {
        let kept = runtime.block_on(self.coordinator.kept())?;
        let verified = kept.last().map_or(Ok(()), |latest| {
            damage::drop_local_copies(self.storage.as_ref(), &latest.metadata);
            damage::verify(&prepared.storage, self.storage.as_ref(), latest)
        });
        let verdict = self.damage.judge(&Finding {
            checkpoint: kept.last().map(CompletedCheckpoint::id),
            text: cause.message(),
            at_start: cause.kind() == ErrorKind::Restore,
            files: Files::of(&verified),
        });
        match verdict {
            Verdict::RefuseJob => return Ok(Next::Failure(cause)),
            // Not as a refusal, which would end the job.
            Verdict::RestartFromIt => {
                return Ok(Next::Failure(Error::new(ErrorKind::Damaged, cause.to_string())));
            }
            Verdict::GiveItUp => {}
        }
        let cause = match verified {
            Err(error) if !cause.to_string().contains(error.message()) => {
                Error::new(cause.kind(), format!("{cause}; {error}"))
            }
            _ => cause,
        };
        if prepared.on_damage == OnDamage::Previous
            && let Some(to) = runtime.block_on(self.coordinator.go_back())?
        {
            tracing::warn!(
                "the latest checkpoint is damaged: recovery goes back to checkpoint {} ({}), and everything newer is given up \
                 (execution.state-recovery.on-damage: previous); what was committed later may be committed again: {cause}",
                to.id(),
                to.path.as_deref().unwrap_or("memory")
            );
            return Ok(Next::Attempt);
        }
        Ok(Next::End(damage::way_out(
            &cause,
            &kept,
            self.storage.as_ref(),
            &prepared.ha,
            prepared.on_damage,
        )))
    }

    /// The splits of the sources that start afresh, which `is_new` tells by their uid. Listed once: every attempt that starts them reads
    /// the same input.
    fn splits_of(
        &mut self,
        prepared: &Prepared,
        is_new: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Vec<Vec<u8>>)>> {
        if !prepared.source_uids().any(|uid| is_new(&uid)) {
            return Ok(Vec::new());
        }
        let splits = match &self.splits {
            Some(splits) => splits,
            None => self.splits.insert(prepared.splits()?),
        };
        Ok(splits.iter().filter(|(uid, _)| is_new(uid)).cloned().collect())
    }

    pub(super) fn set_route(&self, route: Route) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = route;
    }

    pub(super) fn attempt_ended(&self) {
        self.coordinator.attempt_failed();
        self.set_route(Route::default());
    }
}
