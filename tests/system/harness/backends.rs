//! The settings by which tests run on one backend and another.

/// Keys and values of the configuration.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// Working state on the heap, written as a whole at each checkpoint: what a job has that names no backend.
pub(crate) const HEAP: Settings = &[];

/// Increments in files, however small they are: chains of files with folds and new bases.
pub(crate) const FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
];

/// Increments, of which the small ones ride in the metadata: chains of both.
pub(crate) const FILES_AND_INLINE: Settings = &[("state.backend", "filesystem")];

/// Increments in compressed files.
pub(crate) const COMPRESSED: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.snapshot-compression", "true"),
];

/// Increments of several checkpoints at the same time, of which many are given up before they are complete.
pub(crate) const HASTY_FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.max-concurrent-checkpoints", "4"),
    ("execution.checkpointing.timeout", "60 ms"),
    ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
];

/// Every checkpoint whole, in files.
pub(crate) const WHOLE_FILES: Settings = &[
    ("state.backend", "filesystem"),
    ("execution.checkpointing.data-inline-threshold", "0 b"),
    ("execution.checkpointing.incremental", "false"),
];
