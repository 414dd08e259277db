//! Millpond on the same work in turn with Flink, with the work by hand, or with itself, as a table.

mod flink;
mod library;
mod machine;
mod record;
mod report;
mod rows;
mod sides;
mod table;

use crate::report::progress;
use crate::text;
use clap::Args;
use flink::Flink;
use millpond_engine::{Error, ErrorKind, Result};
use record::{Record, Recorded, Setup};
use rows::Rival;
use sides::Sides;
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::Outcome;

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// Rows to measure, by name or by the beginning of names with a * behind, separated by commas; all if not given. A wrong name lists them
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) rows: Vec<String>,

    /// Rows not to measure, named as for --rows
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) without: Vec<String>,

    /// How often to run each side; the rows about drift are one run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    /// Keep the rows in the results that are not measured now; without it the results begin anew
    #[arg(long)]
    pub(crate) merge: bool,

    /// Measure nothing, and only write the results anew from what was measured
    #[arg(long, requires = "merge", conflicts_with = "rows")]
    pub(crate) only_write: bool,

    /// Records of every run instead of what each row has by default; without effect on text
    #[arg(long, value_parser = crate::args::at_least_one)]
    pub(crate) records: Option<u64>,

    /// How long the runs about drift are
    #[arg(long, value_name = "TIME", value_parser = crate::args::duration, default_value = "10m")]
    pub(crate) drift_for: Duration,

    /// Text for word-count, a folder; if not given, some is generated in a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) text: Option<PathBuf>,

    /// Megabytes of text to generate
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) text_mb: u64,

    /// Megabytes of memory to touch and give back before each run, so that every run finds memory that is not still to be had from a virtual machine's host; 0: none
    #[arg(long, default_value_t = 2048)]
    pub(crate) touch_mb: usize,

    /// Megabytes (10^6 bytes) to write plainly at first, for what the disk gives; 0: none
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) write_mb: u64,

    /// Folder for state on disk and checkpoints, each run in a folder of its own below it that is removed; the system's folder for temporary files if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// The folder with libraries, which `cargo xtask plugins fs rocksdb` builds
    #[arg(long, value_name = "DIR", default_value = "plugins")]
    pub(crate) plugins: PathBuf,

    /// The file to write the table to. What was measured goes to a file beside it that ends with .json; all that stands in this one from the heading `## Remarks` on is kept
    #[arg(long, value_name = "FILE", default_value = "bench/RESULTS.md")]
    pub(crate) results: PathBuf,

    /// A text file whose content replaces the remarks at the end of the results, such as what holds a goal back
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

    /// A setting of Millpond; repeatable
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// Measures the rows, prints the table and writes the results; whether every row could be measured and both sides came to the same.
///
/// # Errors
/// When Flink is needed and not there, or the results cannot be read or written.
pub(crate) fn run(args: &CompareArgs) -> Result<bool> {
    let wrong = |text| Error::new(ErrorKind::Configuration, text);
    let rows = rows::choose(&args.rows, &args.without).map_err(wrong)?;
    let mut recorded = if args.merge {
        Recorded::read(&args.results).map_err(wrong)?
    } else {
        Recorded::default()
    };
    let remarks = match &args.remarks {
        Some(file) => read(file)?,
        None => report::remarks_of(&std::fs::read_to_string(&args.results).unwrap_or_default()),
    };
    if args.only_write {
        write(args, &recorded, &remarks)?;
        print(&report::tables(&recorded))?;
        return Ok(true);
    }
    let needs_flink = rows.iter().any(|row| row.rival == Rival::Flink);
    let flink = if needs_flink {
        Some(Flink::find(args)?)
    } else {
        None
    };
    let scratch = crate::scratch::new_folder(args.dir.as_deref())?;
    let mut text = args.text.clone();
    if text.is_none() && rows.iter().any(|row| row.workload == "word-count") {
        let folder = scratch.path().join("text");
        progress(&format!("generating {} MB of text", args.text_mb));
        text::generate(&text::TextSize {
            folder: folder.clone(),
            megabytes: args.text_mb,
            vocabulary: 100_000,
            parts: 4,
        })?;
        text = Some(folder);
    }
    let setup = Setup {
        machine: machine::machine(),
        disk: machine::disk(scratch.path(), args.write_mb)?,
        millpond: machine::millpond(),
        commit: machine::commit(),
        command: command()?,
        flink: flink.as_ref().map(Flink::description),
    };
    let sides = Sides {
        args,
        flink,
        text,
        scratch: scratch.path(),
    };
    let (mut all_measured, mut any_measured) = (true, false);
    for row in rows {
        let outcome = sides.measure(&row);
        progress(table::line(&row, &outcome, &setup.commit).trim_end());
        if matches!(outcome, Outcome::Failed(_)) {
            all_measured = false;
            // What was measured before is worth more than that it could not be measured now.
            if recorded.find(&row.name).is_some() {
                continue;
            }
        } else {
            any_measured = true;
        }
        recorded.put(Record {
            name: row.name,
            setup: setup.clone(),
            load: crate::process::load_average(),
            outcome,
        });
        // After each row, so that an interrupted comparison leaves what it has; a file of failures only would replace what there is.
        if any_measured {
            write(args, &recorded, &remarks)?;
        }
    }
    print(&report::tables(&recorded))?;
    Ok(all_measured)
}

/// The arguments of this program, as a shell takes them.
fn command() -> Result<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    shlex::try_join(arguments.iter().map(String::as_str))
        .map_err(|error| Error::new(ErrorKind::Configuration, "the command line").with_source(error))
}

fn write(args: &CompareArgs, recorded: &Recorded, remarks: &str) -> Result<()> {
    let written = recorded
        .write(&args.results)
        .and_then(|()| std::fs::write(&args.results, report::report(recorded, remarks)));
    written.map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("the results cannot be written to {}", args.results.display()),
        )
        .with_source(error)
    })
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        Error::new(
            ErrorKind::Configuration,
            format!("{} cannot be read", file.display()),
        )
        .with_source(error)
    })
}

fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::new(ErrorKind::JobFailed, "standard output").with_source(error))
}
