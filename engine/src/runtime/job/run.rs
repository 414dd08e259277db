//! The life of a job: attempt after attempt, until it has finished, was cancelled, or its restart strategy gives up.

use super::attempt::{self, AttemptSetup};
use super::damage::{self, DamageLog, Files, Finding, Verdict};
use super::folders;
use super::prepare::Prepared;
use super::savepoints::Savepoints;
use super::shared::{JobShared, cancelled};
use crate::api::JobExecutionResult;
use crate::checkpoint::coordinator::{self, CoordinatorConfig, CoordinatorHandle, OperatorInfo, Output};
use crate::checkpoint::ha::{self, JobEnd};
use crate::checkpoint::metadata;
use crate::checkpoint::restore::RestorePlan;
use crate::checkpoint::storage::{CheckpointStorage, FileStorageOptions};
use crate::checkpoint::store::{CompletedCheckpoint, shared_files};
use crate::checkpoint::{CheckpointId, JobId, OperatorId};
use crate::cluster::{
    Attempt, AttemptControl, AttemptEnd, AttemptNumber, AttemptPlan, ClusterSession, FailureCause, Finish,
    JobIdentity,
};
use crate::config::OnDamage;
use crate::control::Watch;
use crate::restart::{Decision, RestartStrategy};
use crate::runtime::context::{JobContext, RestoredJob};
use crate::runtime::control::{Collected, CommandInlet};
use crate::runtime::metrics::JobMetrics;
use crate::runtime::plan::lower::LoweredPlan;
use crate::{Error, ErrorKind, Result, codec};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Runtime;

/// What the coordinator's process tells the others of an attempt beside the checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
struct AttemptExtra {
    first_epoch: u64,
    /// The splits of each source at a fresh start, by uid.
    splits: Vec<(String, Vec<Vec<u8>>)>,
}

/// The way from the coordinator into the attempt that runs.
#[derive(Default)]
struct Route {
    inlet: Option<Arc<CommandInlet>>,
    control: Option<AttemptControl>,
}

/// The coordinator's side, in the first process only.
struct Lead {
    coordinator: CoordinatorHandle,
    storage: Arc<dyn CheckpointStorage>,
    damage: DamageLog,
    route: Arc<Mutex<Route>>,
    splits: Option<Vec<(String, Vec<Vec<u8>>)>>,
    checked_sinks: bool,
}

/// Runs a job to its end.
pub(super) fn run(prepared: Prepared, shared: &Arc<JobShared>) -> Result<JobExecutionResult> {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("millpond-io")
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                "cannot start the runtime for input and output",
            )
            .with_source(error)
        })?;
    for dir in std::iter::once(&prepared.tmp_dir).chain(&prepared.database_dirs) {
        folders::sweep(dir);
    }
    let is_coordinator = prepared.cluster.process_index == 0;
    let mut lead = None;
    // Ends before the runtime does, and after the coordinator has answered.
    let mut _watch = None;
    if is_coordinator {
        let session = ha::open(&prepared.ha, &prepared.job_name, prepared.on_damage)?;
        if session.finished() {
            if let ha::HaSettings::Filesystem { storage_dir, .. } = &prepared.ha {
                tracing::warn!(
                    "job '{}' finished in an earlier run, as '{}' remembers, and is not run again: give it another name, or another \
                     high-availability.storageDir",
                    prepared.job_name,
                    storage_dir.display()
                );
            }
            // That run may have been killed while it deleted its checkpoints.
            let swept = prepared
                .storage
                .storage(session.job_id(), runtime.handle())
                .and_then(|storage| {
                    storage.delete_orphans(&[], CheckpointId(u64::MAX), &HashSet::new())?;
                    storage.remove_empty_folders()
                });
            if let Err(error) = swept {
                tracing::warn!(%error, "checkpoints of the finished job could not be deleted");
            }
            return Ok(result(
                &prepared.job_name,
                session.job_id().as_str(),
                started,
                shared,
                true,
            ));
        }
        let new = Lead::new(&prepared, session, &runtime, shared)?;
        let savepoints = Savepoints::new(new.coordinator.clone(), prepared.savepoint_dir.clone());
        if let Some(folder) = &prepared.control_dir {
            _watch = Some(Watch::start(folder.clone(), savepoints.clone())?);
        }
        shared.set_savepoints(Some(savepoints));
        lead = Some(new);
    } else {
        shared.set_savepoints(None);
    }
    let identity = JobIdentity {
        job_name: prepared.job_name.clone(),
        plan_fingerprint: prepared.fingerprint(),
    };
    let session = ClusterSession::connect(prepared.cluster.clone(), identity)?;
    let mut strategy = RestartStrategy::new(prepared.restart.clone());
    let job_id;
    loop {
        let next = session.next_attempt(|floor| match &mut lead {
            Some(lead) => lead.plan_attempt(&prepared, &runtime, floor),
            None => Err(Error::new(
                ErrorKind::Bug,
                "only the first process plans attempts",
            )),
        });
        let attempt = match next {
            Ok(Some(attempt)) => attempt,
            // Only in a process that does not lead, which learns here that the job is done.
            Ok(None) => {
                job_id = String::new();
                break;
            }
            Err(error) => {
                let give_up = match error.kind() {
                    ErrorKind::Restore => answer_damage(&prepared, lead.as_mut(), &runtime, error),
                    _ => Next::Failure(error),
                };
                let give_up = match give_up {
                    Next::Attempt => continue,
                    Next::End(error) => Some(error),
                    // A disk that refuses the number of the attempt now may take it in a while.
                    Next::Failure(error)
                        if matches!(error.kind(), ErrorKind::Storage | ErrorKind::Damaged) =>
                    {
                        decide(&mut strategy, None, &error, started, shared)
                    }
                    Next::Failure(error) => Some(error),
                };
                match give_up {
                    None => continue,
                    Some(error) => return Err(end_in_failure(lead.as_ref(), &runtime, &session, error)),
                }
            }
        };
        JobMetrics::add(&shared.metrics.attempts, 1);
        let id = attempt.plan.job_id.clone();
        let control = attempt.control.clone();
        shared.set_attempt(Some(control.clone()));
        if let Err(error) = run_attempt(&prepared, attempt, lead.as_ref(), &runtime, shared) {
            control.fail(FailureCause::of(&error));
        }
        shared.set_attempt(None);
        let Finish::AttemptEnded(end) = session.finish(&control) else {
            job_id = id;
            break;
        };
        let Some(lead) = &mut lead else {
            // What follows is decided by the first process.
            tracing::warn!("the attempt ended: {}", end.to_error());
            continue;
        };
        lead.attempt_ended();
        if shared.is_cancelled() {
            session.give_up(&FailureCause::of(&cancelled()));
            runtime.block_on(lead.coordinator.finish(JobEnd::Cancelled))?;
            return Err(cancelled());
        }
        let next = match answer_damage(&prepared, Some(lead), &runtime, end.to_error()) {
            Next::Attempt => None,
            Next::End(error) => Some(error),
            Next::Failure(cause) => decide(&mut strategy, Some(&end), &cause, started, shared),
        };
        if let Some(give_up) = next {
            return Err(end_in_failure(Some(lead), &runtime, &session, give_up));
        }
    }
    if let Some(lead) = &lead {
        runtime.block_on(lead.coordinator.finish(JobEnd::Finished))?;
    }
    Ok(result(&prepared.job_name, &job_id, started, shared, false))
}

/// What follows an attempt that has ended, or could not begin.
enum Next {
    /// Another one, at once.
    Attempt,
    /// The end of the job.
    End(Error),
    /// What the restart strategy says of this failure.
    Failure(Error),
}

/// Looks into `cause` if it tells of damage, and goes back to an older checkpoint if that is wanted. Only in the first process.
fn answer_damage(prepared: &Prepared, lead: Option<&mut Lead>, runtime: &Runtime, cause: Error) -> Next {
    match lead {
        Some(lead) if is_about_damage(&cause) => lead
            .answer_damage(prepared, runtime, cause)
            .unwrap_or_else(Next::Failure),
        _ => Next::Failure(cause),
    }
}

/// Whether an error may tell of damage in a checkpoint.
fn is_about_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Restore | ErrorKind::Damaged)
}

/// Waits as the restart strategy says, or tells with what error the job ends. `end` is that of an attempt that has begun.
fn decide(
    strategy: &mut RestartStrategy,
    end: Option<&AttemptEnd>,
    cause: &Error,
    started: Instant,
    shared: &JobShared,
) -> Option<Error> {
    if is_refusal(cause) && !matches!(end, Some(AttemptEnd::PeerLost { .. })) {
        return Some(Error::new(cause.kind(), cause.to_string()));
    }
    if cause.kind() == ErrorKind::StateTooLarge {
        // The next attempt would grow the same state again.
        return Some(Error::new(
            ErrorKind::JobFailed,
            format!("the job failed: {cause} (it is not restarted: the state would be as large again)"),
        ));
    }
    match strategy.on_failure(started.elapsed(), random_share()) {
        Decision::RestartAfter(pause) => {
            tracing::warn!("the attempt failed, the next one starts in {pause:?}: {cause}");
            shared.pause(pause);
            None
        }
        Decision::GiveUp(reason) => Some(Error::new(
            ErrorKind::JobFailed,
            format!("the job failed: {cause} ({reason})"),
        )),
    }
}

/// A random number in `0.0 .. 1.0`.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn random_share() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Ends the job everywhere; returns the error it ends with.
///
/// What was refused can be put right, so then the job has not come to its end: it stays as it is, and the next start of the program goes on from the same
/// checkpoint. To forget that checkpoint because it cannot be read would be to start over behind the user's back.
fn end_in_failure(lead: Option<&Lead>, runtime: &Runtime, session: &ClusterSession, error: Error) -> Error {
    if let Some(lead) = lead {
        session.give_up(&FailureCause::of(&error));
        // Of a job whose checkpoint is damaged, the older ones are what is left.
        let goes_on = is_refusal(&error) || error.kind() == ErrorKind::Damaged;
        if !goes_on && let Err(end) = runtime.block_on(lead.coordinator.finish(JobEnd::Failed)) {
            tracing::error!("the end of the job could not be recorded: {end}");
        }
    }
    error
}

/// Whether trying again is of no use before somebody has changed something.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Configuration | ErrorKind::Plugin | ErrorKind::Restore
    )
}

fn result(
    job_name: &str,
    job_id: &str,
    started: Instant,
    shared: &JobShared,
    had_finished_before: bool,
) -> JobExecutionResult {
    JobExecutionResult {
        job_name: job_name.to_owned(),
        job_id: job_id.to_owned(),
        duration: started.elapsed(),
        source_records: JobMetrics::get(&shared.metrics.source_records),
        sink_records: JobMetrics::get(&shared.metrics.sink_records),
        late_records_dropped: JobMetrics::get(&shared.metrics.late_records_dropped),
        attempts: JobMetrics::get(&shared.metrics.attempts),
        savepoint: shared.checkpoints().stopped_with.map(PathBuf::from),
        checkpoints: shared.checkpoints(),
        had_finished_before,
    }
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
    let swept = storage.delete_orphans(&retained, CheckpointId(u64::MAX), &shared);
    if let Err(error) = &swept {
        tracing::warn!(%error, "what an earlier run has left could not be deleted");
    }
    swept.is_ok()
}

impl Lead {
    fn new(
        prepared: &Prepared,
        session: Box<dyn ha::HaSession>,
        runtime: &Runtime,
        shared: &JobShared,
    ) -> Result<Self> {
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
        let coordinator = coordinator::spawn(runtime.handle(), config, move |what| {
            let route = output.lock().unwrap_or_else(PoisonError::into_inner);
            match what {
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
    fn plan_attempt(
        &mut self,
        prepared: &Prepared,
        runtime: &Runtime,
        floor: AttemptNumber,
    ) -> Result<AttemptPlan> {
        let start = runtime.block_on(self.coordinator.begin_attempt(floor.0))?;
        let mut extra = AttemptExtra {
            first_epoch: start.first_epoch,
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
    fn answer_damage(&mut self, prepared: &Prepared, runtime: &Runtime, cause: Error) -> Result<Next> {
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

    fn set_route(&self, route: Route) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = route;
    }

    fn attempt_ended(&self) {
        self.coordinator.attempt_failed();
        self.set_route(Route::default());
    }
}

/// Builds what the attempt needs in this process and runs it.
fn run_attempt(
    prepared: &Prepared,
    attempt: Attempt,
    lead: Option<&Lead>,
    runtime: &Runtime,
    shared: &Arc<JobShared>,
) -> Result<()> {
    let plan = attempt.plan.clone();
    let extra: AttemptExtra = codec::decode(&plan.extra)?;
    let restored = plan
        .restore
        .as_deref()
        .map(|bytes| restored(prepared, bytes))
        .transpose()?;
    let job_id = JobId::parse(&plan.job_id)?;
    let max_parallelism = max_parallelisms(prepared, restored.as_ref());
    let lowered = LoweredPlan::new(
        prepared.plan.clone(),
        prepared.parallelism.clone(),
        max_parallelism.clone(),
        prepared.chaining,
    );
    let local_dir = prepared.tmp_dir.join(format!(
        "{}{}-{}-{}-{}",
        folders::PREFIX,
        plan.job_id,
        plan.attempt,
        prepared.cluster.process_index,
        std::process::id()
    ));
    let job = Arc::new(JobContext {
        job_name: prepared.job_name.clone(),
        job_id: plan.job_id.clone(),
        attempt: plan.attempt.0,
        mode: prepared.checkpoints.mode,
        storage: prepared.storage.storage(&job_id, runtime.handle())?,
        savepoints: FileStorageOptions::from(&prepared.checkpoints),
        incremental: prepared.checkpoints.incremental && prepared.storage.keeps_files(),
        backend: Arc::clone(&prepared.backend),
        restored,
        splits: extra
            .splits
            .into_iter()
            .map(|(uid, splits)| (OperatorId::new(uid), splits))
            .collect::<HashMap<_, _>>(),
        tokio: runtime.handle().clone(),
        first_epoch: extra.first_epoch,
        local_dir: local_dir.clone(),
        metrics: Arc::clone(&shared.metrics),
        ttl_clock: Arc::clone(&prepared.ttl_clock),
        in_flight_target: prepared.in_flight_target,
    });
    let inlet = lead.map(|_| CommandInlet::new());
    let sources = lowered.source_subtasks() as usize;
    let (tell, built): (Arc<dyn Fn(Collected) + Send + Sync>, Arc<dyn Fn() + Send + Sync>) = match lead {
        Some(lead) => {
            lead.set_route(Route {
                inlet: inlet.clone(),
                control: Some(attempt.control.clone()),
            });
            let operators = operator_infos(prepared, &max_parallelism);
            let (number, coordinator) = (plan.attempt.0, lead.coordinator.clone());
            let once = std::sync::Once::new();
            let built = Arc::new(move || {
                once.call_once(|| coordinator.attempt_started(number, operators.clone()));
            });
            (listener(lead.coordinator.clone(), sources), built)
        }
        None => (Arc::new(|_| {}), Arc::new(|| {})),
    };
    let (control, storage) = (attempt.control.clone(), Arc::clone(&job.storage));
    let setup = AttemptSetup {
        plan: lowered,
        job,
        inlet,
        tell,
        built,
    };
    let result = attempt::run(attempt, setup);
    folders::remove(&local_dir, &prepared.database_dirs);
    if let (Some(bytes), Some(end)) = (&plan.restore, control.end())
        && is_about_damage(&end.to_error())
        && let Ok(metadata) =
            metadata::decode(bytes, Path::new("the checkpoint that the attempt started from"))
    {
        damage::drop_local_copies(storage.as_ref(), &metadata);
    }
    result
}

/// Tells the coordinator what the collector hears.
fn listener(coordinator: CoordinatorHandle, sources: usize) -> Arc<dyn Fn(Collected) + Send + Sync> {
    let finished: Mutex<HashSet<(OperatorId, u32)>> = Mutex::default();
    Arc::new(move |collected| match collected {
        Collected::Acks(id, acks) => coordinator.acks(id, acks),
        Collected::EarlyDecline(id, ack) => coordinator.early_decline(id, ack),
        Collected::NeedsEpoch(epoch) => coordinator.source_needs_epoch(epoch),
        Collected::SourceFinished(operator, subtask) => {
            let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
            finished.insert((operator, subtask));
            if finished.len() == sources {
                coordinator.all_sources_finished();
            }
        }
    })
}

fn restored(prepared: &Prepared, bytes: &[u8]) -> Result<RestoredJob> {
    let metadata = metadata::decode(bytes, Path::new("the checkpoint that the attempt starts from"))?;
    let plan: RestorePlan = prepared.restore_plan(&metadata)?;
    Ok(RestoredJob {
        checkpoint: CheckpointId(metadata.id.0),
        plan,
    })
}

/// The key groups of each operator: those of the checkpoint where there is one.
fn max_parallelisms(prepared: &Prepared, restored: Option<&RestoredJob>) -> Vec<u32> {
    let of_node = |(index, (max, _)): (usize, &(u32, bool))| {
        let id = OperatorId::new(prepared.plan.uid(index));
        restored
            .and_then(|restored| restored.plan.operator(&id))
            .map_or(*max, |stored| stored.max_parallelism)
    };
    prepared.max_parallelism.iter().enumerate().map(of_node).collect()
}

fn operator_infos(prepared: &Prepared, max_parallelism: &[u32]) -> Vec<OperatorInfo> {
    let info = |(index, node): (usize, &crate::runtime::plan::Node)| OperatorInfo {
        id: OperatorId::new(prepared.plan.uid(index)),
        name: node.name.clone(),
        parallelism: prepared.parallelism.get(index).copied().unwrap_or(1),
        max_parallelism: max_parallelism.get(index).copied().unwrap_or(1),
    };
    prepared
        .plan
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.has_state)
        .map(info)
        .collect()
}
