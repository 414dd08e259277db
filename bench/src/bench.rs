//! Runs a workload about the cost of a record, as often as asked for, in turn with its limit if there is one.

use crate::args::{RunArgs, name_of};
use crate::job;
use crate::limit::{self, LimitRun};
use crate::probe::Probe;
use crate::process;
use crate::report::{CheckpointFields, Cost, Ratio, ResultFields, Row, print_line, progress};
use crate::settings::RunSettings;
use crate::work::Work;
use millpond_engine::{Error, ErrorKind, Result};
use std::sync::Arc;

/// A workload to be measured.
#[derive(Debug)]
pub(crate) struct Bench {
    args: RunArgs,
    work: Work,
    warmup_records: u64,
    engines: &'static [Engine],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Millpond,
    Limit,
}

impl Bench {
    /// Millpond alone, without a warm-up.
    pub(crate) fn new(args: RunArgs, work: Work) -> Self {
        Self {
            args,
            work,
            warmup_records: 0,
            engines: &[Engine::Millpond],
        }
    }

    pub(crate) fn warmed_up_by(self, warmup_records: u64) -> Self {
        Self {
            warmup_records,
            ..self
        }
    }

    pub(crate) fn with_limit(self) -> Self {
        Self {
            engines: &[Engine::Millpond, Engine::Limit],
            ..self
        }
    }

    pub(crate) fn only_limit(self) -> Self {
        Self {
            engines: &[Engine::Limit],
            ..self
        }
    }

    /// Runs everything; whether all results were right.
    ///
    /// # Errors
    /// Those of the jobs and of the limit.
    pub(crate) fn run(&self) -> Result<bool> {
        let args = &self.args;
        let settings = RunSettings::of(args)?;
        let (backend, interval_ms, mode) = (settings.backend()?, settings.interval_ms()?, settings.mode()?);
        if self.warmup_records > 0 {
            for engine in self.engines {
                progress(&format!("{engine:?}: warm-up, {} records", self.warmup_records));
                let work = self.work.with_records(self.warmup_records);
                self.execute(*engine, &work, &settings, &Arc::new(Probe::new()))?;
            }
        }

        let mut expected = None;
        let mut all_right = true;
        let mut pairs = Vec::new();
        for run in 1..=args.runs {
            let mut costs = Vec::new();
            for engine in self.engines {
                progress(&format!("{engine:?}: run {run} of {}", args.runs));
                process::reset_peak();
                let loadavg_start = process::load_average();
                let probe = Arc::new(Probe::new());
                let checkpoints = self.execute(*engine, &self.work, &settings, &probe)?;
                let measured = probe.measured();
                let (vm_hwm_mb, loadavg_end) = (process::peak_mb(), process::load_average());

                if args.verify && args.emit && expected.is_none() {
                    expected = self.work.expected()?;
                }
                let records = self.work.records().unwrap_or(measured.tally.outputs);
                let result = args.emit.then(|| ResultFields::of(measured.tally, expected));
                let right = match &result {
                    Some(fields) => fields.verified != Some(false),
                    None => !self.work.emits_each() || measured.tally.outputs == records,
                };
                all_right &= right;
                let cost = Cost::of(&measured, records);
                costs.push(cost);
                let ours = *engine == Engine::Millpond;
                let windows = match &self.work {
                    Work::TumblingWindow(windows) => Some(windows),
                    _ => None,
                };
                print(&Row {
                    engine: if ours { "millpond" } else { "timely+hashbrown" },
                    version: if ours { env!("CARGO_PKG_VERSION") } else { "0.32" },
                    workload: self.work.name(),
                    run,
                    backend: ours.then_some(backend.as_str()),
                    parallelism: args.parallelism,
                    mode: mode.filter(|_| ours).map(name_of),
                    interval_ms: if ours { interval_ms } else { 0 },
                    keys: self.work.keys(),
                    records,
                    warmup_records: self.warmup_records,
                    emit: args.emit,
                    window_ms: windows.map(|windows| windows.window_ms),
                    records_per_event_ms: windows.map(|windows| windows.ratio),
                    loadavg_start,
                    cost,
                    checkpoints,
                    vm_hwm_mb,
                    outputs: measured.tally.outputs,
                    result,
                    loadavg_end,
                })?;
            }
            if let [ours, limit] = costs.as_slice() {
                pairs.push((*ours, *limit));
            }
        }
        if let Some(ratio) = Ratio::of(&pairs) {
            print(&ratio)?;
        }
        Ok(all_right)
    }

    fn execute(
        &self,
        engine: Engine,
        work: &Work,
        settings: &RunSettings,
        probe: &Arc<Probe>,
    ) -> Result<Option<CheckpointFields>> {
        match engine {
            Engine::Millpond => job::run(settings, work, self.args.emit, probe).map(|seen| Some(seen.into())),
            Engine::Limit => {
                let run = LimitRun {
                    records: work.records().unwrap_or(0),
                    keys: work.keys().unwrap_or(1),
                    parallelism: self.args.parallelism,
                    count: matches!(work, Work::KeyedCount { .. }),
                    emit: self.args.emit,
                };
                limit::run(run, probe)
                    .map(|()| None)
                    .map_err(|text| Error::new(ErrorKind::JobFailed, text).context("the limit on timely"))
            }
        }
    }
}

/// Prints a line, or says that nobody reads it any more.
pub(crate) fn print(line: &impl serde::Serialize) -> Result<()> {
    print_line(line).map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))
}
