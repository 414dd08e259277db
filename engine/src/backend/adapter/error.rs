//! Errors over the boundary, in both directions.

use crate::{Error, ErrorKind};
use millpond_backend_api::export::panic_text;
use millpond_backend_api::{BackendError, BackendErrorKind, BackendResult};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Where in the job a backend works; in front of each of its errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The full name of the backend's factory.
    pub backend: Arc<str>,
    /// The operator's uid.
    pub operator: Arc<str>,
    /// The subtask.
    pub subtask: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "operator '{}' (subtask {}), state backend '{}'",
            self.operator, self.subtask, self.backend
        )
    }
}

/// What a backend's error means to the engine.
pub(super) fn engine_kind(kind: BackendErrorKind) -> ErrorKind {
    match kind {
        BackendErrorKind::Configuration => ErrorKind::Configuration,
        BackendErrorKind::Io => ErrorKind::Storage,
        BackendErrorKind::Corrupted => ErrorKind::Restore,
        BackendErrorKind::TooLarge => ErrorKind::StateTooLarge,
        BackendErrorKind::Cancelled => ErrorKind::Cancelled,
        BackendErrorKind::Misuse => ErrorKind::Bug,
        _ => ErrorKind::State,
    }
}

/// A backend's error as the engine's, with its place in front.
#[cold]
pub(super) fn failed(place: &Place, error: &BackendError) -> Error {
    Error::new(engine_kind(error.kind()), format!("{place}: {}", error.message()))
}

/// An error of the engine's storage as a backend sees it. The kinds that the engine acts on survive the way back.
pub(super) fn to_backend(error: &Error) -> BackendError {
    let kind = match error.kind() {
        ErrorKind::Configuration => BackendErrorKind::Configuration,
        ErrorKind::Storage => BackendErrorKind::Io,
        ErrorKind::Restore => BackendErrorKind::Corrupted,
        ErrorKind::StateTooLarge => BackendErrorKind::TooLarge,
        ErrorKind::Cancelled => BackendErrorKind::Cancelled,
        _ => BackendErrorKind::Other,
    };
    BackendError::new(kind, error.to_string())
}

/// A reader's error, which may carry one of the engine's.
pub(super) fn io_to_backend(error: &std::io::Error) -> BackendError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
        .map_or_else(
            || BackendError::new(BackendErrorKind::Io, error.to_string()),
            to_backend,
        )
}

/// Runs engine code that a backend called. A panic that left this frame would end the process, as it may not cross the boundary.
pub(super) fn guarded<R>(call: &str, body: impl FnOnce() -> BackendResult<R>) -> BackendResult<R> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let text = panic_text(payload.as_ref());
        Err(BackendError::new(
            BackendErrorKind::Other,
            format!("checkpoint storage panicked in {call}: {text}"),
        ))
    })
}
