//! The command line.

use crate::compare::CompareArgs;
use crate::keeper::VALUE_BYTES;
use crate::state_micro::StateMicroArgs;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use millpond_engine::checkpoint::CheckpointingMode;
use millpond_engine::config::CommonArgs;
use std::path::PathBuf;
use std::time::Duration;

/// As the command line has a value.
pub(crate) fn name_of(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Runs Millpond on generated records and prints what it took, one JSON line a run
///
/// The first four workloads are about the cost of a record, `big-state` and `restore` about checkpoints of large state, `state-micro` about one access to state. Numbers of records and keys take the
/// suffixes k, M and G (thousand, million, billion). Progress goes to standard error. Exit status: 0, 1 when a job failed or its result was wrong (the line then has "error", or "verified": false), 2
/// for bad arguments or settings.
#[derive(Debug, Parser)]
#[command(name = "millpond-bench", version)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) workload: Workload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// Count the records of each key and emit every new count: the cost of keyed state
    KeyedCount(CountArgs),
    /// Send each record to the subtask of its key, without state: the cost of the exchange
    Exchange(CountArgs),
    /// Split text into words and count them as keyed-count does: keys of varying width
    WordCount(TextArgs),
    /// Sum the values of each key in tumbling windows of event time
    TumblingWindow(WindowArgs),
    /// Write text for word-count: words whose frequencies fall about as one over their rank, the same for the same arguments
    GenText(GenTextArgs),
    /// Do one operation on each kind of state many times: called directly, across the boundary, and in a library
    StateMicro(StateMicroArgs),
    /// What the machine gives without an engine: keyed-count and exchange by hand on timely, keyed-count in a loop over RocksDB (with the cargo feature rocksdb), a plain write
    Limit(LimitArgs),
    /// Count the records of each key for some minutes, with checkpoints, and tell whether speed or memory drifts
    Drift(DriftArgs),
    /// Fill a large state, change it with and without checkpoints, and tell what the checkpoints cost
    BigState(BigStateArgs),
    /// Fill a state, take a checkpoint, and restore it in a new process: the time to the first record and to all keys
    Restore(RestoreArgs),
    /// Millpond and Apache Flink on the same work in turn, as a table with ratios: see FLINK_HOME in the README
    Compare(CompareArgs),
    /// One process of `restore`
    #[command(hide = true)]
    RestoreStep(StepArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    #[value(name = "exactly_once")]
    ExactlyOnce,
    #[value(name = "at_least_once")]
    AtLeastOnce,
}

impl From<CheckpointingMode> for Mode {
    fn from(mode: CheckpointingMode) -> Self {
        match mode {
            CheckpointingMode::ExactlyOnce => Self::ExactlyOnce,
            CheckpointingMode::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

impl From<Mode> for CheckpointingMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::ExactlyOnce => Self::ExactlyOnce,
            Mode::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

/// What the workloads about the cost of a record have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Subtasks of each operator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: u32,

    /// State backend, by name; that of the settings if not given
    #[arg(long)]
    pub(crate) backend: Option<String>,

    /// Guarantee of checkpoints; that of the settings if not given, which is exactly_once if they do not say
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,

    /// Milliseconds between checkpoints; 0: none, unless the settings ask for some
    #[arg(long, default_value_t = 0)]
    pub(crate) interval_ms: u64,

    /// Folder for checkpoints; that of the settings if not given, or a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint_dir: Option<PathBuf>,

    /// Send each output to a sink that makes a checksum of all; false: drop them
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) emit: bool,

    /// Compare checksum and sum with those of a plain loop, after the timing
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) verify: bool,

    /// How often to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CountArgs {
    /// Records of a run, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "20M")]
    pub(crate) records: u64,

    /// Different keys, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "1M")]
    pub(crate) keys: u64,

    /// Records of a run before the first that is measured; 0: none
    #[arg(long, value_parser = number, default_value = "2M")]
    pub(crate) warmup_records: u64,

    /// Do the same work in a program written directly on timely in turn with each run, as the limit to compare with
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) with_limit: bool,

    /// Leave Millpond out and run only the limit, as a profiler needs it
    #[arg(long)]
    pub(crate) only_limit: bool,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WindowArgs {
    /// Records of a run, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "20M")]
    pub(crate) records: u64,

    /// Different keys, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "100k")]
    pub(crate) keys: u64,

    /// Records in a millisecond of event time, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "100")]
    pub(crate) ratio: u64,

    /// Milliseconds of event time in a window, at least 1
    #[arg(long, value_parser = milliseconds, default_value = "10000")]
    pub(crate) window_ms: u64,

    /// Records of a run before the first that is measured; 0: none
    #[arg(long, value_parser = number, default_value = "2M")]
    pub(crate) warmup_records: u64,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TextArgs {
    /// A text file or a folder of text files, such as gen-text writes; words end at any byte up to the space (0x20)
    #[arg(long, value_name = "PATH")]
    pub(crate) text: PathBuf,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GenTextArgs {
    /// The folder to write to, made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) text: PathBuf,

    /// Megabytes (10^6 bytes) of text
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000), default_value_t = 200)]
    pub(crate) text_mb: u64,

    /// Different words at most
    #[arg(long, value_parser = vocabulary, default_value = "100k")]
    pub(crate) vocab: u64,

    /// Files to spread the text over
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000), default_value_t = 4)]
    pub(crate) parts: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DriftArgs {
    /// How long a run is, such as 10m or 30s
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "10m")]
    pub(crate) duration: Duration,

    /// How long an interval is, of which each has a line; at most a third of the run
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub(crate) report_every: Duration,

    /// Different keys, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "1M")]
    pub(crate) keys: u64,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What the machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Limit {
    /// exchange by hand on timely
    Exchange,
    /// keyed-count by hand on timely
    KeyedCount,
    /// keyed-count in a loop over RocksDB
    Rocksdb,
    /// A plain write of a file
    Write,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LimitArgs {
    /// Which limits, separated by commas; all if not given
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "exchange,keyed-count,rocksdb,write",
        hide_default_value = true
    )]
    pub(crate) only: Vec<Limit>,

    /// Records of a run on timely, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "20M")]
    pub(crate) records: u64,

    /// Records of a run over RocksDB, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "4M")]
    pub(crate) rocksdb_records: u64,

    /// Different keys, at least 1
    #[arg(long, value_parser = at_least_one, default_value = "1M")]
    pub(crate) keys: u64,

    /// Megabytes (10^6 bytes) to write
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000), default_value_t = 1000)]
    pub(crate) write_mb: u64,

    /// Folder to write to and for the database, in a folder of its own below it that is removed; the system's folder for temporary files if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Worker threads of timely
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: u32,

    /// Make a checksum of all outputs on timely; false: drop them
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) emit: bool,

    /// Compare checksum and sum with those of a plain loop, after the timing
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(crate) verify: bool,

    /// How often to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
}

impl LimitArgs {
    /// As the arguments of runs that the limits share with workloads.
    pub(crate) fn run(&self) -> RunArgs {
        RunArgs {
            parallelism: self.parallelism,
            backend: None,
            mode: None,
            interval_ms: 0,
            checkpoint_dir: None,
            emit: self.emit,
            verify: self.verify,
            runs: self.runs,
            common: CommonArgs::default(),
        }
    }
}

/// What the workloads with large state have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct StateArgs {
    /// State backend, by name
    #[arg(long, default_value = "hashmap")]
    pub(crate) backend: String,

    /// Keys, each with a value; at least 1
    #[arg(long, value_parser = keys_of_state, default_value = "1M")]
    pub(crate) keys: u64,

    /// Bytes of each value, of a fixed width: 8, 16, 32, 64, 100, 128, 256, 500, 512, 1000 or 1024
    #[arg(long, value_parser = value_bytes, default_value = "100")]
    pub(crate) value_bytes: u32,

    /// Subtasks of source and state
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) parallelism: u32,

    /// Folder for checkpoints and for the plain write that they are compared with, each run in a folder of its own below it that is removed at
    /// the end; the system's folder for temporary files if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Write only what has changed since the checkpoint before; the settings' or the backend's choice if not given
    #[arg(long)]
    pub(crate) incremental: Option<bool>,

    /// Keys to read at the end, the lowest ones, where reading all takes too long: then what was written is not counted, only that each value is right; all if not given
    #[arg(long, value_parser = at_least_one)]
    pub(crate) read_keys: Option<u64>,

    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl StateArgs {
    /// How many keys are read at the end.
    pub(crate) fn keys_to_read(&self) -> u64 {
        self.read_keys.unwrap_or(self.keys).min(self.keys)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BigStateArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,

    /// Time between the starts of two checkpoints, such as 2s or 500ms
    #[arg(long, value_parser = duration, default_value = "2s")]
    pub(crate) checkpoint_interval: Duration,

    /// Seconds of each measured part, without checkpoints and with them; at least 1
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) update_seconds: u64,

    /// How often to measure: pairs of a part without checkpoints and one with them, plain writes, increments
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,

    /// Checkpoints between the one of the whole state and the restore, each after 1 % of the keys was changed
    #[arg(long, default_value_t = 0)]
    pub(crate) increments: u32,

    /// Drop the page cache before each restore, so that it reads from the disk
    #[arg(long)]
    pub(crate) cold: bool,

    /// After each plain restore one with so many subtasks, which leaves a checkpoint, and one of that with as many subtasks as before
    #[arg(long, value_name = "PARALLELISM", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) rescale: Option<u32>,

    /// How often to restore, each time in a new process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
}

/// Arguments of a process that `restore` starts.
#[derive(Clone, Debug, Args)]
pub(crate) struct StepArgs {
    #[command(flatten)]
    pub(crate) restore: RestoreArgs,

    /// Where checkpoints go
    #[arg(long)]
    pub(crate) checkpoint_dir: PathBuf,

    /// The checkpoint to restore; without it one is taken
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Restore it with so many subtasks in place of --parallelism, and leave a checkpoint
    #[arg(long)]
    pub(crate) rescale_to: Option<u32>,

    /// When the process was started, in nanoseconds since 1970
    #[arg(long)]
    pub(crate) started_unix_ns: u64,
}

fn keys_of_state(text: &str) -> Result<u64, String> {
    /// The source puts what to do with a key above it.
    const KEYS_MAX: u64 = 1 << 62;
    match at_least_one(text)? {
        keys if keys > KEYS_MAX => Err("must be at most 2^62".to_owned()),
        keys => Ok(keys),
    }
}

/// A number of milliseconds that fits event times.
fn milliseconds(text: &str) -> Result<u64, String> {
    at_least_one(text)?
        .try_into()
        .map(i64::cast_unsigned)
        .map_err(|_| "must be below 2^63".to_owned())
}

fn vocabulary(text: &str) -> Result<u64, String> {
    match at_least_one(text)? {
        words if words > u64::from(u32::MAX) => Err("must be below 2^32".to_owned()),
        words => Ok(words),
    }
}

fn value_bytes(text: &str) -> Result<u32, String> {
    let bytes = text.parse::<u32>().ok();
    bytes.filter(|bytes| VALUE_BYTES.contains(bytes)).ok_or_else(|| {
        let known: Vec<_> = VALUE_BYTES.iter().map(u32::to_string).collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// A number of milliseconds, seconds or minutes, at least 10 ms.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(10);
    let (digits, ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => match text.strip_suffix('m') {
            Some(digits) => (digits, 60_000),
            None => (text.strip_suffix('s').unwrap_or_default(), 1000),
        },
    };
    let number = digits.trim().parse::<u64>().ok();
    let duration = number
        .and_then(|number| number.checked_mul(ms))
        .map(Duration::from_millis);
    duration
        .filter(|duration| *duration >= SHORTEST)
        .ok_or_else(|| "expected a time of at least 10ms, such as 500ms, 2s or 10m".to_owned())
}

/// A number with an optional suffix k, M or G.
pub(crate) fn number(text: &str) -> Result<u64, String> {
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

pub(crate) fn at_least_one(text: &str) -> Result<u64, String> {
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
    fn a_duration_has_a_unit_and_is_not_too_short() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "s", "2", "9ms", "0s", "-1s", "1.5s", "1h", "0m", "m"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_width_that_there_is_not_is_refused_with_those_that_there_are() {
        assert_eq!(value_bytes("100"), Ok(100));
        assert!(value_bytes("99").unwrap_err().contains("64, 100, 128"));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
