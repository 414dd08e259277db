//! Set-up that cargo alone cannot do: `cargo xtask plugins`, `cargo xtask test`, `cargo xtask powercuts`.
//!
//! Exit codes: 0 all is well, 1 something failed, 2 the machine or the arguments are not right.

mod machine;
mod plugins;
mod power_cuts;
mod progress;
mod step;
mod test;

use clap::{Parser, Subcommand};
use std::fmt;
#[cfg(not(test))]
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Tasks around the workspace that cargo alone cannot do.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build every state backend in plugins/examples, and those over files and over RocksDB, as libraries and put them into plugins/
    ///
    /// RocksDB takes about 20 minutes of a processor the first time, and needs a C++ compiler and libclang.
    Plugins {
        /// Build only these: fs, rocksdb, or the folder of an example, with or without `-backend`
        names: Vec<String>,

        /// Build all but this one; may be given several times
        #[arg(long, value_name = "NAME")]
        without: Vec<String>,
    },
    /// Set up what the tests need, then run all of them
    ///
    /// Missing programs are installed by the system's package manager where that is possible (as root, or by sudo without a password);
    /// where it is not, the command to install them is printed.
    Test {
        /// Only the unit tests: no plugins, no whole-system tests, no documentation tests
        #[arg(long)]
        quick: bool,

        /// Run tests that failed once more, and fail only if they fail again
        #[arg(long)]
        second_try: bool,

        /// Leave the state backend of this name out, such as rocksdb; may be given several times
        #[arg(long, value_name = "NAME")]
        without: Vec<String>,
    },
    /// Cut the power of a disk under running jobs, again and again, and see whether their checkpoints are there
    ///
    /// The disk is a file system in a file. Needs root and loop devices; missing programs are installed where that is possible.
    Powercuts {
        /// How often on each file system
        #[arg(long, default_value_t = 20)]
        rounds: u64,

        /// The file system; both if it is left out
        #[arg(long, value_enum)]
        fs: Option<power_cuts::FileSystem>,
    },
}

/// Why a task failed.
#[derive(Debug)]
enum Failure {
    /// Something that was run did not succeed.
    Failed(String),
    /// Something is missing on this machine.
    Machine(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Machine(text) => f.write_str(text),
        }
    }
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Plugins { names, without } => plugins::command(&names, &without),
        Command::Test {
            quick,
            second_try,
            without,
        } => test::run(quick, second_try, &without),
        Command::Powercuts { rounds, fs } => power_cuts::run(rounds, fs),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("error: {failure}"));
            ExitCode::from(match failure {
                Failure::Failed(_) => 1,
                Failure::Machine(_) => 2,
            })
        }
    }
}

/// The folder of the workspace.
fn workspace() -> PathBuf {
    // Asked for at run time: with a build folder that several clones share, this program may have been built in another one.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_owned)
}

/// The cargo that runs this task.
fn cargo() -> std::process::Command {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Writes a line for the person who watches. Nobody may be watching.
#[cfg(not(test))]
fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// In a test the line is the test's output: it may be that of a command that pretends to run tests.
#[cfg(test)]
fn say(line: impl fmt::Display) {
    println!("{line}");
}
