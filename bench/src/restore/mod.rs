//! `restore`: how long a job takes from a retained checkpoint to its first record and to all of its keys.
//!
//! Two processes besides this one: one that fills the state and leaves a checkpoint, and for each run one that restores it. None has the
//! other's memory, maps or open files.

mod step;

pub(crate) use step::run as run_step;

use crate::args::RestoreArgs;
use crate::disk::{files_below, forget, warm};
use crate::report::{Spread, print_line, progress};
use crate::{process, scratch};
use millpond_engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};
use step::{Restored, Taken};

/// The name of the command that runs one step.
const STEP: &str = "restore-step";

/// The line of one restore.
#[derive(Debug, Serialize)]
struct Row<'a> {
    engine: &'static str,
    version: &'static str,
    workload: &'static str,
    run: u32,
    backend: &'a str,
    /// `plain`; with `--rescale` also `out`, with more subtasks or less, and `back`, with as many as before.
    step: &'static str,
    parallelism: u32,
    keys: u64,
    value_bytes: u32,
    incremental: Option<bool>,
    increments: u32,
    state_bytes: u64,
    checkpoint_file_bytes: u64,
    checkpoint_files: usize,
    /// `warm`: all files were read before; `cold`: they were dropped from the page cache.
    page_cache: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_by: Option<&'static str>,
    #[serde(flatten)]
    restored: Restored,
    loadavg: Option<f64>,
}

/// The line at the end of each step, if there were several runs.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    workload: &'static str,
    backend: &'a str,
    step: &'static str,
    keys: u64,
    page_cache: &'static str,
    runs: u32,
    first_record_ms: Option<Spread>,
    all_keys_ms: Option<Spread>,
    process_to_first_record_ms: Option<Spread>,
}

/// Runs it and prints the lines; whether every value was right.
///
/// # Errors
/// When a job fails.
pub(crate) fn run(args: &RestoreArgs) -> Result<bool> {
    let folder = scratch::new_folder(args.state.dir.as_deref())?;
    progress(&format!(
        "filling {} keys, in a process of its own",
        args.state.keys
    ));
    let mut runs = Runs {
        args,
        dir: folder.path(),
        taken: step(folder.path(), None, None)?,
        all: Vec::new(),
    };
    let plain = runs.taken.checkpoint.clone();
    for run in 1..=args.runs {
        runs.restore(run, "plain", &plain, None)?;
        if let Some(parallelism) = args.rescale {
            let out = runs.restore(run, "out", &plain, Some(parallelism))?;
            let left = out.left.unwrap_or_default();
            runs.restore(run, "back", &left, None)?;
        }
    }
    runs.summarise()?;
    Ok(runs.all.iter().all(|(_, restored)| restored.verified))
}

/// What is restored, and what came of it.
struct Runs<'a> {
    args: &'a RestoreArgs,
    dir: &'a Path,
    taken: Taken,
    all: Vec<(&'static str, Restored)>,
}

impl Runs<'_> {
    /// One restore of `checkpoint`, in a process of its own; prints its line.
    fn restore(
        &mut self,
        run: u32,
        name: &'static str,
        checkpoint: &Path,
        rescale_to: Option<u32>,
    ) -> Result<Restored> {
        let args = self.args;
        let files = files_below(self.dir)?;
        let dropped_by = if args.cold {
            Some(forget(&files)?)
        } else {
            warm(&files)?;
            None
        };
        progress(&format!(
            "restore {run} of {}, {name}, {}",
            args.runs,
            page_cache(args)
        ));
        let loadavg = process::load_average();
        let restored: Restored = step(self.dir, Some(checkpoint), rescale_to)?;
        self.all.push((name, restored.clone()));
        print(&Row {
            engine: "millpond",
            version: env!("CARGO_PKG_VERSION"),
            workload: "restore",
            run,
            backend: &args.state.backend,
            step: name,
            parallelism: rescale_to.unwrap_or(args.state.parallelism),
            keys: args.state.keys,
            value_bytes: args.state.value_bytes,
            incremental: args.state.incremental,
            increments: args.increments,
            state_bytes: self.taken.state_bytes,
            checkpoint_file_bytes: files.iter().map(|(_, bytes)| bytes).sum(),
            checkpoint_files: files.len(),
            page_cache: page_cache(args),
            dropped_by,
            restored: restored.clone(),
            loadavg,
        })?;
        Ok(restored)
    }

    fn summarise(&self) -> Result<()> {
        if self.args.runs == 1 {
            return Ok(());
        }
        for name in ["plain", "out", "back"] {
            let of_step = || self.all.iter().filter(|(step, _)| *step == name);
            let spread = |of: fn(&Restored) -> f64| Spread::of(of_step().map(|(_, restored)| of(restored)));
            if of_step().next().is_none() {
                continue;
            }
            print(&Summary {
                workload: "restore",
                backend: &self.args.state.backend,
                step: name,
                keys: self.args.state.keys,
                page_cache: page_cache(self.args),
                runs: self.args.runs,
                first_record_ms: spread(|restored| restored.first_record_ms),
                all_keys_ms: spread(|restored| restored.all_keys_ms),
                process_to_first_record_ms: spread(|restored| restored.process_to_first_record_ms),
            })?;
        }
        Ok(())
    }
}

fn page_cache(args: &RestoreArgs) -> &'static str {
    if args.cold { "cold" } else { "warm" }
}

/// Runs this program again for one step, with the same arguments, and takes its answer.
fn step<T: serde::de::DeserializeOwned>(
    dir: &Path,
    checkpoint: Option<&Path>,
    rescale_to: Option<u32>,
) -> Result<T> {
    let failed = |what: String| Error::new(ErrorKind::JobFailed, format!("the process of a step {what}"));
    let program =
        std::env::current_exe().map_err(|error| failed("has no program".to_owned()).with_source(error))?;
    let mut command = Command::new(program);
    // Behind the name of this command.
    command.arg(STEP).args(std::env::args_os().skip(2));
    command.arg("--checkpoint-dir").arg(dir);
    if let Some(checkpoint) = checkpoint {
        command.arg("--checkpoint").arg(checkpoint);
    }
    if let Some(parallelism) = rescale_to {
        command.arg("--rescale-to").arg(parallelism.to_string());
    }
    let started = process::unix_time().as_nanos();
    let output = command
        .arg("--started-unix-ns")
        .arg(started.to_string())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed("cannot be started".to_owned()).with_source(error))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    if let Some(error) = step::error_in(&answer) {
        let kind = match output.status.code() {
            Some(2) => ErrorKind::Configuration,
            _ => ErrorKind::JobFailed,
        };
        return Err(Error::new(kind, error));
    }
    serde_json::from_str(&answer)
        .map_err(|error| failed(format!("ended with {}", output.status)).with_source(error))
}

fn print(line: &impl Serialize) -> Result<()> {
    print_line(line).map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))
}
