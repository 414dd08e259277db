//! `millpond savepoint`: asks a running job for one, and deletes those that nobody needs.

use crate::output::Bytes;
use crate::{Failure, Outcome};
use clap::{Subcommand, ValueEnum};
use millpond_engine::checkpoint::ha;
use millpond_engine::checkpoint::storage::parse_location;
use millpond_engine::checkpoint::{SavepointFormat, StopMode, metadata, restore};
use millpond_engine::config::ConfigArgs;
use millpond_engine::control::{self, Request};
use millpond_engine::{Error, ErrorKind};
use std::io::Write;
use std::time::Duration;

/// Arguments of `millpond savepoint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running job for a savepoint, and print its folder when it is complete
    ///
    /// The job must run with `-D control.dir=DIR`. Exit code 1 when the savepoint failed (the job goes on), 2 when no running job looks into the folder.
    Trigger(Trigger),
    /// Delete a savepoint or retained checkpoint
    ///
    /// Deletes what its metadata names, and of a checkpoint's shared files those that no other checkpoint of the job names. Refuses what a running job
    /// needs or has claimed, and with the configuration of high availability (`--conf`, `-D`), what a job would resume from.
    Dispose(Dispose),
}

#[derive(Debug, clap::Args)]
struct Trigger {
    /// The folder that the job has as control.dir
    #[arg(long, value_name = "DIR")]
    control: String,

    /// Where the savepoint gets a folder of its own; without it, in the job's execution.checkpointing.savepoint-dir
    #[arg(long, value_name = "DIR")]
    target: Option<String>,

    /// How state is written: `canonical` for any backend, `native` for the job's own
    #[arg(long, value_enum, default_value_t = Format::Canonical)]
    format: Format,

    /// End the job with the savepoint
    #[arg(long)]
    stop: bool,

    /// Before that, bring event time to its end: every event-time timer fires. For the end of a job for good
    #[arg(long, requires = "stop")]
    drain: bool,

    /// How many seconds the job may take to notice the request
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Canonical,
    Native,
}

#[derive(Debug, clap::Args)]
struct Dispose {
    /// The folder of the savepoint or checkpoint (`chk-<n>`), or its _metadata file; not `<folder>/latest`
    path: String,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Does what is asked for.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Trigger(args) => trigger(args, out),
        Command::Dispose(args) => dispose(args, out),
    }
}

fn trigger(args: &Trigger, out: &mut impl Write) -> Result<Outcome, Failure> {
    let folder = parse_location("--control", &args.control).map_err(Failure::Arguments)?;
    let target = match &args.target {
        // The job has another working folder.
        Some(target) => Some(parse_location("--target", target).map_err(Failure::Arguments)?),
        None => None,
    };
    let request = Request {
        target: target.map(|target| target.display().to_string()),
        format: match args.format {
            Format::Canonical => SavepointFormat::Canonical,
            Format::Native => SavepointFormat::Native,
        },
        stop: args.stop.then_some(match args.drain {
            true => StopMode::Drain,
            false => StopMode::Suspend,
        }),
    };
    let taken = control::request(&folder, &request, Duration::from_secs(args.patience));
    let savepoint = taken.map_err(failure)?;
    writeln!(out, "{}", savepoint.display())?;
    Ok(Outcome::Well)
}

fn dispose(args: &Dispose, out: &mut impl Write) -> Result<Outcome, Failure> {
    let path = parse_location("the path of the savepoint", &args.path).map_err(Failure::Arguments)?;
    if path.ends_with("latest") && !path.exists() {
        // Who says it twice would delete two.
        let meant = restore::locate(&path).map_err(Failure::Arguments)?;
        return Err(Failure::Arguments(Error::new(
            ErrorKind::Configuration,
            format!(
                "what is deleted is named itself, not as the latest one: that is '{}' now",
                meant.parent().unwrap_or(&meant).display()
            ),
        )));
    }
    let config = args.config.configuration().map_err(Failure::Arguments)?;
    let settings = config.ha_settings().map_err(Failure::Arguments)?;
    let metadata = restore::locate(&path)
        .and_then(|file| metadata::read_file(&file))
        .map_err(Failure::Arguments)?;
    ha::refuse_if_named(&settings, &metadata).map_err(Failure::Arguments)?;
    let disposed = restore::dispose(&path).map_err(failure)?;
    writeln!(
        out,
        "deleted '{}': {} files with {}",
        disposed.folder.display(),
        disposed.files,
        Bytes(disposed.bytes)
    )?;
    if disposed.shared_left > 0 {
        writeln!(
            out,
            "{} shared files stay, since checkpoints beside it name them, or one of these cannot be read",
            disposed.shared_left
        )?;
    }
    if disposed.folder_left {
        writeln!(out, "the folder stays: there is something else in it")?;
    }
    Ok(Outcome::Well)
}

/// What is to be put right in the arguments is told from what went wrong.
fn failure(error: millpond_engine::Error) -> Failure {
    match error.kind() {
        ErrorKind::Configuration | ErrorKind::Restore => Failure::Arguments(error),
        _ => Failure::NotWell(error),
    }
}
