//! Keys of Flink that are read without effect: a file that has them loads, with one warning a key.

/// Why a key of Flink's has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It will have one.
    NotYet,
    /// It is about Java, a resource manager, or something that Flink gave up.
    NoMeaning,
    /// Something else: how the sentence about the key goes on.
    Because(&'static str),
}

/// Keys without effect, `*` stands for any text. The first that fits counts.
pub(super) const KEYS: &[(&str, Why)] = &[
    (
        "state.backend.async",
        Why::Because("is ignored: snapshots are always asynchronous"),
    ),
    (
        "savepoints.state.backend",
        Why::Because("is ignored: savepoints always go to files"),
    ),
    // Not there yet.
    ("state.latency-track.*", Why::NotYet),
    ("state.backend.latency-track.*", Why::NotYet),
    ("state.size-track.*", Why::NotYet),
    ("execution.async-state.*", Why::NotYet),
    (
        "execution.checkpointing.file-merging.*",
        Why::Because("is ignored: snapshots of small pieces share a file by design"),
    ),
    ("taskmanager.runtime.fs-timeout", Why::NotYet),
    ("taskmanager.runtime.fs_timeout", Why::NotYet),
    ("execution.checkpointing.interval-during-backlog", Why::NotYet),
    ("execution.checkpointing.unaligned.forced", Why::NoMeaning),
    (
        "execution.checkpointing.unaligned*",
        Why::Because(
            "is ignored: there are no unaligned checkpoints; taskmanager.network.memory.buffer-debloat.target bounds how long a barrier travels",
        ),
    ),
    (
        "execution.checkpointing.aligned-checkpoint-timeout",
        Why::Because("is ignored: there are no unaligned checkpoints"),
    ),
    (
        "execution.checkpointing.alignment-timeout",
        Why::Because("is ignored: there are no unaligned checkpoints"),
    ),
    ("execution.checkpointing.during-recovery.enabled", Why::NotYet),
    ("taskmanager.resource-id", Why::NotYet),
    (
        "execution.state-recovery.without-channel-state.checkpoint-id",
        Why::NotYet,
    ),
    (
        "execution.checkpointing.recover-without-channel-state.checkpoint-id",
        Why::NotYet,
    ),
    ("state.changelog.*", Why::NotYet),
    ("state.backend.changelog.*", Why::NotYet),
    ("dstl.*", Why::NotYet),
    ("state.backend.rocksdb.options-factory", Why::NotYet),
    ("state.backend.rocksdb.timer-service.cache-size", Why::NotYet),
    (
        "state.backend.rocksdb.restore-overlap-fraction-threshold",
        Why::NotYet,
    ),
    (
        "state.backend.rocksdb.use-ingest-db-restore-mode",
        Why::Because("is ignored: databases are always cut and put together by whole files"),
    ),
    (
        "state.backend.rocksdb.incremental-restore-async-compact-after-rescale",
        Why::Because("is ignored: what other subtasks have is always compacted away beside the job"),
    ),
    (
        "state.backend.rocksdb.rescaling.use-delete-files-in-range",
        Why::Because("is ignored: files with nothing of a subtask's key groups are always dropped whole"),
    ),
    ("state.backend.rocksdb.manual-compaction.*", Why::NotYet),
    ("state.backend.forst.*", Why::NotYet),
    ("jobmanager.execution.failover-strategy", Why::NotYet),
    ("cleanup-strategy*", Why::NotYet),
    ("task.cancellation.*", Why::NotYet),
    ("high-availability.jobmanager.port", Why::NotYet),
    (
        "high-availability.zookeeper.client.ensemble-tracker",
        Why::NoMeaning,
    ),
    ("high-availability.zookeeper.client.authorization", Why::NoMeaning),
    (
        "high-availability.zookeeper.client.max-close-wait",
        Why::NoMeaning,
    ),
    (
        "high-availability.zookeeper.client.simulated-session-expiration-percent",
        Why::NoMeaning,
    ),
    ("recovery.zookeeper.path.latch", Why::NoMeaning),
    ("recovery.zookeeper.path.leader", Why::NoMeaning),
    ("recovery.zookeeper.path.checkpoints", Why::NoMeaning),
    ("recovery.zookeeper.path.checkpoint-counter", Why::NoMeaning),
    ("high-availability.zookeeper.*", Why::NotYet),
    ("recovery.zookeeper.*", Why::NotYet),
    ("recovery.jobmanager.port", Why::NotYet),
    ("job-result-store.*", Why::NotYet),
    ("rest.cache.checkpoint-statistics.*", Why::NotYet),
    ("rest.flamegraph.*", Why::NotYet),
    ("rest.profiling.*", Why::NotYet),
    ("web.adaptive-scheduler.*", Why::NotYet),
    ("jobmanager.archive.*", Why::NotYet),
    ("historyserver.*", Why::NotYet),
    ("metrics.latency.*", Why::NotYet),
    ("metrics.system-resource*", Why::NotYet),
    ("metrics.job.status.enable", Why::NotYet),
    ("traces.*", Why::NotYet),
    ("events.*", Why::NotYet),
    ("pipeline.jobvertex-parallelism-overrides", Why::NotYet),
    ("taskmanager.memory.network.*", Why::NotYet),
    ("taskmanager.network.memory.*", Why::NotYet),
    ("jobmanager.scheduler", Why::NotYet),
    ("scheduler-mode", Why::NotYet),
    ("jobmanager.adaptive-scheduler.*", Why::NotYet),
    ("jobmanager.adaptive-batch-scheduler.*", Why::NoMeaning),
    // Of no use here.
    ("execution.batch-state-backend.enabled", Why::NoMeaning),
    (
        "execution.state-recovery.approximate-local-recovery",
        Why::NoMeaning,
    ),
    (
        "execution.checkpointing.approximate-local-recovery",
        Why::NoMeaning,
    ),
    ("recovery.job.delay", Why::NoMeaning),
    ("high-availability.job.delay", Why::NoMeaning),
    ("jobmanager.web.checkpoints.disable", Why::NoMeaning),
    ("application-result-store.*", Why::NoMeaning),
    ("metrics.scope.*", Why::NoMeaning),
    ("taskmanager.network.*", Why::NoMeaning),
    ("taskmanager.memory.*", Why::NoMeaning),
    ("taskmanager.heap.*", Why::NoMeaning),
    ("taskmanager.rpc.*", Why::NoMeaning),
    ("taskmanager.data.*", Why::NoMeaning),
    ("taskmanager.host", Why::NoMeaning),
    ("taskmanager.bind-host", Why::NoMeaning),
    ("taskmanager.bind-policy", Why::NoMeaning),
    ("jobmanager.memory.*", Why::NoMeaning),
    ("jobmanager.heap.*", Why::NoMeaning),
    ("jobmanager.rpc.*", Why::NoMeaning),
    ("jobmanager.bind-host", Why::NoMeaning),
    ("blob.*", Why::NoMeaning),
    ("akka.*", Why::NoMeaning),
    ("pekko.*", Why::NoMeaning),
    ("classloader.*", Why::NoMeaning),
    ("plugin.classloader.*", Why::NoMeaning),
    ("env.*", Why::NoMeaning),
    ("pipeline.force-*", Why::NoMeaning),
    ("pipeline.generic-types", Why::NoMeaning),
    ("pipeline.serialization-config", Why::NoMeaning),
    ("pipeline.jars", Why::NoMeaning),
    ("pipeline.classpaths", Why::NoMeaning),
    ("queryable-state.*", Why::NoMeaning),
    ("kubernetes.*", Why::NoMeaning),
    ("yarn.*", Why::NoMeaning),
];

/// Why `key` has no effect, if it is one of these.
pub(super) fn why_without_effect(key: &str) -> Option<Why> {
    KEYS.iter()
        .find(|(pattern, _)| fits(key, pattern))
        .map(|(_, why)| *why)
}

/// Whether `key` is `pattern`, in which a last `*` stands for any text.
fn fits(key: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => key == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_counts() {
        assert_eq!(
            why_without_effect("execution.checkpointing.unaligned.forced"),
            Some(Why::NoMeaning)
        );
        assert!(matches!(
            why_without_effect("execution.checkpointing.unaligned"),
            Some(Why::Because(_))
        ));
        assert_eq!(why_without_effect("state.changelog.enabled"), Some(Why::NotYet));
        assert_eq!(
            why_without_effect("classloader.resolve-order"),
            Some(Why::NoMeaning)
        );
        assert_eq!(why_without_effect("classloader"), None);
    }

    #[test]
    fn no_pattern_is_hidden_behind_one_before_it() {
        for (index, (pattern, _)) in KEYS.iter().enumerate() {
            let hidden = KEYS[..index].iter().find(|(earlier, _)| fits(pattern, earlier));
            assert_eq!(hidden, None, "{pattern}");
        }
    }
}
