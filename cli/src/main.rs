//! `millpond`: what can be found out without running a job, and what is asked of a running one.
//!
//! Exit codes: 0 all is well, 1 something that was looked at is not (a library was refused, a checkpoint is damaged), 2 bad arguments.

mod checkpoint;
mod checkpoints;
mod inspect;
mod options;
mod output;
mod plugins;
mod savepoint;
mod verify;

use clap::{Parser, Subcommand};
use millpond_engine::{Error, ErrorKind, Result};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks at state backends, options and checkpoints of Millpond, and asks running jobs for savepoints.
///
/// Exit codes: 0 all is well; 1 something that was looked at is not: a library was refused, a checkpoint is damaged; 2 the arguments
/// are wrong.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the state backends: the built-in ones and those in plugin libraries
    ///
    /// Every library of the plugins folders is opened, which runs its code. One that cannot be used is listed with the reason, and the
    /// exit code is 1.
    Plugins(plugins::Args),
    /// List the configuration options
    Options(options::Args),
    /// Show what is in a checkpoint or savepoint, or list those in a folder
    Inspect(inspect::Args),
    /// Read every file of a checkpoint or savepoint, and check its size and checksum
    ///
    /// Exit code 1 when a file is missing or damaged; each one is named.
    Verify(verify::Args),
    /// Find what no checkpoint needs
    Checkpoints(checkpoints::Args),
    /// Ask a running job for a savepoint, or delete one
    Savepoint(savepoint::Args),
}

/// Whether all that was looked at is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Well,
    NotWell,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    let result = match &args.command {
        Command::Plugins(args) => plugins::run(args, &mut out),
        Command::Options(args) => options::run(args, &mut out),
        Command::Inspect(args) => inspect::run(args, &mut out),
        Command::Verify(args) => verify::run(args, &mut out),
        Command::Checkpoints(args) => checkpoints::run(args, &mut out),
        Command::Savepoint(args) => savepoint::run(args, &mut out),
    };
    let flushed = out.flush();
    match result.and_then(|outcome| flushed.map(|()| outcome).map_err(Failure::from)) {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::NotWell) => ExitCode::from(1),
        // The reader of a pipe went away: it has what it wanted.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => fail(&format!("cannot write the output: {error}"), 1),
        Err(Failure::NotWell(error)) => fail(&error.to_string(), 1),
        Err(Failure::Arguments(error)) => fail(&error.to_string(), 2),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::from(code)
}

/// Why a command ended early.
#[derive(Debug)]
enum Failure {
    /// What was looked at is not well.
    NotWell(Error),
    /// The arguments are wrong.
    Arguments(Error),
    /// The output cannot be written.
    Output(std::io::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// The folder or file, if it is there.
fn existing(path: &std::path::Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("cannot open '{}'", path.display()),
        )
        .with_source(error)
    })
}
