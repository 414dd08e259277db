//! One attempt in this process: the dataflow on its workers, until it is complete or the attempt has ended.

use crate::cluster::{Attempt, AttemptControl, FailureCause};
use crate::runtime::plan::lower::{LoweredPlan, Wiring, lower};
use crate::runtime::task::cause_of_panic;
use crate::runtime::time::Time;
use crate::{Error, ErrorKind, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use timely::WorkerConfig;
use timely::worker::Worker;

use crate::runtime::context::JobContext;
use crate::runtime::control::{Collected, CommandInlet};

/// What the workers of one attempt share.
pub(super) struct AttemptSetup {
    pub(super) plan: LoweredPlan,
    pub(super) job: Arc<JobContext>,
    /// In the first process.
    pub(super) inlet: Option<Arc<CommandInlet>>,
    pub(super) tell: Arc<dyn Fn(Collected) + Send + Sync>,
    /// Called by each worker when its part of the dataflow stands.
    pub(super) built: Arc<dyn Fn() + Send + Sync>,
}

/// With more workers than this on a processor a job may be very slow: every worker tells every other of its progress, so many of them on few processors do little else.
const WORKERS_A_PROCESSOR: usize = 8;

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many of `workers` take turns on a processor, where that are so many that flow control must heed it; otherwise 1.
pub(super) fn turns(workers: usize) -> u32 {
    turns_on(workers, processors())
}

fn turns_on(workers: usize, processors: usize) -> u32 {
    match workers.div_ceil(processors) {
        few if few <= WORKERS_A_PROCESSOR => 1,
        many => u32::try_from(many).unwrap_or(u32::MAX),
    }
}

fn warn_of_many(workers: usize) {
    let processors = processors();
    if workers > WORKERS_A_PROCESSOR * processors {
        tracing::warn!(
            workers,
            processors,
            "the job has many more subtasks than there are processors, and may be very slow; a parallelism of up to {} is reasonable here",
            WORKERS_A_PROCESSOR * processors
        );
    }
}

/// Runs the dataflow on the workers of this process and waits for them. How the attempt came out is told by its control.
pub(super) fn run(attempt: Attempt, setup: AttemptSetup) -> Result<()> {
    let tokio = setup.job.tokio.clone();
    let control = attempt.control;
    let (builders, guard) = attempt.transport.into_timely()?;
    warn_of_many(builders.len());
    let worker_control = control.clone();
    let guards = timely::execute::execute_from(
        builders,
        guard,
        WorkerConfig::default(),
        move |worker: &mut Worker| {
            worker_control.register_worker();
            let result = catch_unwind(AssertUnwindSafe(|| work(worker, &setup, &worker_control)));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    worker_control.fail(FailureCause::of(&error));
                }
                Err(payload) => {
                    worker_control.fail(cause_of_panic(payload.as_ref()));
                    // A payload whose own drop panics must not take the worker with it.
                    std::mem::forget(payload);
                }
            }
            // Timely would go on stepping what is installed. What is dropped here is the user's too, and may panic.
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            }));
            if let Err(payload) = dropped {
                worker_control.fail(cause_of_panic(payload.as_ref()));
                std::mem::forget(payload);
            }
        },
    )
    .map_err(|text| {
        Error::new(
            ErrorKind::Cluster,
            format!("cannot start the workers of an attempt: {text}"),
        )
    })?;
    let watch = tokio.spawn(tell_of_blocked_workers(control.clone()));
    let results = guards.join();
    watch.abort();
    for worker in results {
        if let Err(text) = worker {
            control.fail(FailureCause::of(&Error::new(
                ErrorKind::Bug,
                format!("a worker thread panicked outside of the dataflow: {text}"),
            )));
        }
    }
    Ok(())
}

/// Says, now and then, that an attempt has ended and its workers have not: a function that blocks cannot be stopped from outside.
async fn tell_of_blocked_workers(control: AttemptControl) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut rounds = 0_u32;
    loop {
        tokio::time::sleep(PATIENCE).await;
        rounds = if control.is_ended() { rounds + 1 } else { 0 };
        if rounds > 1 {
            tracing::warn!(
                "attempt {} has ended, but a worker is still in the code of a function, source or sink that does not return; \
                 the next attempt waits for it",
                control.attempt()
            );
        }
    }
}

fn work(worker: &mut Worker, setup: &AttemptSetup, control: &AttemptControl) -> Result<()> {
    let wiring = Wiring {
        job: &setup.job,
        control,
        inlet: setup.inlet.as_ref(),
        tell: Arc::clone(&setup.tell),
    };
    worker.dataflow::<Time, _, _>(|scope| lower(scope, &setup.plan, &wiring))?;
    (setup.built)();
    while worker.has_dataflows() && !control.is_ended() {
        worker.step_or_park(None);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_count_from_where_a_job_is_warned_of_them() {
        assert_eq!(turns_on(1, 64), 1);
        assert_eq!(turns_on(16, 2), 1);
        assert_eq!(turns_on(17, 2), 9);
        assert_eq!(turns_on(80, 2), 40);
    }
}
