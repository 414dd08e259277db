//! The sentences for damage: which file, which section, at which offset, what was expected and what was found.

use super::layout::{VERSION_CURRENT, VERSION_OLDEST};
use millpond_backend_api::{BackendError, BackendErrorKind, KeyGroup};
use std::fmt::Display;

/// Damage outside of the sections: `part` is the header, the directory or the trailer.
#[cold]
pub(super) fn damaged_file(
    name: &str,
    part: &str,
    offset: u64,
    expected: impl Display,
    found: impl Display,
) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupted,
        format!("snapshot file {name}, {part}, offset {offset}: expected {expected}, found {found}"),
    )
}

/// Damage in a section.
#[cold]
pub(super) fn damaged_section(
    name: &str,
    state: &str,
    group: KeyGroup,
    offset: u64,
    expected: impl Display,
    found: impl Display,
) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupted,
        format!(
            "snapshot file {name}, section of state {state:?} in key group {group}, offset {offset}: expected {expected}, found {found}"
        ),
    )
}

/// A version that this crate does not know.
#[cold]
pub(super) fn unreadable_version(name: &str, version: u32) -> BackendError {
    BackendError::new(
        BackendErrorKind::Incompatible,
        format!(
            "snapshot file {name} has version {version} of its format; versions {VERSION_OLDEST} to {VERSION_CURRENT} can be read"
        ),
    )
}

/// The storage failed.
#[cold]
pub(super) fn unreadable(name: &str, offset: u64, error: &std::io::Error) -> BackendError {
    BackendError::new(
        BackendErrorKind::Io,
        format!("snapshot file {name}, offset {offset}: cannot be read: {error}"),
    )
}

/// A caller broke the rules of the writer.
#[cold]
pub(super) fn misuse(what: impl Display) -> BackendError {
    BackendError::new(BackendErrorKind::Misuse, format!("a snapshot file: {what}"))
}

/// A helper thread ended before its work did.
#[cold]
pub(super) fn thread_failed() -> BackendError {
    BackendError::new(
        BackendErrorKind::Other,
        "a snapshot file: the thread that compresses it ended early",
    )
}
