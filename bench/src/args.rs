//! The command line.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use millpond_engine::checkpoint::CheckpointingMode;
use millpond_engine::config::CommonArgs;
use std::path::PathBuf;

/// Runs Millpond on generated records and prints what it took, one JSON line a run
///
/// Numbers of records and keys take the suffixes k, M and G (thousand, million, billion). Progress goes to standard error. Exit status: 0, 1 when a job
/// failed or its result was wrong (the line then has "error", or "verified": false), 2 for bad arguments or settings.
#[derive(Debug, Parser)]
#[command(name = "millpond-bench", version)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) workload: Workload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// Count the records of each key and emit every new count: the cost of keyed state
    KeyedCount(RunArgs),
    /// Send each record to the subtask of its key, without state: the cost of the exchange
    Exchange(RunArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    #[value(name = "exactly_once")]
    ExactlyOnce,
    #[value(name = "at_least_once")]
    AtLeastOnce,
}

impl From<Mode> for CheckpointingMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::ExactlyOnce => Self::ExactlyOnce,
            Mode::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Records of a run, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "20M")]
    pub(crate) records: u64,

    /// Different keys, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "1M")]
    pub(crate) keys: u64,

    /// Subtasks of each operator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: u32,

    /// State backend, by name; that of the settings if not given
    #[arg(long)]
    pub(crate) backend: Option<String>,

    /// Guarantee of checkpoints
    #[arg(long, value_enum, default_value = "exactly_once")]
    pub(crate) mode: Mode,

    /// Milliseconds between checkpoints; 0: none, unless the settings ask for some
    #[arg(long, default_value_t = 0)]
    pub(crate) interval_ms: u64,

    /// Folder for checkpoints; a temporary one if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint_dir: Option<PathBuf>,

    /// Send each output to a sink that makes a checksum of all; false: drop them
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) emit: bool,

    /// Records of a run before the first that is measured; 0: none
    #[arg(long, value_parser = number, default_value = "2M")]
    pub(crate) warmup_records: u64,

    /// Compare checksum and sum with those of a plain loop, after the timing
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) verify: bool,

    /// Do the same work in a program written directly on timely in turn with each run, as the limit to compare with
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) with_limit: bool,

    /// Leave Millpond out and run only the limit, as a profiler needs it
    #[arg(long)]
    pub(crate) only_limit: bool,

    /// How often to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A number with an optional suffix k, M or G.
fn number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1_000),
        Some((at, 'm' | 'M')) => (text.get(..at), 1_000_000),
        Some((at, 'g' | 'G')) => (text.get(..at), 1_000_000_000),
        _ => (Some(text), 1),
    };
    digits
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "expected a whole number, with k, M or G behind it if you like".to_owned())
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("must be at least 1".to_owned()),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn suffixes_are_decimal() {
        assert_eq!(number("20"), Ok(20));
        assert_eq!(number("3k"), Ok(3_000));
        assert_eq!(number("20M"), Ok(20_000_000));
        assert_eq!(number("2G"), Ok(2_000_000_000));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "k", "1.5M", "-1", "99999999999G", "1T"] {
            assert!(number(text).is_err(), "{text}");
        }
        assert!(at_least_one("0").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
