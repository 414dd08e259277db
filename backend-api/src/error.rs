//! The error that crosses the plugin boundary: a kind and an owned text.

use abi_stable::StableAbi;
use abi_stable::std_types::RString;
use std::fmt;

/// `Result` with a [`BackendError`].
pub type BackendResult<T> = Result<T, BackendError>;

/// What a backend's failure means to the engine.
///
/// It travels as a number, so that a backend may know kinds that an older engine does not: those read as [`BackendErrorKind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// Anything without a kind of its own.
    Other,
    /// The backend's part of the configuration is wrong; the text names key, value and what was expected.
    Configuration,
    /// Reading or writing of files or of the backend's own store failed.
    Io,
    /// A snapshot is damaged: the text names file, section, offset, expected and found.
    Corrupted,
    /// A state was registered in a way that does not fit what is stored: the text names both.
    Incompatible,
    /// A snapshot is larger than its storage takes.
    TooLarge,
    /// The running snapshot was cancelled; nothing of it is left.
    Cancelled,
    /// The backend does not offer this operation.
    Unsupported,
    /// The backend panicked; its state is unusable from here on.
    Panicked,
    /// The call broke the contract (an unknown state, a key group that is not owned): a bug of the caller.
    Misuse,
}

/// The kinds by their number on the wire; a number is never given a second meaning.
const KINDS: [BackendErrorKind; 10] = [
    BackendErrorKind::Other,
    BackendErrorKind::Configuration,
    BackendErrorKind::Io,
    BackendErrorKind::Corrupted,
    BackendErrorKind::Incompatible,
    BackendErrorKind::TooLarge,
    BackendErrorKind::Cancelled,
    BackendErrorKind::Unsupported,
    BackendErrorKind::Panicked,
    BackendErrorKind::Misuse,
];

/// An error of a backend: what it means ([`BackendErrorKind`]) and a sentence that says what happened, where, and what was expected.
#[repr(C)]
#[derive(StableAbi, Clone)]
pub struct BackendError {
    code: u32,
    message: RString,
}

impl BackendError {
    /// A new error.
    pub fn new(kind: BackendErrorKind, message: impl Into<String>) -> Self {
        let code = KINDS.iter().position(|known| *known == kind).unwrap_or(0);
        Self {
            code: u32::try_from(code).unwrap_or(0),
            message: RString::from(message.into()),
        }
    }

    /// What the error means.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        KINDS
            .get(self.code as usize)
            .copied()
            .unwrap_or(BackendErrorKind::Other)
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error with `context` in front of its sentence: `"{context}: {message}"`.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Self {
            code: self.code,
            message: RString::from(format!("{context}: {}", self.message)),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.message)
    }
}

impl std::error::Error for BackendError {}

impl From<std::io::Error> for BackendError {
    fn from(error: std::io::Error) -> Self {
        Self::new(BackendErrorKind::Io, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_boundary_and_an_unknown_one_reads_as_other() {
        for kind in KINDS {
            assert_eq!(BackendError::new(kind, "x").kind(), kind);
        }
        let from_the_future = BackendError {
            code: 999,
            message: "x".into(),
        };
        assert_eq!(from_the_future.kind(), BackendErrorKind::Other);
    }
}
