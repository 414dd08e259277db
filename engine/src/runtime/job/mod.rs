//! A job from its start to its end: what is decided before anything runs, the attempts, and the end.

mod attempt;
mod damage;
mod folders;
mod lead;
#[cfg(test)]
mod lost;
mod planned;
mod prepare;
mod run;
mod savepoints;
mod shared;

pub(crate) use savepoints::{Savepoints, Wanted};
pub(crate) use shared::JobShared;

use super::plan::Plan;
use crate::Result;
use crate::api::JobClient;
use crate::backend::BackendRegistry;
use crate::checkpoint::restore::RestoreReport;
use crate::config::Configuration;
use crate::config::options::recovery;
use crate::state::ttl::TtlTimeProvider;
use std::sync::Arc;

/// A job as the program hands it over.
pub(crate) struct JobSpec {
    pub(crate) job_name: String,
    pub(crate) plan: Plan,
    pub(crate) config: Configuration,
    pub(crate) registry: BackendRegistry,
    pub(crate) ttl_clock: Arc<dyn TtlTimeProvider>,
}

/// What would become of the snapshot that the job is told to start from.
///
/// # Errors
/// What is wrong with the settings; [`ErrorKind::Restore`](crate::ErrorKind::Restore) when the snapshot cannot be read.
pub(crate) fn restore_report(spec: JobSpec) -> Result<RestoreReport> {
    planned::report(&prepare::prepare_plan(spec)?)
}

/// Checks everything that can be checked, then runs the job on a thread of its own.
pub(crate) fn start(spec: JobSpec) -> Result<JobClient> {
    if spec.config.get(&recovery::PLAN_ONLY)? {
        return planned::tell(spec);
    }
    let prepared = prepare::prepare(spec)?;
    let shared = Arc::new(JobShared::default());
    let for_thread = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("millpond-job".to_owned())
        .spawn(move || {
            // Also when it panics, or somebody would wait for ever.
            let _ended = shared::EndOnDrop(&for_thread);
            run::run(prepared, &for_thread)
        })
        .map_err(|error| {
            crate::Error::new(crate::ErrorKind::Configuration, "cannot start the job's thread")
                .with_source(error)
        })?;
    Ok(JobClient { shared, thread })
}
