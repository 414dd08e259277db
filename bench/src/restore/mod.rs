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
use std::path::{Path, PathBuf};
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

/// The line at the end, if there were several runs.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    workload: &'static str,
    backend: &'a str,
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
    let taken: Taken = step(folder.path(), None)?;
    let files = files_below(folder.path())?;
    let page_cache = if args.cold { "cold" } else { "warm" };
    let mut all = Vec::new();
    for run in 1..=args.runs {
        let dropped_by = if args.cold {
            Some(forget(&files)?)
        } else {
            warm(&files)?;
            None
        };
        progress(&format!("restore {run} of {}, {page_cache}", args.runs));
        let loadavg = process::load_average();
        let restored: Restored = step(folder.path(), Some(&taken.checkpoint))?;
        all.push(restored.clone());
        print(&Row {
            engine: "millpond",
            version: env!("CARGO_PKG_VERSION"),
            workload: "restore",
            run,
            backend: &args.state.backend,
            parallelism: args.state.parallelism,
            keys: args.state.keys,
            value_bytes: args.state.value_bytes,
            incremental: args.state.incremental,
            increments: args.increments,
            state_bytes: taken.state_bytes,
            checkpoint_file_bytes: files.iter().map(|(_, bytes)| bytes).sum(),
            checkpoint_files: files.len(),
            page_cache,
            dropped_by,
            restored,
            loadavg,
        })?;
    }
    if args.runs > 1 {
        let spread = |of: fn(&Restored) -> f64| Spread::of(all.iter().map(of));
        print(&Summary {
            workload: "restore",
            backend: &args.state.backend,
            keys: args.state.keys,
            page_cache,
            runs: args.runs,
            first_record_ms: spread(|restored| restored.first_record_ms),
            all_keys_ms: spread(|restored| restored.all_keys_ms),
            process_to_first_record_ms: spread(|restored| restored.process_to_first_record_ms),
        })?;
    }
    Ok(all.iter().all(|restored| restored.verified))
}

/// Runs this program again for one step, with the same arguments, and takes its answer.
fn step<T: serde::de::DeserializeOwned>(dir: &Path, checkpoint: Option<&PathBuf>) -> Result<T> {
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
