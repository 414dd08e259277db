//! How much memory this machine, or the container that the process runs in, has.

use std::path::Path;

/// What is taken where the system does not tell: what managed memory is in a worker of Flink with default settings, with the share
/// of it undone.
const UNKNOWN_BYTES: u64 = 1280 << 20;

/// The bytes of memory that this process may use: those of the machine, or less in a container.
pub(super) fn memory_bytes() -> u64 {
    memory_below(Path::new("/"))
}

/// The same, with the system's files below `root`.
fn memory_below(root: &Path) -> u64 {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let machine = text("proc/meminfo").lines().find_map(total_of_line);
    // Version 2 of control groups, then version 1. "max", or a number larger than any machine, is no limit.
    let limits = [
        "sys/fs/cgroup/memory.max",
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let container = limits.iter().filter_map(|path| text(path).trim().parse().ok());
    container.chain(machine).min().unwrap_or(UNKNOWN_BYTES)
}

/// The bytes of the line `MemTotal:       32768000 kB`.
fn total_of_line(line: &str) -> Option<u64> {
    let number = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
    number.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_smaller_one_of_machine_and_container_counts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(memory_below(root.path()), UNKNOWN_BYTES);

        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::create_dir_all(root.path().join("sys/fs/cgroup/memory")).unwrap();
        let memory = "MemTotal:        4096 kB\nMemFree:          100 kB\n";
        fs::write(root.path().join("proc/meminfo"), memory).unwrap();
        assert_eq!(memory_below(root.path()), 4096 * 1024);

        let limit = root.path().join("sys/fs/cgroup/memory.max");
        fs::write(&limit, "max\n").unwrap();
        assert_eq!(memory_below(root.path()), 4096 * 1024);
        fs::write(&limit, "2000000\n").unwrap();
        assert_eq!(memory_below(root.path()), 2_000_000);

        let old = root.path().join("sys/fs/cgroup/memory/memory.limit_in_bytes");
        fs::write(&old, "1000000\n").unwrap();
        assert_eq!(memory_below(root.path()), 1_000_000);
    }
}
