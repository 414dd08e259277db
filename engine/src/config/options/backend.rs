//! Which state backend holds the working state.

use super::options;
use crate::config::{ConfigOption, MemorySize};

options! {
    "State backend";

    /// The state backend: `hashmap` (also `memory`, `jobmanager`), `filesystem`, `rocksdb`, the name of a factory
    /// (`acme::MyBackendFactory`), or a library in `plugins.dir` or its path. Short names are compared without case. Flink's old
    /// names and the names of its factory classes are understood.
    TYPE: String = "state.backend.type"
        .with_default("hashmap")
        .with_old_keys(&["state.backend"]);

    /// Memory for the backends that keep a bounded part of the state in memory, in one process. Unset: the `fraction` below of the
    /// machine's memory.
    MANAGED_MEMORY_SIZE: MemorySize = "taskmanager.memory.managed.size";

    /// Share of the machine's memory for the backends that keep a bounded part of the state in memory, if no size is given.
    MANAGED_MEMORY_FRACTION: f64 = "taskmanager.memory.managed.fraction"
        .with_default("0.4")
        .accepting(|share| (0.0..=1.0).contains(share), "a share from 0 to 1");
}
