//! What Linux tells of this process and machine. Zero or nothing where there is no `/proc`.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock, since 1970.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

/// CPU time of all threads so far, user and system, in milliseconds; in steps of 10 ms, the kernel's clock tick for `/proc` everywhere.
pub(crate) fn cpu_ms() -> u64 {
    const MS_PER_TICK: u64 = 10;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, the program's name, may have spaces; it ends at the last parenthesis. User and system time are fields 14 and 15.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks * MS_PER_TICK
}

/// Resident memory now in KiB: all of it, and what is neither file nor shared (the heap).
pub(crate) fn resident_kb() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    (field(&status, "VmRSS:"), field(&status, "RssAnon:"))
}

/// Bytes that this process has caused to be read from storage so far, page faults included.
pub(crate) fn storage_read_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    field(&io, "read_bytes:")
}

/// The number of the line that begins with `name`; 0 if there is none.
fn field(text: &str, name: &str) -> u64 {
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok());
    number.unwrap_or(0)
}

/// Peak resident memory since the last [`reset_peak`], in MiB.
pub(crate) fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmHWM:") / 1024
}

/// Makes the peak the memory in use now, so that each run has its own. Best effort: where it is refused, peaks only grow.
pub(crate) fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// How many threads of the whole machine have wanted to run in the last minute: how far a measurement can be trusted.
pub(crate) fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
