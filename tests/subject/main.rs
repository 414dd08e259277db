//! The jobs that the whole-system tests run, kill and disturb. One subcommand a job.

use clap::{Parser, Subcommand};
use millpond_engine::Result;
use millpond_engine::api::{JobExecutionResult, StreamExecutionEnvironment};
use millpond_engine::config::{CommonArgs, init_logging};
use std::process::ExitCode;

mod backlog;
mod churn;
mod evolving;
mod expiring;
mod failing;
mod held_back;
mod idle;
mod late_reader;
mod many_timers;
mod numbered_events;
mod picky_files;
mod pipeline;
mod rationed;
mod rulebook;
mod rules;
mod slow_sink;
mod soak;
mod told;
mod tumbling;
mod windows;

/// Jobs for tests
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Numbered events of many keys, and a state that must see each number exactly once
    NumberedEvents(numbered_events::Args),
    /// Several sources, exchanges and parallelisms
    Pipeline(pipeline::Args),
    /// Random updates of large values, maps and lists, and deletions
    Churn(churn::Args),
    /// Events that wait in lists until their timers take them out
    Backlog(backlog::Args),
    /// Windows of event time, closed by timers
    Windows(windows::Args),
    /// Tumbling windows by the API
    Tumbling(tumbling::Args),
    /// Connected streams, broadcast rules and operator state
    Rules(rules::Args),
    /// A function that panics or fails at some record
    Failing(failing::Args),
    /// Numbers into files, and a function that panics in this process
    PickyFiles(picky_files::Args),
    /// A sink that takes a millisecond for each record
    SlowSink(slow_sink::Args),
    /// Keys that are counted early and late, and others in between
    LateReader(late_reader::Args),
    /// Keys that expire, by a clock that counts records
    Expiring(expiring::Args),
    /// Every kind of state, and what a test may do to it
    Soak(soak::Args),
    /// Very many timers, which wait for the end of the input
    ManyTimers(many_timers::Args),
    /// All kinds of states, whose types change between releases
    Evolving(evolving::Args),
    /// A source that has nothing to read until standard input is closed
    Idle(idle::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    init_logging();
    let result = match &args.job {
        Job::NumberedEvents(args) => numbered_events::run(args),
        Job::Pipeline(args) => pipeline::run(args),
        Job::Churn(args) => churn::run(args),
        Job::Backlog(args) => backlog::run(args),
        Job::Windows(args) => windows::run(args),
        Job::Tumbling(args) => tumbling::run(args),
        Job::Rules(args) => rules::run(args),
        Job::Failing(args) => failing::run(args),
        Job::PickyFiles(args) => picky_files::run(args),
        Job::SlowSink(args) => slow_sink::run(args),
        Job::LateReader(args) => late_reader::run(args),
        Job::Expiring(args) => expiring::run(args),
        Job::Soak(args) => soak::run(args),
        Job::ManyTimers(args) => many_timers::run(args),
        Job::Evolving(args) => evolving::run(args),
        Job::Idle(args) => idle::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("subject: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn environment(common: &CommonArgs, parallelism: usize) -> Result<StreamExecutionEnvironment> {
    let env = StreamExecutionEnvironment::from_args(common)?;
    env.set_parallelism(parallelism);
    Ok(env)
}

/// Tells the test how the job went.
fn say_how_it_went(result: &JobExecutionResult) {
    say(format_args!(
        "{} attempts, {} records, {} checkpoints completed, {} failed",
        result.attempts, result.source_records, result.checkpoints.completed, result.checkpoints.failed,
    ));
}

/// Tells the test something.
#[expect(clippy::print_stderr, reason = "tests read it")]
fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}

/// How many threads this process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
