//! Settings of the checkpoint coordinator, with Flink's defaults.

use super::CheckpointingMode;
use std::time::Duration;

/// How checkpoints are taken, kept and given up. `Default` is Flink's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// `execution.checkpointing.interval`: time between two starts; none switches periodic checkpoints off. Raised to `min_pause` where that is longer.
    pub interval: Option<Duration>,
    /// `execution.checkpointing.mode`.
    pub mode: CheckpointingMode,
    /// `execution.checkpointing.timeout`: a checkpoint that takes longer is given up.
    pub timeout: Duration,
    /// `execution.checkpointing.min-pause`: time between the completion of one and the start of the next periodic one.
    pub min_pause: Duration,
    /// `execution.checkpointing.max-concurrent-checkpoints`: how many may be under way at once; at least 1.
    pub max_concurrent: u32,
    /// `execution.checkpointing.tolerable-failed-checkpoints`: consecutive counted failures before the job fails.
    pub tolerable_failures: u32,
    /// `execution.checkpointing.num-retained`: completed checkpoints that are kept; at least 1.
    pub num_retained: usize,
    /// `execution.checkpointing.externalized-checkpoint-retention`: what becomes of them when the job ends.
    pub retention: Retention,
    /// `execution.checkpointing.data-inline-threshold`: streams that stay at or below it make no file, in bytes; at most 1 MiB.
    pub inline_threshold: usize,
    /// `execution.checkpointing.write-buffer-size`, in bytes; the larger of it and the threshold is used.
    pub write_buffer: usize,
    /// `execution.checkpointing.create-subdir`: whether the job's files get a folder of their own, named by the job id.
    pub create_subdir: bool,
    /// `pekko.framesize`: the most state bytes that one subtask's acknowledgement may carry inline.
    pub ack_bytes_max: u64,
    /// `execution.checkpointing.incremental`: whether snapshots may name files of earlier checkpoints, if the backend can.
    pub incremental: bool,
    /// `execution.checkpointing.checkpoints-after-tasks-finish`: take a last checkpoint when all sources have ended.
    pub final_checkpoint: bool,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self {
            interval: None,
            mode: CheckpointingMode::ExactlyOnce,
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            max_concurrent: 1,
            tolerable_failures: 0,
            num_retained: 1,
            retention: Retention::NoExternalized,
            inline_threshold: 20 * 1024,
            write_buffer: 4096,
            create_subdir: true,
            ack_bytes_max: 10 * 1024 * 1024,
            incremental: true,
            final_checkpoint: true,
        }
    }
}

impl CheckpointSettings {
    /// The time between two periodic starts: the interval, or the minimal pause where that is longer. None: no periodic checkpoints.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.interval.map(|interval| interval.max(self.min_pause))
    }
}

/// What becomes of completed checkpoints when the job reaches its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retention {
    /// `NO_EXTERNALIZED_CHECKPOINTS`: deleted whatever the end.
    #[default]
    NoExternalized,
    /// `DELETE_ON_CANCELLATION`: kept only when the job failed.
    DeleteOnCancellation,
    /// `RETAIN_ON_CANCELLATION`: deleted only when the job finished.
    RetainOnCancellation,
}
