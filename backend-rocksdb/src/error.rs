//! What RocksDB's failures mean to the engine.

use millpond_backend_api::{BackendError, BackendErrorKind};
use rocksdb::ErrorKind;
use std::fmt;
use std::path::Path;

/// A failure of RocksDB while `what` was done.
#[cold]
pub(crate) fn failed(error: rocksdb::Error, what: impl fmt::Display) -> BackendError {
    let kind = match error.kind() {
        ErrorKind::Corruption => BackendErrorKind::Corrupted,
        ErrorKind::IOError | ErrorKind::Busy | ErrorKind::TimedOut | ErrorKind::TryAgain => {
            BackendErrorKind::Io
        }
        _ => BackendErrorKind::Other,
    };
    BackendError::new(kind, format!("RocksDB: {}", error.into_string())).context(what)
}

/// A failure of which RocksDB's own words are all there is.
#[cold]
pub(crate) fn failed_with(words: &str, what: impl fmt::Display) -> BackendError {
    let kind = match words.split_once(':') {
        Some(("Corruption", _)) => BackendErrorKind::Corrupted,
        Some(("IO error", _)) => BackendErrorKind::Io,
        _ => BackendErrorKind::Other,
    };
    BackendError::new(kind, format!("RocksDB: {words}")).context(what)
}

/// A failure of the file system with `path` while `what` was done.
#[cold]
pub(crate) fn io_failed(error: std::io::Error, what: &str, path: &Path) -> BackendError {
    BackendError::from(error).context(format_args!("cannot {what} {}", path.display()))
}
