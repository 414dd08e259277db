//! What a job starts from, and local copies of state.

use super::options;
use crate::config::{ClaimMode, ConfigOption, MemorySize, OnDamage};

options! {
    "Savepoints and recovery";

    /// Savepoint or retained checkpoint that the job starts from, or `<folder>/latest` for the newest one in a folder of savepoints or checkpoints. The argument
    /// `--from-savepoint` sets it. A job that goes on by high availability goes on from its own latest checkpoint instead.
    PATH: String = "execution.state-recovery.path".with_old_keys(&["execution.savepoint.path"]);

    /// Whether the snapshot may have state of operators that the job does not have.
    IGNORE_UNCLAIMED_STATE: bool = "execution.state-recovery.ignore-unclaimed-state"
        .with_default("false")
        .with_old_keys(&["execution.savepoint.ignore-unclaimed-state"]);

    /// Who owns the files of the snapshot that the job starts from: with `NO_CLAIM` they stay as they are, with `CLAIM` the job deletes them when it keeps
    /// `execution.checkpointing.num-retained` checkpoints of its own. In both cases the first checkpoint is a full one, and nothing refers to them afterwards.
    CLAIM_MODE: ClaimMode = "execution.state-recovery.claim-mode"
        .with_default("NO_CLAIM")
        .with_old_keys(&["execution.savepoint-restore-mode"]);

    /// Whether the program only tells what would become of the snapshot that it was told to start from, and starts and changes nothing. The argument `--restore-plan` sets it. Not an
    /// option of Flink's.
    PLAN_ONLY: bool = "execution.state-recovery.plan-only".with_default("false");

    /// What to do when the latest checkpoint cannot be read: `fail`, naming the command that restores the one before, or go back
    /// to the `previous` one. A sink may have committed the damaged one already. Not an option of Flink's.
    ON_DAMAGE: OnDamage = "execution.state-recovery.on-damage".with_default("fail");

    /// Whether state is restored from a local copy where there is one. Only for checkpoints in remote storage: files are local as they are.
    FROM_LOCAL: bool = "execution.state-recovery.from-local"
        .with_default("false")
        .with_old_keys(&["state.backend.local-recovery"]);

    /// Whether checkpoints in remote storage leave a local copy of the state; one that cannot be written is no failure.
    LOCAL_BACKUP: bool = "execution.checkpointing.local-backup.enabled"
        .with_default("false")
        .with_fallback_keys(&["execution.state-recovery.from-local", "state.backend.local-recovery"]);

    /// Folder for local copies of snapshots in remote storage, also of those that are only fetched to be mapped; the first of several is used. Processes
    /// and jobs may share it. Unset: `millpond-local-state` below `io.tmp.dirs`.
    LOCAL_BACKUP_DIRS: Vec<String> = "execution.checkpointing.local-backup.dirs"
        .with_old_keys(&["taskmanager.state.local.root-dirs"]);

    /// How many bytes all local copies of snapshots may have together; the least recently used go first. Those that a running job has
    /// mapped stay, even if they are more. Not an option of Flink's.
    LOCAL_BACKUP_SIZE_MAX: MemorySize = "execution.checkpointing.local-backup.size-max".with_default("10 gb");

    /// Folder for what a process keeps over its restarts. Unset: a folder below `io.tmp.dirs`.
    WORKING_DIR: String = "process.working-dir";

    /// The same for the workers alone.
    TASKMANAGER_WORKING_DIR: String = "process.taskmanager.working-dir"
        .with_fallback_keys(&["process.working-dir"]);

    /// The same for the coordinator alone.
    JOBMANAGER_WORKING_DIR: String = "process.jobmanager.working-dir"
        .with_fallback_keys(&["process.working-dir"]);

    /// How often a sink's commit is tried again after a failure that may pass.
    COMMITTER_RETRIES: u32 = "sink.committer.retries".with_default("10");
}
