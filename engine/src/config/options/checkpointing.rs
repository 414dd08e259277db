//! When checkpoints are taken, and what becomes of failed ones. Where they are written is in [`storage`](super::storage).

use std::time::Duration;

use super::options;
pub use super::storage::{DIR, INCREMENTAL, NUM_RETAINED, SAVEPOINT_DIR, STORAGE};
use crate::checkpoint::{CheckpointingMode, Retention};
use crate::config::ConfigOption;

/// The shortest interval and timeout.
const SHORTEST: Duration = Duration::from_millis(10);

options! {
    "Checkpointing";

    /// Time between the starts of two periodic checkpoints. Unset: no periodic checkpoints. Raised to the minimum pause if shorter.
    INTERVAL: Duration = "execution.checkpointing.interval".accepting(
        |interval| *interval >= SHORTEST,
        "a duration of at least 10 ms; leave the key out to switch checkpoints off",
    );

    /// What a failure may do: `EXACTLY_ONCE` aligns barriers, `AT_LEAST_ONCE` waits for none and may count a record twice.
    MODE: CheckpointingMode = "execution.checkpointing.mode".with_default("EXACTLY_ONCE");

    /// Time after which a checkpoint that is not complete is given up.
    TIMEOUT: Duration = "execution.checkpointing.timeout"
        .with_default("10 min")
        .accepting(|timeout| *timeout >= SHORTEST, "a duration of at least 10 ms");

    /// Shortest time between the completion of a checkpoint and the start of the next periodic one. More than a year is taken as a year.
    MIN_PAUSE: Duration = "execution.checkpointing.min-pause".with_default("0 ms");

    /// How many checkpoints may be on their way at the same time.
    MAX_CONCURRENT: u32 = "execution.checkpointing.max-concurrent-checkpoints"
        .with_default("1")
        .accepting(|count| *count >= 1, "a whole number of at least 1");

    /// How many checkpoints in a row may fail before the job does.
    TOLERABLE_FAILED: u32 = "execution.checkpointing.tolerable-failed-checkpoints".with_default("0");

    /// What happens to the checkpoints of a job that is cancelled.
    EXTERNALIZED_RETENTION: Retention = "execution.checkpointing.externalized-checkpoint-retention"
        .with_default("NO_EXTERNALIZED_CHECKPOINTS");

    /// Whether checkpoints go on when some subtasks have finished, and a last one is taken when all have.
    AFTER_TASKS_FINISH: bool = "execution.checkpointing.checkpoints-after-tasks-finish"
        .with_default("true")
        .with_old_keys(&["execution.checkpointing.checkpoints-after-tasks-finish.enabled"]);
}
