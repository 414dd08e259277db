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
        BackendErrorKind::Corrupted => ErrorKind::Damaged,
        BackendErrorKind::TooLarge => ErrorKind::StateTooLarge,
        BackendErrorKind::Cancelled => ErrorKind::Cancelled,
        BackendErrorKind::Misuse => ErrorKind::Bug,
        _ => ErrorKind::State,
    }
}

/// A backend's error as the engine's, with its place in front.
#[cold]
pub(super) fn failed(place: &Place, error: &BackendError) -> Error {
    Error::new(
        engine_kind(error.kind()),
        format!("{place}: {}", shortened(error.message())),
    )
}

/// A backend names files by their tokens, which hold the bytes of those that ride inline as hexadecimal digits: long runs of these are cut.
fn shortened(message: &str) -> String {
    /// Room for any checksum and any random name.
    const DIGITS_MAX: usize = 64;
    let mut short = String::with_capacity(message.len().min(4096));
    let mut rest = message;
    while let Some(first) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(first);
        let end = from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len());
        let (run, behind) = from.split_at(end);
        short.push_str(before);
        match run.split_at_checked(DIGITS_MAX) {
            Some((kept, cut)) if !cut.is_empty() => {
                short.push_str(&format!("{kept}.. ({} more)", cut.len()));
            }
            _ => short.push_str(run),
        }
        rest = behind;
    }
    short.push_str(rest);
    short
}

/// An error of the engine's storage as a backend sees it. The kinds that the engine acts on survive the way back.
pub(super) fn to_backend(error: &Error) -> BackendError {
    let kind = match error.kind() {
        ErrorKind::Configuration => BackendErrorKind::Configuration,
        ErrorKind::Storage => BackendErrorKind::Io,
        ErrorKind::Restore | ErrorKind::Damaged => BackendErrorKind::Corrupted,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_carry_the_bytes_of_a_file_are_cut_in_errors() {
        let digits = "0123456789abcdef".repeat(1000);
        let cut = format!("file 'inline:{}.. (15936 more)', block 7", &digits[..64]);
        assert_eq!(shortened(&format!("file 'inline:{digits}', block 7")), cut);
        for text in ["", "no digits? é", "checksum 0xdeadbeef", &digits[..64]] {
            assert_eq!(shortened(text), text);
        }
    }
}
