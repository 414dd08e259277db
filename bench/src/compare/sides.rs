//! The runs of a row: each side in turn, each run in a process of its own.

use super::flink::Flink;
use super::rows::{Rival, Row};
use super::table::{Line, Outcome};
use super::{CompareArgs, library};
use crate::report::progress;
use memmap2::MmapMut;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

type Tried<T> = Result<T, String>;

/// What the runs need.
pub(super) struct Sides<'a> {
    pub(super) args: &'a CompareArgs,
    pub(super) flink: Option<Flink>,
    /// The text for word-count.
    pub(super) text: Option<PathBuf>,
    /// Where runs may write.
    pub(super) scratch: &'a Path,
}

impl Sides<'_> {
    /// The runs of a row, or what went wrong.
    pub(super) fn measure(&self, row: &Row) -> Outcome {
        let measured = match row.rival {
            Rival::Before => self.drift(row),
            _ => self.pairs(row).map(Outcome::Runs),
        };
        measured.unwrap_or_else(Outcome::Failed)
    }

    fn pairs(&self, row: &Row) -> Tried<Vec<(Line, Line)>> {
        let mut runs: Vec<(Line, Line)> = Vec::new();
        for run in 1..=self.args.runs {
            progress(&format!("{}: run {run} of {}", row.name, self.args.runs));
            let (ours, theirs) = self.pair(row)?;
            // Of different work each side has checked its own.
            if row.rival != Rival::TenthOfKeys {
                came_to_the_same(&ours, &theirs)?;
            }
            runs.push((ours, theirs));
        }
        Ok(runs)
    }

    fn pair(&self, row: &Row) -> Tried<(Line, Line)> {
        if row.backend == "rocksdb" && !cfg!(feature = "rocksdb") {
            return Err("this program is without RocksDB; build it with --features rocksdb".to_owned());
        }
        let other = |row: Row| self.ours(&row, &[]);
        Ok(match row.rival {
            Rival::Flink => (self.ours(row, &[])?, self.flink(row)?),
            Rival::Limit => {
                let limit = ["--only-limit".to_owned()];
                (self.ours(row, &[])?, self.ours(row, &limit)?)
            }
            Rival::BareRocksDb => (self.ours(row, &[])?, self.bare_rocksdb(row)?),
            Rival::NoCheckpoints => {
                let folder = self.scratch.join("checkpoints");
                let ours = self.ours(row, &every_second(&folder));
                let _ = std::fs::remove_dir_all(&folder);
                let ours = ours?;
                if ours.checkpoints_completed == 0 {
                    return Err(
                        "no checkpoint was completed during the run; it needs more records".to_owned(),
                    );
                }
                (ours, self.ours(row, &[])?)
            }
            Rival::Linked => {
                let library = library::find(&self.args.plugins, row.backend)?;
                let by_path = ["--backend".to_owned(), library.display().to_string()];
                (self.ours(row, &by_path)?, self.ours(row, &[])?)
            }
            Rival::OneSubtask => {
                let one = Row {
                    parallelism: 1,
                    ..row.clone()
                };
                (self.ours(row, &[])?, other(one)?)
            }
            Rival::TenthOfKeys => {
                let tenth = Row {
                    keys: row.keys.map(|keys| keys / 10),
                    records: row.records.map(|records| records / 10),
                    ..row.clone()
                };
                (self.ours(row, &[])?, other(tenth)?)
            }
            Rival::Before => return Err("a run that has no other side".to_owned()),
        })
    }

    /// Flink and we understand these alike.
    fn arguments(&self, row: &Row) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut option = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        match row.records.map(|records| self.args.records.unwrap_or(records)) {
            Some(records) => {
                option("records", records.to_string());
                option("warmup-records", (records / 5).min(2_000_000).to_string());
            }
            None if row.workload == "word-count" => option(
                "text",
                self.text
                    .as_deref()
                    .map_or_else(String::new, |text| text.display().to_string()),
            ),
            None => {}
        }
        if let Some(keys) = row.keys {
            option("keys", keys.to_string());
        }
        option("parallelism", row.parallelism.to_string());
        // Both sides must come to the same, which is the better check where both do the same.
        let by_itself = matches!(row.rival, Rival::TenthOfKeys | Rival::Before);
        option("verify", by_itself.to_string());
        arguments
    }

    fn ours(&self, row: &Row, more: &[String]) -> Tried<Line> {
        let mut command = self.millpond(row)?;
        let has = |option: &str| more.iter().any(|word| word == option);
        if !has("--backend") {
            command.args(["--backend", row.backend]);
        }
        let knows_limit = matches!(row.workload, "keyed-count" | "exchange");
        if knows_limit && !has("--only-limit") {
            command.args(["--with-limit", "false"]);
        }
        command.args(more);
        self.output_of(command)
    }

    /// The row's workload, but for the state backend.
    fn millpond(&self, row: &Row) -> Tried<Command> {
        let mut command = Command::new(this_program()?);
        command.arg(row.workload).args(self.arguments(row));
        if row.backend == "rocksdb" {
            let folder = self.scratch.join("rocksdb");
            command
                .arg(format!("-Dstate.backend.rocksdb.localdir={}", folder.display()))
                .arg(format!("-Dtaskmanager.memory.managed.size={}m", row.managed_mb));
        }
        if row.backend == "filesystem" {
            // It does not begin without one, though nothing is written there.
            let folder = self.scratch.join("checkpoints");
            command.arg(format!("-Dexecution.checkpointing.dir={}", folder.display()));
        }
        for setting in &self.args.settings {
            command.arg(format!("-D{setting}"));
        }
        Ok(command)
    }

    fn bare_rocksdb(&self, row: &Row) -> Tried<Line> {
        let records = self.args.records.or(row.records).unwrap_or(1);
        let mut command = Command::new(this_program()?);
        command
            .args(["limit", "--only", "rocksdb", "--verify", "false"])
            .args(["--rocksdb-records", &records.to_string()])
            .args(["--keys", &row.keys.unwrap_or(1).to_string()])
            .arg("--dir")
            .arg(self.scratch);
        self.output_of(command)
    }

    fn drift(&self, row: &Row) -> Tried<Outcome> {
        if row.backend == "rocksdb" && !cfg!(feature = "rocksdb") {
            return Err("this program is without RocksDB; build it with --features rocksdb".to_owned());
        }
        let lasts = self.args.drift_for.as_secs_f64();
        progress(&format!("{}: one run of {:.1} minutes", row.name, lasts / 60.0));
        let mut command = self.millpond(row)?;
        // Sixty intervals, so that there are twenty in each third.
        let ms = self.args.drift_for.as_millis();
        command.args(["--for", &format!("{ms}ms"), "--report-every"]);
        command.arg(format!("{}ms", (ms / 60).max(10)));
        command.args(["--backend", row.backend]);
        let folder = self.scratch.join("checkpoints");
        command.args(every_second(&folder));
        let line = self.output_of(command);
        let _ = std::fs::remove_dir_all(&folder);
        line.map(|line| Outcome::Drift(Box::new(line)))
    }

    fn flink(&self, row: &Row) -> Tried<Line> {
        let flink = self.flink.as_ref().ok_or("Flink was not looked for")?;
        let mut arguments = self.arguments(row);
        arguments.extend(["--backend".to_owned(), row.backend.to_owned()]);
        arguments.extend(["--workload".to_owned(), row.workload.to_owned()]);
        arguments.extend(["--managed-mb".to_owned(), row.managed_mb.to_string()]);
        let folder = self.scratch.join("flink");
        arguments.extend(["--tmp".to_owned(), folder.display().to_string()]);
        let line = self.output_of(flink.command(&arguments));
        let _ = std::fs::remove_dir_all(&folder);
        line
    }

    /// The last line that a run prints.
    fn output_of<T: DeserializeOwned>(&self, mut command: Command) -> Tried<T> {
        touch(self.args.touch_mb);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("{:?} cannot be run: {error}", command.get_program()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().rev().find(|line| line.starts_with('{'));
        match line.map(serde_json::from_str::<T>) {
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
}

fn this_program() -> Tried<PathBuf> {
    std::env::current_exe().map_err(|error| format!("where is this program? {error}"))
}

fn every_second(folder: &Path) -> Vec<String> {
    let interval = ["--interval-ms", "1000", "--checkpoint-dir"].map(str::to_owned);
    interval
        .into_iter()
        .chain([folder.display().to_string()])
        .collect()
}

/// Makes the kernel have memory at hand, huge pages among it. A virtual machine gives back to its host what is not used for some seconds, and getting it again takes up to twenty times as
/// long: whoever runs behind somebody who has used more would have an advantage, and so would who asks for small pages, which come from what huge ones cannot be made of.
fn touch(megabytes: usize) {
    let Ok(mut memory) = MmapMut::map_anon((megabytes << 20).max(1)) else {
        return;
    };
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(1);
    std::hint::black_box(&mut memory);
}

fn came_to_the_same(ours: &Line, theirs: &Line) -> Tried<()> {
    if (&ours.checksum, ours.sum_counts, ours.records)
        == (&theirs.checksum, theirs.sum_counts, theirs.records)
    {
        return Ok(());
    }
    Err(format!(
        "the results differ: {} has {} records with sum {} and checksum {}, {} has {}, {} and {}",
        ours.engine,
        ours.records,
        ours.sum_counts,
        ours.checksum,
        theirs.engine,
        theirs.records,
        theirs.sum_counts,
        theirs.checksum
    ))
}
