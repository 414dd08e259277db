//! Millpond and Flink on the same work in turn, as a table.

mod flink;
mod rows;
mod table;

use crate::report::progress;
use crate::text;
use clap::Args;
use flink::Flink;
use millpond_engine::{Error, ErrorKind, Result};
use rows::{Rival, Row};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use table::{Line, Measured};

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// Rows to measure, by name or by the beginning of names with a * behind, separated by commas; all if not given. A wrong name lists them
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) rows: Vec<String>,

    /// How often to run each side
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    /// Records of every run instead of what each row has by default; without effect on text
    #[arg(long, value_parser = crate::args::at_least_one)]
    pub(crate) records: Option<u64>,

    /// Text for word-count, a folder; if not given, some is generated in a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) text: Option<PathBuf>,

    /// Megabytes of text to generate
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) text_mb: u64,

    /// Folder for state on disk and checkpoints, each run in a folder of its own below it that is removed; the system's folder for temporary files if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// The file to write the table to
    #[arg(long, value_name = "FILE", default_value = "bench/RESULTS.md")]
    pub(crate) results: PathBuf,

    /// A text file whose content goes to the end of the results, such as what holds a goal back
    #[arg(long, value_name = "FILE")]
    pub(crate) remarks: Option<PathBuf>,

    /// The Java to run Flink with
    #[arg(long, default_value = "java")]
    pub(crate) java: String,

    /// The heap of Flink's JVM, fixed
    #[arg(long, default_value = "8g")]
    pub(crate) flink_heap: String,

    /// Further options of Flink's JVM
    #[arg(long, default_value = "-XX:+UseParallelGC", allow_hyphen_values = true)]
    pub(crate) flink_jvm_options: String,

    /// A setting of Millpond, such as plugins.dir=DIR for the library of the RocksDB backend; repeatable
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// Measures the rows, prints the table and writes the results; whether every row could be measured and both sides came to the same.
///
/// # Errors
/// When Flink is needed and not there, or the results cannot be written.
pub(crate) fn run(args: &CompareArgs) -> Result<bool> {
    let rows = rows::choose(&args.rows).map_err(|text| Error::new(ErrorKind::Configuration, text))?;
    let needs_flink = rows.iter().any(|row| row.rival == Rival::Flink);
    let flink = if needs_flink {
        Some(Flink::find(args)?)
    } else {
        None
    };
    let scratch = crate::scratch::new_folder(args.dir.as_deref())?;
    let mut bench = Compare {
        args,
        flink,
        text: args.text.clone(),
        scratch: scratch.path(),
    };
    if bench.text.is_none() && rows.iter().any(|row| row.records.is_none()) {
        let folder = scratch.path().join("text");
        progress(&format!("generating {} MB of text", args.text_mb));
        text::generate(&text::TextSize {
            folder: folder.clone(),
            megabytes: args.text_mb,
            vocabulary: 100_000,
            parts: 4,
        })?;
        bench.text = Some(folder);
    }
    let mut all = Vec::new();
    for row in rows {
        let runs = bench.measure(&row);
        let measured = Measured { row, runs };
        progress(table::line(&measured).trim_end());
        all.push(measured);
        // After each row, so that an interrupted comparison leaves what it has.
        let report = bench.report(&all);
        std::fs::write(&args.results, report).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!("the results cannot be written to {}", args.results.display()),
            )
            .with_source(error)
        })?;
    }
    print(&table(&all))?;
    Ok(all.iter().all(|measured| measured.runs.is_ok()))
}

struct Compare<'a> {
    args: &'a CompareArgs,
    flink: Option<Flink>,
    text: Option<PathBuf>,
    scratch: &'a Path,
}

impl Compare<'_> {
    /// The runs of a row, or what went wrong.
    fn measure(&self, row: &Row) -> std::result::Result<Vec<(Line, Line)>, String> {
        let mut runs: Vec<(Line, Line)> = Vec::new();
        for run in 1..=self.args.runs {
            progress(&format!("{}: run {run} of {}", row.name, self.args.runs));
            let pair = match row.rival {
                Rival::Flink => (self.ours(row, &[])?, self.flink(row)?),
                Rival::Limit => {
                    let limit = ["--only-limit".to_owned()];
                    (self.ours(row, &[])?, self.ours(row, &limit)?)
                }
                Rival::NoCheckpoints => {
                    let folder = self.scratch.join("checkpoints");
                    let every_second = ["--interval-ms", "1000", "--checkpoint-dir"].map(str::to_owned);
                    let with: Vec<String> = every_second
                        .into_iter()
                        .chain([folder.display().to_string()])
                        .collect();
                    let ours = self.ours(row, &with)?;
                    let _ = std::fs::remove_dir_all(&folder);
                    if ours.checkpoints_completed == 0 {
                        return Err(
                            "no checkpoint was completed during the run; it needs more records".to_owned(),
                        );
                    }
                    (ours, self.ours(row, &[])?)
                }
            };
            let (ours, theirs) = &pair;
            if (&ours.checksum, ours.sum_counts, ours.records)
                != (&theirs.checksum, theirs.sum_counts, theirs.records)
            {
                return Err(format!(
                    "the results differ: {} has {} records with sum {} and checksum {}, {} has {}, {} and {}",
                    ours.engine,
                    ours.records,
                    ours.sum_counts,
                    ours.checksum,
                    theirs.engine,
                    theirs.records,
                    theirs.sum_counts,
                    theirs.checksum
                ));
            }
            runs.push(pair);
        }
        Ok(runs)
    }

    /// What both sides understand alike.
    fn arguments(&self, row: &Row) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut option = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        match row.records.map(|records| self.args.records.unwrap_or(records)) {
            Some(records) => {
                option("records", records.to_string());
                option("warmup-records", (records / 5).min(2_000_000).to_string());
            }
            None => option(
                "text",
                self.text
                    .as_deref()
                    .map_or_else(String::new, |text| text.display().to_string()),
            ),
        }
        if let Some(keys) = row.keys {
            option("keys", keys.to_string());
        }
        option("parallelism", row.parallelism.to_string());
        option("backend", row.backend.to_owned());
        // Both sides must come to the same, which is the better check.
        option("verify", "false".to_owned());
        arguments
    }

    fn ours(&self, row: &Row, more: &[String]) -> std::result::Result<Line, String> {
        let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        let mut command = Command::new(program);
        command.arg(row.workload).args(self.arguments(row)).args(more);
        let knows_limit = matches!(row.workload, "keyed-count" | "exchange");
        if knows_limit && !more.iter().any(|word| word == "--only-limit") {
            command.args(["--with-limit", "false"]);
        }
        if row.backend == "rocksdb" {
            let folder = self.scratch.join("rocksdb");
            command
                .arg(format!("-Dstate.backend.rocksdb.localdir={}", folder.display()))
                .arg(format!("-Dtaskmanager.memory.managed.size={}m", row.managed_mb));
        }
        for setting in &self.args.settings {
            command.arg(format!("-D{setting}"));
        }
        output_of(command)
    }

    fn flink(&self, row: &Row) -> std::result::Result<Line, String> {
        let flink = self.flink.as_ref().ok_or("Flink was not looked for")?;
        let mut arguments = self.arguments(row);
        arguments.extend(["--workload".to_owned(), row.workload.to_owned()]);
        arguments.extend(["--managed-mb".to_owned(), row.managed_mb.to_string()]);
        let folder = self.scratch.join("flink");
        arguments.extend(["--tmp".to_owned(), folder.display().to_string()]);
        let line = output_of(flink.command(&arguments));
        let _ = std::fs::remove_dir_all(&folder);
        line
    }

    /// The results as Markdown.
    fn report(&self, all: &[Measured]) -> String {
        let mut text = String::from("# Results\n\n");
        let command: Vec<String> = std::env::args().skip(1).collect();
        let version = |side: fn(&(Line, Line)) -> &Line| {
            let lines = all
                .iter()
                .filter_map(|measured| measured.runs.as_ref().ok()?.first());
            lines.map(side).map(|line| line.version.clone()).next()
        };
        let _ = writeln!(
            text,
            "Written by `cargo run --release -p millpond-bench -- {}`; the [README](README.md) has the definitions. Medians of {} runs, the sides in turn; a ratio is the median \
             over the pairs of runs, above 1 where Millpond is faster. A goal is reached by both ratios.\n",
            command.join(" "),
            self.args.runs
        );
        let _ = writeln!(text, "- {}", machine());
        let commit = first_line(Command::new("git").args(["rev-parse", "--short=10", "HEAD"]));
        let _ = writeln!(
            text,
            "- Millpond {}{}, {}",
            version(|(ours, _)| ours).unwrap_or_default(),
            commit.map(|commit| format!(" at {commit}")).unwrap_or_default(),
            first_line(Command::new("rustc").arg("--version")).unwrap_or_default(),
        );
        if let Some(flink) = &self.flink {
            let of_flink = all
                .iter()
                .filter(|measured| measured.row.rival == Rival::Flink)
                .find_map(|measured| Some(measured.runs.as_ref().ok()?.first()?.1.version.clone()));
            let _ = writeln!(
                text,
                "- Flink {}, {}, `{}`; object reuse, no generic types; RocksDB with bloom filters in managed memory",
                of_flink.unwrap_or_default(),
                flink.java_version(),
                flink.jvm()
            );
        }
        let _ = writeln!(text, "\n{}", table(all));
        let remarks = self.args.remarks.as_deref().map(std::fs::read_to_string);
        if let Some(Ok(remarks)) = remarks {
            text.push_str(&remarks);
        }
        text
    }
}

fn table(all: &[Measured]) -> String {
    let mut text = table::HEAD.to_owned();
    for measured in all {
        text.push_str(&table::line(measured));
    }
    text
}

/// The last line that a run prints.
fn output_of(mut command: Command) -> std::result::Result<Line, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{:?} cannot be run: {error}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    let parsed = line.map(serde_json::from_str::<Line>);
    match parsed {
        Some(Ok(line)) if output.status.success() => Ok(line),
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last: Vec<_> = errors.lines().rev().take(3).collect();
            Err(format!(
                "{:?} ended with {}: {} {}",
                command.get_program(),
                output.status,
                line.unwrap_or_default(),
                last.join(" / ")
            ))
        }
    }
}

/// What the machine is.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = crate::process::load_average().unwrap_or(0.0);
    format!(
        "{model}, {cores} cores, {} GiB of memory, Linux {}; load {load:.2} when this was written",
        kilobytes >> 20,
        kernel.trim()
    )
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .next()
        .map(str::to_owned)
        .filter(|_| output.status.success())
}

fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))
}
