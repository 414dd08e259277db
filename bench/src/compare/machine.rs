//! What is measured, and on what.

use crate::disk::plain_write;
use millpond_engine::Result;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the machine is.
pub(super) fn machine() -> String {
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
    format!(
        "{model}, {cores} cores, {} GiB of memory, Linux {}",
        kilobytes >> 20,
        kernel.trim()
    )
}

/// What a plain write to the disk of the runs gives; `None` if there is nothing to write.
///
/// # Errors
/// When the file cannot be written.
#[expect(clippy::cast_precision_loss, reason = "nobody writes 2^53 bytes")]
pub(super) fn disk(folder: &Path, megabytes: u64) -> Result<Option<String>> {
    if megabytes == 0 {
        return Ok(None);
    }
    let took = plain_write(folder, megabytes * 1_000_000)?;
    Ok(Some(format!(
        "a plain write of {megabytes} MB with fsync, 1 MiB at a time, to where checkpoints go: {:.0} MB/s",
        megabytes as f64 / took.as_secs_f64().max(1e-9)
    )))
}

/// The version of this program and of its compiler.
pub(super) fn millpond() -> String {
    format!(
        "Millpond {}, {}",
        env!("CARGO_PKG_VERSION"),
        first_line(Command::new("rustc").arg("--version")).unwrap_or_default(),
    )
}

/// The commit that the working directory is at, with a `+` behind when files have changed since, but for results.
pub(super) fn commit() -> String {
    let Some(commit) = first_line(Command::new("git").args(["rev-parse", "--short=8", "HEAD"])) else {
        return "unknown".to_owned();
    };
    let mut status = Command::new("git");
    status.args(["status", "--porcelain", "--untracked-files=no", "--"]);
    status.args([":/", ":(top,exclude)bench/RESULTS.*"]);
    match first_line(&mut status) {
        Some(_) => format!("{commit}+"),
        None => commit,
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .next()
        .map(str::to_owned)
        .filter(|_| output.status.success())
}
