//! What the names in `state.backend.type` and `execution.checkpointing.storage` mean: Millpond's, Flink's, and Flink's of long ago.

use super::select::StorageKind;

/// Short names that only Millpond's own backends answer to, whether this build has them or not.
pub(super) const RESERVED: [&str; 7] = [
    "hashmap",
    "memory",
    "jobmanager",
    "filesystem",
    "fs",
    "rocksdb",
    "forst",
];

/// What a configured name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning<'a> {
    /// The name to look up.
    pub(super) name: &'a str,
    /// The storage that came with the name when a backend's name chose the storage too.
    pub(super) storage: Option<StorageKind>,
    /// Whether the name was one of Flink's class names.
    pub(super) translated: bool,
}

/// The backend that `value` stands for.
pub(super) fn backend(value: &str) -> Meaning<'_> {
    let name = flink_class(value).unwrap_or(value);
    let storage = match name.to_lowercase().as_str() {
        "jobmanager" => Some(StorageKind::JobManager),
        "filesystem" => Some(StorageKind::FileSystem),
        _ => None,
    };
    Meaning {
        name,
        storage,
        translated: name != value,
    }
}

/// The built-in backend of one of Flink's factory or backend classes, of any version.
fn flink_class(value: &str) -> Option<&'static str> {
    match value.strip_suffix("Factory").unwrap_or(value) {
        "org.apache.flink.runtime.state.hashmap.HashMapStateBackend" => Some("hashmap"),
        "org.apache.flink.runtime.state.memory.MemoryStateBackend" => Some("jobmanager"),
        "org.apache.flink.runtime.state.filesystem.FsStateBackend" => Some("filesystem"),
        "org.apache.flink.contrib.streaming.state.RocksDBStateBackend"
        | "org.apache.flink.contrib.streaming.state.EmbeddedRocksDBStateBackend"
        | "org.apache.flink.state.rocksdb.RocksDBStateBackend"
        | "org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend" => Some("rocksdb"),
        _ => None,
    }
}

/// The storage that `value` names.
pub(super) fn storage(value: &str) -> Option<StorageKind> {
    match value.strip_suffix("Factory").unwrap_or(value) {
        "org.apache.flink.runtime.state.storage.JobManagerCheckpointStorage" => Some(StorageKind::JobManager),
        "org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage" => Some(StorageKind::FileSystem),
        name => match name.to_lowercase().as_str() {
            "jobmanager" => Some(StorageKind::JobManager),
            "filesystem" => Some(StorageKind::FileSystem),
            _ => None,
        },
    }
}

/// What to do about a name that Millpond knows but this build has no backend for.
pub(super) fn not_built_in(name: &str) -> Option<&'static str> {
    match name.to_lowercase().as_str() {
        "filesystem" | "fs" => Some(
            "the filesystem backend is not built into this program; build millpond-engine with its cargo feature 'fs'",
        ),
        "rocksdb" => Some(
            "the RocksDB backend is not built into this program; either build millpond-engine with its cargo feature \
             'rocksdb', or put the backend's library, which `cargo xtask plugins` builds, into a folder of plugins.dir",
        ),
        "forst" => {
            Some("Millpond has no ForSt backend; 'rocksdb' is the one for state that is larger than memory")
        }
        "hashmap" | "memory" | "jobmanager" => Some(
            "the memory backend is not built into this program; build millpond-engine with its cargo feature 'memory'",
        ),
        _ => None,
    }
}

/// The candidate that is close enough to `value` to have been meant.
pub(super) fn nearest<'a>(value: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let value = value.to_lowercase();
    let allowed = 1 + value.chars().count() / 5;
    candidates
        .map(|candidate| (strsim::osa_distance(&value, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flink_class_names_stand_for_the_built_in_backends() {
        for (value, name) in [
            (
                "org.apache.flink.runtime.state.hashmap.HashMapStateBackendFactory",
                "hashmap",
            ),
            (
                "org.apache.flink.runtime.state.memory.MemoryStateBackendFactory",
                "jobmanager",
            ),
            (
                "org.apache.flink.runtime.state.filesystem.FsStateBackendFactory",
                "filesystem",
            ),
            (
                "org.apache.flink.runtime.state.filesystem.FsStateBackend",
                "filesystem",
            ),
            (
                "org.apache.flink.contrib.streaming.state.RocksDBStateBackendFactory",
                "rocksdb",
            ),
            (
                "org.apache.flink.contrib.streaming.state.EmbeddedRocksDBStateBackendFactory",
                "rocksdb",
            ),
            (
                "org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackendFactory",
                "rocksdb",
            ),
            (
                "org.apache.flink.state.rocksdb.RocksDBStateBackendFactory",
                "rocksdb",
            ),
        ] {
            let meaning = backend(value);
            assert_eq!((meaning.name, meaning.translated), (name, true), "{value}");
        }
        for value in [
            "acme::RedbStateBackendFactory",
            "org.apache.flink.Other",
            "HashMap",
        ] {
            let meaning = backend(value);
            assert_eq!((meaning.name, meaning.translated), (value, false), "{value}");
        }
    }

    #[test]
    fn a_slip_of_the_fingers_finds_the_name_and_a_stranger_does_not() {
        for (value, nearest_name) in [
            ("rocksbd", Some("rocksdb")),
            ("RocksBD", Some("rocksdb")),
            ("hashmpa", Some("hashmap")),
            ("filesytem", Some("filesystem")),
            ("jobmanger", Some("jobmanager")),
            ("cassandra", None),
            ("x", None),
        ] {
            assert_eq!(nearest(value, RESERVED.into_iter()), nearest_name, "{value}");
        }
    }
}
