//! The life of a job: attempt after attempt, until it has finished, was cancelled, or its restart strategy gives up.

use super::attempt::{self, AttemptSetup};
use super::damage;
use super::folders;
use super::lead::{self, AttemptExtra, Lead, Next, Route};
use super::prepare::Prepared;
use super::savepoints::Savepoints;
use super::shared::{JobShared, cancelled};
use crate::api::JobExecutionResult;
use crate::checkpoint::coordinator::{CoordinatorHandle, OperatorInfo};
use crate::checkpoint::ha::{self, JobEnd};
use crate::checkpoint::metadata;
use crate::checkpoint::restore::RestorePlan;
use crate::checkpoint::storage::FileStorageOptions;
use crate::checkpoint::{JobId, OperatorId};
use crate::cluster::{Attempt, AttemptEnd, ClusterSession, FailureCause, Finish, JobIdentity};
use crate::control::Watch;
use crate::restart::{Decision, RestartStrategy};
use crate::runtime::context::{JobContext, RestoredJob};
use crate::runtime::control::{Collected, CommandInlet};
use crate::runtime::metrics::JobMetrics;
use crate::runtime::plan::lower::LoweredPlan;
use crate::{Error, ErrorKind, Result, codec};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Runtime;

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
            lead::delete_run(&prepared, session.as_ref(), session.job_id(), &runtime);
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
            _watch = Some(Watch::start(
                folder.clone(),
                savepoints.clone(),
                &prepared.job_name,
                prepared.ha.takes_over(),
            )?);
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
                    // A disk that refuses the number of the attempt now may take it in a while. In the other processes it is what the first has given up with.
                    Next::Failure(error)
                        if lead.is_some()
                            && matches!(error.kind(), ErrorKind::Storage | ErrorKind::Damaged) =>
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
        if goes_on {
            // It cannot have ended; and if it has, there is nothing to wait for.
            let _ = runtime.block_on(lead.coordinator.settle());
        } else if let Err(end) = runtime.block_on(lead.coordinator.finish(JobEnd::Failed)) {
            tracing::error!("the end of the job could not be recorded: {end}");
        }
    }
    error
}

/// Whether trying again is of no use before somebody has changed something.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Configuration | ErrorKind::Plugin | ErrorKind::Restore | ErrorKind::Fenced
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
        lineage: extra.lineage,
        local_dir: local_dir.clone(),
        metrics: Arc::clone(&shared.metrics),
        ttl_clock: Arc::clone(&prepared.ttl_clock),
        in_flight_target: prepared.in_flight_target,
        turns: attempt::turns(prepared.cluster.slots),
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
        checkpoint: metadata.lineage.checkpoint(metadata.id),
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
        sources: prepared.plan.sources_of(index),
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
