//! The job with every kind of state in several processes.

use super::job::{Job, completed, wait_until};
use crate::cluster::addresses;
use crate::harness::{Ended, Program, Running};

/// A cluster that runs the job, by process index.
pub(crate) struct Processes {
    programs: Vec<Program>,
    running: Vec<Running>,
}

impl Processes {
    /// Starts the job in `processes` processes with `slots` slots each, all of which it uses.
    pub(crate) fn start(job: &Job, processes: usize, slots: usize) -> Self {
        let addresses = addresses(processes);
        let parallelism = u64::try_from(processes * slots).unwrap();
        let programs: Vec<_> = (0..processes)
            .map(|index| {
                job.program(parallelism)
                    .set("cluster.addresses", &addresses)
                    .set("cluster.process-index", index)
                    .set("taskmanager.numberOfTaskSlots", slots)
            })
            .collect();
        let running = programs.iter().map(Program::start).collect();
        Self { programs, running }
    }

    pub(crate) fn count(&self) -> usize {
        self.programs.len()
    }

    /// The process with the coordinator.
    pub(crate) fn first(&mut self) -> &mut Running {
        &mut self.running[0]
    }

    /// Waits until so many more checkpoints are complete.
    pub(crate) fn wait_for_checkpoints(&mut self, more: usize) {
        let wanted = completed(&self.running[0].log()) + more;
        wait_until(&mut self.running[0], "a checkpoint", |running| {
            completed(&running.log()) >= wanted
        });
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.running[index].kill_now();
    }

    /// Starts those again that were killed.
    pub(crate) fn start_again(&mut self, killed: &[usize]) {
        for index in killed {
            self.running[*index] = self.programs[*index].start();
        }
    }

    /// Kills all that still run; returns what each has said.
    pub(crate) fn kill_all(self) -> Vec<String> {
        let ended = self.running.into_iter().map(Running::kill);
        ended.map(|ended| ended.log).collect()
    }

    /// Waits until all have ended by themselves.
    pub(crate) fn wait(self) -> Vec<Ended> {
        self.running.into_iter().map(Running::wait).collect()
    }
}
