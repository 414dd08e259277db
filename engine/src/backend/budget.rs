//! Budgets of memory that work, and cannot be meant: less than a backend needs to be of use, or more than there is.

use crate::Result;
use crate::config::options::{backend, cluster, rocksdb};
use crate::config::{ConfigOption, Configuration, MemorySize, Origin};
use std::path::Path;

/// Below this, next to nothing of the state stays in memory from one batch to the next.
const SMALL: MemorySize = MemorySize(8 << 20);

/// What there is to say of the memory that the RocksDB backend is given in a process with `threads` worker threads: a sentence, or nothing.
///
/// # Errors
/// For a value that is not valid.
pub(crate) fn warning(config: &Configuration, threads: u32) -> Result<Option<String>> {
    warning_on(config, threads, memory_below(Path::new("/")))
}

/// The same on a machine with so many bytes of memory, if that is known.
fn warning_on(config: &Configuration, mut threads: u32, machine: Option<u64>) -> Result<Option<String>> {
    let (option, times): (&ConfigOption<MemorySize>, u64) =
        if config.get_optional(&rocksdb::MEMORY_FIXED_PER_SLOT)?.is_some() {
            // The default holds in clusters only.
            if config.origin(&cluster::TASK_SLOTS) != Origin::Default {
                let slots = config.get(&cluster::TASK_SLOTS)?;
                threads = threads.min(u32::try_from(slots).unwrap_or(u32::MAX));
            }
            (&rocksdb::MEMORY_FIXED_PER_SLOT, u64::from(threads.max(1)))
        } else if config.get(&rocksdb::MEMORY_MANAGED)? {
            (&backend::MANAGED_MEMORY_SIZE, 1)
        } else {
            (&rocksdb::MEMORY_FIXED_PER_PROCESS, 1)
        };
    let Some(size) = config.get_optional(option)? else {
        return Ok(None);
    };
    let all = size.0.saturating_mul(times);
    let what = match machine {
        Some(machine) if all > machine => {
            let in_all = if times > 1 {
                format!(" for each of {times} worker threads")
            } else {
                String::new()
            };
            format!(
                "{in_all} is more than the {} MiB of memory that there are: the system may end the process when the state has grown",
                machine >> 20
            )
        }
        _ if size < SMALL => {
            format!(" is less than {SMALL}: it works, but each batch waits for the disk")
        }
        _ => return Ok(None),
    };
    let origin = config.origin(option);
    Ok(Some(format!("{origin}: {}: '{size}'{what}", option.key())))
}

/// The bytes of memory of the machine, or of the container if that has less, with the system's files below `root`; `None` where it does not tell.
fn memory_below(root: &Path) -> Option<u64> {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let machine = text("proc/meminfo").lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let container = text("sys/fs/cgroup/memory.max").trim().parse().ok();
    machine.into_iter().chain(container).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Option<u64> = Some(4 << 30);

    fn warned(pairs: &[(&str, &str)], threads: u32, machine: Option<u64>) -> String {
        let mut config = Configuration::new();
        for (key, value) in pairs {
            config.set_string(*key, *value);
        }
        warning_on(&config, threads, machine).unwrap().unwrap_or_default()
    }

    const MANAGED: &str = "taskmanager.memory.managed.size";
    const PER_SLOT: &str = "state.backend.rocksdb.memory.fixed-per-slot";
    const PER_PROCESS: &str = "state.backend.rocksdb.memory.fixed-per-tm";
    const IS_MANAGED: &str = "state.backend.rocksdb.memory.managed";
    const SLOTS: &str = "taskmanager.numberOfTaskSlots";

    #[test]
    fn what_is_next_to_nothing_and_what_is_more_than_there_is_are_told_by_key_and_value() {
        let tiny = warned(&[(MANAGED, "1")], 1, MACHINE);
        assert_eq!(
            tiny,
            "set by the program: taskmanager.memory.managed.size: '1 bytes' is less than 8 mb: it works, but each batch waits for the disk"
        );
        let huge = warned(&[(PER_PROCESS, "5 gb"), (IS_MANAGED, "false")], 1, MACHINE);
        assert!(
            huge.contains("fixed-per-tm: '5 gb' is more than the 4096 MiB"),
            "{huge}"
        );
        let each = warned(&[(PER_SLOT, "1 gb")], 5, MACHINE);
        assert!(
            each.contains("fixed-per-slot: '1 gb' for each of 5 worker threads is more than the 4096 MiB"),
            "{each}"
        );
    }

    #[test]
    fn what_may_be_meant_and_what_has_no_effect_are_not_told() {
        for pairs in [
            &[][..],
            &[(MANAGED, "8 mb")],
            &[(MANAGED, "4 gb")],
            // Managed memory wins over this one, and the next over that.
            &[(PER_PROCESS, "1 b")],
            &[(MANAGED, "1 b"), (PER_SLOT, "64 mb")],
            &[(PER_SLOT, "1 gb"), (SLOTS, "4")],
            &[(IS_MANAGED, "false")],
        ] {
            assert_eq!(warned(pairs, 5, MACHINE), "", "{pairs:?}");
        }
        assert_eq!(warned(&[(MANAGED, "100 tb")], 1, None), "");
    }

    #[test]
    fn a_container_may_have_less_than_the_machine() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(memory_below(root.path()), None);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "proc/meminfo",
            "MemTotal:        4096 kB\nMemFree:          100 kB\n",
        );
        assert_eq!(memory_below(root.path()), Some(4 << 20));
        write("sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(memory_below(root.path()), Some(4 << 20));
        write("sys/fs/cgroup/memory.max", "1048576\n");
        assert_eq!(memory_below(root.path()), Some(1 << 20));
    }
}
