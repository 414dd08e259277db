//! The workloads of Millpond, measured, each beside the same work written by hand on timely. See `README.md`.

mod args;
mod big_state;
mod disk;
mod ends;
mod generate;
mod job;
mod keeper;
mod limit;
mod probe;
mod process;
mod report;
mod restore;
mod sampler;
mod scratch;

use crate::args::{Command, RunArgs, Workload};
use crate::generate::{Tally, expected_counts, expected_keys};
use crate::limit::LimitRun;
use crate::probe::Probe;
use crate::report::{CheckpointFields, Cost, Ratio, ResultFields, Row, print_line, progress};
use clap::Parser;
use millpond_engine::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let Command { workload } = Command::parse();
    let bench = |args, count, name| Bench { args, count, name }.run();
    let all_right = match workload {
        Workload::KeyedCount(args) => bench(args, true, "keyed-count"),
        Workload::Exchange(args) => bench(args, false, "exchange"),
        Workload::BigState(args) => big_state::run(&args),
        Workload::Restore(args) => restore::run(&args),
        Workload::RestoreStep(args) => restore::run_step(&args),
    };
    match all_right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let line = serde_json::json!({ "error": error.to_string() });
            // Nobody is left to be told if this fails too.
            let _ = print_line(&line);
            ExitCode::from(error.exit_code())
        }
    }
}

/// A workload to be measured.
#[derive(Debug)]
struct Bench {
    args: RunArgs,
    /// Count by key; otherwise only exchange.
    count: bool,
    name: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Millpond,
    Limit,
}

impl Bench {
    /// Runs everything; whether all results were right.
    fn run(&self) -> Result<bool> {
        let args = &self.args;
        let engines: &[Engine] = match (args.only_limit, args.with_limit) {
            (true, _) => &[Engine::Limit],
            (false, true) => &[Engine::Millpond, Engine::Limit],
            (false, false) => &[Engine::Millpond],
        };
        let scratch = Scratch::for_checkpoints(args)?;
        let dir = scratch.as_ref().map(Scratch::path);
        if args.warmup_records > 0 {
            for engine in engines {
                progress(&format!("{engine:?}: warm-up, {} records", args.warmup_records));
                self.execute(*engine, args.warmup_records, dir, &Arc::new(Probe::new()))?;
            }
        }

        let mut expected = None;
        let mut all_right = true;
        let mut pairs = Vec::new();
        for run in 1..=args.runs {
            let mut costs = Vec::new();
            for engine in engines {
                progress(&format!(
                    "{engine:?}: run {run} of {}, {} records",
                    args.runs, args.records
                ));
                process::reset_peak();
                let loadavg_start = process::load_average();
                let probe = Arc::new(Probe::new());
                let checkpoints = self.execute(*engine, args.records, dir, &probe)?;
                let measured = probe.measured();
                let (vm_hwm_mb, loadavg_end) = (process::peak_mb(), process::load_average());

                if args.verify && args.emit && expected.is_none() {
                    expected = self.expected();
                }
                let result = args.emit.then(|| ResultFields::of(measured.tally, expected));
                let right = match &result {
                    Some(fields) => fields.verified != Some(false),
                    None => measured.tally.outputs == args.records,
                };
                all_right &= right;
                let cost = Cost::of(&measured, args.records);
                costs.push(cost);
                let ours = *engine == Engine::Millpond;
                print(&Row {
                    engine: if ours { "millpond" } else { "timely+hashbrown" },
                    version: if ours { env!("CARGO_PKG_VERSION") } else { "0.32" },
                    workload: self.name,
                    run,
                    backend: args.backend.as_deref().filter(|_| ours),
                    parallelism: args.parallelism,
                    mode: (ours && args.interval_ms > 0).then(|| format!("{:?}", args.mode)),
                    interval_ms: if ours { args.interval_ms } else { 0 },
                    keys: args.keys,
                    records: args.records,
                    warmup_records: args.warmup_records,
                    emit: args.emit,
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
        records: u64,
        dir: Option<&Path>,
        probe: &Arc<Probe>,
    ) -> Result<Option<CheckpointFields>> {
        let args = &self.args;
        match engine {
            Engine::Millpond => job::run(args, records, self.count, dir, probe).map(|seen| Some(seen.into())),
            Engine::Limit => {
                let run = LimitRun {
                    records,
                    keys: args.keys,
                    parallelism: args.parallelism,
                    count: self.count,
                    emit: args.emit,
                };
                limit::run(run, probe)
                    .map(|()| None)
                    .map_err(|text| Error::new(ErrorKind::JobFailed, text).context("the limit on timely"))
            }
        }
    }

    fn expected(&self) -> Option<Tally> {
        let RunArgs { records, keys, .. } = self.args;
        progress("working out the right answer in a plain loop");
        if self.count {
            expected_counts(records, keys)
        } else {
            Some(expected_keys(records, keys))
        }
    }
}

fn print(line: &impl serde::Serialize) -> Result<()> {
    print_line(line).map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))
}

/// Where checkpoints go.
#[derive(Debug)]
enum Scratch {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Scratch {
    /// A folder, if the run takes checkpoints.
    fn for_checkpoints(args: &RunArgs) -> Result<Option<Self>> {
        if args.interval_ms == 0 {
            return Ok(None);
        }
        Ok(Some(match &args.checkpoint_dir {
            Some(dir) => Self::Given(std::path::absolute(dir).map_err(no_folder)?),
            None => Self::Temporary(tempfile::tempdir().map_err(no_folder)?),
        }))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

fn no_folder(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Configuration, "the folder for checkpoints").with_source(error)
}
