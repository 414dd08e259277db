//! Telling what would become of a snapshot, in place of starting from it.

use super::JobSpec;
use super::prepare::{Prepared, prepare_plan};
use super::shared::{EndOnDrop, JobShared};
use crate::api::{JobClient, JobExecutionResult};
use crate::checkpoint::ha;
use crate::checkpoint::hold::SnapshotHold;
use crate::checkpoint::restore::{self, OperatorPlan, PlannedOperator, RestoreReport};
use crate::checkpoint::storage::{FileStorage, FileStorageOptions};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::config::options::recovery;
use crate::runtime::plan::node::NodeKind;
use crate::runtime::stages::{PlannedStates, Planning};
use crate::{Error, ErrorKind, Result};
use millpond_backend_api::export::panic_text;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Prints what would become of the snapshot, and gives a job that has ended.
#[expect(clippy::print_stdout, reason = "it is what the user has asked for")]
pub(super) fn tell(spec: JobSpec) -> Result<JobClient> {
    let prepared = prepare_plan(spec)?;
    let report = report(&prepared)?;
    println!("{report}");
    if !report.would_work() {
        return Err(Error::new(
            ErrorKind::PlanRefused,
            format!(
                "job '{}' could not start from {}; the plan above tells why",
                prepared.job_name, report.snapshot
            ),
        ));
    }
    let shared = Arc::new(JobShared::default());
    let result = JobExecutionResult {
        job_name: prepared.job_name.clone(),
        job_id: String::new(),
        duration: Duration::ZERO,
        source_records: 0,
        sink_records: 0,
        late_records_dropped: 0,
        attempts: 0,
        checkpoints: shared.checkpoints(),
        savepoint: None,
        had_finished_before: false,
    };
    drop(EndOnDrop(&shared));
    let thread = std::thread::Builder::new()
        .name("millpond-job".to_owned())
        .spawn(move || Ok(result))
        .map_err(|error| {
            Error::new(ErrorKind::Configuration, "cannot start the job's thread").with_source(error)
        })?;
    Ok(JobClient { shared, thread })
}

/// What a start would restore.
struct Start {
    from: CompletedCheckpoint,
    problems: Vec<String>,
    notes: Vec<String>,
}

/// What would become of the snapshot that the job would start from: its own latest checkpoint if it has one, else the one that it is told to start from.
pub(super) fn report(prepared: &Prepared) -> Result<RestoreReport> {
    let Start {
        from,
        problems,
        notes,
    } = start(prepared)?;
    let operators: Vec<PlannedOperator> = prepared
        .operator_plans()
        .into_iter()
        .map(|plan| PlannedOperator {
            states: states_of(prepared, &from, &plan),
            plan,
        })
        .collect();
    let mut report = restore::report(
        &from.metadata,
        &operators,
        prepared.ignore_unclaimed,
        prepared.backend.name(),
    );
    report.problems.extend(problems);
    report.notes.extend(notes);
    if let Err(error) = verify_files(&from) {
        report.problems.push(error.to_string());
    }
    Ok(report)
}

fn start(prepared: &Prepared) -> Result<Start> {
    let known = ha::look(&prepared.ha, &prepared.job_name, prepared.on_damage)?;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    if let Some(known) = known {
        problems.extend(known.held.map(|held| held.to_string()));
        if known.has_finished {
            problems.push(format!(
                "job '{}' finished in an earlier run, and is not run again: give it another name, or another high-availability.storageDir",
                prepared.job_name
            ));
        }
        if let Some(own) = known.latest {
            notes.push(
                "high availability has this as the job's own latest checkpoint, and a start goes on from it, whatever snapshot it is told to start from"
                    .to_owned(),
            );
            let folder = prepared.storage.job_folder(&own.metadata.job_id);
            let metadata = match &folder {
                Some(folder) => Arc::new(restore::with_absolute_paths(&own.metadata, folder)),
                None => own.metadata,
            };
            let from = CompletedCheckpoint {
                metadata,
                path: folder.map(|_| own.source.display().to_string()),
            };
            return Ok(Start {
                from,
                problems,
                notes,
            });
        }
    }
    let Some(from) = prepared.initial.clone() else {
        return Err(match &prepared.initial_error {
            Some(error) => Error::new(error.kind(), error.to_string()),
            None => Error::new(
                ErrorKind::Configuration,
                format!(
                    "there is nothing to plan: name a savepoint or checkpoint with --from-savepoint, or set {}",
                    recovery::PATH.key()
                ),
            ),
        });
    };
    if let Err(error) = may_be_had(prepared, &from) {
        problems.push(error.to_string());
    }
    if prepared.claims {
        notes.push(
            "the snapshot is claimed (execution.state-recovery.claim-mode: CLAIM): the job owns it, and deletes it when it has enough checkpoints of its own"
                .to_owned(),
        );
    }
    Ok(Start {
        from,
        problems,
        notes,
    })
}

/// Whether no other program has what the job is to start from for itself, or needs what it is to own.
fn may_be_had(prepared: &Prepared, from: &CompletedCheckpoint) -> Result<()> {
    let Some(path) = from.path.as_deref().map(Path::new) else {
        return Ok(());
    };
    if prepared.claims {
        drop(SnapshotHold::exclusive(path)?);
        ha::refuse_if_named(&prepared.ha, &from.metadata)
    } else {
        SnapshotHold::shared(path).map(drop)
    }
}

fn states_of(
    prepared: &Prepared,
    from: &CompletedCheckpoint,
    plan: &OperatorPlan,
) -> Result<PlannedStates, String> {
    let mut nodes = prepared.plan.nodes.iter().enumerate();
    let node = nodes.find(|(index, _)| prepared.plan.uid(*index) == plan.id.uid());
    let planning = Planning {
        name: &plan.name,
        uid: plan.id.uid(),
        parallelism: plan.parallelism,
        checkpoint: from.id(),
        stored: from.metadata.operator(&plan.id),
    };
    let states = match node.map(|(_, node)| &node.kind) {
        None => return Ok(PlannedStates::default()),
        Some(NodeKind::Source(source, _)) => return Ok(source.plan_states(&planning)),
        // It is the user's code that is called.
        Some(NodeKind::Operator(operator)) => {
            catch_unwind(AssertUnwindSafe(|| operator.plan_states(&planning)))
        }
    };
    let refused = |what: String| format!("operator '{}' (uid '{}'): {what}", plan.name, plan.id);
    match states {
        Ok(states) => states.map_err(|error| refused(error.to_string())),
        Err(payload) => Err(refused(format!(
            "panicked when it was asked for its states: {}",
            panic_text(payload.as_ref())
        ))),
    }
}

/// Looks whether all files of a snapshot in files are there.
fn verify_files(from: &CompletedCheckpoint) -> Result<()> {
    let Some(folder) = from.path.as_deref().and_then(|path| Path::new(path).parent()) else {
        return Ok(());
    };
    let storage = FileStorage::new(folder, &from.metadata.job_id, FileStorageOptions::default())?;
    restore::verify_files(&storage, &from.metadata)
}
