//! Where checkpoints and savepoints are written, and what is kept of them.

use super::options;
use crate::config::{ConfigOption, MemorySize};

options! {
    "Checkpoint storage";

    /// Where snapshots go: `jobmanager` (memory of the coordinator, small state only; with a checkpoint folder the metadata goes
    /// there) or `filesystem`. Unset: `filesystem` if there is a checkpoint folder, else `jobmanager`.
    STORAGE: String = "execution.checkpointing.storage"
        .with_old_keys(&["state.checkpoint-storage"]);

    /// Folder of all checkpoints, a path or a URI; every process must reach it. Checkpoints of a job are in `<folder>/<job id>/chk-<n>`. `memory://<name>/<folder>`
    /// is an object store in the memory of the process, for tests.
    DIR: String = "execution.checkpointing.dir"
        .with_old_keys(&["state.checkpoints.dir", "state.backend.fs.checkpointdir"]);

    /// Whether a job's checkpoints have a folder of their own, named by the job's id. False only if no other job uses the folder.
    CREATE_SUBDIR: bool = "execution.checkpointing.create-subdir"
        .with_default("true")
        .with_old_keys(&["state.checkpoints.create-subdir"]);

    /// Folder for savepoints that are asked for without one, a path or a `file://` URI; each gets a folder of its own there.
    SAVEPOINT_DIR: String = "execution.checkpointing.savepoint-dir"
        .with_old_keys(&["state.savepoints.dir", "savepoints.state.backend.fs.dir"]);

    /// How many completed checkpoints are kept.
    NUM_RETAINED: u32 = "execution.checkpointing.num-retained"
        .with_default("1")
        .with_old_keys(&["state.checkpoints.num-retained"])
        .accepting(|count| *count >= 1, "a whole number of at least 1");

    /// Whether the parts of a checkpoint that is not needed any more are removed at the same time rather than one by one.
    CLEANER_PARALLEL_MODE: bool = "execution.checkpointing.cleaner.parallel-mode"
        .with_default("true")
        .with_old_keys(&["state.checkpoint.cleaner.parallel-mode"]);

    /// Snapshots smaller than this are written into the metadata instead of a file of their own. So are small files of an incremental checkpoint, again in each one that has them, as in
    /// Flink; for jobs of very many small states, `0` has them written once, as files that later checkpoints name.
    DATA_INLINE_THRESHOLD: MemorySize = "execution.checkpointing.data-inline-threshold"
        .with_default("20 kb")
        .with_old_keys(&["state.storage.fs.memory-threshold", "state.backend.fs.memory-threshold"])
        .accepting(|size| size.0 <= 1 << 20, "a size of at most 1 mb");

    /// Bytes that are collected before they are written to a checkpoint file. The larger of this and the threshold above is used.
    WRITE_BUFFER_SIZE: u32 = "execution.checkpointing.write-buffer-size"
        .with_default("4096")
        .with_old_keys(&["state.storage.fs.write-buffer-size", "state.backend.fs.write-buffer-size"]);

    /// Whether snapshots are compressed. Up to the backend: `filesystem` does it; a compressed snapshot is expanded on the local disk before it is restored.
    SNAPSHOT_COMPRESSION: bool = "execution.checkpointing.snapshot-compression".with_default("false");

    /// Whether a checkpoint writes only what has changed since an earlier one. Unset: as the backend can, which is to say yes for `filesystem`. False:
    /// every checkpoint is whole, whatever the backend can.
    INCREMENTAL: bool = "execution.checkpointing.incremental"
        .with_old_keys(&["state.backend.incremental"]);

    /// Largest message of the coordinator in bytes: with `jobmanager` storage, all state of a subtask must fit into one.
    MESSAGE_SIZE_MAX: MemorySize = "pekko.framesize"
        .with_default("10485760b")
        .with_old_keys(&["akka.framesize"])
        .accepting(|size| size.0 >= 1024, "a size of at least 1 kb");

    /// Scheme and authority for paths that have none, for example `file:///`.
    DEFAULT_SCHEME: String = "fs.default-scheme";
}
