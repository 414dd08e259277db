//! Telling what would become of a snapshot, in place of starting from it.

use super::JobSpec;
use super::prepare::{Prepared, prepare_plan};
use super::shared::{EndOnDrop, JobShared};
use crate::api::{JobClient, JobExecutionResult};
use crate::checkpoint::ha::HaSettings;
use crate::checkpoint::restore::{self, OperatorPlan, PlannedOperator, RestoreReport};
use crate::checkpoint::storage::{FileStorage, FileStorageOptions};
use crate::checkpoint::store::CompletedCheckpoint;
use crate::config::options::recovery;
use crate::runtime::plan::node::NodeKind;
use crate::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Prints what would become of the snapshot, and gives a job that has ended.
#[expect(clippy::print_stdout, reason = "it is what the user has asked for")]
pub(super) fn tell(spec: JobSpec) -> Result<JobClient> {
    let prepared = prepare_plan(spec)?;
    let report = report(&prepared)?;
    println!("{report}");
    if prepared.ha != HaSettings::None {
        println!(
            "High availability is on: a job that has a checkpoint of its own there goes on from that one."
        );
    }
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

/// What would become of the snapshot.
pub(super) fn report(prepared: &Prepared) -> Result<RestoreReport> {
    let Some(initial) = &prepared.initial else {
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
    let operators: Vec<PlannedOperator> = prepared
        .operator_plans()
        .into_iter()
        .map(|plan| PlannedOperator {
            states: states_of(prepared, initial, &plan),
            plan,
        })
        .collect();
    let mut report = restore::report(
        &initial.metadata,
        &operators,
        prepared.ignore_unclaimed,
        prepared.backend.name(),
    );
    if let Err(error) = verify_files(initial) {
        report.problems.push(error.to_string());
    }
    Ok(report)
}

fn states_of(
    prepared: &Prepared,
    initial: &CompletedCheckpoint,
    plan: &OperatorPlan,
) -> Result<Option<Vec<crate::state::PlannedState>>, String> {
    let nodes = prepared.plan.nodes.iter().enumerate();
    let node = nodes
        .filter(|(index, _)| prepared.plan.uid(*index) == plan.id.uid())
        .map(|(_, node)| node)
        .next();
    let Some(NodeKind::Operator(operator)) = node.map(|node| &node.kind) else {
        return Ok(None);
    };
    let stored = initial.metadata.operator(&plan.id);
    let stored = stored.map_or(&[][..], |stored| &stored.states);
    operator
        .plan_states(&plan.name, plan.id.uid(), stored)
        .map_err(|error| error.to_string())
}

/// Looks whether all files of a snapshot in files are there.
fn verify_files(initial: &CompletedCheckpoint) -> Result<()> {
    let Some(folder) = initial.path.as_deref().and_then(|path| Path::new(path).parent()) else {
        return Ok(());
    };
    let storage = FileStorage::new(folder, &initial.metadata.job_id, FileStorageOptions::default())?;
    restore::verify_files(&storage, &initial.metadata)
}
