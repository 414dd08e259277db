//! Parallelism, buffers and working folders.

use std::time::Duration;

use super::options;
use crate::config::{ConfigOption, MemorySize};

options! {
    "Execution";

    /// Name of the job where the program gives none. It identifies the job to high availability.
    NAME: String = "pipeline.name";

    /// Subtasks of an operator that does not say otherwise.
    PARALLELISM: usize = "parallelism.default"
        .with_default("1")
        .accepting(|count| (1..=32_768).contains(count), "a whole number from 1 to 32768");

    /// Number of key groups, the upper bound of all later parallelism; it is fixed by the first checkpoint. -1: by Flink's rule
    /// from the parallelism, at least 128.
    MAX_PARALLELISM: i32 = "pipeline.max-parallelism"
        .with_default("-1")
        .accepting(|count| *count == -1 || (1..=32_768).contains(count), "-1 or a whole number from 1 to 32768");

    /// Whether operators that pass records on without exchange run in one.
    OPERATOR_CHAINING: bool = "pipeline.operator-chaining.enabled"
        .with_default("true")
        .with_old_keys(&["pipeline.operator-chaining"]);

    /// Whether operators without `uid` get one from their place in the job. False refuses such a job: a changed job may not find
    /// the state of an operator without a `uid` of its own.
    AUTO_GENERATE_UIDS: bool = "pipeline.auto-generate-uids".with_default("true");

    /// Whether records that wait for a full batch are sent after a while.
    BUFFER_TIMEOUT_ENABLED: bool = "execution.buffer-timeout.enabled".with_default("true");

    /// How long a record waits for a full batch at most. 0 sends each at once.
    BUFFER_TIMEOUT: Duration = "execution.buffer-timeout.interval"
        .with_default("100 ms")
        .with_old_keys(&["execution.buffer-timeout"]);

    /// Size of a batch of records between subtasks.
    SEGMENT_SIZE: MemorySize = "taskmanager.memory.segment-size"
        .with_default("32 kb")
        .accepting(|size| size.0 >= 256, "a size of at least 256 bytes");

    /// How much time the records that are on their way may take to process: sources are held back to meet it, so a checkpoint
    /// takes about this long under backpressure. Flink's default is 1 s, and it is off there.
    IN_FLIGHT_TARGET: Duration = "taskmanager.network.memory.buffer-debloat.target"
        .with_default("200 ms")
        .accepting(|target| *target >= Duration::from_millis(1), "a duration of at least 1 ms");

    /// Folders for temporary files. Unset: the system's folder for them.
    TMP_DIRS: Vec<String> = "io.tmp.dirs".with_old_keys(&["taskmanager.tmp.dirs"]);
}
